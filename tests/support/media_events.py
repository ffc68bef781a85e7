"""Media events as the built-in policy understands them."""

from dataclasses import dataclass, field
from typing import Literal

from proxy.amqp.topology import Source
from proxy.policy.bodies import MAX_BODY_BYTES, BadBody
from proxy.policy.builtin.model import Model
from tests.support.media_methods import POLICY

EXCHANGE = "damar.events"
EVENTS = POLICY.events
SOURCES = {event.queue: Source(event.exchange, event.routing_keys) for event in EVENTS}
BadEvent = BadBody
Reason = Literal["oversize", "envelope", "data", "model_type", "model_id", "invalidates"]
Kind = Literal["uploaded", "deleted", "other"]

__all__ = ["EVENTS", "EXCHANGE", "MAX_BODY_BYTES", "SOURCES", "BadEvent", "Kind", "MediaEvent", "Reason", "parse"]


@dataclass(frozen=True, slots=True)
class MediaEvent:
    """A file of `model` was uploaded or deleted."""

    model: Model
    model_type: str
    """The collection as the publisher wrote it."""
    collection: str
    media_id: int | None = field(compare=False)
    """It does not affect the invalidation."""
    kind: str


def kind_of(routing_key: str) -> str:
    """The kind of event, from the routing key."""
    kinds = {event.kind(routing_key) for event in EVENTS} - {"other"}
    return next(iter(kinds), "other")


def parse(body: bytes, routing_key: str) -> MediaEvent:
    """Returns the event in a body; BadEvent if it names no model."""
    rule = EVENTS[0]
    tags, about = rule.tags_of(body, routing_key)
    event = rule.body(body)
    tag, *_ = tags
    assert about.fields["model_type"] == event.model_type.casefold()
    collection = event.collection_name or event.collection
    assert about.fields["collection"] == collection
    return MediaEvent(Model(tag), event.model_type, collection, event.media_id or None, kind_of(routing_key))
