"""The sidecar's requests and limits, adapted to the pod and to the rules of its namespace.

Values in the pod's annotations are never changed. Nothing is lowered below the configured request: with less, the
sidecar might not start, and a native sidecar that does not start keeps the app from starting.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from proxy.injector import counting, storage
from proxy.injector.annotations import Wishes
from proxy.injector.namespace_rules import RESOURCES, STORAGE, Bounds, Rules
from proxy.injector.refusal import Refused, annotation
from proxy.injector.settings import InjectorSettings
from proxy.injector.values import CpuLimit, MemoryLimit, Quantity

_TIMES_THE_REQUEST = {"cpu": 10, "memory": 4}
"""The limit, as a multiple of the request, if one is required and neither the pod nor the settings give one."""
_LEAST = {"cpu": CpuLimit.least, "memory": MemoryLimit.least}
"""No limit is set below this; cores and bytes."""
_ONE = Decimal(1)
_GUARANTEED_TIMES = {"cpu": 5, "memory": 4}
"""The same multiple in a Guaranteed pod, where the limit is also reserved."""


@dataclass(slots=True)
class _Wish:
    """What is wanted of one resource, in cores or bytes."""

    resource: str
    request: Decimal
    limit: Decimal | None
    request_given: bool
    limit_given: bool
    guaranteed: bool
    """The pod has the QoS class Guaranteed and must keep it, so the request equals the limit."""
    least: Decimal = Decimal(0)
    """What the sidecar needs; set once the request is known."""

    def equalize(self) -> None:
        """Sets the request to the limit in a Guaranteed pod; must be called after each change of the limit."""
        if self.guaranteed and self.limit is not None and not (self.request_given or self.limit_given):
            self.request = self.limit


def fitted(
    spec: dict[str, Any], wishes: Wishes, settings: InjectorSettings, rules: Rules, *, native: bool, counted: bool
) -> dict[str, Any]:
    """The container's `resources`, within quotas too if `counted` is set; raises Refused if none would be allowed."""
    texts = _texts(wishes, settings)
    shared = counting.shared(spec)
    found: dict[str, dict[str, str]] = {"requests": {}, "limits": {}}
    for resource in RESOURCES:
        wish = _wish(resource, wishes, settings, guaranteed=counting.guaranteed(spec))
        if resource in shared:
            request, limit = _within(spec, wish, shared[resource], native=native)
            request, limit = _bounded(wish, request, limit, rules.bounds(resource), shared[resource].get("limits"))
        else:
            _fit(spec, wish, rules)
            _fit_pod(spec, wish, rules, native=native)
            if counted:
                _fit_quotas(spec, wish, rules, native=native)
            request, limit = wish.request, wish.limit
        if request is not None:
            found["requests"][resource] = _text(resource, request, texts)
        if limit is not None:
            found["limits"][resource] = _text(resource, limit, texts)
    try:
        own = storage.fitted(spec, rules, native=native, counted=counted)
    except storage.TooMuch as error:
        said = f"the sidecar does not fit: {error}; make room for it there"
        raise Refused("resources", annotation("inject"), said) from None
    if own is not None:
        found["requests"][STORAGE] = found["limits"][STORAGE] = _text(STORAGE, own, {})
    return {group: values for group, values in found.items() if values}


def _wish(resource: str, wishes: Wishes, settings: InjectorSettings, *, guaranteed: bool) -> _Wish:
    """What the pod, or else the installation, wants of a resource; raises Refused if the pod's wish contradicts itself
    or the installation's values.
    """
    own_request, own_limit = getattr(wishes, f"{resource}_request"), getattr(wishes, f"{resource}_limit")
    request = own_request or getattr(settings, f"{resource}_request")
    limit = own_limit or getattr(settings, f"{resource}_limit")
    if guaranteed and bool(own_request) != bool(own_limit):
        request = limit = own_request or own_limit
    if limit and Quantity.amount(limit) < Quantity.amount(request):
        if own_limit:
            raise Refused(
                "bad-annotation",
                annotation(f"{resource}-limit"),
                f"{limit} is below the request of {request}; raise it, or set {resource}-request",
            )
        raise Refused(
            "bad-annotation",
            annotation(f"{resource}-request"),
            f"the installation's limit of {limit} is below the request of {request}; lower it, or set {resource}-limit",
        )
    return _Wish(
        resource,
        Quantity.amount(request),
        Quantity.amount(limit) if limit else None,
        own_request is not None,
        own_limit is not None,
        guaranteed,
    )


def _texts(wishes: Wishes, settings: InjectorSettings) -> dict[tuple[str, Decimal], str]:
    """The texts of annotations and settings, by resource and amount, so that an amount is written as it was given."""
    names = [f"{resource}_{kind}" for resource in RESOURCES for kind in ("request", "limit")]
    texts = [(name, text) for source in (settings, wishes) for name in names if (text := getattr(source, name))]
    return {(name.partition("_")[0], Quantity.amount(text)): text for name, text in texts}


def _text(resource: str, amount: Decimal, texts: dict[tuple[str, Decimal], str]) -> str:
    if (resource, amount) in texts:
        return texts[resource, amount]
    if resource == "cpu":
        return f"{(amount * 1000).to_integral_value(ROUND_FLOOR)}m"
    whole = int(amount)
    return f"{whole >> 20}Mi" if whole % (1 << 20) == 0 else str(whole)


def _fit(spec: dict[str, Any], wish: _Wish, rules: Rules) -> None:
    """Fits the container alone: to the LimitRanges for containers, with a limit if all others in the pod have one."""
    bounds, resource = rules.bounds(wish.resource), wish.resource
    if bounds.low is not None and not wish.request_given:
        wish.request = max(wish.request, bounds.low)
    wish.least = max(wish.request, _LEAST[resource])
    wanted = bounds.wants_limit or f"limits.{resource}" in rules.quota_names()
    if wish.limit is None and (wanted or counting.all_limited(spec, resource)):
        times = (_GUARANTEED_TIMES if wish.guaranteed else _TIMES_THE_REQUEST)[resource]
        ratio = times if bounds.ratio is None or wish.guaranteed else bounds.ratio
        wish.limit = wish.request * min(Decimal(times), ratio)
    if wish.limit is not None and not wish.limit_given:
        wish.limit = max(wish.limit, wish.least)
        wish.limit = wish.limit if bounds.high is None else min(wish.limit, bounds.high)
    short = wish.limit is not None and wish.limit < wish.least
    wish.equalize()
    if wish.limit is not None and bounds.ratio and wish.limit > wish.request * bounds.ratio:
        _heed_ratio(wish, bounds.ratio)
    if (problem := _breach(wish, bounds)) or short:
        problem = problem or f"no more than {_text(resource, bounds.high or Decimal(0), {})} of {resource}"
        raise _does_not_fit(wish, f"the namespace's LimitRange allows {problem}")


def _heed_ratio(wish: _Wish, ratio: Decimal) -> None:
    """Meets the ratio by raising the request rather than lowering the limit, since an upload needs the memory. Values
    that the pod gives are not changed.
    """
    if not wish.request_given:
        step = Decimal("0.001") if wish.resource == "cpu" else Decimal(1)
        wish.request = ((wish.limit or Decimal(0)) / ratio).quantize(step, ROUND_CEILING)
    elif not wish.limit_given:
        wish.limit = wish.request * ratio


def _breach(wish: _Wish, bounds: Bounds) -> str:
    """What the LimitRange allows, if the API server would refuse the wish; empty if it would not."""
    limit = wish.limit
    if bounds.low is not None and (wish.request < bounds.low or (limit is not None and limit < bounds.low)):
        return f"no less than {_text(wish.resource, bounds.low, {})} of {wish.resource}"
    if bounds.high is not None and (limit is None or limit > bounds.high or wish.request > bounds.high):
        return f"no more than {_text(wish.resource, bounds.high, {})} of {wish.resource}"
    if bounds.ratio is not None and (limit is None or limit > wish.request * bounds.ratio):
        return f"no {wish.resource} limit above {bounds.ratio} times its request"
    if limit is not None and limit < wish.request:
        return f"a limit of {_text(wish.resource, limit, {})} of {wish.resource}, which is below the request"
    return ""


def _fit_pod(spec: dict[str, Any], wish: _Wish, rules: Rules, *, native: bool) -> None:
    """Fits the sidecar to the LimitRanges for whole pods."""
    bounds = rules.pod.get(wish.resource, Bounds())
    _shrink_limit(spec, wish, bounds.high, native=native)
    requests = counting.total(spec, "requests", wish.resource, wish.request, native=native)
    limits = counting.total(spec, "limits", wish.resource, wish.limit, native=native)
    over = bounds.high is not None and (limits > bounds.high or requests > bounds.high)
    if not over and bounds.ratio and limits > requests * bounds.ratio and wish.limit and not wish.request_given:
        wish.request = wish.limit
        requests = counting.total(spec, "requests", wish.resource, wish.request, native=native)
    if over or (bounds.ratio and limits > requests * bounds.ratio):
        raise _does_not_fit(wish, f"the namespace's LimitRange does not allow as much {wish.resource} for a whole pod")


def _fit_quotas(spec: dict[str, Any], wish: _Wish, rules: Rules, *, native: bool) -> None:
    """Fits the sidecar to what is left of each quota, unless the pod alone exceeds it."""
    for quota in rules.quotas:
        if min(quota.left.get("pods", _ONE), quota.left.get("count/pods", _ONE)) < _ONE:
            # The sidecar's requests make the pod count where a BestEffort pod does not.
            raise _does_not_fit(wish, f"the ResourceQuota {quota.name} has no pod left")
        _shrink_limit(spec, wish, quota.left.get(f"limits.{wish.resource}"), native=native)
        for group, amount in (("requests", wish.request), ("limits", wish.limit)):
            left = quota.left.get(f"{group}.{wish.resource}")
            alone = counting.total(spec, group, wish.resource, None, native=native)
            if left is not None and alone <= left < counting.total(spec, group, wish.resource, amount, native=native):
                raise _does_not_fit(wish, f"the ResourceQuota {quota.name} has too little {group}.{wish.resource} left")


def _shrink_limit(spec: dict[str, Any], wish: _Wish, most: Decimal | None, *, native: bool) -> None:
    """Lowers the limit until the pod's sum is at most `most`, but never below what the sidecar needs."""
    if most is None or wish.limit is None or wish.limit_given:
        return
    over = counting.total(spec, "limits", wish.resource, wish.limit, native=native) - most
    if over > 0:
        wish.limit = max(wish.limit - over, wish.least if wish.guaranteed else max(wish.least, wish.request))
        wish.equalize()


def _within(
    spec: dict[str, Any], wish: _Wish, shared: dict[str, Decimal], *, native: bool
) -> tuple[Decimal | None, Decimal | None]:
    """The request and limit in a pod with pod-level resources, which its containers share: the sidecar requests at most
    what is left, and needs no limit of its own.
    """
    request, limit = wish.request, wish.limit
    most = shared.get("limits")
    if limit is not None and most is not None and limit > most and not wish.limit_given:
        limit = None
    reserved = shared.get("requests", shared.get("limits"))
    if reserved is not None and not wish.request_given:
        others = counting.total(spec, "requests", wish.resource, None, native=native)
        if "requests" not in shared and not others and not wish.limit_given:
            return None, None  # the pod's request is its limit, as long as no container requests anything
        left = reserved - others
        if left < request:
            return (left, None) if left > 0 and not wish.limit_given else (None, limit if wish.limit_given else None)
    return request, limit


def _bounded(
    wish: _Wish, request: Decimal | None, limit: Decimal | None, bounds: Bounds, most: Decimal | None
) -> tuple[Decimal | None, Decimal | None]:
    """That request and limit, adapted to a LimitRange: it still applies to each container, and gives defaults to those
    that have no value.
    """
    if bounds == Bounds():
        return request, limit
    wish.request = next(each for each in (request, bounds.default_request, bounds.low, Decimal(0)) if each is not None)
    least = _LEAST[wish.resource]
    if bounds.wants_limit and not wish.limit_given:
        limit = max(wish.request, least, limit or bounds.default or bounds.high or wish.limit or Decimal(0))
        ratio = None if bounds.ratio is None else wish.request * bounds.ratio
        limit = min(each for each in (limit, bounds.high, most, ratio) if each is not None)
    wish.limit = limit
    problem = _breach(wish, bounds)
    if request is None and bounds.low is not None:
        problem = f"no less than {_text(wish.resource, bounds.low, {})} of {wish.resource}"
    elif limit is not None and limit < least:
        problem = f"no more than {_text(wish.resource, limit, {})} of {wish.resource}"
    if problem:
        raise _does_not_fit(
            wish, f"the namespace's LimitRange allows {problem}, and the pod's own resources are too small"
        )
    return request, limit


def _does_not_fit(wish: _Wish, problem: str) -> Refused:
    return Refused(
        "resources",
        annotation(f"{wish.resource}-request" if wish.request_given else f"{wish.resource}-limit"),
        f"the sidecar does not fit: {problem}; set {wish.resource}-request and {wish.resource}-limit to values that do",
    )
