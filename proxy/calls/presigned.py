"""`End`: when a presigned URL stops working, as its query says. Pure.

    X-Amz-, X-Goog-, X-Tos-, X-Obs- and their like   `…-Date` and `…-Expires`, a life in seconds
    x-oss-expires alone, Expires and its like        a moment: seconds since 1970, or an ISO 8601 date
    Azure                                            `se`, and `ske`: when the key ends that signed it
    Tencent COS                                      `q-sign-time` and `q-key-time`, each `begin;end`
    CloudFront                                       `Policy`: JSON in a base64 of its own
    JSON Web Tokens, Akamai, Fastly, UPYUN, Rails    inside the token
    temporary credentials                            a security token, or a key named `ASIA…` or `STS.…`: dead with its
                                                     session, which no query tells

Parameters are looked for wherever they may be (`url_parts.py`). All ends that are found count, of parameters given
twice too: the first is the URL's. A URL that is signed and tells no end that can be read is unclear, and so is an end
that cannot be read. It is signed by the names in it, or when it holds both what looks like a signature and what looks
like a time.
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
# strptime imports its module at its first use: now, not when no file descriptor is left to read it by.
datetime.strptime("20000101T000000Z", _DATE)  # noqa: DTZ007 -- not used
_MOMENTS = ("expire", "expiry", "expiration", "expires-at", "expires_at", "exp", "deadline", "e")
"""What else says it, where something is signed: elsewhere these words mean anything."""
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
"""What looks like a signature."""
_TIME = re.compile(r"(?<![0-9A-Za-z])[12][0-9]{9}(?![0-9A-Za-z])")
"""Seconds since 1970."""
_PATH_END = re.compile(r"[/~]exp=([0-9]+)~")
_SIGNED_PATH = re.compile(
    r"/p/[0-9A-Za-z_-]{20,}/n/[^/]+/b/[^/]+/o/"  # a pre-authenticated request of Oracle's
    r"|/[0-9A-Za-z_+=-]{20,},[12][0-9]{9}/"  # CDN77
    r"|/20[0-9]{10}/[0-9a-f]{32}/|/[0-9a-f]{32}/[4-9a-f][0-9a-f]{7}/"  # Alibaba's CDN: when it was signed, or ends
)
_HEX_TIME = re.compile(r"[4-9A-Fa-f][0-9A-Fa-f]{7}")
_CONTENT = frozenset(("v", "ver", "version", "rev", "etag", "id", "uuid", "versionid", "filename"))
"""Names of parameters that tell contents apart: neither a signature nor an end."""
_LOOKED_INTO = 1024  # characters of a text that may hold a signature
_LONGEST = 1 << 40  # seconds; a larger number is no life
_LAST = 10**11  # seconds since 1970; a later moment is none, but milliseconds, say
_CLOUDFRONT = str.maketrans("-_~", "+=/")


@dataclass(frozen=True, slots=True)
class End:
    """Of one URL; what is not told is None."""

    at: float | None = None
    """Seconds since 1970."""
    life: float | None = None
    """Seconds, from its signing on."""
    temporary: bool = False
    """Signed with temporary credentials: it may be dead before that."""


_Query = dict[str, list[str]]


def end_of(url: str) -> End | None:
    """None when nothing says that the URL expires; ValueError when it is unclear."""
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
            raise ValueError("signed, and no end that can be read")
        return None
    at = min((end.at for end in ends if end.at is not None), default=None)
    return End(at, min((end.life for end in ends if end.life is not None), default=None), _temporary(query))


def _temporary(query: _Query) -> bool:
    """Whether it was signed with credentials that end with a session."""
    keys = (text for name, texts in query.items() if _KEY.fullmatch(name) for text in texts)
    return any(map(_SESSION.fullmatch, query)) or any(key.startswith(_SESSION_KEY) for key in keys)


def _looks_signed(query: _Query) -> bool:
    """Whether there is a signature and a time, by their looks: its end may be meant, or its begin."""
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
    """Those whose name and looks leave no doubt, whether anything else says that the URL is signed or not."""
    for name, texts in query.items():
        if _MOMENT_NAME.fullmatch(name):
            yield from (End(_moment(text)) for text in texts if _TIME.fullmatch(text))


def _inside(query: _Query) -> Iterator[End]:
    """Ends within another parameter's value."""
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
    """The end of a message of Active Storage's; nothing for other texts and for those without an end."""
    message, _, mac = text.partition("--")
    if mac and message.startswith("eyJfcmFpbHMi"):
        told = _json(message.translate(str.maketrans("-_", "+/"))).get("_rails")
        end = told.get("exp") if isinstance(told, dict) else None
        if end is not None:
            yield str(end)


def _policy(text: str) -> Iterator[float]:
    """Each statement of a CloudFront policy must end."""
    statements = _json(text.translate(_CLOUDFRONT)).get("Statement")
    for end in statements if isinstance(statements, list) else [statements]:
        for name in ("Condition", "DateLessThan", "AWS:EpochTime"):
            end = end.get(name) if isinstance(end, dict) else None  # noqa: PLW2901 -- one step further in
        yield _number(end)


def _web_token(text: str) -> Iterator[float]:
    """The end of a JSON Web Token; nothing for other texts and for tokens that tell none."""
    parts = text.split(".")
    if len(parts) == 3 and text.startswith("eyJ"):
        claims = _json(parts[1].translate(str.maketrans("-_", "+/")))
        if "exp" in claims:
            yield _number(claims["exp"])


def _json(text: str) -> dict[str, object]:
    """The object in base64, padded or not."""
    bare = text.rstrip("=")
    try:
        found = json.loads(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
    except (binascii.Error, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- one kind of error for all that is unclear
    return found


def _moment(text: str) -> float:
    """Seconds since 1970, or an ISO 8601 date (in UTC, where it names no zone)."""
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return _number(int(text[:40]))
    # A plus that was not encoded arrives as a blank.
    moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _LAST:
        raise ValueError("no moment")
    return float(value)


def _seconds(text: str) -> float:
    if not re.fullmatch(r" *[+-]?[0-9]{1,15} *", text) or abs(int(text)) > _LONGEST:
        raise ValueError(f"{text!r} is no life")
    return float(int(text))
