"""`Review`: reads the API server's AdmissionReviews (admission.k8s.io/v1) and makes the responses. Pure.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

from proxy.injector import namespace_rules, namespace_wishes
from proxy.injector.cluster import Demands
from proxy.injector.namespace_rules import Rules
from proxy.injector.patch import Decision, Request, decide, is_injected
from proxy.injector.policies import Found
from proxy.injector.settings import InjectorSettings
from proxy.injector.versions import Version

_API_VERSION = "admission.k8s.io/v1"


class BadReview(Exception):  # noqa: N818 -- the caller is at fault, not the program
    """The body is not an AdmissionReview with a request; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Review:
    """One admission request, parsed: for a pod or a namespace. With `dry`, answering must have no side effects."""

    uid: str
    namespace: str
    pod: Any
    name: str
    creates_a_pod: bool
    updates_a_pod: bool
    of_a_namespace: bool
    dry: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The response. `body` is for the API server; `result` is injected, unchanged, skipped or denied; the rest is for
    log and metrics.
    """

    body: dict[str, Any]
    result: str
    reason: str
    asked: str
    pod: str
    message: str
    unseen: str
    """Why some calls of an injected pod may not use its sidecar; empty if all do."""


def read(body: bytes) -> Review:
    """The request in a body; raises BadReview."""
    request = _request(body)
    namespace, pod = str(request.get("namespace") or ""), request.get("object")
    return Review(
        uid=request["uid"],
        namespace=namespace,
        pod=pod,
        name=f"{namespace}/{_name(request, pod)}",
        creates_a_pod=_is_of(request, "pods", "CREATE"),
        updates_a_pod=_is_of(request, "pods", "UPDATE"),
        of_a_namespace=_is_of(request, "namespaces", "CREATE", "UPDATE"),
        dry=request.get("dryRun") is True,
    )


def decided(
    review: Review,
    kubernetes: Version,
    settings: InjectorSettings,
    demands: Demands | None = None,
    policy: Found | None = None,
) -> Decision:
    """The decision about the pod or namespace. `demands` are those of its namespace, None if they are not known;
    `policy` is the one that the pod names, None if there is none.
    """
    if review.of_a_namespace:
        return Decision(reason="namespace-wish", warnings=namespace_wishes.warnings(review.pod))
    # Applying the manifest of an injected pod again would put the real address back, which the API server refuses to
    # change in a pod. So it gets the sidecar's address again.
    again = review.updates_a_pod and is_injected(review.pod)
    if not (review.creates_a_pod or again):
        return Decision(reason="no-pod-creation")
    rules = Rules()
    if demands is not None:
        rules = namespace_rules.read(demands.limit_ranges, demands.quotas, review.pod["spec"])
    request = Request(namespace=review.namespace, kubernetes=kubernetes, rules=rules, policy=policy)
    return decide(review.pod, request, settings)


def answered(review: Review, decision: Decision) -> Answer:
    """The answer that carries out a decision."""
    message = decision.message or "; ".join(decision.warnings)
    response = {"apiVersion": _API_VERSION, "kind": "AdmissionReview", "response": _response(review.uid, decision)}
    unseen = "; ".join(decision.unseen)
    return Answer(response, _result(decision), decision.reason, decision.asked, review.name, message, unseen)


def answer(body: bytes, kubernetes: Version, settings: InjectorSettings, policy: Found | None = None) -> Answer:
    """The answer to a body, for a namespace without rules; raises BadReview."""
    review = read(body)
    return answered(review, decided(review, kubernetes, settings, policy=policy))


def _request(body: bytes) -> dict[str, Any]:
    try:
        review = json.loads(body)
    except (ValueError, RecursionError):
        raise BadReview("the body is not JSON") from None
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview":
        raise BadReview("the body is not an AdmissionReview")
    if review.get("apiVersion") != _API_VERSION:
        raise BadReview(f"apiVersion is {review.get('apiVersion')!r}; accepted: {_API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise BadReview("the AdmissionReview has no request with a uid")
    return request


def _name(request: dict[str, Any], pod: Any) -> str:
    """The name for the log: a ReplicaSet's pod does not have a name yet, only the beginning of one."""
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    generated = metadata.get("generateName") if isinstance(metadata, dict) else None
    return str(request.get("name") or (f"{generated}*" if generated else "?"))


def _is_of(request: dict[str, Any], kind: str, *operations: str) -> bool:
    resource = request.get("resource")
    fits = isinstance(resource, dict) and (resource.get("group") or "", resource.get("resource")) == ("", kind)
    return fits and request.get("operation") in operations and not request.get("subResource")


def _response(uid: str, decision: Decision) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": uid, "allowed": decision.allowed}
    if decision.warnings:
        response["warnings"] = list(decision.warnings)
    if not decision.allowed:
        response["status"] = {"code": 400, "reason": "BadRequest", "message": decision.message}
    if decision.operations:
        patch = json.dumps([operation.as_json() for operation in decision.operations], separators=(",", ":"))
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(patch.encode()).decode()
    return response


def _result(decision: Decision) -> str:
    if not decision.allowed:
        return "denied"
    if decision.operations:
        return "injected"
    return "skipped" if decision.warnings else "unchanged"
