"""Settings: every text is a value within its bounds that can be written back, or one line that holds no credential."""

from typing import Any

import click
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url
from yarl import URL

from proxy.settings.config import declared
from proxy.settings.setting_types import AmqpAddrs, Count, Duration, RedisAddr, SettingType
from tests.fuzz.budget import budget, damaged

TYPES = {setting.name: setting.metadata["type"] for setting in declared()}
SECRET = "hunter2hunter2"
# Nothing of it may be shown wherever damage put it, so it is looked for by pieces of this size.
_PIECE = 6
EXAMPLES = [
    *("0", "90", "90s", "15m", "1h", "1.5d", "250ms", "64KiB", "1MiB", "100", "on", "OFF", "shadow", "json", "console"),
    *(
        "localhost:50056",
        "127.0.0.1:0",
        "[::1]:50066",
        "dns:///media:50056",
        "unix:/run/media.sock",
        "passthrough:///a:1",
    ),
    *("authorization", "authorization,x-tenant", "api-gateway-media-cache", "redis:6379", "redis://redis:6379/0"),
    f"redis://user:{SECRET}@redis:6379/1",
    f"rediss://:{SECRET}@[::1]/0?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
    f"redis+sentinel://user:{SECRET}@s1:26379,s2:26379/mymaster/2",
    f"rediss+cluster://:{SECRET}@h1:7000,h2,h3:7002",
    f"amqp://user:{SECRET}@rabbit:5672/vhost?heartbeat=5",
    f"amqps://user:{SECRET}@r1/,amqp://user:{SECRET}@r2:5673/%2f",
]
durations = st.builds(
    "{:.{}f}{}".format, st.floats(0, 1e6), st.integers(0, 9), st.sampled_from(["ms", "s", "m", "h", ""])
)
texts = st.sampled_from(EXAMPLES) | durations | st.text(max_size=20)
secrets = st.sampled_from([text for text in EXAMPLES if SECRET in text])


def _spoilt(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    raw = texts.flatmap(lambda text: damaged(text.encode("utf-8", "replace"), 3))
    return raw.map(lambda found: found.decode("utf-8", "replace"))


types = st.sampled_from(sorted(TYPES)) | st.sampled_from(["redis_addr", "rabbitmq_addr"])


def _value(kind: SettingType, text: str) -> Any:
    """The value; a line of text as a click.BadParameter."""
    try:
        return kind.convert(text, None, None)
    except click.BadParameter as refused:
        return refused


@budget(1000)
@given(types, texts | _spoilt(texts))
def test_a_text_is_a_value_that_can_be_written_back_or_a_line(name: str, text: str) -> None:
    kind = TYPES[name]
    value = _value(kind, text)
    if isinstance(value, click.BadParameter):
        assert value.message.isprintable(), "one line"
        assert value.message.endswith(f"is not understood; accepted: {kind.accepted}")
        return
    assert str(kind.text(value)).isprintable()
    if not kind.secret:
        assert kind.parse(kind.text(value)) == value
    if isinstance(kind, Duration):
        assert 0 <= value <= kind.maximum
    if isinstance(kind, Count):
        assert kind.low <= value <= kind.high


@budget(1000)
@given(types, secrets | _spoilt(secrets))
def test_no_password_is_shown(name: str, text: str) -> None:
    """Neither that of an address that was understood, nor of one that was not, nor in another setting by mistake."""
    kind = TYPES[name]
    value = _value(kind, text)
    if "@" not in text or not (kind.secret or isinstance(value, click.BadParameter)):
        return  # what is left of it is a host, which may be called anything
    shown = value.message if isinstance(value, click.BadParameter) else kind.text(value)
    assert not _pieces_of_the_secret(text, shown)


@budget(600)
@given(texts | _spoilt(texts))
def test_redis_py_reads_an_address_as_we_do(text: str) -> None:
    target = _value(RedisAddr(), text)
    if target is None or isinstance(target, click.BadParameter):
        return
    read = parse_url(target.url)
    host, port = target.nodes[0]
    assert (read["host"], read.get("port", 6379)) == (host.lower(), port), "a host's name knows no case"
    assert all(host and 0 < port < 65536 for host, port in target.nodes)


@budget(600)
@given(texts | _spoilt(texts))
def test_aio_pika_reads_an_address_as_we_do(text: str) -> None:
    urls = _value(AmqpAddrs(), text)
    for text_of_one in () if isinstance(urls, click.BadParameter) else urls:
        url = URL(text_of_one)
        assert url.scheme in {"amqp", "amqps"}
        assert url.host
        assert url.port is None or 0 < url.port < 65536


def _pieces_of_the_secret(text: str, shown: str) -> list[str]:
    """What stands between the scheme and the last `@` of the text and is a piece of the secret, as far as shown."""
    pieces = {SECRET[at : at + _PIECE] for at in range(len(SECRET) - _PIECE + 1)}
    return [piece for piece in pieces if piece in shown and piece in text.rpartition("@")[0]]
