"""Masks what must never be shown: credentials in addresses, and signatures in presigned URLs.

`without_credentials` is for addresses. `redacted` is for every text that goes to a log, as a second line of defence.
"""

import re

_SCHEME = re.compile(r"[a-z]{1,12}(?:\+[a-z]{1,12})?://")
_NEXT_URL = re.compile(r",(?=[a-z]{1,12}(?:\+[a-z]{1,12})?://)")
_HARMLESS = re.compile(r"(?:\*\*\*@)?(?:(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[0-9]{1,5}\b)?,?)*(?:/[\w.-]*)*")
"""Hosts with or without ports, then a path."""

_USER_INFORMATION = re.compile(r"(://)[^\s\"'<>]*@")
_SIGNATURE = re.compile(
    r"(?i)\b((?:x-amz-|x-goog-)?(?:signature|credential|security-token)|awsaccesskeyid)(=|%3d)[^&\s\"'<>]+"
)

_BYTES = re.compile(r"""\b(?:b|rb|br|B)(?:'(?:[^'\\]|\\.)*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\Z))""", re.DOTALL)
"""A bytes literal of Python; its end may have been cut off."""


def without_credentials(address: str) -> str:
    """An address, or several separated by commas, with everything that may be a credential masked.

    A mistyped address must not leak a credential either: a password may contain `/` or `,`, may lack the host after
    it, or may be written in another program's form (`host:6379,password=…`). So everything before the last `@` is
    masked, and of the rest only what can be nothing but hosts, ports and a path is kept.
    """
    return ",".join(_masked(url) for url in _NEXT_URL.split(address))


def _masked(url: str) -> str:
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    rest = url[start:]
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    kept = _HARMLESS.match(rest)
    end = kept.end() if kept else 0
    return url[:start] + rest[:end] + ("***" if end < len(rest) else "")


def without_bytes(text: str) -> str:
    """Replaces bytes literals by `<bytes>`: a library's message may quote what was on the wire, such as a password."""
    return _BYTES.sub("<bytes>", text) if "b'" in text or 'b"' in text else text


def redacted(text: str) -> str:
    """The text with the user information of URLs and the signatures of presigned URLs masked."""
    if "://" in text and "@" in text:
        text = _USER_INFORMATION.sub(r"\1***@", text)
    if "=" in text or "%3" in text:
        text = _SIGNATURE.sub(r"\1\2***", text)
    return text
