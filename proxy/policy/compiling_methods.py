"""Compiles the reads and writes of a service: from what the file says about a method to `Read` and `Write`."""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

from google.protobuf.message import Message

from proxy.calls.reads import Limits
from proxy.calls.tags import Description
from proxy.policy import form
from proxy.policy.checking import Checker, answer_tags, name_of, one_tag, tags
from proxy.policy.compiled import LookUp, Read, Write
from proxy.policy.descriptors import Method
from proxy.policy.document import Source
from proxy.policy.expressions import Expression
from proxy.policy.failures import ExpressionError
from proxy.policy.kinds import EXPRESSION, keys_of
from proxy.policy.messages import Messages
from proxy.policy.mistakes import unknown
from proxy.policy.tags import bounded_aliases

_FURTHER_TTL = 300.0
_DAY = 86400.0
_NOT_SAID_OF_ANSWERS = frozenset({"subject", "log"})


def compile_read(checker: Checker, service: str, given: form.Read, method: Method | None) -> Read | None:
    """The read; None after a mistake, which goes to the checker's document."""
    if given.places and "tag" not in given.places:
        checker.document.wrong(given.place, f"read: tag is missing; accepted: {EXPRESSION.accepted}")
    if method is None:
        return None
    what = f"read {method.name}"
    asked = {"request": name_of(method.request)}
    answered = {**asked, "response": name_of(method.response)}
    requests, responses = Messages(method.request), Messages(method.response)
    tag = checker.expression(given.tag, f"{what}: tag", asked, "text")
    if tag is not None and given.tag is not None:
        checker.never_empty(given.tag, f"{what}: tag", partial(one_tag(tag), requests.default()))
    bypass = checker.expression(given.bypass, f"{what}: bypass", asked, "flag")
    store = checker.expression(given.store, f"{what}: store", answered, "flag")
    further = checker.expression(given.further_tags, f"{what}: further_tags", answered, "texts")
    aliases = checker.expression(given.aliases, f"{what}: aliases", answered, "texts")
    urls = checker.expression(
        given.presigned_urls, f"{what}: presigned_urls", {"response": answered["response"]}, "texts"
    )
    describe = checker.description(given.subject, given.log, asked, what)
    limits = _limits(checker, given, what)
    if tag is None:
        return None
    return Read(
        service=service,
        name=method.name,
        path=method.path,
        digest=_digest(service, given),
        said=said(given),
        unfit=_unfit(given),
        limits=limits,
        requests=requests,
        responses=responses,
        judged=Messages(method.response, "response", [given.store.text] if given.store is not None else []),
        tag_of=one_tag(tag),
        bypasses=_flag(bypass) if bypass is not None else _never,
        stores=_of_both(store) if store is not None else None,
        aliases=_aliases(aliases) if aliases is not None else None,
        further_tags=answer_tags(further),
        presigned_urls=_of_answer(urls) if urls is not None else None,
        describe=_describing(describe),
    )


def compile_write(
    checker: Checker, service: str, given: form.Write, method: Method | None, methods: Mapping[str, Method]
) -> Write | None:
    """The write; None after a mistake, which goes to the checker's document. `methods` are all of the service."""
    if method is None:
        return None
    what = f"write {method.name}"
    asked = {"request": name_of(method.request)}
    invalidates = checker.expression(given.invalidates, f"{what}: invalidates", asked, "texts")
    alias = checker.expression(given.alias, f"{what}: alias", asked, "text")
    succeeded = checker.expression(
        given.succeeded, f"{what}: succeeded", {"response": name_of(method.response)}, "flag"
    )
    describe = checker.description(given.subject, given.log, asked, what)
    if not given.places.keys() & {"invalidates", "alias", "look_up"}:
        checker.document.wrong(given.place, f"{what}: names no tag; accepted: invalidates, alias or look_up")
    texts = _texts(given)
    requests = Messages(method.request, "request", texts)
    if invalidates is not None and given.invalidates is not None:
        checker.never_empty(given.invalidates, f"{what}: invalidates", partial(tags(invalidates), requests.default()))
    look_up = _look_up(checker, given.look_up, asked, methods, what) if given.look_up is not None else None
    return Write(
        service=service,
        name=method.name,
        path=method.path,
        said=said(given) | _said_of(given.look_up),
        large=bool(given.large),
        flush_reason=given.flush_reason.text if given.flush_reason else f"{service}/{method.name} named no known tag",
        requests=requests,
        invalidates=tags(invalidates) if invalidates is not None else lambda _: (),
        alias=_text(alias) if alias is not None else lambda _: "",
        look_up=look_up,
        succeeded=_succeeded(succeeded, Messages(method.response, "response", texts)),
        announced=bool(given.announced),
        describe=_describing(describe),
    )


def _look_up(
    checker: Checker, given: form.LookUp, asked: dict[str, str], methods: Mapping[str, Method], what: str
) -> LookUp | None:
    what = f"{what}: look_up"
    method = methods.get(given.method.text) if given.method else None
    if method is None or not method.unary:
        if given.method is not None:
            unary = [each.name for each in methods.values() if each.unary]
            checker.document.wrong(given.method.place, f"{what}: {unknown('unary method', given.method.text, unary)}")
        return None
    answered = {**asked, "response": name_of(method.response)}
    request = checker.expression(given.request, f"{what}: request", asked, "message", name_of(method.request))
    found = checker.expression(given.invalidates, f"{what}: invalidates", answered, "texts")
    log = checker.log_fields(given.log, {"response": answered["response"]}, what)
    if request is None or found is None:
        return None
    both, responses = answer_tags(found), Messages(method.response)

    def tags_of(write: Message, answer: bytes) -> tuple[str, ...]:
        return both(write, responses.readable(answer)) if both is not None else ()

    def describe(answer: bytes) -> Mapping[str, Any]:
        return log(response=responses.readable(answer))

    return LookUp(method.path, lambda write: request(request=write).SerializeToString(), tags_of, describe, responses)


def _limits(checker: Checker, given: form.Read, what: str) -> Limits:
    stale = max(given.stale_if_error or 0.0, given.stale_while_revalidate or 0.0)
    if given.ttl is not None and given.ttl + stale > _DAY:
        checker.document.wrong(
            given.at_key("ttl"),
            f"{what}: ttl with the stale allowance is {given.ttl + stale:g} s; accepted: at most 24h",
        )
    return Limits(
        ttl=given.ttl,
        stale_if_error=given.stale_if_error,
        stale_while_revalidate=given.stale_while_revalidate,
        ttl_with_further_tags=_FURTHER_TTL if given.ttl_with_further_tags is None else given.ttl_with_further_tags,
        max_entry_bytes=given.max_entry_bytes,
        vary=given.vary,
        keyed=given.metadata is None or given.metadata.text == "keyed",
        propagate=given.propagate or (),
        negative_ttl=given.negative_ttl or {},
    )


def _unfit(given: form.Read) -> str:
    unsuccessful = [f"{given.store.text.strip().removeprefix('response.')} is false"] if given.store is not None else []
    unclear = ["a presigned URL in it does not say when it expires"] if given.presigned_urls is not None else []
    return ", or ".join([*unsuccessful, *unclear])


def _digest(service: str, given: form.Read) -> bytes:
    """A hash of everything that decides which answers are stored and found; `subject` and `log` do not."""
    said = [service]
    for name, *_ in keys_of(form.Read):
        value = getattr(given, name)
        if value is not None and name not in _NOT_SAID_OF_ANSWERS:
            said.append(f"{name}={value.text if isinstance(value, Source) else value!r}")
    return blake2b("\0".join(said).encode(), digest_size=16).digest()


def said(given: form.Read | form.Write | form.Event) -> dict[str, str]:
    """The text of each expression of a form, by its key."""
    values = ((name, getattr(given, name)) for name, kind, *_ in keys_of(type(given)) if kind is EXPRESSION)
    return {name: value.text.strip() for name, value in values if value is not None}


def _said_of(look_up: form.LookUp | None) -> dict[str, str]:
    if look_up is None:
        return {}
    parts = (look_up.method, look_up.request, look_up.invalidates)
    return {"look_up": " ".join(part.text.strip() for part in parts if part is not None)}


def _texts(given: form.Write) -> list[str]:
    """The text of every expression of a write."""
    sources = [given.invalidates, given.alias, given.subject, given.succeeded, *(given.log or {}).values()]
    if given.look_up is not None:
        sources += [given.look_up.request, given.look_up.invalidates]
    return [source.text for source in sources if source is not None]


def _never(_: Message) -> bool:
    return False


def _flag(expression: Expression) -> Callable[[Message], bool]:
    return lambda request: bool(expression(request=request))


def _text(expression: Expression) -> Callable[[Message], str]:
    return lambda request: str(expression(request=request))


def _of_both(expression: Expression) -> Callable[[Message, Message], bool]:
    return lambda request, response: bool(expression(request=request, response=response))


def _of_answer(expression: Expression) -> Callable[[Message], list[str]]:
    return lambda response: list(expression(response=response))


def _aliases(expression: Expression) -> Callable[[Message, Message], tuple[str, ...]]:
    def aliases(request: Message, response: Message) -> tuple[str, ...]:
        return bounded_aliases(each for each in expression(request=request, response=response) if each)

    return aliases


def _describing(describe: Callable[..., Description]) -> Callable[[Message], Description]:
    return lambda request: describe(request=request)


def _succeeded(expression: Expression | None, responses: Messages) -> Callable[[bytes, bool], bool]:
    def succeeded(body: bytes, unreadable: bool) -> bool:
        if expression is None:
            return True
        try:
            return bool(expression(response=responses.readable(body)))
        except ExpressionError:
            return unreadable

    return succeeded
