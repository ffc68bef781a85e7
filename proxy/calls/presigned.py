"""`End`: when a presigned URL stops working, as its parameters say. Pure.

    X-Amz-, X-Goog-, X-Tos-, X-Obs- and the like     `…-Date` and `…-Expires`, a life in seconds
    x-oss-expires alone, Expires and the like        a moment: seconds since 1970, or an ISO 8601 date
    Azure                                            `se`, and `ske`: when the key ends that signed it
    Tencent COS                                      `q-sign-time` and `q-key-time`, each `begin;end`
    CloudFront                                       `Policy`: JSON in a base64 alphabet of its own
    JSON Web Tokens, Akamai, Fastly, UPYUN, Rails    inside the token
    temporary credentials                            a security token, or a key named `ASIA…` or `STS.…`: the URL stops
                                                     working with its session, whose end no parameter says

Parameters are found anywhere in a URL (`url_parts.py`). All ends that are found count, also those of a parameter that
is given twice; the earliest is the URL's. A URL is unclear if it is signed and no end is found, or if an end cannot be
read. It counts as signed if a parameter has the name of a signature, or if its values include both something that looks
like a signature and something that looks like a time.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from proxy.calls.url_parts import parameters, plain

_VERSION_4 = re.compile(r"(x-[a-z0-9]+-)expires|(x-(?:amz|goog|oss|tos|obs)-)date")
_DATE = "%Y%m%dT%H%M%SZ"
# strptime imports a module at its first use, which would fail later if no file descriptor were left: so it is used now.
datetime.strptime("20000101T000000Z", _DATE)  # noqa: DTZ007 -- not used
_MOMENTS = ("expire", "expiry", "expiration", "expires-at", "expires_at", "exp", "deadline", "e")
"""Parameters that say when a signed URL ends; in other URLs, these words may mean anything."""
_MOMENT_NAME = re.compile(
    r".*[-_](expires?|expiry|expiration|exp)|(expire|expiry|expiration|expires[-_]at|exp|deadline)"
)
_SIGNED = re.compile(
    r"(.*[-_])?(signature|sig|sign|hmac|token|jwt|auth|auth[-_]key|authorization|key-pair-id|credential|hdn[a-z]{1,3})"
    r"|__.*token__|.*accesskeyid|googleaccessid|wssecret|.*tokenhash"
)
"""Names of parameters that only a signed URL has, lower case."""
_SESSION = re.compile(r".*(security|session)[-_]?token")
_KEY = re.compile(r".*(credential|accesskeyid)")
_SESSION_KEY = ("ASIA", "STS.")
_TOKEN_END = re.compile(r"(?:^|~)(?:exp|Expires)=([0-9]+)(?:~|$)|^([12][0-9]{9})_[0-9A-Za-z_%+/=-]+$")
_MAC = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{32,}"
    r"|(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[0-9A-Za-z_+/-]{22,}={0,2})(?![0-9A-Za-z])"
)
"""Matches what looks like a signature."""
_TIME = re.compile(r"(?<![0-9A-Za-z])[12][0-9]{9}(?![0-9A-Za-z])")
"""Matches seconds since 1970."""
_PATH_END = re.compile(r"[/~]exp=([0-9]+)~")
_SIGNED_PATH = re.compile(
    r"/p/[0-9A-Za-z_-]{20,}/n/[^/]+/b/[^/]+/o/"  # a pre-authenticated request of Oracle's
    r"|/[0-9A-Za-z_+=-]{20,},[12][0-9]{9}/"  # CDN77
    r"|/20[0-9]{10}/[0-9a-f]{32}/|/[0-9a-f]{32}/[4-9a-f][0-9a-f]{7}/"  # Alibaba's CDN: when it was signed, or its end
)
_HEX_TIME = re.compile(r"[4-9A-Fa-f][0-9A-Fa-f]{7}")
_CONTENT = frozenset(("v", "ver", "version", "rev", "etag", "id", "uuid", "versionid", "filename"))
"""The names of parameters that identify the content; their values are neither signatures nor ends."""
_LOOKED_INTO = 1024  # characters of a text that are searched for a signature
_LONGEST = 1 << 40  # seconds; a larger number is not a life
_LAST = 10**11  # seconds since 1970; a larger number is not in seconds but, for example, in milliseconds
_CLOUDFRONT = str.maketrans("-_~", "+=/")


@dataclass(frozen=True, slots=True)
class End:
    """When one URL ends; None for what it does not say."""

    at: float | None = None
    """Seconds since 1970."""
    life: float | None = None
    """Seconds, counted from when it was signed."""
    temporary: bool = False
    """It was signed with temporary credentials, so it may stop working earlier."""


_Query = dict[str, list[str]]


def end_of(url: str) -> End | None:
    """When a URL ends; None if nothing says that it expires. Raises ValueError if it is unclear."""
    query: _Query = {}
    for name, value in parameters(url):
        query.setdefault(name.lower(), []).append(value)
    path = plain(urlsplit(url).path)
    signed = any(_SIGNED.fullmatch(name) for name in query) or _SIGNED_PATH.search(path) is not None
    ends = [*_dates_and_lives(query), *_moments(query, "expires"), *_plain_moments(query), *_inside(query)]
    ends += [End(_moment(text)) for text in _PATH_END.findall(path)]
    if "sig" in query:
        ends += _moments(query, "se", "ske")
    if signed and not ends:
        ends += _moments(query, *_MOMENTS, *filter(_MOMENT_NAME.fullmatch, query))
    if not ends:
        if signed or _looks_signed(query):
            raise ValueError("it is signed, but no end can be read")
        return None
    at = min((end.at for end in ends if end.at is not None), default=None)
    return End(at, min((end.life for end in ends if end.life is not None), default=None), _temporary(query))


def _temporary(query: _Query) -> bool:
    """Whether a URL was signed with credentials that end with a session."""
    keys = (text for name, texts in query.items() if _KEY.fullmatch(name) for text in texts)
    return any(map(_SESSION.fullmatch, query)) or any(key.startswith(_SESSION_KEY) for key in keys)


def _looks_signed(query: _Query) -> bool:
    """Whether anything looks like a signature, and anything like a time: the time may be the URL's end."""
    texts = [text for name, texts in query.items() if name and name not in _CONTENT for text in texts]
    return any(_MAC.search(text, 0, _LOOKED_INTO) for text in texts) and any(
        _TIME.search(text) or _HEX_TIME.fullmatch(text) for text in texts
    )


def _dates_and_lives(query: _Query) -> Iterator[End]:
    for vendor in sorted({match[1] or match[2] for match in map(_VERSION_4.fullmatch, query) if match}):
        dates, lives = query.get(f"{vendor}date", []), query.get(f"{vendor}expires", [])
        if vendor == "x-oss-" and lives and not dates:
            yield from (End(_moment(text)) for text in lives)  # version 2
        else:
            signed = [datetime.strptime(text, _DATE).replace(tzinfo=UTC).timestamp() for text in dates or [""]]
            seconds = [_seconds(text) for text in lives or [""]]
            yield End(min(signed) + min(seconds), min(seconds))
    for name in ("q-sign-time", "q-key-time"):
        for text in query.get(name, []):
            begin, _, end = text.partition(";")
            yield End(_moment(end), _moment(end) - _moment(begin))


def _moments(query: _Query, *names: str) -> Iterator[End]:
    return (End(_moment(text)) for name in names for text in query.get(name, []))


def _plain_moments(query: _Query) -> Iterator[End]:
    """The ends whose name and form leave no doubt, so they count even if nothing else says that the URL is signed."""
    for name, texts in query.items():
        if _MOMENT_NAME.fullmatch(name):
            yield from (End(_moment(text)) for text in texts if _TIME.fullmatch(text))


def _inside(query: _Query) -> Iterator[End]:
    """The ends that are inside the value of another parameter, such as a token."""
    if "signature" in query or "key-pair-id" in query:
        for text in query.get("policy", []):
            yield from (End(at) for at in _policy(text))
    for name, texts in query.items():
        if not _SESSION.fullmatch(name):
            for text in texts:
                if _SIGNED.fullmatch(name):
                    yield from (End(_moment(at or later)) for at, later in _TOKEN_END.findall(text))
                yield from (End(at) for at in _web_token(text))
                yield from (End(_moment(at)) for at in _rails(text))
    for text in query.get("_upt", []):
        yield End(_moment(text[8:]))


def _rails(text: str) -> Iterator[str]:
    """The end of a signed message of Rails' Active Storage; nothing for any other text, or one without an end."""
    message, _, mac = text.partition("--")
    if mac and message.startswith("eyJfcmFpbHMi"):
        told = _json(message.translate(str.maketrans("-_", "+/"))).get("_rails")
        end = told.get("exp") if isinstance(told, dict) else None
        if end is not None:
            yield str(end)


def _policy(text: str) -> Iterator[float]:
    """The end of each statement of a CloudFront policy; raises ValueError if a statement has none."""
    statements = _json(text.translate(_CLOUDFRONT)).get("Statement")
    for end in statements if isinstance(statements, list) else [statements]:
        for name in ("Condition", "DateLessThan", "AWS:EpochTime"):
            end = end.get(name) if isinstance(end, dict) else None  # noqa: PLW2901 -- one step further in
        yield _number(end)


def _web_token(text: str) -> Iterator[float]:
    """The end of a JSON Web Token; nothing for any other text, or a token without an end."""
    parts = text.split(".")
    if len(parts) == 3 and text.startswith("eyJ"):
        claims = _json(parts[1].translate(str.maketrans("-_", "+/")))
        if "exp" in claims:
            yield _number(claims["exp"])


def _json(text: str) -> dict[str, object]:
    """The JSON object in base64, padded or not; raises ValueError if there is none."""
    bare = text.rstrip("=")
    try:
        found = json.loads(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
    except (binascii.Error, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- everything unclear is one kind of error
    return found


def _moment(text: str) -> float:
    """The seconds since 1970 that a text says: as a number, or as an ISO 8601 date (UTC if it names no zone)."""
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return _number(int(text[:40]))
    # A plus sign that was not percent-encoded arrives as a blank.
    moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _LAST:
        raise ValueError("not a moment")
    return float(value)


def _seconds(text: str) -> float:
    if not re.fullmatch(r" *[+-]?[0-9]{1,15} *", text) or abs(int(text)) > _LONGEST:
        raise ValueError(f"{text!r} is not a life")
    return float(int(text))
