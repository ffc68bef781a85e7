"""Request bytes: the model and the key are those of the message that upstream's library reads; else it is forwarded."""

from contextlib import suppress

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from proxy.calls.call import Metadata
from proxy.calls.keys import RequestKey, length_prefixed, split_prefixed
from proxy.pb.media_pb2 import DeleteFileRequest, GetFilesByModelRequest, UploadFileRequest
from proxy.policy import wire
from proxy.policy.builtin.model import Model
from tests.fuzz.budget import budget, damaged, int64s
from tests.support.media_methods import MediaKeys

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["User", "user", "ﬁ", "ß", "SS"]
)
int32s = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3)
reads = st.builds(
    GetFilesByModelRequest, model_type=texts, model_id=int64s | st.integers(0, 3), collection_name=texts, page=int32s
)
uploads = st.builds(
    UploadFileRequest,
    content=st.binary(max_size=9),
    model_type=texts,
    model_id=int64s,
    collection_name=texts,
    size=int64s,
)


@st.composite
def any_field(draw: st.DrawFn, least: int = 1) -> bytes:
    """One field of any number and kind, groups too, not always well-formed."""
    number, kind = draw(st.integers(least, 20) | st.integers(2**28, 2**29 - 1)), draw(st.integers(0, 5))
    tag = _varint(number << 3 | kind)
    match kind:
        case 0:
            return tag + _varint(draw(st.integers(0, 2**64 - 1)))
        case 2:
            text = draw(st.binary(max_size=9) | texts.map(str.encode))
            return tag + _varint(len(text)) + text
        case 3:
            return tag + draw(any_field()) + _varint(number << 3 | 4)
        case 4:
            return tag
        case _:
            return tag + draw(st.binary(min_size=8 if kind == 1 else 4, max_size=8 if kind == 1 else 4))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


@st.composite
def messages(draw: st.DrawFn, known: st.SearchStrategy[bytes]) -> bytes:
    """Messages and single fields one behind the other: valid in most cases, but not as any library writes them."""
    parts = draw(st.lists(known | any_field(), min_size=1, max_size=4))
    body = b"".join(parts)
    return draw(st.just(body) | damaged(body, 2))


@budget(1200)
@given(messages(uploads.map(UploadFileRequest.SerializeToString)))
def test_an_upload_names_the_model_that_protobuf_finds(body: bytes) -> None:
    try:
        request = UploadFileRequest.FromString(body)
    except DecodeError:
        # Upstream refuses it too: whatever is read here, an invalidation too many does no harm.
        with suppress(wire.MalformedError):
            wire.fields(body, numbers={6}, texts={5, 7})
        return
    found = wire.fields(body, numbers={6}, texts={5, 7})
    assert (found.text(5), found.number(6)) == (request.model_type, request.model_id)
    assert found.text(7) == request.collection_name


@budget(400)
@given(messages(st.builds(DeleteFileRequest, id=int64s).map(DeleteFileRequest.SerializeToString)))
def test_a_delete_names_the_file_that_protobuf_finds(body: bytes) -> None:
    try:
        request = DeleteFileRequest.FromString(body)
    except DecodeError:
        return
    assert wire.fields(body, numbers={1}).number(1) == request.id


@budget(800)
@given(messages(reads.map(GetFilesByModelRequest.SerializeToString)))
def test_a_read_is_of_the_model_that_protobuf_finds_or_is_forwarded(body: bytes) -> None:
    keys = MediaKeys("media", ())
    key = keys.of_request(body, ())
    assert keys.of_request(body, ()) == key  # from memory
    try:
        request = GetFilesByModelRequest.FromString(body)
    except DecodeError:
        assert key is None
        return
    known = GetFilesByModelRequest.FromString(body)
    known.DiscardUnknownFields()
    if known.ByteSize() != request.ByteSize():
        assert key is None, "unknown fields: another answer may be wanted"
    elif len(body) <= 4096:
        assert key is not None
        assert key.tag == Model.of(request.model_type, request.model_id)
        assert key.hash_key == keys.of_tag(key.tag)
        assert key.about.fields == {
            "model_type": request.model_type,
            "model_id": request.model_id,
            "collection": request.collection_name,
        }


@budget(200)
@given(reads, any_field(least=6))
def test_a_read_with_a_field_that_we_do_not_know_is_forwarded(request: GetFilesByModelRequest, more: bytes) -> None:
    assert MediaKeys("media", ()).of_request(request.SerializeToString() + more, ()) is None


few_reads = st.builds(
    GetFilesByModelRequest,
    model_type=st.sampled_from(["User", "user"]),
    model_id=st.integers(0, 1),
    collection_name=st.sampled_from(["", "a"]),
    page=st.integers(0, 1),
    per_page=st.integers(0, 1),
)
"""So few that two are alike, or almost, every now and then."""
pairs = st.sampled_from(["authorization", "authorization", "x-tenant", "traceparent"]).flatmap(
    lambda key: st.tuples(st.just(key), st.text("ab", max_size=2))
) | st.tuples(st.just("token-bin"), st.binary(max_size=1))
callers = st.lists(pairs, max_size=4).map(tuple)


@budget(800)
@given(few_reads, few_reads, callers, callers, st.data())
def test_two_calls_share_an_entry_only_if_nothing_tells_them_apart(
    one: GetFilesByModelRequest, two: GetFilesByModelRequest, ann: Metadata, other: Metadata, data: st.DataObject
) -> None:
    two = data.draw(st.sampled_from([one, two]))
    ben = data.draw(st.permutations(ann).map(tuple) | st.sampled_from([other, _run_together(ann)]))
    vary = ("authorization", "x-tenant", "token-bin")
    keys = MediaKeys("media", vary)
    first, second = _key(keys, one, ann), _key(keys, two, ben)
    alike = one == two and all(_values(ann, name) == _values(ben, name) for name in vary)
    assert (first.identity == second.identity) == alike
    assert ((first.hash_key, first.field) == (second.hash_key, second.field)) == alike


@budget(200)
@given(reads, callers)
def test_no_credential_is_in_a_key(request: GetFilesByModelRequest, caller: Metadata) -> None:
    secret = b"correct-horse-battery"
    key = _key(MediaKeys("media", ("authorization",)), request, (*caller, ("authorization", secret.decode())))
    assert secret not in key.identity + key.field + key.hash_key


@budget(200)
@given(st.lists(st.binary(max_size=12), max_size=5), st.data())
def test_joined_parts_come_apart_again(parts: list[bytes], data: st.DataObject) -> None:
    joined = length_prefixed(*parts)
    assert split_prefixed(joined) == parts
    cut = split_prefixed(joined[: data.draw(st.integers(0, len(joined)))])
    assert cut == parts[: len(cut)]
    split_prefixed(data.draw(damaged(joined)))


def _key(keys: MediaKeys, request: GetFilesByModelRequest, caller: Metadata) -> RequestKey:
    key = keys.of_request(request.SerializeToString(), caller)
    assert key is not None
    return key


def _run_together(metadata: Metadata) -> Metadata:
    """The first two pairs as one whose value says what both say."""
    match metadata:
        case ((key, str(first)), (again, str(second)), *rest):
            return ((key, f"{first}{again}{second}"), *rest)
    return metadata


def _values(metadata: Metadata, name: str) -> list[bytes]:
    return [value if isinstance(value, bytes) else value.encode() for key, value in metadata if key == name]
