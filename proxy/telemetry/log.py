"""Structured logs on the standard library's logging: how a record becomes a line, and how lines are written.

`json` writes one object per line: `ts`, `level`, `msg`, `logger`, then `trace_id` and `span_id` if a call is traced,
then the fields given as `extra`, and an exception as the field `exception`. `console` is for a person at a terminal.

Lines go to stderr: stdout is for the output of commands, and messages of gRPC's C core and the interpreter are on
stderr too, in order. A separate thread writes them, so that a stalled reader of the log (a full pipe) never blocks the
event loop; lines for which there is no room are dropped and counted.

A line below the level costs one cached look-up. If building `extra` is too expensive, check `isEnabledFor` first.
"""

import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from enum import Enum
from queue import SimpleQueue
from typing import Any

from proxy.printable import printable, printable_json
from proxy.settings.redact import redacted, without_bytes

STDERR = 2
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

TraceIds = Callable[[], tuple[str, str] | None]
"""Returns the trace id and the span id of the current span in hex; None if nothing is traced."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LONGEST_TEXT = 4096
_LONGEST_EXCEPTION = 16384
_MOST_ITEMS = 16
_MOST_WAITING = 4 << 20  # characters
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


def setup(level: str, style: str, *, fd: int = STDERR, trace_ids: TraceIds = lambda: None) -> None:
    """Sends all records to `fd` as lines in the style `json` or `console`. A further call replaces the set-up."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LineWriter)]:
        root.removeHandler(handler)
        handler.close()
    writer = LineWriter(fd)
    writer.setFormatter(JsonFormatter(trace_ids) if style == "json" else ConsoleFormatter(colour=coloured(fd)))
    writer.addFilter(SpareOthers())
    root.addHandler(writer)
    logging.captureWarnings(True)
    # All of its lines say that a connection was lost or not made, which the consumer logs itself, once.
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)
    set_level(level)


def coloured(fd: int) -> bool:
    """Whether to write colours: `fd` is a terminal, and NO_COLOR is not set (https://no-color.org)."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR")


def end() -> None:
    """Writes what is queued, within a second, and discards later records: the caller writes the last line on stderr."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineWriter):
            handler.close()


def set_level(level: str) -> None:
    """Sets the lowest level of the proxy's own lines; libraries' lines below warning are never shown."""
    logging.getLogger("proxy").setLevel(LEVELS[level])
    logging.getLogger().setLevel(max(LEVELS[level], logging.WARNING))


class RateLimit:
    """Admits at most one line per key in `seconds` and counts the others. Remembers at most `keys` keys."""

    def __init__(self, seconds: float = 60.0, *, clock: Callable[[], float] = time.monotonic, keys: int = 256) -> None:
        self._seconds, self._clock, self._keys = seconds, clock, keys
        self._seen: dict[object, tuple[float, int]] = {}

    def admit(self, key: object) -> int | None:
        """None if the line is to be suppressed, else the number of lines suppressed since the last one."""
        now = self._clock()
        last, kept_back = self._seen.get(key, (-math.inf, 0))
        if now - last < self._seconds:
            self._seen[key] = (last, kept_back + 1)
            return None
        self._seen.pop(key, None)
        if len(self._seen) >= self._keys:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = (now, 0)
        return kept_back


class SpareOthers(logging.Filter):
    """Suppresses lines that a library repeats within a minute; the proxy's own lines pass."""

    def __init__(self, limit: RateLimit | None = None) -> None:
        super().__init__()
        self._limit = limit or RateLimit()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown. Its field `suppressed` then says how many were not shown before it."""
        if record.name == "proxy" or record.name.startswith("proxy."):
            return True
        kept_back = self._limit.admit((record.name, record.levelno, _text(record.msg)))
        if kept_back:
            record.suppressed = kept_back
        return kept_back is not None


class LineWriter(logging.Handler):
    """Queues lines for a thread that writes them to `fd`. More than `limit` characters are not queued but dropped."""

    def __init__(self, fd: int, *, limit: int = _MOST_WAITING) -> None:
        super().__init__()
        self._fd, self._limit = fd, limit
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        # Each count is changed by one thread only: the first two under the handler's lock, the others by the writer.
        self._queued = self._dropped = 0
        self._written = self._confessed = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queues the record's line, or counts it as dropped."""
        if self._closed:
            return
        if self._queued - self._written > self._limit:
            self._dropped += 1
            return
        line = self.format(record)
        self._queued += len(line)
        self._lines.put(line)
        self._start()

    def flush(self) -> None:
        """Waits until what is queued was written, for at most one second."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(timeout=1.0)

    def close(self) -> None:
        """Ends the thread after it has written what is queued, or after one second. Later lines are discarded."""
        with self.lock or nullcontext():  # `emit` runs under this lock
            self._closed = True
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(timeout=1.0)
            self._thread = None
        super().close()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (item := self._lines.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._write(item)
            self._written += len(item)
            dropped = self._dropped - self._confessed
            if dropped:
                self._confessed += dropped
                self._write(self._drop_notice(dropped))

    def _drop_notice(self, dropped: int) -> str:
        notice = "log lines were dropped because the log is read too slowly"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, notice, None, None)
        record.dropped = dropped
        return self.format(record)

    def _write(self, line: str) -> None:
        # Not through `sys.stderr`: a thread that hangs in a buffered stream would hold the stream's lock at exit.
        rest = memoryview(f"{line}\n".encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # someone made the descriptor non-blocking
                time.sleep(0.05)
            except OSError:  # the log's reader is gone
                return


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line."""

    def __init__(self, trace_ids: TraceIds = lambda: None) -> None:
        super().__init__()
        self._trace_ids = trace_ids

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end. A field of `extra` whose name is taken becomes `field_NAME`."""
        entry: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "msg": _message(record),
            "logger": record.name,
        }
        ids = self._trace_ids()
        if ids is not None:
            entry["trace_id"], entry["span_id"] = ids
        for name, value in _fields(record).items():
            entry[f"field_{name}" if name in entry or name == "exception" else name] = value
        if exception := _exception(record):
            entry["exception"] = exception
        return printable_json(json.dumps(entry, ensure_ascii=False))


class ConsoleFormatter(logging.Formatter):
    """Formats a record as `12:03:04.567 warning consumer     RabbitMQ lost  attempt=3`, and an exception below it."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end, in local time."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        level = record.levelname.lower()
        # The package is left out to keep the column narrow.
        name = record.name.rpartition(".")[2] if record.name.startswith("proxy.") else record.name
        fields = "".join(f" {name}={_on_one_line(value)}" for name, value in _fields(record).items())
        colour, plain = (_COLOURS.get(level, ""), "\x1b[0m") if self._colour else ("", "")
        message = printable(_message(record))
        line = (
            f"{at}.{int(record.msecs):03} {colour}{level:<7}{plain} {name:<12} {message}{' ' if fields else ''}{fields}"
        )
        return "\n    ".join([line, *(printable(each) for each in _exception(record).splitlines())])


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 -- a line with wrong arguments is shown rather than lost
        text = f"{_text(record.msg)} {_text(record.args)}"
    return _safe(text)


def _exception(record: logging.LogRecord) -> str:
    return _safe(logging.Formatter().formatException(record.exc_info), _LONGEST_EXCEPTION) if record.exc_info else ""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in record.__dict__.items() if name not in _STANDARD}


def _plain(value: Any, depth: int = 2) -> Any:
    """Any value as JSON of bounded size. Of bytes, which may be a payload, only the number is shown."""
    plain: Any
    match value:
        case None | bool():
            plain = value
        case Enum():
            plain = value.name
        case int() if -(2**63) <= value < 2**64:
            plain = int(value)
        case float() if math.isfinite(value):
            plain = float(value)
        case bytes() | bytearray() | memoryview():
            plain = f"<{len(value)} bytes>"
        case Mapping() if depth:
            plain = {_text(key): _plain(item, depth - 1) for key, item in list(value.items())[:_MOST_ITEMS]}
        case list() | tuple() | set() | frozenset() if depth:
            plain = [_plain(item, depth - 1) for item in list(value)[:_MOST_ITEMS]]
        case _:
            plain = _text(value)
    return plain


def _text(value: object) -> str:
    try:
        return _safe(str(value))
    except Exception:  # noqa: BLE001 -- the line is shown even if an object's __str__ fails
        return f"<{type(value).__name__}>"


def _safe(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The text without credentials. If it is too long, its middle is left out: an exception says most at its end."""
    text = without_bytes(text)  # before cutting: a bytes literal without its beginning is not recognized
    if len(text) <= longest:
        return redacted(text)
    # Cut first, since masking a huge text takes long; then masked, since the final cut could leave half a credential.
    start, end = redacted(text[:longest]), redacted(text[-longest:])
    return f"{start[: longest // 2]}…{end[-longest // 2 :]}"


def _on_one_line(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(text)
    return f'"{text}"' if " " in text or not text else text
