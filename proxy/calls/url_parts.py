"""The parameters of a URL, wherever they are: in its query, its fragment, its path, or in another URL that one of these
holds (of an image server), percent-encoded once more, or in base64. Pure.

URLs are copied out of HTML and JSON, and programs encode them twice: what counts is how their reader understands them.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

_NESTED = 3  # URLs within URLs that are looked into
_DECODED = 4  # times that a text is percent-decoded
_AMPERSAND = re.compile(r"&(?:amp;|#0*38;|#[xX]0*26;)+|\\u0026|(?<=[?&#])amp;|;(?=[A-Za-z0-9_.%-]+=)")
"""What stands for one in HTML and JSON, and the semicolon that separates as well."""
_HTTP = re.compile(r"aHR0c[0-9A-Za-z+/_=-]{8,}")
"""How a URL begins in base64."""


def parameters(url: str, nested: int = _NESTED) -> Iterator[tuple[str, str]]:
    """Names and values; each part of the path as a whole too, without a name. ValueError for what is no URL."""
    parts = urlsplit(_AMPERSAND.sub("&", url))
    found = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment.lstrip("?"))
    for part in parts.path.split("/"):
        found += [*(parse_qsl(part.replace(";", "&")) if "=" in part else ()), ("", unquote(part))]
    yield from ((plain(name), value) for name, value in found)
    if not nested:
        return
    # A query that was encoded as a whole is a name without a value.
    texts = {plain(value or name) for name, value in found} | {plain(parts.path)}
    for text in {*texts, *filter(None, map(_from_base64, (parts.path, *texts)))}:
        if "?" in text or ("&" in text and "=" in text):
            yield from parameters(text if "?" in text else f"?{text}", nested - 1)


def plain(text: str) -> str:
    """Percent-decoded, however often it was encoded."""
    for _ in range(_DECODED):
        if "%" not in text or (decoded := unquote(text)) == text:
            break
        text = decoded
    return text


def _from_base64(text: str) -> str:
    """The URL in it; empty: none. Image servers break long ones into parts of a path, and add a name's ending."""
    match = _HTTP.search(text)
    if match is None:
        return ""
    bare = re.sub(r"/(?=.)|\.[a-z0-9]+$|=+$", "", text[match.start() :]).translate(str.maketrans("-_", "+/"))
    bare = bare[: len(bare) - (len(bare) % 4 == 1)]  # a name may follow, which only spoils what comes last
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4)).decode(errors="replace")
    except binascii.Error:
        return ""
