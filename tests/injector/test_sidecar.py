"""The injected container: its Pod Security level, resources and dependencies."""

from typing import Any

from proxy.injector import addresses, sidecar
from proxy.injector.annotations import Wishes
from proxy.injector.ports import Ports
from proxy.injector.settings import InjectorSettings


def build(
    wishes: Wishes | None = None, *, native: bool = True, as_root: bool = False, **settings: Any
) -> dict[str, Any]:
    return sidecar.build(
        addresses.literal("media:50056"),
        Ports(50066, 9464, 9901),
        wishes or Wishes(),
        InjectorSettings(**settings),
        native=native,
        resources={},
        as_root=as_root,
    )


def test_it_meets_the_restricted_level_on_its_own() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, container fields."""
    security = build()["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["privileged"] is False


def test_the_user_may_be_left_to_the_platform() -> None:
    assert "runAsUser" not in build(run_as_user=None)["securityContext"]


def test_beside_an_app_that_is_root_it_has_a_user_of_its_own() -> None:
    """With the pod's user it would be root, which runAsNonRoot forbids: neither it nor the app would ever start."""
    assert build(run_as_user=None, as_root=True)["securityContext"]["runAsUser"] == 65532
    assert build(run_as_user=1000, as_root=True)["securityContext"]["runAsUser"] == 1000


def test_no_probe_of_the_pod_asks_about_dependencies() -> None:
    paths = {build()[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"/readyz", "/healthz"}


def test_only_a_native_sidecar_has_a_restart_policy() -> None:
    assert build(native=True)["restartPolicy"] == "Always"
    assert "restartPolicy" not in build(native=False)


def test_the_pods_wish_goes_before_the_installations() -> None:
    env = build(Wishes(redis_addr="", log_level="debug"), log_level="error", rabbitmq_secret=None)["env"]
    assert {"name": "REDIS_ADDR", "value": ""} in env
    assert {"name": "LOG_LEVEL", "value": "debug"} in env
    assert {"name": "RABBITMQ_ADDR", "value": ""} in env


def test_more_environment_gives_way_to_an_annotation() -> None:
    extra = ({"name": "CACHE_TTL", "value": "1m"}, {"name": "CACHE_MODE", "value": "shadow"})
    env = build(Wishes(cache_ttl="2m"), extra_env=extra)["env"]
    assert [entry["value"] for entry in env if entry["name"] in {"CACHE_TTL", "CACHE_MODE"}] == ["2m", "shadow"]


def test_more_environment_goes_before_a_value_of_its_own() -> None:
    extra = ({"name": "CACHE_TTL", "value": "1m"}, {"name": "LOG_LEVEL", "value": "debug"})
    env = build(extra_env=extra, cache_ttl="5m", log_level="error")["env"]
    assert [entry["value"] for entry in env if entry["name"] in {"CACHE_TTL", "LOG_LEVEL"}] == ["1m", "debug"]
