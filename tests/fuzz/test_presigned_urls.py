"""Answers with presigned URLs: none may live longer than any URL in it (I5), however it is written."""

import base64
import json
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import given
from hypothesis import strategies as st

from proxy.pb.media_pb2 import GetFilesByModelData, GetFilesByModelResponse, Media
from tests.fuzz.budget import budget, damaged
from tests.support.media_methods import storable

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
lives = st.integers(0, 7 * 86400)


FORMS = {
    "X-Amz-Signature": "life",
    "X-Goog-Signature": "life",
    "x-oss-signature": "life",
    "q-signature": "life",
    "Signature": "moment",
    "OSSAccessKeyId": "moment",
    "sig": "moment",
    "Policy": "moment",
    "token": "moment",
}
"""By a parameter that each has: whether a URL tells the life it was signed for, or a moment alone."""


_MOMENTS = ("Expires", "se", "Policy")


def _base64(claims: dict[str, Any], altchars: bytes) -> str:
    return base64.b64encode(json.dumps(claims).encode(), altchars).decode()


def _query(form: str, moment: datetime, life: int) -> dict[str, str]:
    """The parameters of a URL that is dead `life` s after `moment`, as its vendor writes them."""
    dead = moment + timedelta(seconds=life)
    end, version_4 = int(dead.timestamp()), f"{moment:%Y%m%dT%H%M%SZ}"
    match form:
        case "q-signature":
            times = f"{int(moment.timestamp())};{end}"
            return {"q-sign-time": times, "q-key-time": times, "q-ak": "x", form: "ab"}
        case "sig":
            return {"sv": "2024-11-04", "se": f"{dead:%Y-%m-%dT%H:%M:%SZ}", "sr": "b", form: "a+b/c="}
        case "Policy":
            policy = {"Statement": [{"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": end}}}]}
            return {form: _base64(policy, b"-~").replace("=", "_"), "Signature": "ab", "Key-Pair-Id": "K"}
        case "token":
            return {form: f"eyJhbGciOiJIUzI1NiJ9.{_base64({'exp': end}, b'-_').rstrip('=')}.ab"}
        case "Signature" | "OSSAccessKeyId":
            return {"Expires": str(end), "Signature": "a+b/c=", form: "a+b/c="}
        case _:
            prefix = form.removesuffix("ignature")[:-1]
            return {f"{prefix}Date": version_4, f"{prefix}Expires": str(life), form: "ab"}


@st.composite
def signed(draw: st.DrawFn, form: str, moment: datetime, life: int) -> str:
    """A URL that is dead `life` s after `moment`, in one vendor's spelling, parameters in any order and case."""
    more = draw(st.dictionaries(texts.map(lambda name: f"u{name}u"), texts))
    shuffled = draw(st.permutations(list((_query(form, moment, life) | more).items())))
    spelled = [(draw(st.sampled_from([name, name.lower()])), value) for name, value in shuffled]
    return f"https://files.example/{quote(draw(texts))}?{urlencode(spelled)}"


@st.composite
def files(draw: st.DrawFn) -> tuple[Media, float, float | None]:
    """A file, when its URL dies and how long it lived when it was signed (None: it does not say)."""
    moment, life = draw(moments), draw(lives)
    form = draw(st.sampled_from(list(FORMS)))
    url = draw(signed(form, moment, life))
    media = Media(id=draw(st.integers(0, 5)), model_type="User", model_id=7, presigned_url=url)
    return media, moment.timestamp() + life, float(life) if FORMS[form] == "life" else None


def _body(*media: Media) -> bytes:
    return GetFilesByModelResponse(success=True, data=GetFilesByModelData(media=media)).SerializeToString()


@budget(300)
@given(st.lists(files(), min_size=1, max_size=4))
def test_an_answer_dies_before_the_first_of_its_urls(given_files: list[tuple[Media, float, float | None]]) -> None:
    found = storable(_body(*(media for media, _, _ in given_files)))
    assert found is not None
    assert found.usable_until is not None
    for _, dead, life in given_files:
        assert found.usable_until <= dead - (300 if life is None else min(300, life * 0.1)) + 1e-3
        assert found.usable_for is None or life is None or found.usable_for <= life - min(300, life * 0.1) + 1e-3
    assert (found.usable_for is None) == all(life is None for _, _, life in given_files)
    assert found.usable_until >= min(dead for _, dead, _ in given_files) - 300 - 1e-3, "it need not die this early"


@budget(200)
@given(st.lists(files(), max_size=3), files(), st.randoms(use_true_random=False))
def test_one_more_file_never_prolongs_it(
    some: list[tuple[Media, float, float | None]], one: tuple[Media, float, float | None], shuffler: random.Random
) -> None:
    media = [file[0] for file in some]
    before, whole = storable(_body(*media)), [*media, one[0]]
    shuffler.shuffle(whole)
    after = storable(_body(*whole))
    assert before is not None
    assert after is not None
    assert after.usable_until is not None
    assert after.usable_until <= (math.inf if before.usable_until is None else before.usable_until)
    assert (after.usable_for or 0) <= (math.inf if before.usable_for is None else before.usable_for)


@budget(300)
@given(files(), st.data())
def test_an_unclear_url_is_not_stored_or_has_a_plain_end(
    file: tuple[Media, float, float | None], data: st.DataObject
) -> None:
    url = data.draw(damaged(file[0].presigned_url.encode(), 2)).decode("utf-8", "replace")
    found = storable(_body(Media(id=1, presigned_url=url)))
    assert found is None or found.usable_until is None or math.isfinite(found.usable_until)
    assert found is None or found.usable_for is None or math.isfinite(found.usable_for)


@budget(300)
@given(st.lists(files(), max_size=3), st.data())
def test_only_a_success_is_ever_stored(
    given_files: list[tuple[Media, float, float | None]], data: st.DataObject
) -> None:
    body = data.draw(damaged(_body(*(media for media, _, _ in given_files))))
    found = storable(body)
    if found is not None:
        response = GetFilesByModelResponse.FromString(body)
        assert response.success
        assert set(found.aliases) == {str(media.id) for media in response.data.media} - {"0"}


@budget(200)
@given(
    files(), st.sampled_from(["X-Amz-Security-Token", "security-token", "x-cos-security-token"]), st.integers(0, 9999)
)
def test_temporary_credentials_bound_any_life(
    file: tuple[Media, float, float | None], name: str, temporary: int
) -> None:
    url = f"{file[0].presigned_url}&{name}=Fwo%2FGZXIvYXdzEB"
    before, found = storable(_body(file[0])), storable(_body(Media(id=1, presigned_url=url)), temporary)
    assert before is not None
    assert found is not None
    assert found.usable_until == before.usable_until
    assert found.usable_for == min(temporary, math.inf if before.usable_for is None else before.usable_for)


@budget(200)
@given(st.sampled_from(list(FORMS)), moments, lives, st.integers(0, 3))
def test_one_whose_end_is_left_out_or_garbled_keeps_the_answer_out(
    form: str, moment: datetime, life: int, how: int
) -> None:
    query = _query(form, moment, life)
    for name in ("X-Amz-Date", "X-Goog-Expires", "x-oss-Expires", "q-sign-time", "q-key-time", *_MOMENTS):
        if name in query and how:
            query[name] = ("", "soon", query[name] + "?")[how - 1]
        else:
            query.pop(name, None)
    if form == "token":
        query["token"] = "eyJhbGciOiJIUzI1NiJ9.e30.ab"
    assert storable(_body(Media(id=1, presigned_url=f"https://files.example/a?{urlencode(query)}"))) is None
