"""A record becomes a line whatever is in it, and lines get out without ever holding up who logs."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import log
from proxy.telemetry.log import ConsoleFormatter, JsonFormatter, LineWriter, RateLimit, SpareOthers, coloured

Lines = Callable[[], list[str]]


@pytest.fixture
def restored() -> Iterator[None]:
    """What `setup` changes in the process is as before afterwards."""
    loggers = [logging.getLogger(name) for name in (None, "proxy", "aiormq.connection")]
    levels = [logger.level for logger in loggers]
    yield
    for handler in [handler for handler in loggers[0].handlers if isinstance(handler, LineWriter)]:
        loggers[0].removeHandler(handler)
        handler.close()
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's reading and writing end."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def lines_of(pipe: tuple[int, int]) -> list[str]:
    """What was logged so far."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineWriter):
            handler.flush()
    os.set_blocking(pipe[0], False)
    try:
        return os.read(pipe[0], 1 << 20).decode().splitlines()
    except BlockingIOError:
        return []


def record(message: Any = "words", *arguments: Any, exc_info: Any = None, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("proxy.caching.cache", logging.INFO, __file__, 1, message, arguments, exc_info)
    made.created, made.msecs = 1_800_000_000.25, 250.0
    made.__dict__.update(fields)
    return made


def entry(made: logging.LogRecord) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(JsonFormatter().format(made))
    return parsed


def failure(text: str) -> Any:
    """The exc_info of a RuntimeError with a traceback."""
    try:
        fail_with(text)
    except RuntimeError:
        return sys.exc_info()


def fail_with(text: str) -> None:
    raise RuntimeError(text)


def test_a_line_has_the_four_names_then_the_fields() -> None:
    line = JsonFormatter().format(record("Cache %s for user avatar", "hit", model_id=7, age=1.5))
    assert line == (
        '{"ts": "2027-01-15T08:00:00.250Z", "level": "info", "msg": "Cache hit for user avatar", '
        '"logger": "proxy.caching.cache", "model_id": 7, "age": 1.5}'
    )


def test_trace_ids_stand_in_the_line_while_something_is_traced() -> None:
    assert json.loads(JsonFormatter(lambda: ("t1", "s1")).format(record()))["trace_id"] == "t1"
    assert json.loads(JsonFormatter(lambda: ("t1", "s1")).format(record()))["span_id"] == "s1"
    assert "trace_id" not in entry(record())


def test_an_exception_is_one_field_of_one_line() -> None:
    shown = entry(record(exc_info=failure("broken")))["exception"]
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.endswith("RuntimeError: broken")
    assert "\n" not in JsonFormatter().format(record(exc_info=failure("broken")))


def test_a_field_does_not_replace_one_of_the_four_names_or_the_exception() -> None:
    shown = entry(record(ts=1, level=2, logger=3, exception=4))
    assert (shown["level"], shown["logger"]) == ("info", "proxy.caching.cache")
    assert [shown[f"field_{name}"] for name in ("ts", "level", "logger", "exception")] == [1, 2, 3, 4]


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


class Colour(IntEnum):
    RED = 1


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (2**53 + 1, 2**53 + 1),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (b"payload", "<7 bytes>"),
        (grpc.StatusCode.OK, "OK"),
        (Colour.RED, "RED"),
        (Unprintable(), "<Unprintable>"),
        (ValueError("why"), "why"),
        ({1: (2, {3})}, {"1": [2, "{3}"]}),
        ("\udc80 \x00 ä", "\udc80 \x00 ä"),
        pytest.param(10**5000, "<int>", id="huge"),
        (CYCLE, [["[[...]]"]]),
    ],
)
def test_an_odd_field_is_shown_and_the_line_is_json(value: Any, shown: Any) -> None:
    assert entry(record(odd=value))["odd"] == shown


def test_a_line_with_the_wrong_arguments_is_shown_all_the_same() -> None:
    assert entry(record("%d of %d", "x"))["msg"] == "%d of %d ('x',)"
    assert entry(record(Unprintable()))["msg"] == "<Unprintable> ()"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner) | st.tuples(inner),
    )
)
def test_any_value_makes_one_line_in_both_formats(value: Any) -> None:
    made = record("%s", value, odd=value, exc_info=failure(str(value)))
    assert "\n" not in JsonFormatter().format(made)
    assert json.loads(JsonFormatter().format(made))["logger"] == "proxy.caching.cache"
    assert ConsoleFormatter(colour=False).format(made)


def test_lines_are_bounded_and_an_exception_keeps_its_end() -> None:
    made = record("m" * 10**6, big="b" * 10**6, many=list(range(10**6)), exc_info=failure("x" * 10**6 + " the reason"))
    assert len(JsonFormatter().format(made)) < 30_000
    assert entry(made)["exception"].endswith("the reason")


# Texts that are too long are cut at 2048: once in each place of the credential.
@pytest.mark.parametrize("after", [0, 20_000])
@pytest.mark.parametrize("length", [0, *range(2020, 2040), 20_000])
def test_no_credential_is_in_a_line_wherever_it_came_in(length: int, after: int) -> None:
    url = "x" * length + " amqp://user:hidden@host/ http://s3/f?X-Amz-Signature=hidden " + "y" * after
    made = record(f"{url} %s", url, field=url, nested={"a": [url]}, exc_info=failure(url))
    for formatter in (JsonFormatter(), ConsoleFormatter(colour=False)):
        assert "hidden" not in formatter.format(made)
    if length == after == 0:
        assert "amqp://***@host/" in JsonFormatter().format(made)


def test_a_console_line_reads_well_and_carries_no_control_characters() -> None:
    made = record("RabbitMQ lost\x1b[2J", why="refused by\nhost", attempt=3, empty="")
    line = ConsoleFormatter(colour=False).format(made)
    assert line[8:] == '.250 info    cache        RabbitMQ lost\\x1b[2J  why="refused by\\x0ahost" attempt=3 empty=""'


def test_a_console_exception_stands_indented_below() -> None:
    first, *rest = ConsoleFormatter(colour=False).format(record(exc_info=failure("broken"))).split("\n")
    assert first.endswith("words")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-1] == "    RuntimeError: broken"


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    try:
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert coloured(theirs)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not coloured(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_line_of_json_holds_no_control_character() -> None:
    line = JsonFormatter().format(record(model_type="\x1b]0;owned\x07\x9b31m\x7f"))
    assert not [char for char in line if ord(char) < 32 or 126 < ord(char) < 160]
    assert json.loads(line)["model_type"] == "\x1b]0;owned\x07\x9b31m\x7f"


def test_colour_is_for_terminals_only(restored: None, pipe: tuple[int, int]) -> None:
    assert "\x1b[32minfo" in ConsoleFormatter(colour=True).format(record())
    log.setup("info", "console", fd=pipe[1])
    logging.getLogger("proxy.x").warning("words")
    (line,) = lines_of(pipe)
    assert "\x1b" not in line


def test_setup_shows_ours_from_the_level_on_and_of_others_only_warnings(restored: None, pipe: tuple[int, int]) -> None:
    log.setup("debug", "json", fd=pipe[1])
    logging.getLogger("proxy.x").debug("ours")
    logging.getLogger("aiohttp.access").info("theirs")
    logging.getLogger("aio_pika").warning("their warning")
    logging.getLogger("aio_pika").warning("their warning")
    logging.getLogger("aiormq.connection").error("connection lost, says the library")
    assert [json.loads(line)["msg"] for line in lines_of(pipe)] == ["ours", "their warning"]


def test_the_level_can_be_changed_while_running(restored: None, pipe: tuple[int, int]) -> None:
    log.setup("info", "json", fd=pipe[1])
    logger = logging.getLogger("proxy.x")
    assert not logger.isEnabledFor(logging.DEBUG)
    log.set_level("debug")
    assert logger.isEnabledFor(logging.DEBUG)
    log.set_level("error")
    logging.getLogger("other").warning("not shown")
    logger.error("shown")
    assert [json.loads(line)["msg"] for line in lines_of(pipe)] == ["shown"]


def test_setup_twice_writes_each_line_once(restored: None, pipe: tuple[int, int]) -> None:
    log.setup("info", "console", fd=pipe[1])
    log.setup("info", "json", fd=pipe[1])
    logging.getLogger("proxy.x").info("once")
    assert [json.loads(line)["msg"] for line in lines_of(pipe)] == ["once"]


def test_warnings_of_the_interpreter_are_lines_too(restored: None, pipe: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.setup("info", "json", fd=pipe[1])
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    (line,) = lines_of(pipe)
    assert json.loads(line)["logger"] == "py.warnings"


def test_a_library_says_the_same_once_a_minute_and_we_say_all(restored: None) -> None:
    now = [0.0]
    spare = SpareOthers(RateLimit(60.0, clock=lambda: now[0]))
    theirs = [logging.LogRecord("aiohttp.server", logging.ERROR, "", 0, "from %s", (n,), None) for n in range(4)]
    assert [spare.filter(each) for each in theirs[:3]] == [True, False, False]
    assert all(spare.filter(record()) for _ in range(3))
    now[0] = 60.0
    assert spare.filter(theirs[3])
    assert entry(theirs[3])["suppressed"] == 2
    assert "suppressed" not in entry(theirs[0])


def test_the_rate_limit_counts_by_key_and_forgets_the_oldest_key() -> None:
    now = [0.0]
    limit = RateLimit(60.0, clock=lambda: now[0], keys=2)
    assert [limit.admit(key) for key in ("b", "b", "a", "a", "a")] == [0, None, 0, None, None]
    now[0] = 61.0
    assert limit.admit("a") == 2
    assert limit.admit("a") is None
    assert limit.admit("b") == 1
    assert limit.admit("c") == 0  # the third key: a, shown longest ago, goes
    assert limit.admit("b") is None
    assert limit.admit("a") == 0
    assert len(limit._seen) == 2


def test_a_full_pipe_holds_nobody_up_and_what_was_dropped_is_counted(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], limit=50_000)
    writer.setFormatter(JsonFormatter())
    for _ in range(2_000):  # 200 kB: the pipe takes 64 kB, the queue 50 kB; nobody reads
        writer.emit(record("x" * 20))
    received = b""
    while b"log lines were dropped" not in received:
        received += os.read(pipe[0], 1 << 16)
    writer.close()
    entries = [json.loads(line) for line in received.splitlines()]
    dropped = sum(each.get("dropped", 0) for each in entries)
    shown = sum(each["msg"] == "x" * 20 for each in entries)
    assert 0 < dropped < 2_000
    assert shown < 2_000


def test_what_was_written_makes_room_again(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], limit=100)
    writer.setFormatter(JsonFormatter())
    for _ in range(20):
        writer.emit(record())
        writer.flush()
    writer.close()
    assert os.read(pipe[0], 1 << 16).count(b'"msg": "words"') == 20


def test_lines_come_in_order_and_flush_waits_for_them(restored: None, pipe: tuple[int, int]) -> None:
    log.setup("info", "json", fd=pipe[1])
    for number in range(100):
        logging.getLogger("proxy.x").info("line", extra={"number": number})
    assert [json.loads(line)["number"] for line in lines_of(pipe)] == list(range(100))


def test_a_descriptor_that_is_not_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LineWriter(pipe[1])
    writer.setFormatter(JsonFormatter())
    for _ in range(4):  # each about as large as the pipe, so that most are written in parts
        writer.emit(record(many=["x" * 4000] * 15))
    received = b""
    while received.count(b"\n") < 4:
        received += os.read(pipe[0], 10_000)
    writer.close()
    assert received.count(b"x" * 4000) == 60


def test_a_reader_that_went_away_ends_nothing() -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = LineWriter(descriptor)
    writer.setFormatter(JsonFormatter())
    writer.emit(record())
    writer.flush()
    writer.emit(record())
    writer.flush()
    thread = writer._thread
    assert thread is not None
    assert thread.is_alive()
    writer.close()
    assert not thread.is_alive()
    os.close(descriptor)


def test_nothing_follows_the_end(restored: None, pipe: tuple[int, int]) -> None:
    """However late its thread is: what others write after it is the last."""
    log.setup("info", "json", fd=pipe[1])
    logging.getLogger("proxy.x").info("before")
    log.end()
    os.write(pipe[1], b"why\n")
    logging.getLogger("proxy.x").info("after")
    log.end()
    assert [b"before" in line for line in os.read(pipe[0], 1 << 16).splitlines()] == [True, False]


def test_close_writes_what_is_queued(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    writer.setFormatter(JsonFormatter())
    for _ in range(100):
        writer.emit(record())
    writer.close()
    assert os.read(pipe[0], 1 << 16).count(b"words") == 100
