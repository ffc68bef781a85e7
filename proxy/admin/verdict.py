"""`verdict`: whether all is well with a proxy, and if not, why. The page and `stats` show it.

`wrong`: callers get errors, or something that keeps answers correct is broken. `limited`: calls are served, but less is
cached than could be. `well`: neither.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from proxy.service_states import ServiceState

Told = Mapping[str, Any]


def verdict(told: Told, services: Sequence[ServiceState], faults: str, policy_mistake: str) -> dict[str, Any]:
    """`state` (`well`, `limited` or `wrong`) and `reasons`, sentences, of which those about what is wrong come first.

    `told` is the rest of the answer of `/stats`. `faults` says which settings are wrong, and `policy_mistake` why a
    changed policy is not in effect; both are "" if there is nothing to say.
    """
    wrong = [*_settings(faults, policy_mistake), *_calls(told), *_dependencies(told), *_services(services)]
    limited = list(_limits(told, faults))
    state = "wrong" if wrong else "limited" if limited else "well"
    return {"state": state, "reasons": [*wrong, *limited]}


def _settings(faults: str, policy_mistake: str) -> Iterator[str]:
    if faults:
        yield f"A setting is wrong, so {faults}."
    if policy_mistake:
        yield f"The policy has changed but cannot be used; the previous one stays in effect: {policy_mistake}."


def _calls(told: Told) -> Iterator[str]:
    recent = told["last_5_minutes"]
    if recent["refused"]:
        yield "It refused calls in the last 5 minutes because a limit was reached: see the limits."
    if recent["statuses"].get("INTERNAL"):
        yield "Callers got INTERNAL in the last 5 minutes: see the log."


def _dependencies(told: Told) -> Iterator[str]:
    dependencies = told["dependencies"]
    upstream, redis = dependencies.get("upstream"), dependencies.get("redis")
    if _lost(upstream):
        yield "The media service is lost: only stored answers are served."
    elif upstream and upstream["up"] and upstream["reason"]:
        yield "The media service answers with failures."
    if _lost(redis):
        yield "Redis is lost: every call goes upstream."
    elif redis and redis["up"] and redis["reason"]:
        yield "Redis refuses commands that the cache needs."


def _services(services: Iterable[ServiceState]) -> Iterator[str]:
    for each in services:
        if each.up is False:
            yield f"{each.name} at {each.target} cannot be reached: only stored answers are served."
        elif each.reason:
            yield f"{each.name} at {each.target} answers with failures."


def _limits(told: Told, faults: str) -> Iterator[str]:
    dependencies = told["dependencies"]
    rabbitmq = dependencies.get("rabbitmq")
    if told["unready"]:
        yield f"It is not ready: {told['unready']}."
    if _lost(rabbitmq):
        yield "RabbitMQ is lost: stored answers are served for a shorter time (CACHE_TTL_WITHOUT_EVENTS)."
    elif rabbitmq and rabbitmq["up"] and rabbitmq["reason"]:
        yield "Events are missing or cannot be applied: stored answers are served for a shorter time."
    flush = told["flush"]
    flushing = flush is not None and flush["share"] is not None
    if flushing:
        yield "A flush is in progress: reads bypass the cache until it is done."
    if told["invalidations"]["pending"] > flushing:  # a flush counts as one
        yield "Invalidations are waiting for Redis."
    if faults:
        return  # the reason about wrong settings already says that nothing is cached
    if told["mode"] != "on":
        yield f"The mode is {told['mode']}: no call is answered from the cache."
    elif "redis" not in dependencies:
        yield "Redis is not configured: nothing is cached."
    elif not told["ttl"] > 0:
        yield "CACHE_TTL is 0: nothing is cached."


def _lost(state: Told | None) -> bool:
    """Whether the dependency has been reported, and cannot be used."""
    return state is not None and not state["up"] and state["seconds"] is not None
