"""Which requests share an answer, and which must never (I6)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.calls import keys as keys_module
from proxy.calls.call import Metadata
from proxy.calls.keys import Keys, RequestKey, length_prefixed, split_prefixed
from proxy.calls.reads import Asked
from proxy.pb.media_pb2 import GetFilesByModelRequest
from proxy.policy import compiled
from proxy.policy.builtin.model import Model
from tests.support.media_methods import POLICY, READ, MediaKeys

SECRET = "Bearer top-secret"


def _body(
    model_type: str = "user", model_id: int = 1, collection: str = "avatar", page: int = 1, per_page: int = 20
) -> bytes:
    return GetFilesByModelRequest(
        model_type=model_type, model_id=model_id, collection_name=collection, page=page, per_page=per_page
    ).SerializeToString()


def _key(body: bytes, metadata: Metadata = (), *, vary: tuple[str, ...] = ("authorization",)) -> RequestKey:
    key = MediaKeys("media", vary).of_request(body, metadata)
    assert key is not None
    return key


def _same(one: RequestKey, other: RequestKey) -> bool:
    """Whether two requests share an entry; the identity compared on a hit and the field's name must agree on that."""
    assert (one.identity == other.identity) == (one.field == other.field)
    return one.field == other.field and one.hash_key == other.hash_key


class TestFields:
    @pytest.mark.parametrize(
        "other",
        [
            _body(model_type="product"),
            _body(model_id=2),
            _body(collection="avatars"),
            _body(collection=""),
            _body(page=2),
            _body(page=0),
            _body(per_page=0),
            _body(per_page=10),
            _body(model_type="User"),
        ],
    )
    def test_requests_that_differ_in_a_raw_field_share_nothing(self, other: bytes) -> None:
        assert not _same(_key(_body()), _key(other))

    def test_two_spellings_of_a_model_are_one_hash_and_two_fields(self) -> None:
        lower, upper = _key(_body("user")), _key(_body("USER"))
        assert lower.hash_key == upper.hash_key
        assert lower.tag == upper.tag == Model.of("uSeR", 1)
        assert lower.field != upper.field
        assert (lower.about.fields["model_type"], upper.about.fields["model_type"]) == ("user", "USER")

    def test_the_hash_is_the_one_that_invalidations_name(self) -> None:
        assert _key(_body("User", 7)).hash_key == MediaKeys("media", ()).of_tag(Model.of("USER", 7))

    def test_another_encoding_of_the_same_message_is_the_same_request(self) -> None:
        reordered = b"\x10\x01" + _body(model_id=0)
        assert reordered != _body()
        assert _same(_key(reordered), _key(_body()))

    def test_the_last_of_a_repeated_field_counts(self) -> None:
        assert _key(_body(model_id=3) + b"\x10\x07").tag == "user/7"

    @pytest.mark.parametrize("model_id", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
    def test_ids_stay_exact(self, model_id: int) -> None:
        key = _key(_body(model_id=model_id))
        assert key.tag == f"user/{model_id}"
        assert key.hash_key == MediaKeys("media", ()).of_tag(Model.of("user", model_id))

    def test_collections_are_exact(self) -> None:
        assert not _same(_key(_body(collection="avatar")), _key(_body(collection="Avatar")))

    def test_what_is_known_of_the_request(self) -> None:
        key = _key(_body("User", 5, "avatars", 3, 50))
        assert key.about.fields == {"model_type": "User", "model_id": 5, "collection": "avatars"}
        assert len(key.field) == 16


class TestMetadata:
    @pytest.mark.parametrize(
        "other",
        [
            (),
            (("authorization", ""),),
            (("authorization", "b"),),
            (("authorization", "a"), ("authorization", "a")),
            (("authorization", "a"), ("authorization", "b")),
            (("authorization", "b"), ("authorization", "a")),
        ],
    )
    def test_callers_who_differ_share_nothing(self, other: Metadata) -> None:
        assert not _same(_key(_body(), (("authorization", "a"),)), _key(_body(), other))

    def test_order_within_a_key_counts_and_across_keys_does_not(self) -> None:
        vary = ("a", "b")
        assert not _same(_key(_body(), (("a", "1"), ("a", "2")), vary=vary), _key(_body(), (("a", "2"), ("a", "1"))))
        one = _key(_body(), (("a", "1"), ("b", "2"), ("a", "3")), vary=vary)
        assert _same(one, _key(_body(), (("b", "2"), ("a", "1"), ("a", "3")), vary=vary))
        assert not _same(one, _key(_body(), (("a", "3"), ("a", "1"), ("b", "2")), vary=vary))

    def test_missing_is_not_empty(self) -> None:
        assert not _same(_key(_body()), _key(_body(), (("authorization", ""),)))

    def test_binary_metadata_counts_too(self) -> None:
        vary = ("tenant-bin",)
        one, two = ((("tenant-bin", bytes([value])),) for value in (0, 255))
        assert not _same(_key(_body(), one, vary=vary), _key(_body(), two, vary=vary))

    def test_text_that_is_no_utf8_counts_too(self) -> None:
        one, two = ((("authorization", f"\udc80{end}"),) for end in "ab")
        assert not _same(_key(_body(), one), _key(_body(), two))

    def test_other_metadata_does_not(self) -> None:
        assert _same(_key(_body(), (("traceparent", "x"),)), _key(_body()))
        assert _same(_key(_body(), (("authorization", "a"),), vary=()), _key(_body(), vary=()))

    def test_a_key_and_its_value_cannot_trade_letters(self) -> None:
        one = _key(_body(), (("a", "bc"),), vary=("a", "ab"))
        assert not _same(one, _key(_body(), (("ab", "c"),), vary=("a", "ab")))

    def test_credentials_stay_out_of_redis(self) -> None:
        keys = MediaKeys("media", ("authorization", "token-bin"))
        key = keys.of_request(_body(), (("authorization", SECRET), ("token-bin", SECRET.encode())))
        assert key is not None
        for part in (key.hash_key, key.field, key.identity):
            assert SECRET.encode() not in part
            assert b"secret" not in part


class TestUncacheable:
    @pytest.mark.parametrize(
        "body",
        [
            _body() + b"\x32\x01x",  # field 6
            _body() + b"\xa0\x06\x01",  # field 100
            b"\x08\x01",  # field 1 as a number: unknown to a parser that expects text
            b"\x0a\x02\xff\xfe",  # model_type is not UTF-8
            b"\x0a\x05ab",  # cut off
            b"\xff" * 20,
            _body(collection="x" * 5000),
        ],
    )
    def test_is_forwarded(self, body: bytes) -> None:
        keys = MediaKeys("media", ())
        assert keys.of_request(body, ()) is None
        assert keys.of_request(body, ()) is None  # from the memo too

    @given(st.binary(max_size=64))
    def test_no_bytes_raise(self, body: bytes) -> None:
        key = MediaKeys("media", ()).of_request(body, ())
        assert key is None or int(key.tag.rpartition("/")[2]) in range(-(2**63), 2**63)


class TestMemo:
    def test_a_second_identical_request_parses_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed = []
        asked = compiled.Read.asked

        def counting(read: compiled.Read, body: bytes) -> Asked | None:
            parsed.append(1)
            return asked(read, body)

        monkeypatch.setattr(compiled.Read, "asked", counting)
        keys = MediaKeys("media", ("authorization",))
        first = keys.of_request(_body(), (("authorization", "a"),))
        assert keys.of_request(_body(), (("authorization", "a"),)) is first
        assert len(parsed) == 1
        assert keys.of_request(_body(), (("authorization", "b"),)) != first
        assert len(parsed) == 2

    def test_its_size_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keys_module, "_MEMO_ENTRIES", 10)
        keys = MediaKeys("media", ())
        for number in range(100):
            keys.of_request(_body(model_id=number), ())
        assert len(keys._memo) <= 10

    def test_long_requests_are_cached_but_not_remembered(self) -> None:
        keys = MediaKeys("media", ())
        key = keys.of_request(_body(collection="x" * 1000), ())
        assert key is not None
        assert key.about.fields["collection"] == "x" * 1000
        assert not keys._memo


class TestRedisKeys:
    def test_namespaces_share_nothing(self) -> None:
        one, two = MediaKeys("media", ()), MediaKeys("media2", ())
        model = Model.of("user", 1)
        assert one.of_tag(model) != two.of_tag(model)
        assert one.of_alias("a.B", "1") != two.of_alias("a.B", "1")
        assert not two.of_tag(model).startswith(one.tag_pattern.rstrip(b"*"))

    def test_the_flush_pattern_finds_models_and_not_the_aliases(self) -> None:
        keys = MediaKeys("media", ())
        prefix = keys.tag_pattern.removesuffix(b"*")
        assert keys.of_tag(Model.of("user", 1)).startswith(prefix)
        assert not keys.of_alias("a.B", "1").startswith(prefix)

    def test_a_type_out_of_an_event_may_hold_anything(self) -> None:
        assert MediaKeys("media", ()).of_tag(Model.of("\ud800", 1)) != MediaKeys("media", ()).of_tag(Model.of("", 1))

    @settings(deadline=None)
    @given(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5), st.integers(-(2**63), 2**63 - 1))
    def test_two_models_have_two_hashes(self, type_1: str, id_1: int, type_2: str, id_2: int) -> None:
        keys = MediaKeys("media", ())
        one, two = Model.of(type_1, id_1), Model.of(type_2, id_2)
        assert (keys.of_tag(one) == keys.of_tag(two)) == (one == two)


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_length_prefixes_keep_lists_apart(one: list[bytes], two: list[bytes]) -> None:
    assert (length_prefixed(*one) == length_prefixed(*two)) == (one == two)


def test_length_prefixes_keep_apart_what_looks_like_one() -> None:
    assert length_prefixed(b"a:b", b"c") != length_prefixed(b"a", b"b:c")
    assert length_prefixed(b"1:x") != length_prefixed(b"", b"x")
    assert length_prefixed(b"", b"") != length_prefixed(b"")


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_what_was_joined_is_split_again(parts: list[bytes]) -> None:
    assert split_prefixed(length_prefixed(*parts)) == parts


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(0, 100))
def test_of_what_was_cut_the_whole_parts_are_found(parts: list[bytes], length: int) -> None:
    found = split_prefixed(length_prefixed(*parts)[:length])
    assert found == parts[: len(found)]


@given(st.binary(max_size=100))
def test_foreign_bytes_split_into_something_shorter(text: bytes) -> None:
    assert sum(map(len, split_prefixed(text))) <= len(text)


def test_what_may_have_been_stored_with_further_tags_is_known_for_good() -> None:
    plain, dependent = Keys("media", (), POLICY.reads), replace(READ, further_tags=lambda *_: ())
    seen = [plain.dependent]
    for reads in ({READ.path: dependent}, POLICY.reads):
        plain.also(reads)
        seen.append(plain.dependent)
    assert seen == [False, True, True]
    assert Keys("media", (), {READ.path: dependent}).dependent
