"""The injector's settings: a flag and a variable for each, and contradictions between them."""

import click
import pytest
from click.testing import CliRunner

from proxy.injector import settings
from proxy.injector.settings import InjectorSettings


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    @click.command(params=list(settings.options()))
    def command(**flags: object) -> None:
        click.echo(repr(settings.from_flags(flags)))

    result = CliRunner().invoke(command, arguments, env=environment)
    return result.exit_code, result.output


def test_defaults_are_those_declared() -> None:
    assert run() == (0, f"{InjectorSettings()!r}\n")


def test_flags_and_variables() -> None:
    status, shown = run(
        "--sidecar-image", "r/x:2", SIDECAR_REDIS_SECRET="", SIDECAR_REDIS_ADDR="r:1", SIDECAR_RUN_AS_USER=""
    )
    assert status == 0
    assert "image='r/x:2'" in shown
    assert "redis_secret=None, redis_addr='r:1'" in shown
    assert "run_as_user=None" in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"SIDECAR_REDIS_ADDR": "r:1"}, "REDIS_ADDR: both a Secret and a plain address are given; leave one of them"),
        ({"SIDECAR_EXTRA_ENV": '[{"name": "LISTEN_ADDR"}]'}, "extra env: LISTEN_ADDR is set by the injector itself"),
        ({"SIDECAR_EXTRA_ENV": '[{"name": "CACHE_MODE", "value": "x"}]'}, "extra env: CACHE_MODE: 'x' is not"),
        ({"SIDECAR_EXTRA_ENV": '[{"name": "LISTEN_TLS_CERT", "value": "/c"}]'}, "reach it without TLS"),
        ({"SIDECAR_MEMORY_LIMIT": "64Mi", "SIDECAR_MEMORY_REQUEST": "64Mi"}, "of 96Mi or more"),
        ({"SIDECAR_MEMORY_LIMIT": "512m", "SIDECAR_MEMORY_REQUEST": "1Mi"}, "of 96Mi or more"),
        ({"SIDECAR_MEMORY_REQUEST": "128m"}, "of 1Mi or more"),
        ({"SIDECAR_CPU_LIMIT": "5m", "SIDECAR_CPU_REQUEST": "5m"}, "of 25m or more"),
        ({"SIDECAR_EXTRA_ENV": "secret"}, "'…' is not understood; accepted: a JSON list"),
        ({"SIDECAR_PROBE_HOST": "a b"}, "'a b' is not understood; accepted: an address to listen on"),
        ({"SIDECAR_CACHE_TTL": "soon"}, "'soon' is not understood"),
    ],
)
def test_what_contradicts_itself_ends_the_start(given: dict[str, str], message: str) -> None:
    status, shown = run(**given)
    assert status == 2
    assert message in " ".join(shown.split())
