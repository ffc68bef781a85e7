"""helm test: an annotated pod, created with a server-side dry run, comes back with the sidecar."""

import http.client
import json
import os
import pathlib
import ssl
import sys

account = pathlib.Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
pod = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "injection-test", "annotations": {"media-cache-proxy.io/inject": "true"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": os.environ["IMAGE"],
                "env": [{"name": os.environ["VARIABLE"], "value": "media:50056"}],
                # What quotas and the restricted Pod Security level want of a pod.
                "resources": json.loads(os.environ["RESOURCES"]),
                "securityContext": json.loads(os.environ["SECURITY"]),
            }
        ]
    },
}
connection = http.client.HTTPSConnection(
    os.environ["KUBERNETES_SERVICE_HOST"],
    int(os.environ["KUBERNETES_SERVICE_PORT"]),
    context=ssl.create_default_context(cafile=str(account / "ca.crt")),
    timeout=30,
)
connection.request(
    "POST",
    f"/api/v1/namespaces/{os.environ['NAMESPACE']}/pods?dryRun=All",
    body=json.dumps(pod),
    headers={"Content-Type": "application/json", "Authorization": f"Bearer {(account / 'token').read_text().strip()}"},
)
answer = json.load(connection.getresponse())
spec = answer.get("spec", {})
names = [each["name"] for each in [*spec.get("initContainers", []), *spec.get("containers", [])]]
if "media-cache-proxy" not in names:
    sys.exit(answer.get("message") or f"no sidecar in {names}; is the webhook ready?")
sys.stdout.write(f"injected: {answer['metadata']['annotations']['media-cache-proxy.io/status']}\n")
