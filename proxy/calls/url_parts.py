"""The parameters of a URL, wherever they are: in its query, fragment or path, or in another URL inside one of these, as
image servers have it, percent-encoded once more or in base64. Pure.

URLs are copied out of HTML and JSON, and programs encode them twice, so all of these spellings are understood.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

_NESTED = 3  # levels of URLs within URLs that are searched
_DECODED = 4  # how often a text is percent-decoded at most
_AMPERSAND = re.compile(r"&(?:amp;|#0*38;|#[xX]0*26;)+|\\u0026|(?<=[?&#])amp;|;(?=[A-Za-z0-9_.%-]+=)")
"""The spellings of an ampersand in HTML and JSON, and the semicolon, which separates parameters as well."""
_HTTP = re.compile(r"aHR0c[0-9A-Za-z+/_=-]{8,}")
"""Matches a URL in base64 by its beginning."""


def parameters(url: str, nested: int = _NESTED) -> Iterator[tuple[str, str]]:
    """The names and values of all parameters, and each part of the path with an empty name.

    `nested` is how many URLs within URLs are followed. Raises ValueError if it is not a URL.
    """
    parts = urlsplit(_AMPERSAND.sub("&", url))
    found = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment.lstrip("?"))
    for part in parts.path.split("/"):
        found += [*(parse_qsl(part.replace(";", "&")) if "=" in part else ()), ("", unquote(part))]
    yield from ((plain(name), value) for name, value in found)
    if not nested:
        return
    # A query that was percent-encoded as a whole is a name without a value.
    texts = {plain(value or name) for name, value in found} | {plain(parts.path)}
    for text in {*texts, *filter(None, map(_from_base64, (parts.path, *texts)))}:
        if "?" in text or ("&" in text and "=" in text):
            yield from parameters(text if "?" in text else f"?{text}", nested - 1)


def plain(text: str) -> str:
    """The text, percent-decoded as often as it was encoded, up to `_DECODED` times."""
    for _ in range(_DECODED):
        if "%" not in text or (decoded := unquote(text)) == text:
            break
        text = decoded
    return text


def _from_base64(text: str) -> str:
    """The URL that a text contains in base64; empty if there is none.

    Image servers split long ones into several parts of a path and append a file name's extension.
    """
    match = _HTTP.search(text)
    if match is None:
        return ""
    bare = re.sub(r"/(?=.)|\.[a-z0-9]+$|=+$", "", text[match.start() :]).translate(str.maketrans("-_", "+/"))
    bare = bare[: len(bare) - (len(bare) % 4 == 1)]  # a file name may follow, which only garbles the end
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4)).decode(errors="replace")
    except binascii.Error:
        return ""
