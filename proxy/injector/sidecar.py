"""The injected container as Kubernetes' JSON: its environment, ports, probes, resources and security context."""

from dataclasses import dataclass
from typing import Any

from proxy.injector import policies, sidecar_settings
from proxy.injector.annotations import Wishes
from proxy.injector.names import (
    CONTAINER,
    GRPC_PORT_NAME,
    NO_TOKEN_VOLUME,
    POLICY_PATH,
    POLICY_VOLUME,
    PROBE_PORT_NAME,
    TOKEN_PATH,
    UPSTREAM_VARIABLE,
)
from proxy.injector.ports import Ports
from proxy.injector.refusal import Refused, annotation
from proxy.injector.settings import InjectorSettings
from proxy.injector.values import SecretKey


@dataclass(frozen=True, slots=True)
class Dependency:
    """Where the address of Redis or RabbitMQ comes from: a Secret in the pod's namespace, or plain text."""

    variable: str
    secret: SecretKey | None
    address: str

    def entry(self) -> dict[str, Any]:
        """The environment entry. The Secret is optional: a missing one must not keep the app from starting."""
        if self.secret is None:
            return {"name": self.variable, "value": self.address}
        reference = {"name": self.secret.name, "key": self.secret.key, "optional": True}
        return {"name": self.variable, "valueFrom": {"secretKeyRef": reference}}

    def warning(self, namespace: str) -> str | None:
        """What a person should check, since nothing reports a missing Secret; None for plain text."""
        if self.secret is None:
            return None
        where = f"Secret {namespace}/{self.secret.name}, key {self.secret.key}"
        without = "nothing is cached" if self.variable == "REDIS_ADDR" else "events do not invalidate"
        return f"{self.variable} comes from {where}; while that is missing, {without}"


def dependencies(wishes: Wishes, settings: InjectorSettings) -> tuple[Dependency, Dependency]:
    """Redis and RabbitMQ, as the pod says, or else as the installation does."""
    return (
        _dependency("REDIS_ADDR", wishes.redis_secret, wishes.redis_addr, (settings.redis_secret, settings.redis_addr)),
        _dependency(
            "RABBITMQ_ADDR",
            wishes.rabbitmq_secret,
            wishes.rabbitmq_addr,
            (settings.rabbitmq_secret, settings.rabbitmq_addr),
        ),
    )


def _dependency(
    variable: str, secret: SecretKey | None, address: str | None, default: tuple[SecretKey | None, str]
) -> Dependency:
    if secret is not None:
        return Dependency(variable, secret, "")
    if address is not None:
        return Dependency(variable, None, address)
    return Dependency(variable, *default)


def build(
    original: list[dict[str, Any]],
    ports: Ports,
    wishes: Wishes,
    settings: InjectorSettings,
    *,
    native: bool,
    resources: dict[str, Any],
    as_root: bool = False,
) -> dict[str, Any]:
    """The container. It satisfies the Pod Security level `restricted` whatever the rest of the pod says.

    `original` are the environment entries with the services' addresses. `as_root` says that a container without a user
    would run as root in this pod. Raises Refused if the sidecar could not start.
    """
    environment = _environment(original, ports, wishes, settings)
    if wrong := sidecar_settings.trouble(environment):
        raise _unusable(wrong, wishes)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["media-cache-proxy"],
        "args": ["serve"],
        "env": environment,
        "ports": [
            {"name": GRPC_PORT_NAME, "containerPort": ports.grpc, "protocol": "TCP"},
            {"name": PROBE_PORT_NAME, "containerPort": ports.probe, "protocol": "TCP"},
        ],
        # Each probe only asks about the proxy itself: neither Redis nor RabbitMQ nor the media service may take the app
        # out of its Service. The startup probe delays a native sidecar's pod until the proxy listens.
        "startupProbe": _probe("/readyz", periodSeconds=1, failureThreshold=60),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=3),
        "readinessProbe": _probe("/readyz", periodSeconds=5, failureThreshold=2),
        "resources": resources,
        "securityContext": _security(settings, as_root=as_root),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": NO_TOKEN_VOLUME, "mountPath": TOKEN_PATH, "readOnly": True}],
    }
    if wishes.policy:
        container["volumeMounts"].append({"name": POLICY_VOLUME, "mountPath": POLICY_PATH, "readOnly": True})
    if native:
        container["restartPolicy"] = "Always"
    return container


def check(settings: InjectorSettings) -> None:
    """Raises ValueError if a pod without annotations would get a sidecar that does not start."""
    original = [{"name": UPSTREAM_VARIABLE, "value": "media.example:50056"}]
    environment = _environment(original, Ports(50066, 9464, 9901), Wishes(), settings)
    if wrong := sidecar_settings.trouble(environment):
        raise ValueError(f"the sidecar would not start: {wrong}")


_ANNOTATIONS = {
    "CACHE_": "cache-ttl",
    "REDIS_": "redis-addr",
    "RABBITMQ_": "rabbitmq-addr",
    "MEDIA_SERVICE_ADDR": "upstream",
    "LOG_": "log-level",
}


def _unusable(wrong: str, wishes: Wishes) -> Refused:
    """The refusal, which names an annotation that the pod has: with the settings alone, the sidecar would start."""
    named = [name for prefix, name in _ANNOTATIONS.items() if wrong.startswith(prefix)]
    given = [name for name in (*named, *_ANNOTATIONS.values()) if getattr(wishes, name.replace("-", "_")) is not None]
    return Refused(
        "bad-settings",
        annotation(next(iter(given), "upstream")),
        f"with it the sidecar would not start: {wrong}",
    )


def _environment(
    original: list[dict[str, Any]], ports: Ports, wishes: Wishes, settings: InjectorSettings
) -> list[dict[str, Any]]:
    extra = {entry["name"] for entry in settings.extra_env}
    plain = {
        "LISTEN_ADDR": f"127.0.0.1:{ports.grpc}",
        "PROBE_ADDR": f"{settings.probe_host}:{ports.probe}",
        "ADMIN_ADDR": f"127.0.0.1:{ports.admin}",
        # A bad value in a Secret must not keep the app from starting. A missing Secret means that there is no Redis or
        # RabbitMQ: in a pod, the default address localhost would be the app's own.
        "ON_BAD_SETTINGS": "forward",
        "UNSET_ADDRS": "none",
        # A pod's annotation takes precedence over extraEnv, and that over the installation's setting.
        "CACHE_TTL": wishes.cache_ttl or ("" if "CACHE_TTL" in extra else settings.cache_ttl),
        "LOG_LEVEL": wishes.log_level or ("" if "LOG_LEVEL" in extra else settings.log_level),
    }
    own = [{"name": name, "value": value} for name, value in plain.items() if value]
    own += [each.entry() for each in dependencies(wishes, settings)]
    if wishes.policy:
        own += policies.entries(wishes.policy, original)
    named = {entry["name"] for entry in own}
    return [*original, *own, *(entry for entry in settings.extra_env if entry["name"] not in named)]


def _probe(path: str, **times: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PROBE_PORT_NAME}, "timeoutSeconds": 2, **times}


def _security(settings: InjectorSettings, *, as_root: bool) -> dict[str, Any]:
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    user = settings.run_as_user
    if user is None and as_root:  # runAsNonRoot would keep it from starting, and so the app
        user = InjectorSettings().run_as_user
    return context if user is None else {**context, "runAsUser": user}
