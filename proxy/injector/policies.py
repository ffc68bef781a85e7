"""What the injector knows of a policy: the variables by which apps know its services' addresses. Pure.

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
    """A policy's text as its namespace has it; empty with the reason why it cannot be read."""

    text: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """The app's variables: of the media service, None where the policy does not say; of the other services."""

    media: str | None = None
    others: tuple[str, ...] = ()


def wanted(pod: Any) -> ConfigMapKey | None:
    """What the pod names; None also where it is not understood, which is refused elsewhere."""
    text = asking.asked(pod).annotations.get(annotation("policy"))
    try:
        return ConfigMapRef().parse(text) if isinstance(text, str) else None
    except ValueError:
        return None


def listed(reference: ConfigMapKey, found: Found | None) -> Listed:
    """Refused when the policy cannot be read, or names a variable that it must not."""
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
        if name == SERVICE:  # its address is a setting, whatever variable an app has for it
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
    """All of the ConfigMap, since descriptors stand beside the policy."""
    return {"name": POLICY_VOLUME, "configMap": {"name": reference.name}}


def entries(reference: ConfigMapKey, env: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the sidecar is told. Services that the policy does not name go where the first one is."""
    told = [{"name": "POLICY", "value": f"{POLICY_PATH}/{reference.key}"}]
    if env and all(entry["name"] != UPSTREAM_VARIABLE for entry in env):
        told.insert(0, {"name": UPSTREAM_VARIABLE, "value": f"$({env[-1]['name']})"})
    return told
