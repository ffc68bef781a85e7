"""Makes AdmissionReviews as an API server sends them."""

import base64
import json
from typing import Any

_KIND = {"group": "", "version": "v1", "kind": "Pod"}
_RESOURCE = {"group": "", "version": "v1", "resource": "pods"}


def review(
    pod: Any, namespace: str = "shop", uid: str = "705ab4f5-6393-11e8-b7cc-42010a800002", **more: Any
) -> dict[str, Any]:
    """A request to create a pod; `more` overrides fields of the request."""
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    request = {
        "uid": uid,
        "kind": _KIND,
        "resource": _RESOURCE,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "name": metadata.get("name", "") if isinstance(metadata, dict) else "",
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "groups": ["system:authenticated"],
        },
        "object": {"apiVersion": "v1", "kind": "Pod", **pod} if isinstance(pod, dict) else pod,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        **more,
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def patch_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch in an answer; empty if there is none."""
    text = answer["response"].get("patch")
    patch: list[dict[str, Any]] = json.loads(base64.b64decode(text)) if text else []
    assert bool(text) == ("patchType" in answer["response"])
    return patch
