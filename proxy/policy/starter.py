"""`policy init`: writes a commented policy with every method of some services, in which nothing is switched on yet."""

import json
import re
from collections.abc import Iterator, Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from proxy.policy.descriptors import Descriptors, Method

_READS = ("Get", "List", "Find", "Search", "Lookup", "Fetch", "Read", "Describe", "Count", "Batch")
_VERBS = frozenset((*_READS, "Create", "Update", "Delete", "Add", "Remove", "Set", "Put", "Upload"))
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")
_SEVERAL = ("List", "Search", "Find", "Count", "Batch")
_PAGING = frozenset({"page", "per_page", "page_size", "page_token", "limit", "offset", "cursor"})
_INFRASTRUCTURE = ("grpc.",)
_HEAD = """\
# A policy of media-cache-proxy: what these services' methods mean to the cache. Nothing is switched on yet: remove the
# `# ` before the methods that are to be cached, and say what changes them. docs/policies.md is the reference.
#
#   media-cache-proxy policy check {file}
version: 1
services:
"""
_EVENTS = """
# Events that say what changed, if the service publishes any:
# events:
#   - exchange: shop.events
#     routing_keys: [product.updated, product.deleted]
#     invalidates: "['product/' + string(event.product_id), 'products']"
"""


def starter(
    descriptors: Descriptors, *, file: str, source: str, upstream: str, tls: Mapping[str, str] | None = None
) -> str:
    """The policy's text. `source` goes under `descriptors`: a path, or `reflection`. `tls` goes under `upstream_tls`,
    which is left out if it is None. `file` is the path to show in the first comment.
    """
    where = f"    upstream: {upstream}\n    descriptors: {source}\n{_tls(tls)}"
    parts = [_HEAD.format(file=file)]
    for service in sorted(name for name in descriptors.services() if not name.startswith(_INFRASTRUCTURE)):
        parts += _service(service, descriptors.methods(service), where)
    return "".join([*parts, _EVENTS])


def _tls(said: Mapping[str, str] | None) -> str:
    if not said:
        return "" if said is None else "    upstream_tls: {}\n"
    return "    upstream_tls:\n" + "".join(f"      {name}: {json.dumps(text)}\n" for name, text in said.items())


def _service(name: str, methods: dict[str, Method], where: str) -> Iterator[str]:
    yield f"  - name: {name}\n{where}"
    reads = [method for method in methods.values() if method.unary and _is_read(method)]
    writes = [method for method in methods.values() if method.unary and not _is_read(method)]
    if reads:
        yield "    # reads:\n"
    for method in reads:
        yield f"    #   - method: {method.name:<30} # {_fields(method.request)}\n"
        yield f'    #     tag: "{_tag(method)}"\n    #     ttl: 5m\n'
    if writes:
        yield "    # writes:\n"
    for method in writes:
        yield f"    #   - method: {method.name:<30} # {_fields(method.request)}\n"
        yield f"    #     invalidates: \"[{_tag(method)}, '{_several(_subject(method))}']\"\n"
    for method in methods.values():
        if not method.unary:
            yield f"    # {method.name} is a stream: it passes through\n"


def _is_read(method: Method) -> bool:
    """Whether the proto says that a method has no side effects, or its name says so."""
    return method.reads or method.name.startswith(_READS)


def _fields(message: Descriptor) -> str:
    return ", ".join(field.name for field in message.fields) or "no fields"


def _tag(method: Method) -> str:
    """A guess: the method's subject and the first field that could identify it. A list or a search has the subject
    alone, since a write of one thing cannot know which lists and search results contain it.
    """
    subject = _subject(method)
    if method.name.startswith(_SEVERAL) or "All" in method.name:
        return f"'{subject}'"
    for field in method.request.fields:
        if field.is_repeated or field.name in _PAGING:
            continue
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type != FieldDescriptor.TYPE_BYTES:
            return f"'{subject}/' + request.{field.name}"
        if field.cpp_type in {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32}:
            return f"'{subject}/' + string(request.{field.name})"
    return f"'{subject}'"


def _subject(method: Method) -> str:
    """`GetProductByID` and `ArchiveProduct` are about `product`, `ListProducts` about `products`. A name such as `Get`
    does not say, so the service's name is used.
    """
    first, *more = _WORDS.findall(method.name.partition("By")[0]) or [method.name]
    words = [word for word in more if word != "All"] if more or first in _VERBS else [first]
    service = method.path.split("/")[1].rpartition(".")[2].removesuffix("Service")
    return ("".join(words) or service or first).lower()


def _several(subject: str) -> str:
    return subject if subject.endswith("s") else f"{subject}s"
