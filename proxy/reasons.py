"""`in_words`: why a connection failed, worded the same for all libraries: `cannot connect to a:1: connection refused`.

redis-py, asyncio, gRPC's core and getaddrinfo each have their own wording, with codes that nobody looks up.
"""

import os
import re

_LONGEST = 300
_REDIS = re.compile(r"Error (-?\d+) connecting to (\S+?)\. (.*)")
_ASYNCIO = re.compile(r"(?:\[Errno (\d+)\]|\b(\d+)) Connect call failed")
_REFUSED = re.compile(r"Connect call failed \('([^']+)', (\d+)")
_ARGUMENTS = re.compile(r", with args beginning with:.*")
"""Redis' error about an unknown command ends with its arguments, which may be the source of a script."""
_GRPC = re.compile(r"(?:ipv[46]:)?(\S+): Failed to connect to remote host: (?:connect: )?(.*)")
_GRPC_NAME = re.compile(r"(?:errors resolving|DNS resolution failed for) (\S+?): .*")
_CODE = re.compile(r"^(?:\[Errno -?\d+\]|-?\d+)\s+|\s*\(\d+\)$")


def in_words(error: BaseException | str) -> str:
    """One line, of at most 300 characters, that says why an exception was raised; `error` may be its text."""
    text = _ARGUMENTS.sub("", " ".join(str(error).split()))
    if found := _REDIS.fullmatch(text):
        code, rest = int(found[1]), found[3]
        # The code of a TLS error is not an errno.
        return _unreached(found[2], os.strerror(code) if code > 0 and "SSL" not in rest else rest)
    if found := _GRPC.fullmatch(text):
        return _unreached(found[1], found[2])
    if found := _GRPC_NAME.fullmatch(text):
        return _unreached(found[1], "name or service not known")
    if found := _REFUSED.search(text):
        code_found = _ASYNCIO.search(text)
        reason = os.strerror(int(code_found[1] or code_found[2])) if code_found else "connection refused"
        return _unreached(f"{found[1]}:{found[2]}", reason)
    if isinstance(error, OSError) and error.strerror:
        return _plain(error.strerror)
    return (_plain(text) if _CODE.search(text) else text)[:_LONGEST] or type(error).__name__


def _unreached(address: str, reason: str) -> str:
    return f"cannot connect to {address}: {_plain(reason)}"[:_LONGEST]


def _plain(text: str) -> str:
    """The text as the end of a sentence: without its code and full stop, and not capitalized."""
    text = _CODE.sub("", text).strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
