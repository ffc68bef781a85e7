"""What must never be shown: credentials in addresses, signatures in presigned URLs.

`without_credentials` is for one address; `redacted` for any text that goes to a log, as defence in depth.
"""

import re

_SCHEME = re.compile(r"[a-z]{1,12}(?:\+[a-z]{1,12})?://")
_NEXT_URL = re.compile(r",(?=[a-z]{1,12}(?:\+[a-z]{1,12})?://)")
_HARMLESS = re.compile(r"(?:\*\*\*@)?(?:(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[0-9]{1,5}\b)?,?)*(?:/[\w.-]*)*")
"""Hosts with ports, then a path."""

_USER_INFORMATION = re.compile(r"(://)[^\s\"'<>]*@")
_SIGNATURE = re.compile(
    r"(?i)\b((?:x-amz-|x-goog-)?(?:signature|credential|security-token)|awsaccesskeyid)(=|%3d)[^&\s\"'<>]+"
)

_BYTES = re.compile(r"""\b(?:b|rb|br|B)(?:'(?:[^'\\]|\\.)*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\Z))""", re.DOTALL)
"""A literal, which may be cut short."""


def without_credentials(address: str) -> str:
    """An address, or several separated by commas, with everything that may be a credential masked.

    What was mistyped must not leak either: a password with a stray `/` or `,`, one without a host behind it, one in a
    form that is not ours (`host:6379,password=…`). So all before the last `@` goes, and of the rest stays what can
    only be hosts, ports and a path.
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
    """Text in which a library shows bytes as Python writes them: what was on the wire, a credential or a payload."""
    return _BYTES.sub("<bytes>", text) if "b'" in text or 'b"' in text else text


def redacted(text: str) -> str:
    """Text for a log with the user information of URLs and the signatures of presigned URLs masked."""
    if "://" in text and "@" in text:
        text = _USER_INFORMATION.sub(r"\1***@", text)
    if "=" in text or "%3" in text:
        text = _SIGNATURE.sub(r"\1\2***", text)
    return text
