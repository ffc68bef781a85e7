"""Makes log records of what would otherwise be written straight to stderr: with LOG_FORMAT=json every line is JSON.

`hook` does so for uncaught exceptions, `captured` for whatever is written to file descriptor 2, by gRPC's C core
(GRPC_VERBOSITY says how much) and other libraries. A traceback becomes one record.

Output of a process that aborts would be lost in the pipe, so `faulthandler` writes to the real stderr.
"""

import faulthandler
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

_log = logging.getLogger(__name__)
_core = logging.getLogger("grpc.core")
_stderr = logging.getLogger("stderr")

_STDERR = 2
_OF_THE_CORE = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ ([\w.-]+:\d+)\] (.*)")
_LEVELS = {"I": logging.INFO, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}
_TRACEBACK = "Traceback (most recent call last):"
_GOES_ON = (" ", "Traceback ", "During handling of ", "The above exception ", "+")
"""Beginnings of the lines after which a traceback goes on; it also goes on after an empty line."""
_LONGEST = 1 << 20
"""Maximum characters of a line that are read as one."""


def hook() -> None:
    """Logs exceptions that end the program or a thread, and those that Python cannot raise (`sys.unraisablehook`)."""
    sys.excepthook = _uncaught
    threading.excepthook = _ended_a_thread
    sys.unraisablehook = _unraisable


@contextmanager
def captured(style: str) -> Iterator[int]:
    """Gives the file descriptor for log lines of this LOG_FORMAT. With `json`, lines written to file descriptor 2
    become log records meanwhile.

    Afterwards text on file descriptor 2 stays as it is, such as the line that says why a start failed.
    """
    if style != "json":
        yield _STDERR
        return
    true = os.dup(_STDERR)
    faulthandler.enable(true)
    reader, writer = os.pipe()
    os.dup2(writer, _STDERR)
    os.close(writer)
    thread = threading.Thread(target=_read, args=(reader,), name="stderr", daemon=True)
    thread.start()
    try:
        yield true
    finally:
        sys.stderr.flush()
        os.dup2(true, _STDERR)  # closes the writing end: the thread reads what is left
        thread.join(timeout=1.0)


def _read(descriptor: int) -> None:
    with os.fdopen(descriptor, errors="backslashreplace") as lines:
        for record in records(iter(lambda: lines.readline(_LONGEST), "")):
            _say(record)


def records(lines: Iterable[str]) -> Iterator[list[str]]:
    """Groups lines into records, without line ends: all lines of a traceback are one record, any other line is one."""
    traceback: list[str] = []
    for line in (each.rstrip("\n") for each in lines):
        if not traceback and not line.startswith(_TRACEBACK):
            if line.strip():
                yield [line]
            continue
        traceback.append(line)
        if line and not line.startswith(_GOES_ON):
            yield traceback
            traceback = []
    if traceback:
        yield traceback


def _say(lines: list[str]) -> None:
    if len(lines) > 1:
        _stderr.error("%s", lines[-1], extra={"traceback": "\n".join(lines)})
    elif match := _OF_THE_CORE.fullmatch(lines[0]):
        level, place, text = match.groups()
        _core.log(_LEVELS[level], f"{place} %s", text)
    else:
        _stderr.warning(lines[0])


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("unexpected failure", exc_info=(kind, error, trace))


def _ended_a_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else "?"
        _log.error("thread %s failed", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    # The repr of `args.object` may contain anything, credentials too.
    where = getattr(args.object, "__qualname__", None) or type(args.object).__name__
    if args.exc_value is not None:
        exception = (args.exc_type, args.exc_value, args.exc_traceback)
        _log.error("%s in %s", args.err_msg or "an exception was ignored", where, exc_info=exception)
