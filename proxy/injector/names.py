"""The names that the injector shares with the cluster: the prefix of annotations and labels, the container, ports."""

PREFIX = "media-cache-proxy.io/"
"""Of every annotation and label that we read or write."""

CONTAINER = "media-cache-proxy"
"""The injected container's name."""

STATUS = PREFIX + "status"
"""Annotation that we write: JSON with version, mode, containers and ports."""

INJECTED = PREFIX + "injected"
"""Label that we write: `"true"`."""

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""Which container `kubectl logs` and `kubectl exec` mean when none is named."""

UPSTREAM_VARIABLE = "MEDIA_SERVICE_ADDR"
"""The proxy's own setting for the real media service; also the default for the app's variable."""

GRPC_PORT_NAME = "mcp-grpc"
PROBE_PORT_NAME = "mcp-probe"
"""Port names: unusual on purpose, since a Service's `targetPort: metrics` must go on meaning the app's port."""

NO_TOKEN_VOLUME = "media-cache-proxy-no-token"  # noqa: S105 -- a volume's name
"""An empty volume over the place of the service account's token: Kubernetes leaves out what is mounted already."""

POLICY_VOLUME = "media-cache-proxy-policy"
POLICY_PATH = "/etc/media-cache-proxy/policy"
"""The ConfigMap of a policy, and where the sidecar finds it."""

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 -- where it is, not what
"""Where Kubernetes mounts that token."""
