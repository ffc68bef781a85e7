"""What the injector reads from a policy: the variables in which apps keep its services' addresses. Pure.

The rest of the file (expressions, descriptors) is for the sidecar, which reads the same ConfigMap.
"""

from dataclasses import dataclass
from typing import Any

from proxy.injector import addresses, asking
from proxy.injector.names import POLICY_PATH, POLICY_VOLUME, UPSTREAM_VARIABLE
from proxy.injector.refusal import Refused, annotation
from proxy.injector.values import ConfigMapKey, ConfigMapRef
from proxy.policy import form
from proxy.policy.builtin.methods import SERVICE
from proxy.policy.mistakes import PolicyError


@dataclass(frozen=True, slots=True)
class Found:
    """A policy's text from its ConfigMap; or, if it cannot be read, an empty text and the reason in `trouble`."""

    text: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """The app's variables: for the media service (None if the policy does not say), and for the other services."""

    media: str | None = None
    others: tuple[str, ...] = ()


def wanted(pod: Any) -> ConfigMapKey | None:
    """The ConfigMap that a pod names as its policy; None also if the annotation is not understood, which is refused
    elsewhere.
    """
    text = asking.asked(pod).annotations.get(annotation("policy"))
    try:
        return ConfigMapRef().parse(text) if isinstance(text, str) else None
    except ValueError:
        return None


def listed(reference: ConfigMapKey, found: Found | None) -> Listed:
    """The variables of a policy; raises Refused if it cannot be read or names a variable that it must not."""
    if found is None or found.trouble:
        trouble = found.trouble if found else "cannot be read without a cluster; give its file with --policy"
        raise _refused(f"{reference.name}: {trouble}")
    try:
        policy, document = form.read_policy(found.text, reference.key)
    except PolicyError as error:
        raise _refused(f"{reference.name}: {str(error).splitlines()[0]}") from None
    if document.mistakes:
        raise _refused(f"{reference.name}: {document.mistakes[0]}")
    media, others = None, []
    for service in policy.services or ():
        name, variable = (each.text if each else "" for each in (service.name, service.address_variable))
        if name == SERVICE:  # its address is a setting of the sidecar, whatever the app's variable is called
            media = variable or None
        elif variable and not addresses.may_be_copied(variable):
            raise _refused(
                f"{reference.name}: address_variable {variable} of {name} is one of the sidecar's own; rename it"
            )
        elif variable:
            others.append(variable)
    return Listed(media, tuple(dict.fromkeys(others)))


def _refused(problem: str) -> Refused:
    return Refused("policy", annotation("policy"), problem)


def volume(reference: ConfigMapKey) -> dict[str, Any]:
    """The volume of the whole ConfigMap, which has descriptors as well as the policy."""
    return {"name": POLICY_VOLUME, "configMap": {"name": reference.name}}


def entries(reference: ConfigMapKey, env: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sidecar's environment entries for a policy. `env` are those of the originals; if the media service is not
    among them, calls to services that the policy does not name go to the address in the last one.
    """
    told = [{"name": "POLICY", "value": f"{POLICY_PATH}/{reference.key}"}]
    if env and all(entry["name"] != UPSTREAM_VARIABLE for entry in env):
        told.insert(0, {"name": UPSTREAM_VARIABLE, "value": f"$({env[-1]['name']})"})
    return told
