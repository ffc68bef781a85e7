"""Each type of setting: what it understands, what it refuses and how it says so, how it writes a value back."""

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.setting_types import (
    LOG_LEVEL,
    AmqpAddrs,
    Count,
    Duration,
    GrpcTarget,
    HostPort,
    MetadataKeys,
    Name,
    OneOf,
    RedisAddr,
    RedisTarget,
    SettingType,
    bracketed,
    split_host_port,
)

UNDERSTOOD: list[tuple[SettingType, str, Any]] = [
    (Duration(), "90", 90.0),
    (Duration(), "90s", 90.0),
    (Duration(), "15m", 900.0),
    (Duration(), "1h", 3600.0),
    (Duration(), "1d", 86400.0),
    (Duration(), "250ms", 0.25),
    (Duration(), "1.5h", 5400.0),
    (Duration(), "0", 0.0),
    (Duration(3600), "1h", 3600.0),
    (Count(0, 10), "0", 0),
    (Count(0, 10), "10", 10),
    (Count(1, 1 << 30, sizes=True), "4096", 4096),
    (Count(1, 1 << 30, sizes=True), "64KiB", 65536),
    (Count(1, 1 << 30, sizes=True), "1MiB", 1 << 20),
    (OneOf("on", "off"), "on", "on"),
    (OneOf("on", "off"), "OFF", "off"),
    (LOG_LEVEL, "warn", "warning"),
    (LOG_LEVEL, "WARN", "warning"),
    (LOG_LEVEL, "warning", "warning"),
    (Name(), "media", "media"),
    (Name(), "a.b-c_9", "a.b-c_9"),
    (Name(), "x" * 64, "x" * 64),
    (Name(empty=True), "", ""),
    (MetadataKeys(), "", ()),
    (MetadataKeys(), "authorization", ("authorization",)),
    (MetadataKeys(), "Authorization, x-tenant,authorization", ("authorization", "x-tenant")),
    (MetadataKeys(), "trace-bin", ("trace-bin",)),
    (HostPort(), "127.0.0.1:50066", "127.0.0.1:50066"),
    (HostPort(), "0.0.0.0:0", "0.0.0.0:0"),
    (HostPort(), "[::]:65535", "[::]:65535"),
    (HostPort(), "[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
    (HostPort(empty=True), "", ""),
    (GrpcTarget(), "localhost:50056", "localhost:50056"),
    (GrpcTarget(), "my_media:50056", "my_media:50056"),
    (GrpcTarget(), "[::1]:50056", "[::1]:50056"),
    (GrpcTarget(), "dns:///media.prod.svc:50056", "dns:///media.prod.svc:50056"),
    (GrpcTarget(), "dns://10.0.0.2/media:50056", "dns://10.0.0.2/media:50056"),
    (GrpcTarget(), "dns:media", "dns:media"),
    (GrpcTarget(), "ipv4:10.0.0.1:50056,10.0.0.2:50056", "ipv4:10.0.0.1:50056,10.0.0.2:50056"),
    (GrpcTarget(), "unix:/run/media.sock", "unix:/run/media.sock"),
    (GrpcTarget(), "unix:///run/media.sock", "unix:///run/media.sock"),
    (GrpcTarget(), "passthrough:///media:50056", "media:50056"),
    (AmqpAddrs(), "", ()),
    (AmqpAddrs(), "amqp://guest:guest@localhost:5672/", ("amqp://guest:guest@localhost:5672/",)),
    (AmqpAddrs(), "amqp://h1, amqps://u:p%2Fw@[::1]:5671/v", ("amqp://h1", "amqps://u:p%2Fw@[::1]:5671/v")),
]

REFUSED: list[tuple[SettingType, str]] = [
    *(
        (Duration(), text)
        for text in ("", "soon", "-1", "1w", "1h30m", "1e3", "NaN", "inf", "1 h", "٣", "169h", "9" * 13)
    ),
    (Duration(3600), "3601"),
    *((Count(0, 10), text) for text in ("", "-1", "11", "1.5", "0x1", "1KiB", "1_0", "٣", "9" * 5000)),
    *((Count(1, 1 << 20, sizes=True), text) for text in ("0", "2MiB", "1MB", "1 MiB", "1GiB")),
    *((OneOf("on", "off"), text) for text in ("", "yes", "o n")),
    *((Name(), text) for text in ("", "a b", "a:b", "a{b}", "a*", "ä", "x" * 65, "amq.mine", "a\nb")),
    (Name(empty=True), "a b"),
    *((MetadataKeys(), text) for text in (",", "a,", "a b", "ä", ":path", "grpc-timeout", "a" * 129)),
    *(
        (HostPort(), text)
        for text in (
            "",
            "localhost",
            ":80",
            "h:65536",
            "h:-1",
            "h:1x",
            "::1:80",
            "[::1]",
            "[x]:80",
            "a b:80",
            "h/:80",
            "ö:1",
        )
    ),
    (HostPort(empty=True), "9464"),
    *(
        (GrpcTarget(), text)
        for text in (
            "",
            "media",
            "media:0",
            "media:99999",
            "http://media:50056",
            "dns:",
            "dns:///",
            "dns:///media:x",
            "passthrough:///media:0",
            "unix:",
            "unix:/a b",
            "u:p@media:50056",
            "dns:///u:p@media:50056",
        )
    ),
    *(
        (RedisAddr(), text)
        for text in (
            "localhost",
            "localhost:0",
            "localhost:port",
            "h1:1,h2:1",
            "u:p@localhost:6379",
            "http://localhost:6379",
            "redis+tls://localhost:6379",
            "redis://",
            "redis://h1:1,h2:1",
            "redis://localhost:6379/main",
            "redis://localhost:6379/0/1",
            "redis://localhost:6379/0#x",
            "redis://u:p/w@localhost:6379",
            "redis://[::1:6379",
            "redis+sentinel://h1:26379",
            "redis+sentinel://h1:26379/0",
            "redis+sentinel://h1:26379/main/x",
            "redis+cluster://h1:7000/0",
            "redis+cluster://h1:7000/main",
            "redis://localhost:6379?ssl_keyfile=/k",
            "rediss://localhost:6379?ssl_cert_reqs=maybe",
            "rediss://localhost:6379?nonsense=1",
            "rediss://localhost:6379?ssl_keyfile",
        )
    ),
    *(
        (AmqpAddrs(), text)
        for text in (
            "localhost:5672",
            "http://localhost",
            "amqp://",
            "amqp://h:0",
            "amqp://h:99999",
            "amqp://h:x",
            "amqp://h1,",
            "amqp://u:p,w@h1",
            "amqp://u:p/w@h1",
            "amqp://h1/a b",
            "amqp://h1/#x",
        )
    ),
]


@pytest.mark.parametrize(("kind", "text", "value"), UNDERSTOOD)
def test_a_good_text_is_understood(kind: SettingType, text: str, value: Any) -> None:
    assert kind.convert(f" {text} ", None, None) == value


@pytest.mark.parametrize(("kind", "text"), REFUSED)
def test_a_bad_text_is_refused_in_one_line_that_says_what_is_accepted(kind: SettingType, text: str) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        kind.convert(text, None, None)
    assert refusal.value.message.endswith(f"is not understood; accepted: {kind.accepted}")
    assert "\n" not in refusal.value.message
    assert len(refusal.value.message) < 700


@pytest.mark.parametrize(("kind", "text", "value"), UNDERSTOOD)
def test_a_value_is_written_back_as_its_own_type_reads_it(kind: SettingType, text: str, value: Any) -> None:
    shown = kind.text(value)
    assert kind.parse(shown) == value or "***" in shown


@given(st.floats(min_value=0, max_value=7 * 86400, allow_nan=False))
def test_any_duration_is_written_back_to_the_microsecond(seconds: float) -> None:
    assert Duration().parse(Duration().text(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (3600.0, "1h"), (5400.0, "90m"), (90.0, "90s"), (0.25, "250ms"), (1.5, "1500ms")]
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert Duration().text(seconds) == text


@pytest.mark.parametrize(
    ("text", "kind", "url", "nodes", "master", "shown"),
    [
        ("h:6380", "single", "redis://h:6380", (("h", 6380),), "", "redis://h:6380"),
        ("[::1]:6379", "single", "redis://[::1]:6379", (("::1", 6379),), "", "redis://[::1]:6379"),
        ("redis://h", "single", "redis://h:6379", (("h", 6379),), "", "redis://h:6379"),
        ("redis://u:p@h:1/2", "single", "redis://u:p@h:1/2", (("h", 1),), "", "redis://***@h:1/2"),
        ("redis://:p@w@h:1/", "single", "redis://:p@w@h:1", (("h", 1),), "", "redis://***@h:1"),
        (
            "rediss://h:1/0?ssl_cert_reqs=none&ssl_ca_certs=/ca",
            "single",
            "rediss://h:1/0?ssl_cert_reqs=none&ssl_ca_certs=/ca",
            (("h", 1),),
            "",
            "rediss://h:1/0?***",
        ),
        (
            "redis+sentinel://u:p@h1:26379, h2/main/3",
            "sentinel",
            "redis://u:p@h1:26379/3",
            (("h1", 26379), ("h2", 6379)),
            "main",
            "redis+sentinel://***@h1:26379,h2:6379/main/3",
        ),
        (
            "rediss+sentinel://h1:1/main",
            "sentinel",
            "rediss://h1:1",
            (("h1", 1),),
            "main",
            "rediss+sentinel://h1:1/main",
        ),
        (
            "redis+cluster://h1:7000,[::1]:7001",
            "cluster",
            "redis://h1:7000",
            (("h1", 7000), ("::1", 7001)),
            "",
            "redis+cluster://h1:7000,[::1]:7001",
        ),
    ],
)
def test_a_redis_address_is_taken_apart(
    text: str, kind: str, url: str, nodes: tuple[tuple[str, int], ...], master: str, shown: str
) -> None:
    target = RedisAddr().parse(text)
    assert target == RedisTarget(kind, url, nodes, master)
    assert str(target) == shown
    assert ":p" not in repr(target)


def test_no_redis_address_is_none() -> None:
    assert RedisAddr().parse("") is None
    assert RedisAddr().text(None) == ""


@pytest.mark.parametrize("kind", [RedisAddr(), AmqpAddrs(), HostPort(), GrpcTarget(), Name(), Duration()])
@pytest.mark.parametrize("text", ["nonsense://user:hidden@host", "user:hidden@@host:1"])
def test_no_refusal_shows_a_password_whatever_setting_it_was_given_to(kind: SettingType, text: str) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        kind.convert(text, None, None)
    assert "hidden" not in refusal.value.message
    assert "host" in refusal.value.message


def test_a_refusal_shows_the_beginning_of_a_huge_text_and_no_control_characters() -> None:
    with pytest.raises(click.BadParameter) as refusal:
        Duration().convert("\x1b[31m\n" + "x" * 100_000, None, None)
    assert refusal.value.message.startswith(r"'\x1b[31m\nxxx")
    assert "xx…' is not understood" in refusal.value.message


def test_a_value_that_is_no_text_was_converted_before() -> None:
    assert Duration().convert(5.0, None, None) == 5.0


@given(st.text())
def test_an_address_is_split_or_refused_and_joins_again(text: str) -> None:
    try:
        host, port = split_host_port(text)
    except ValueError:
        return
    assert split_host_port(f"{bracketed(host)}:{port}") == (host, port)
    assert 0 <= port < 65536


@given(
    st.text(), st.sampled_from([RedisAddr(), AmqpAddrs(), GrpcTarget(), HostPort(), MetadataKeys(), Name(), Duration()])
)
def test_any_text_is_understood_or_refused(text: str, kind: SettingType) -> None:
    try:
        kind.convert(text, None, None)
    except click.BadParameter as refusal:
        assert "is not understood; accepted: " in refusal.message  # noqa: PT017 -- either end is right


def test_a_default_port_fills_in_only_what_is_missing() -> None:
    assert split_host_port("h", default_port=6379) == ("h", 6379)
    assert split_host_port("h:1", default_port=6379) == ("h", 1)
