"""proxy.settings.flags: flags and variables of settings; `test_config` tries each setting."""

import click
import pytest
from click.testing import CliRunner

from proxy.settings import flags
from proxy.settings.config import declared


def parsed(parameter: click.Parameter, monkeypatch: pytest.MonkeyPatch, **variables: str) -> object:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    context = click.Command("serve", params=[parameter]).make_context("serve", [])
    return context.params[str(parameter.name)]


def test_all_or_those_that_are_named() -> None:
    assert [option.name for option in flags.options()] == [setting.name for setting in declared()]
    assert [option.name for option in flags.options("cache_ttl", "log_level")] == ["cache_ttl", "log_level"]


def test_a_prefix_begins_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    (cache_ttl,) = (setting for setting in declared() if setting.name == "cache_ttl")
    option = flags.option(cache_ttl, prefix="sidecar_")
    assert (option.opts, option.envvar) == (["--sidecar-cache-ttl"], "SIDECAR_CACHE_TTL")
    assert parsed(option, monkeypatch, SIDECAR_CACHE_TTL="5m") == 300.0


def test_an_empty_variable_means_something_only_where_the_type_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    redis, ttl = flags.options("redis_addr", "cache_ttl")
    assert parsed(redis, monkeypatch, REDIS_ADDR="") is None
    assert parsed(ttl, monkeypatch, CACHE_TTL="") == 3600.0


def read(**environment: str) -> tuple[dict[str, object], list[str], int, str]:
    seen: dict[str, object] = {}
    faults: list[str] = []

    @click.command(params=flags.options())
    @click.pass_context
    def command(context: click.Context, /, **values: object) -> None:
        seen.update(values)
        faults.extend(flags.faults(context))

    done = CliRunner().invoke(command, env=environment)
    return seen, faults, done.exit_code, done.output


def test_a_fault_is_kept_and_its_fallback_taken() -> None:
    seen, faults, status, _ = read(ON_BAD_SETTINGS="forward", REDIS_ADDR="no where", CACHE_TTL="soon", DRAIN_TIME="1s")
    assert status == 0
    assert (seen["redis_addr"], seen["cache_ttl"], seen["drain_time"]) == (None, 3600.0, 1.0)
    assert [fault.partition(":")[0] for fault in faults] == ["REDIS_ADDR", "CACHE_TTL"]


@pytest.mark.parametrize("mode", ["", "exit"])
def test_by_default_it_ends_the_command(mode: str) -> None:
    assert read(ON_BAD_SETTINGS=mode, CACHE_TTL="soon")[2] == 2


def test_unset_addresses() -> None:
    none = {"UNSET_ADDRS": "none", "MEDIA_SERVICE_ADDR": "media:1"}
    assert read(**none)[0]["redis_addr"] is None
    assert read(**none)[0]["rabbitmq_addr"] == ()
    assert read(**none, REDIS_ADDR="redis:1")[0]["redis_addr"] is not None
    assert read()[0]["redis_addr"] is not None


@pytest.mark.parametrize("given", [{}, {"MEDIA_SERVICE_ADDR": ""}, {"MEDIA_SERVICE_ADDR": " "}])
def test_in_a_pod_there_is_no_default_media_service(given: dict[str, str]) -> None:
    """Its address may come from an optional ConfigMap; the default port could be the app's own."""
    assert read(UNSET_ADDRS="none", **given)[2] == 2
    seen, faults, status, _ = read(UNSET_ADDRS="none", ON_BAD_SETTINGS="forward", **given)
    assert (status, seen["media_service_addr"]) == (0, flags.NOWHERE)
    assert faults[0].startswith("MEDIA_SERVICE_ADDR: ")
    assert read()[0]["media_service_addr"] == "localhost:50056"
