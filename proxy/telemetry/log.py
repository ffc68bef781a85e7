"""Structured logs on the standard library's logging: how a record becomes a line, and how lines get out.

`json` is one object a line: `ts level msg logger`, `trace_id span_id` where a call is traced, then the fields given as
`extra`, an exception as the one field `exception`. `console` is for a person at a terminal.

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
"""The trace id and span id of what is running now; None where nothing is traced."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LONGEST_TEXT = 4096
_LONGEST_EXCEPTION = 16384
_MOST_ITEMS = 16
_MOST_WAITING = 4 << 20  # characters
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


def setup(level: str, style: str, *, fd: int = STDERR, trace_ids: TraceIds = lambda: None) -> None:
    """Send every record to `fd` as `json` or `console` lines. Called again, it replaces what it set up before."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LineWriter)]:
        root.removeHandler(handler)
        handler.close()
    writer = LineWriter(fd)
    writer.setFormatter(JsonFormatter(trace_ids) if style == "json" else ConsoleFormatter(colour=coloured(fd)))
    writer.addFilter(SpareOthers())
    root.addHandler(writer)
    logging.captureWarnings(True)
    # Each of its lines says that a connection was lost or not made: the consumer says so itself, once.
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)
    set_level(level)


def coloured(fd: int) -> bool:
    """A terminal, and nobody said that colours are not wanted (https://no-color.org)."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR")


def end() -> None:
    """Writes what is queued, within a second, and nothing that is logged later: what stderr says next is the last."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineWriter):
            handler.close()


def set_level(level: str) -> None:
    """The least severe lines of ours that are shown; of the libraries' lines, warnings at the least."""
    logging.getLogger("proxy").setLevel(LEVELS[level])
    logging.getLogger().setLevel(max(LEVELS[level], logging.WARNING))


class RateLimit:
    """At most one line for each key in `seconds`; remembers how many it kept back."""

    def __init__(self, seconds: float = 60.0, *, clock: Callable[[], float] = time.monotonic, keys: int = 256) -> None:
        self._seconds, self._clock, self._keys = seconds, clock, keys
        self._seen: dict[object, tuple[float, int]] = {}

    def admit(self, key: object) -> int | None:
        """How many lines were kept back since the last one; None: keep this one back, too."""
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
    """Lets a library say the same thing once a minute; our own lines pass."""

    def __init__(self, limit: RateLimit | None = None) -> None:
        super().__init__()
        self._limit = limit or RateLimit()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown; the next one shown says how many were not, as field `suppressed`."""
        if record.name == "proxy" or record.name.startswith("proxy."):
            return True
        kept_back = self._limit.admit((record.name, record.levelno, _text(record.msg)))
        if kept_back:
            record.suppressed = kept_back
        return kept_back is not None


class LineWriter(logging.Handler):
    """Queues lines, at most `limit` characters of them, for a thread that writes them to `fd`."""

    def __init__(self, fd: int, *, limit: int = _MOST_WAITING) -> None:
        super().__init__()
        self._fd, self._limit = fd, limit
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        # Each count has one writer: who logs (the handler's lock is held), and the thread.
        self._queued = self._dropped = 0
        self._written = self._confessed = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
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
        """Wait until what is queued was written, a second at most."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(timeout=1.0)

    def close(self) -> None:
        """End the thread once it wrote what is queued; a second at most is waited for that. No line follows."""
        with self.lock or nullcontext():  # as `emit` is called
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
        # Straight to the descriptor: a thread that hangs in a buffered stream would hold its lock at exit.
        rest = memoryview(f"{line}\n".encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # someone made the descriptor non-blocking
                time.sleep(0.05)
            except OSError:  # the log's reader is gone: there is nobody left to tell
                return


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, trace_ids: TraceIds = lambda: None) -> None:
        super().__init__()
        self._trace_ids = trace_ids

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end. A field with the name of one of ours is shown as `field_…`."""
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
    """`12:03:04.567 warning consumer     RabbitMQ lost  attempt=3`, an exception indented below."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end, in local time."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        level = record.levelname.lower()
        # The package would widen the column, and ours is the only `cache` there is.
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
    except Exception:  # noqa: BLE001 -- a line with the wrong arguments is shown, not lost
        text = f"{_text(record.msg)} {_text(record.args)}"
    return _safe(text)


def _exception(record: logging.LogRecord) -> str:
    return _safe(logging.Formatter().formatException(record.exc_info), _LONGEST_EXCEPTION) if record.exc_info else ""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in record.__dict__.items() if name not in _STANDARD}


def _plain(value: Any, depth: int = 2) -> Any:
    """The value in terms of JSON, of bounded size, whatever it is. Bytes may be a payload: only their number shows."""
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
    except Exception:  # noqa: BLE001 -- whatever an object's __str__ does, its line is shown
        return f"<{type(value).__name__}>"


def _safe(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The text without credentials, its middle left out where it is too long: an exception says most at its end."""
    text = without_bytes(text)  # as a whole: of what is cut no one could tell that it was bytes
    if len(text) <= longest:
        return redacted(text)
    # Cut before it is masked, or a huge text would take long; masked before it is cut, or half a credential would stay.
    start, end = redacted(text[:longest]), redacted(text[-longest:])
    return f"{start[: longest // 2]}…{end[-longest // 2 :]}"


def _on_one_line(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(text)
    return f'"{text}"' if " " in text or not text else text
