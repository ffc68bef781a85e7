"""Compiles the events of a policy: from what the file says about an exchange's messages to `Event`."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from proxy.calls.tags import Description
from proxy.policy import form
from proxy.policy.bodies import Body, any_value, declared_fields, envelope_body, json_body, message_body, message_with
from proxy.policy.checking import Checker, tags
from proxy.policy.compiled_events import Event
from proxy.policy.compiling_methods import said
from proxy.policy.descriptors import Descriptors
from proxy.policy.document import Document
from proxy.policy.expressions import Language
from proxy.policy.mistakes import unknown

_JSON = {"json": json_body, "envelope": envelope_body}
_DECLARED = "Event"
_LONGEST_QUEUE = 128


def compile_event(
    document: Document, given: form.Event, known: Mapping[str, Descriptors], constants: Mapping[str, int]
) -> Event | None:
    """The event; None after a mistake. `known` maps the policy's services to their descriptors."""
    if given.exchange is None or not given.routing_keys:
        if given.exchange is not None and given.routing_keys is not None:
            document.wrong(given.at_key("routing_keys"), "event: routing_keys: is empty; accepted: at least one")
        return None
    if given.service is not None and given.service.text not in known:
        document.wrong(given.service.place, f"event: service: {unknown('service', given.service.text, known)}")
    found = _body(document, given, known)
    if found is None:
        return None
    body, kind, pool, message = found
    checker = Checker(document, Language(pool, constants, [("event", kind)]))
    variables = {"event": kind}
    invalidates = checker.expression(given.invalidates, "event: invalidates", variables, "texts")
    describe = checker.description(given.subject, given.log, variables, "event")
    if invalidates is None:
        return None
    if given.fields and given.invalidates is not None:
        default = Descriptors([message_with({name: each.text for name, each in given.fields.items()}, _DECLARED)])
        empty = default.message(f"policy.{_DECLARED}")()
        checker.never_empty(given.invalidates, "event: invalidates", partial(tags(invalidates, "event"), empty))
    keys = tuple(key.text for key in given.routing_keys)
    return Event(
        exchange=given.exchange.text,
        routing_keys=keys,
        queue=given.queue.text if given.queue else _queue(given.exchange.text, keys[0]),
        said=said(given) | _fields(given),
        flushes=given.unreadable is None or given.unreadable.text == "flush",
        share=given.service.text if given.service else "",
        kinds=frozenset(),
        form=given.body.text if given.body else "json",
        message=message,
        body=body,
        invalidates=tags(invalidates, "event"),
        describe=_describing(describe),
    )


def _body(
    document: Document, given: form.Event, known: Mapping[str, Descriptors]
) -> tuple[Body, str, DescriptorPool, type[Message] | None] | None:
    """The reader of a body, the type of `event`, its pool, and the class of a protobuf body; None after a mistake."""
    name = given.body.text if given.body else "json"
    if name in _JSON:
        if not given.fields:
            return any_value(_JSON[name]), "json", Descriptors([]).pool, None
        fields = {field: source.text for field, source in given.fields.items()}
        declared = Descriptors([message_with(fields, _DECLARED)])
        kind = f"policy.{_DECLARED}"
        return declared_fields(_JSON[name], declared.message(kind), fields), kind, declared.pool, None
    if given.fields is not None:
        document.wrong(
            given.at_key("fields"),
            f"event: fields: {name} has its own fields; accepted: with body json or envelope",
        )
        return None
    chosen = {given.message_of.text} if given.message_of else known.keys()
    for service in chosen:
        if service in known:
            try:
                message = known[service].message(name)
                return message_body(message), name, known[service].pool, message
            except KeyError:
                continue
    accepted = [*_JSON, "the full name of a message type of a service in this policy"]
    document.wrong(given.body.place if given.body else given.place, f"event: body: {unknown('body', name, accepted)}")
    return None


def _queue(exchange: str, key: str) -> str:
    plain = key.replace("*", "any").replace("#", "all")
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{exchange}.{plain}")[:_LONGEST_QUEUE]


def _fields(given: form.Event) -> dict[str, str]:
    fields = ", ".join(f"{name}: {kind.text}" for name, kind in (given.fields or {}).items())
    return {"fields": fields} if fields else {}


def _describing(describe: Callable[..., Description]) -> Callable[[object, str], Description]:
    return lambda event, _: describe(event=event)
