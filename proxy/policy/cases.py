"""`policy test`: test cases in YAML next to a policy, and where the policy's results differ from them.

A case is a read, a write or an event, with the expected outcome; what a case does not mention is not compared. The
answer to a read is a message or a status. The forms below are the reference.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from grpc import StatusCode

from proxy.calls.call import Reply
from proxy.calls.reads import Verdict
from proxy.calls.statuses import ERRORS, status_verdict
from proxy.policy.bodies import BadBody
from proxy.policy.compiled import Policy, Read, Write
from proxy.policy.compiled_events import Event
from proxy.policy.document import Document, Node, Source
from proxy.policy.failures import ExpressionError
from proxy.policy.jsonish import BadMessage, message_of, value_of
from proxy.policy.kinds import Flag, Form, Forms, Inner, Kind, Several, Text, Value, key, read_form
from proxy.policy.mistakes import Place, PolicyError, unknown
from proxy.settings.setting_types import Duration

_METHOD = Text("service/method, like shop.Products/Get", r"/?[\w.]+/\w+")
_TEXT = Text()
_STATUS = Text(f"a status other than OK: {', '.join(ERRORS)}", "|".join(ERRORS))


class _Json(Kind):
    """Any JSON value."""

    accepted = "any JSON value"

    def read(self, document: Document, node: Node, what: str) -> Any:
        try:
            return _Given(value_of(node))
        except BadMessage as bad:
            document.wrong(node, f"{what}: {bad}")
            return None


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that was given; it may be null, unlike a key that is missing."""

    value: Any


@dataclass
class Origin(Form):
    """The exchange and routing key that a message came through."""

    exchange: Source | None = key(_TEXT, "The exchange.", required=True)
    routing_key: Source | None = key(_TEXT, "The routing key.", required=True)


@dataclass
class Case(Form):
    """One case: `read`, `write` or `event`, and what is expected."""

    name: Source | None = key(_TEXT, "What the case shows.", required=True)
    read: Source | None = key(_METHOD, "A read's method.")
    write: Source | None = key(_METHOD, "A write's method.")
    event: Origin | None = key(Inner(Origin), "An event's exchange and routing key.")
    request: _Given | None = key(_Json(), "The request, in protobuf's JSON.")
    response: _Given | None = key(_Json(), "The answer, in protobuf's JSON.")
    status: Source | None = key(_STATUS, "A read's answer that is an error, like NOT_FOUND; instead of response.")
    body: _Given | None = key(_Json(), "An event's object; or a text, which is used as the whole body.")
    at: Source | None = key(
        Text("a time like 2026-01-31T12:00:00Z", r"[0-9T:.Z+-]+"), "When the answer is fetched; default: now."
    )
    tag: Source | None = key(_TEXT, "Expected: the tag under which the answer is stored.")
    bypass: bool | None = key(Flag(), "Expected: whether the read bypasses the cache.")
    stored: bool | None = key(Flag(), "Expected: whether the answer is stored.")
    ttl: float | None = key(
        Value(Duration()), "Expected: the longest time it is served, without jitter and with CACHE_TTL at 1h."
    )
    further_tags: tuple[Source, ...] | None = key(Several(_TEXT), "Expected: the further tags of the answer.")
    aliases: tuple[Source, ...] | None = key(Several(_TEXT), "Expected: the aliases that are learned from the answer.")
    invalidates: tuple[Source, ...] | None = key(Several(_TEXT), "Expected: the tags that a write or an event names.")
    alias: Source | None = key(_TEXT, "Expected: the alias that the write uses.")
    malformed: Source | None = key(_TEXT, "Expected: the part of the event that makes it malformed.")


@dataclass
class Cases(Form):
    """The whole file."""

    policy: Source | None = key(_TEXT, "The policy's file, relative to this one.", required=True)
    cases: tuple[Case, ...] | None = key(Forms(Case), "The cases.", required=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a case is, and what differs."""

    place: Place
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.name}: {self.text}"


def read_cases(text: str, file: str) -> Cases:
    """The cases in a file's text; raises PolicyError with every mistake in it."""
    document = Document(text, file)
    cases = read_form(document, document.root, Cases, "cases")
    for case in cases.cases or ():
        if [case.read, case.write, case.event].count(None) != 2:
            document.wrong(case.place, "case: does not say what it is about; accepted: one of read, write, event")
        if case.status is not None and (case.read is None or case.response is not None):
            document.wrong(case.at_key("status"), "case: status: has no place here; accepted: a read without response")
    if document.mistakes:
        raise PolicyError(document.mistakes)
    return cases


def differences(policy: Policy, case: Case) -> Iterator[Difference]:
    """How the policy's results differ from what a case expects; nothing if they agree."""
    name = case.name.text if case.name else ""
    try:
        for what, place, expected, found in _compared(policy, case):
            if expected != found:
                yield Difference(place, name, f"{what}: expected {_shown(expected)}, found {_shown(found)}")
    except (BadMessage, ExpressionError, _Unknown) as error:
        yield Difference(case.place, name, str(error))


class _Unknown(Exception):  # noqa: N818 -- the case's fault
    """The policy has no such method or event."""


_Compared = Iterator[tuple[str, Place, Any, Any]]


def _compared(policy: Policy, case: Case) -> _Compared:
    if case.read is not None:
        yield from _read(_method(policy, case.read.text, "reads"), case)
    elif case.write is not None:
        yield from _write(_method(policy, case.write.text, "writes"), case)
    elif case.event is not None:
        yield from _events(_events_of(policy, case.event), case)


def _read(read: Read, case: Case) -> _Compared:
    request = message_of(_given(case.request), read.requests.default())
    if case.tag is not None:
        yield "tag", case.tag.place, case.tag.text, read.tag_of(request)
    if case.bypass is not None:
        yield "bypass", case.at_key("bypass"), case.bypass, read.bypasses(request)
    if case.status is None and case.response is None:
        return
    status = None if case.status is None else StatusCode[case.status.text]
    verdict = answer_verdict(read, request, case.response and case.response.value, status)
    if case.stored is not None:
        yield "stored", case.at_key("stored"), case.stored, isinstance(verdict, Verdict)
    found = verdict if isinstance(verdict, Verdict) else Verdict()
    if case.ttl is not None:
        yield "ttl", case.at_key("ttl"), case.ttl, _life(read, verdict, case)
    if case.further_tags is not None:
        yield "further_tags", case.at_key("further_tags"), _texts(case.further_tags), sorted(found.further_tags)
    if case.aliases is not None:
        yield "aliases", case.at_key("aliases"), _texts(case.aliases), sorted(found.aliases)


def answer_verdict(read: Read, request: Message, response: Any, status: StatusCode | None) -> Verdict | str:
    """How an answer (`status`, or else `response` in protobuf's JSON) may be stored, or why not; raises BadMessage."""
    if status is not None:
        return status_verdict(read.limits, Reply(code=status), None)
    answer = message_of(response, read.responses.default())
    return read.storable(request.SerializeToString(), answer.SerializeToString())


def _write(write: Write, case: Case) -> _Compared:
    request = message_of(_given(case.request), write.requests.default())
    if case.alias is not None:
        yield "alias", case.alias.place, case.alias.text, write.alias(request)
    if case.invalidates is None:
        return
    tags = write.invalidates(request)
    if write.look_up is not None and case.response is not None:
        answer = message_of(case.response.value, write.look_up.responses.default())
        tags = (*tags, *write.look_up.tags(request, answer.SerializeToString()))
    yield "invalidates", case.at_key("invalidates"), _texts(case.invalidates), sorted(tags)


def _events(events: list[Event], case: Case) -> _Compared:
    """Compares what a message invalidates through all the queues that receive it."""
    routing_key = case.event.routing_key.text if case.event and case.event.routing_key else ""
    tags: set[str] = set()
    part = None
    for event in events:
        try:
            tags.update(event.tags_of(body_of(event, _given(case.body)), routing_key)[0])
        except BadBody as bad:
            part = bad.reason
    if case.malformed is not None or part is not None:
        place = case.malformed.place if case.malformed else case.place
        yield "malformed", place, case.malformed.text if case.malformed else None, part
    if case.invalidates is not None:
        yield "invalidates", case.at_key("invalidates"), _texts(case.invalidates), sorted(tags)


def _life(read: Read, verdict: Verdict | str, case: Case) -> float | None:
    return longest_life(read, verdict, _time(case)) if isinstance(verdict, Verdict) else None


def longest_life(read: Read, verdict: Verdict, now: float, default: float = 3600.0) -> float:
    """The most seconds that an answer fetched at `now` (Unix time) is served, without jitter. `default`: CACHE_TTL."""
    bounds = [default if read.limits.ttl is None else read.limits.ttl]
    if verdict.further_tags:
        bounds.append(read.limits.ttl_with_further_tags)
    if verdict.longest_ttl is not None:
        bounds.append(verdict.longest_ttl)
    if verdict.life.seconds is not None:
        bounds.append(verdict.life.seconds)
    if verdict.life.until is not None:
        bounds.append(verdict.life.until - now)
    return max(0.0, min(bounds))


def body_of(event: Event, value: Any) -> bytes:
    """A message's body: a text is the body itself, anything else is encoded in this event's format."""
    if isinstance(value, str):
        return value.encode()
    if event.message is not None:
        return message_of(value, event.message()).SerializeToString()
    return enveloped(value) if event.form == "envelope" else json_bytes(value)


def json_bytes(value: Any) -> bytes:
    """A value as JSON, UTF-8 encoded."""
    return json.dumps(value).encode()


def enveloped(value: Any) -> bytes:
    """A body of the form `envelope` that holds this object in base64."""
    return json_bytes({"data": base64.b64encode(json_bytes(value)).decode()})


def _method(policy: Policy, path: str, kind: str) -> Any:
    methods: dict[str, Any] = {}
    for service in policy.services.values():
        methods |= getattr(service, kind)
    found = methods.get(path if path.startswith("/") else f"/{path}")
    if found is None:
        raise _Unknown(unknown(kind.removesuffix("s"), path.removeprefix("/"), [name[1:] for name in methods]))
    return found


def _events_of(policy: Policy, given: Origin) -> list[Event]:
    exchange = given.exchange.text if given.exchange else ""
    routing_key = given.routing_key.text if given.routing_key else ""
    found = [event for event in policy.events if event.exchange == exchange and event.takes(routing_key)]
    if found:
        return found
    known = [f"{event.exchange} {key}" for event in policy.events for key in event.routing_keys]
    raise _Unknown(unknown("event", f"{exchange} {routing_key}", known))


def _given(given: _Given | None) -> Any:
    return {} if given is None else given.value


def _texts(sources: tuple[Source, ...]) -> list[str]:
    return sorted(source.text for source in sources)


def _time(case: Case) -> float:
    if case.at is None:
        return datetime.now(UTC).timestamp()
    try:
        return datetime.fromisoformat(case.at.text).timestamp()
    except ValueError:
        raise BadMessage(f"at: {case.at.text} is not a time") from None


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case float():
            return Duration().text(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
