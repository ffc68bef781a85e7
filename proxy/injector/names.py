"""The names that the injector shares with the cluster: the prefix of annotations and labels, the container, ports."""

PREFIX = "media-cache-proxy.io/"
"""The prefix of every annotation and label that we read or write."""

CONTAINER = "media-cache-proxy"
"""The injected container's name."""

STATUS = PREFIX + "status"
"""The annotation that we write: JSON with version, mode, containers and ports."""

INJECTED = PREFIX + "injected"
"""The label that we write, with the value `"true"`."""

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation that names the container that `kubectl logs` and `kubectl exec` use by default."""

UPSTREAM_VARIABLE = "MEDIA_SERVICE_ADDR"
"""The proxy's own setting for the real media service; also the default for the app's variable."""

GRPC_PORT_NAME = "mcp-grpc"
PROBE_PORT_NAME = "mcp-probe"
"""Port names; they are unusual on purpose, since a Service's `targetPort: metrics` must still mean the app's port."""

NO_TOKEN_VOLUME = "media-cache-proxy-no-token"  # noqa: S105 -- a volume's name
"""An empty volume at the path of the service account's token: Kubernetes does not mount over an existing mount."""

POLICY_VOLUME = "media-cache-proxy-policy"
POLICY_PATH = "/etc/media-cache-proxy/policy"
"""The volume with a policy's ConfigMap, and where the sidecar mounts it."""

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 -- a path, not a secret
"""Where Kubernetes mounts the service account's token."""
