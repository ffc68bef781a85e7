"""proxy.settings.flags: flags and variables of settings; `test_config` tries each setting."""

import click
import pytest

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
