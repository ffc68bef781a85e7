"""Which answers may be stored at all, and how long their presigned URLs work (I5)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pb.media_pb2 import GetFilesByModelData, GetFilesByModelResponse, Media
from tests.support.media_methods import Storable, storable

SIGNED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
DAY = 86400
MARGIN = 300


def _body(*urls: str, success: bool = True) -> bytes:
    media = [Media(id=at, model_type="User", model_id=7, presigned_url=url) for at, url in enumerate(urls, 1)]
    return GetFilesByModelResponse(success=success, data=GetFilesByModelData(media=media)).SerializeToString()


def _v4(life: object = DAY, date: str = "20260102T030405Z", vendor: str = "X-Amz") -> str:
    query = f"{vendor}-Algorithm=AWS4-HMAC-SHA256&{vendor}-Date={date}&{vendor}-Expires={life}&{vendor}-Signature=ab"
    return f"https://files.example/a%20b.jpg?{query}"


def _stored(*urls: str) -> Storable:
    found = storable(_body(*urls))
    assert found is not None
    return found


class TestStorable:
    def test_a_failure_is_not(self) -> None:
        assert storable(_body(success=False)) is None
        assert storable(_body(_v4(), success=False)) is None
        assert storable(b"") is None  # the empty message: success is false

    def test_a_success_without_files_is(self) -> None:
        assert _stored() == Storable(None, None)

    @pytest.mark.parametrize("body", [b"\xff", b"\x08", b"\x1a\x05a", b"garbage"])
    def test_what_is_no_response_is_not(self, body: bytes) -> None:
        assert storable(body) is None

    @given(st.binary(max_size=100))
    def test_no_bytes_raise(self, body: bytes) -> None:
        found = storable(body)
        assert found is None or isinstance(found, Storable)

    def test_it_tells_whose_files_they_are(self) -> None:
        media = [Media(id=1, model_type="User", model_id=7), Media(id=2**63 - 1, model_type="Post", model_id=-1)]
        media.append(Media(model_type="User"))  # a file without an id cannot be deleted by id
        body = GetFilesByModelResponse(success=True, data=GetFilesByModelData(media=media)).SerializeToString()
        found = storable(body)
        assert found is not None
        assert found.aliases == ("1", str(2**63 - 1))


class TestExpiry:
    @pytest.mark.parametrize("vendor", ["X-Amz", "X-Goog", "x-amz", "X-AMZ"])
    def test_version_4_dies_at_date_plus_life(self, vendor: str) -> None:
        found = _stored(_v4(vendor=vendor))
        assert found.usable_until == SIGNED + DAY - MARGIN
        assert found.usable_for == DAY - MARGIN

    def test_version_2_dies_at_a_date(self) -> None:
        found = _stored("https://files.example/a?AWSAccessKeyId=x&Expires=1767323045&Signature=y")
        assert (found.usable_until, found.usable_for) == (1767323045 - MARGIN, None)

    def test_a_begin_and_an_end_are_a_life(self) -> None:
        times = f"{int(SIGNED)};{int(SIGNED) + DAY}"
        found = _stored(
            f"https://e/a?q-sign-algorithm=sha1&q-ak=x&q-sign-time={times}&q-key-time={times}&q-signature=y"
        )
        assert (found.usable_until, found.usable_for) == (SIGNED + DAY - MARGIN, DAY - MARGIN)

    @pytest.mark.parametrize("vendor", ["x-oss", "X-Tos"])
    def test_other_vendors_version_4(self, vendor: str) -> None:
        found = _stored(_v4(vendor=vendor))
        assert (found.usable_until, found.usable_for) == (SIGNED + DAY - MARGIN, DAY - MARGIN)

    @pytest.mark.parametrize(
        "name", ["X-Amz-Security-Token", "x-oss-security-token", "security-token", "x-cos-security-token"]
    )
    def test_one_of_temporary_credentials_is_kept_for_a_short_time(self, name: str) -> None:
        url = f"{_v4()}&{name}=FwoGZXIvYXdzEB"
        assert _stored(url, _v4()) == Storable(SIGNED + DAY - MARGIN, 300, ("1", "2"))
        found = storable(_body(url), 60)
        assert found is not None
        assert found.usable_for == 60
        assert _stored(f"{_v4(100)}&{name}=x").usable_for == 90

    def test_of_two_schemes_in_one_url_the_first_to_end_counts(self) -> None:
        found = _stored(f"{_v4()}&Expires={int(SIGNED) + 900}&Signature=y")
        assert (found.usable_until, found.usable_for) == (SIGNED + 600, DAY - MARGIN)

    def test_the_margin_is_a_tenth_of_a_short_life(self) -> None:
        found = _stored(_v4(60))
        assert found.usable_for == 54
        assert found.usable_until == SIGNED + 54

    @pytest.mark.parametrize("url", ["", "https://files.example/a.jpg", "/a?b=c", "https://e/?se=x&e=y&exp=z&policy=p"])
    def test_a_url_that_says_nothing_lives_on(self, url: str) -> None:
        found = _stored(url)
        assert (found.usable_until, found.usable_for) == (None, None)

    def test_the_shortest_of_several_counts_whatever_their_order(self) -> None:
        urls = [_v4(), _v4(600), "https://files.example/public.jpg", _v4(3600), ""]
        for order in (urls, urls[::-1]):
            found = _stored(*order)
            assert found.usable_for == 600 - 60
            assert found.usable_until == SIGNED + 600 - 60

    def test_the_earliest_death_and_the_shortest_life_may_be_of_two_urls(self) -> None:
        found = _stored(_v4(DAY, "20260101T030405Z"), _v4(3600, "20260103T030405Z"))
        assert found.usable_until == SIGNED - MARGIN
        assert found.usable_for == 3600 - MARGIN

    def test_one_that_is_dead_already_has_a_time_in_the_past(self) -> None:
        found = _stored(_v4(60, "20200101T000000Z"))
        assert found.usable_until is not None
        assert found.usable_until < SIGNED

    @pytest.mark.parametrize("life", [0, -5])
    def test_no_life_at_all(self, life: int) -> None:
        found = _stored(_v4(life))
        assert found.usable_for is not None
        assert found.usable_for <= 0

    @pytest.mark.parametrize(
        "url",
        [
            _v4(date="2026-01-02"),
            _v4(date="20261302T030405Z"),
            _v4(date=""),
            _v4("soon"),
            _v4(""),
            _v4("9" * 400),
            _v4("9" * 305),
            "https://e/?X-Amz-Date=20260102T030405Z",
            "https://e/?X-Amz-Expires=60",
            "https://e/?X-Goog-Expires=60",
            "https://e/?Expires=never",
            "https://e/?Expires=",
            "https://e/?Expires=" + "9" * 400,
            "https://e/?Expires=nan",
            "http://[::1?Expires=5",
            "https://e/?Expires=1767323045000",  # in milliseconds; read as seconds, it would never end
            "https://e/?X-Amz-Signature=x",
            "https://e/?Signature=x&Key-Pair-Id=K",
            "https://e/?sv=2024-11-04&si=policy&sig=x",
            "https://e/?sv=2024-11-04&se=tomorrow&sig=x",
            "https://e/?x-oss-date=20260102T030405Z&x-oss-signature=x",
            "https://e/?q-sign-time=1767323045&q-signature=x",
            "https://e/?q-ak=x&q-signature=x",
            "https://e/?Policy=eyJTdGF0ZW1lbnQiOltdfQ__&Signature=x",
            "https://e/?Policy=eyJTdGF0ZW1lbnQiOlt7fV19&Signature=x",
            "https://e/?Policy=*&Signature=x",
            "https://e/?token=secret",
            "https://e/?token=eyJhbGciOiJIUzI1NiJ9.e30.x",
            "https://e/?auth_key=1767323045-0-0-x",
            "https://e/?hdnts=st=1~acl=*~hmac=x",
        ],
    )
    def test_one_that_is_unclear_keeps_the_answer_out(self, url: str) -> None:
        assert storable(_body(url)) is None
        assert storable(_body(_v4(), url)) is None

    @given(st.text(max_size=40), st.text(max_size=12))
    def test_no_url_raises(self, query: str, life: str) -> None:
        for url in (f"https://e/?{query}", f"https://e/?X-Amz-Date=20260102T030405Z&X-Amz-Expires={life}"):
            found = storable(_body(url))
            assert found is None or isinstance(found, Storable)


def test_what_is_left_is_counted_by_our_own_clock_too() -> None:
    assert _stored(_v4()).usable_from(SIGNED + 600) == DAY - MARGIN - 600
    assert _stored(_v4()).usable_from(SIGNED - 600) == DAY - MARGIN
    assert _stored(f"https://e/?Expires={int(SIGNED) + 900}&Signature=x").usable_from(SIGNED) == 600
    assert _stored().usable_from(SIGNED) is None
