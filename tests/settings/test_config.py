"""The declaration: every setting's default, a good and a bad value by variable and by flag, what fits together."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from proxy.settings import flags
from proxy.settings.config import Settings, declared, variable
from proxy.settings.flags import one_line, options
from proxy.settings.setting_types import RedisTarget

ROOT = Path(__file__).parents[2]

CASES: dict[str, tuple[Any, str, Any, str]] = {
    # name: (the default, a good text, its value, a bad text)
    "media_service_addr": ("localhost:50056", "dns:///media:50056", "dns:///media:50056", "media"),
    "policy": ("", "/etc/policy.yaml", "/etc/policy.yaml", "a\tb"),
    "listen_addr": ("127.0.0.1:50066", "0.0.0.0:50067", "0.0.0.0:50067", "50066"),
    "redis_addr": (
        RedisTarget("single", "redis://localhost:6379", (("localhost", 6379),)),
        "redis://cache:6379/1",
        RedisTarget("single", "redis://cache:6379/1", (("cache", 6379),)),
        "http://cache",
    ),
    "sentinel_password": ("", "secret", "secret", "two words"),
    "cache_namespace": ("media", "staging", "staging", "a:b"),
    "events_queue_prefix": ("", "api-gateway-media", "api-gateway-media", "a b"),
    "rabbitmq_addr": (
        ("amqp://guest:guest@localhost:5672/",),
        "amqp://h1,amqps://h2",
        ("amqp://h1", "amqps://h2"),
        "localhost:5672",
    ),
    "cache_ttl": (3600.0, "15m", 900.0, "soon"),
    "cache_ttl_without_events": (60.0, "0", 0.0, "25h"),
    "cache_ttl_temporary_credentials": (300.0, "0", 0.0, "25h"),
    "cache_event_window": (0.1, "2s", 2.0, "61s"),
    "cache_stale_if_error": (600.0, "1h", 3600.0, "25h"),
    "cache_stale_while_revalidate": (0.0, "30s", 30.0, "-1"),
    "cache_mode": ("on", "shadow", "shadow", "maybe"),
    "cache_vary_metadata": (("authorization",), "x-tenant,x-user", ("x-tenant", "x-user"), "a b"),
    "cache_bypass_per_page": (100, "0", 0, "-1"),
    "cache_max_entry_bytes": (1 << 20, "64KiB", 65536, "0"),
    "call_timeout": (60.0, "0", 0.0, "never"),
    "max_concurrent_calls": (1000, "1", 1, "0"),
    "max_calls_per_connection": (250, "1", 1, "0"),
    "max_connections": (1000, "1", 1, "0"),
    "max_connection_age": (0.0, "5m", 300.0, "25h"),
    "max_bytes_in_flight": (128 << 20, "1MiB", 1 << 20, "64KiB"),
    "max_message_bytes": (64 << 20, "100MiB", 100 << 20, "1"),
    "max_metadata_bytes": (64 << 10, "1MiB", 1 << 20, "1KiB"),
    "accept_compressed": ("off", "ON", "on", "gzip"),
    "old_cache_keys": ("keep", "Delete", "delete", "on"),
    "drain_time": (20.0, "5s", 5.0, "2h"),
    "probe_addr": ("0.0.0.0:9464", "127.0.0.1:0", "127.0.0.1:0", "9464"),
    "admin_addr": ("127.0.0.1:9901", "127.0.0.1:0", "127.0.0.1:0", "9901"),
    "admin_token": ("", "secret", "secret", "two words"),
    "log_level": ("info", "DEBUG", "debug", "loud"),
    "log_format": ("json", "console", "console", "xml"),
    **dict.fromkeys(
        ("listen_tls_cert", "listen_tls_key", "listen_tls_client_ca"),
        ("", "/etc/tls/a.pem", "/etc/tls/a.pem", "-----BEGIN PRIVATE KEY----- MC4CAQAw"),
    ),
    "upstream_tls": ("off", "on", "on", "yes"),
    **{
        name: ("", "/ca.pem", "/ca.pem", "a\tb") if part != "server_name" else ("", "media.test", "media.test", "a b")
        for leg in ("upstream", "redis", "rabbitmq")
        for part in ("ca", "cert", "key", "server_name")
        for name in (f"{leg}_tls_{part}",)
    },
    "transport": ("grpcio", "grpcio", "grpcio", "http"),
    "on_bad_settings": ("exit", "exit", "exit", "ignore"),
    "unset_addrs": ("default", "none", "none", "empty"),
}

NEEDS = {
    "unset_addrs": ("--media-service-addr=media:1",),
    "listen_tls_cert": ("--listen-tls-key=/k",),
    "listen_tls_key": ("--listen-tls-cert=/c",),
    "listen_tls_client_ca": ("--listen-tls-cert=/c", "--listen-tls-key=/k"),
    **{
        f"{leg}_tls_{part}": (address, *more)
        for leg, address in (
            ("upstream", "--upstream-tls=on"),
            ("redis", "--redis-addr=rediss://h"),
            ("rabbitmq", "--rabbitmq-addr=amqps://h"),
        )
        for part, more in (
            ("ca", ()),
            ("server_name", ()),
            ("cert", (f"--{leg}-tls-key=/k",)),
            ("key", (f"--{leg}-tls-cert=/c",)),
        )
    },
}
"""The flags without which a setting would be refused."""

EMPTY_MEANS = {
    "redis_addr": None,
    "rabbitmq_addr": (),
    "cache_vary_metadata": (),
    "probe_addr": "",
    "admin_addr": "",
    "admin_token": "",
    "sentinel_password": "",
    "events_queue_prefix": "",
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own environment decides nothing here."""
    for setting in declared():
        monkeypatch.delenv(variable(setting), raising=False)


def settings_of(*flags: str) -> Settings:
    """What `serve` would run with."""
    command = click.Command("serve", params=options(), callback=Settings)
    settings = command.main(list(flags), "serve", standalone_mode=False)
    assert isinstance(settings, Settings)
    return settings


def test_every_setting_has_its_case() -> None:
    assert list(CASES) == [setting.name for setting in declared()]


@pytest.mark.parametrize("name", CASES)
def test_the_default_holds_without_a_variable(name: str) -> None:
    assert getattr(settings_of(), name) == CASES[name][0] == getattr(Settings(), name)


@pytest.mark.parametrize("name", CASES)
def test_a_good_value_is_taken_from_the_variable_and_from_the_flag(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text, value, _ = CASES[name]
    needs = NEEDS.get(name, ())
    assert getattr(settings_of(f"--{name.replace('_', '-')}={text}", *needs), name) == value
    monkeypatch.setenv(name.upper(), f" {text} ")
    assert getattr(settings_of(*needs), name) == value


@pytest.mark.parametrize("name", CASES)
def test_a_bad_value_is_one_line_with_the_variable_the_value_and_what_is_accepted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = CASES[name][3]
    shown = "***" if name in {"admin_token", "sentinel_password"} or "KEY" in bad else bad
    monkeypatch.setenv(name.upper(), bad)
    with pytest.raises(click.BadParameter) as refusal:
        settings_of()
    line = one_line(refusal.value)
    assert line.startswith(f"{name.upper()}: {shown!r} is not understood; accepted: ")
    assert "\n" not in line


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_is_the_default_unless_empty_has_a_meaning(
    name: str, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper(), empty)
    assert getattr(settings_of(), name) == EMPTY_MEANS.get(name, CASES[name][0])


def test_the_flag_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_TTL", "soon")
    assert settings_of("--cache-ttl", "5m").cache_ttl == 300.0


def test_no_variable_has_a_name_that_kubernetes_service_links_inject() -> None:
    assert not [setting.name for setting in declared() if setting.name.endswith(("_port", "_host"))]


@pytest.mark.parametrize(
    ("ttl", "stale_if_error", "revalidate", "remedy"),
    [
        (86400.0, 600.0, 0.0, "lower CACHE_TTL to 1430m, or CACHE_STALE_IF_ERROR to 0s"),
        (3600.0, 0.0, 86400.0, "lower CACHE_TTL to 0s, or CACHE_STALE_WHILE_REVALIDATE to 23h"),
        (82800.0, 3601.0, 60.0, "lower CACHE_TTL to 82799s, or CACHE_STALE_IF_ERROR to 1h"),
    ],
)
def test_ttl_and_stale_allowance_beyond_a_day_are_refused_with_the_remedy(
    ttl: float, stale_if_error: float, revalidate: float, remedy: str
) -> None:
    with pytest.raises(
        ValueError, match=r"CACHE_TTL: .* is more than 24h; accepted: together at most 24h: "
    ) as refusal:
        Settings(cache_ttl=ttl, cache_stale_if_error=stale_if_error, cache_stale_while_revalidate=revalidate)
    assert str(refusal.value).endswith(remedy)


@pytest.mark.parametrize(
    ("ttl", "stale_if_error", "revalidate"),
    [(0.0, 86400.0, 86400.0), (86400.0, 0.0, 0.0), (85800.0, 600.0, 600.0), (0.0, 600.0, 0.0)],
)
def test_a_day_in_all_and_no_caching_at_all_are_fine(ttl: float, stale_if_error: float, revalidate: float) -> None:
    settings = Settings(cache_ttl=ttl, cache_stale_if_error=stale_if_error, cache_stale_while_revalidate=revalidate)
    assert settings.cache_ttl == ttl


@pytest.mark.parametrize(
    ("target", "listen"),
    [
        ("localhost:50066", "127.0.0.1:50066"),
        ("127.0.0.1:50066", "0.0.0.0:50066"),
        ("[::1]:50066", "[::]:50066"),
        ("dns:///localhost:50066", "127.0.0.1:50066"),
        ("10.0.0.7:50066", "10.0.0.7:50066"),
        ("0.0.0.0:50066", "127.0.0.1:50066"),
        ("ipv4:127.0.0.1:50066", "127.0.0.1:50066"),
    ],
)
def test_a_proxy_of_itself_is_refused(target: str, listen: str) -> None:
    with pytest.raises(ValueError, match=r"MEDIA_SERVICE_ADDR: .* is this proxy's own LISTEN_ADDR .*; accepted: "):
        Settings(media_service_addr=target, listen_addr=listen)


@pytest.mark.parametrize(
    ("target", "listen"),
    [
        ("localhost:50056", "127.0.0.1:50066"),
        ("media:50066", "127.0.0.1:50066"),
        ("10.0.0.7:50066", "127.0.0.1:50066"),
        ("unix:/run/media.sock", "127.0.0.1:50066"),
        ("dns:media", "127.0.0.1:443"),
    ],
)
def test_another_host_or_port_is_not_the_proxy_itself(target: str, listen: str) -> None:
    assert Settings(media_service_addr=target, listen_addr=listen).media_service_addr == target


@pytest.mark.parametrize(
    ("namespace", "prefix", "queues"),
    [
        ("media", "", "api-gateway-media-cache"),
        ("staging", "", "api-gateway-media-cache-staging"),
        ("staging", "api-gateway-media", "api-gateway-media"),
    ],
)
def test_the_queue_prefix_follows_the_namespace_unless_it_is_set(namespace: str, prefix: str, queues: str) -> None:
    settings = Settings(cache_namespace=namespace, events_queue_prefix=prefix)
    assert settings.queue_prefix == queues
    assert settings.shown()["events_queue_prefix"] == queues


def test_settings_are_shown_in_effect_and_without_credentials() -> None:
    settings = settings_of("--redis-addr=redis://u:hidden@h/1", "--rabbitmq-addr=amqp://u:hidden@h/v,amqp://h2")
    shown = settings.shown()
    assert list(shown) == list(CASES)
    assert shown["redis_addr"] == "redis://***@h:6379/1"
    assert shown["rabbitmq_addr"] == "amqp://***@h/v,amqp://h2"
    assert shown["cache_ttl"] == "1h"
    assert "hidden" not in repr(settings)


def test_the_environment_is_read_for_flags_alone() -> None:
    readers = {
        path.name
        for path in (ROOT / "proxy").rglob("*.py")
        if "environ[" in path.read_text() or "environ.get" in path.read_text() or "getenv" in path.read_text()
    }
    # (Beside these, `log.py` heeds NO_COLOR, which is no setting of ours but everybody's, and `loading.py` the names
    # of addresses, which a policy names.)
    assert readers == {Path(flags.__file__).name, "otel.py", "log.py", "loading.py"}


@pytest.mark.parametrize("file", ["settings/otel.py", "telemetry/span_export.py"])
def test_what_traces_reads_the_standard_variables_of_opentelemetry_alone(file: str) -> None:
    text = (ROOT / "proxy" / file).read_text()
    assert {name for name in re.findall(r"\"([A-Z][A-Z_]{3,})\"", text) if not name.startswith("OTEL_")} == set()


def test_the_documented_settings_are_current() -> None:
    check = [sys.executable, str(ROOT / "scripts" / "gen-config-docs"), "--check"]
    result = subprocess.run(
        check, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
