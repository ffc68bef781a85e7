"""The command line as a person meets it: help, mistakes in one line, exit statuses, and what `serve` hands over."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

import proxy
from proxy.cli import foreign_files, run
from proxy.errors import StartError
from proxy.settings.config import Settings, declared, variable
from proxy.telemetry import log

App = Callable[[Settings, Mapping[str, str]], Awaitable[int]]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own environment decides nothing here."""
    for setting in declared():
        monkeypatch.delenv(variable(setting), raising=False)
    monkeypatch.setenv("GRPC_VERBOSITY", "ERROR")


@pytest.fixture
def serve_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[App], None]:
    """Puts something else in the place of the composition root."""
    monkeypatch.setattr(log, "setup", lambda level, style, **_: None)

    def put(app: App) -> None:
        async def run_app(settings: Settings, *, sources: Mapping[str, str]) -> int:
            return await app(settings, sources)

        stand_in = types.ModuleType("proxy.app")
        stand_in.__dict__["run"] = run_app
        monkeypatch.setitem(sys.modules, "proxy.app", stand_in)
        monkeypatch.setattr(proxy, "app", stand_in, raising=False)

    return put


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, **variables},
    )


def test_python_m_and_the_console_script_are_one_command_with_one_name() -> None:
    module = command("--version")
    script = subprocess.run(
        [str(Path(sys.executable).parent / "media-cache-proxy"), "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert module.stdout == script.stdout == f"media-cache-proxy {proxy.__version__}\n"
    assert module.returncode == script.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "user", "1", "--page", "x"], "--page: 'x' is not understood; accepted: a whole number"),
        (["mode", "of"], "MODE: 'of' is not understood; accepted: 'on', 'off', 'shadow'"),
        (["policy", "check"], "missing argument 'FILE'"),
        (["inject", "-f", "/no/file"], "--filename: '/no/file': No such file or directory"),
    ],
)
def test_a_mistake_in_any_command_reads_the_same(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    command = " ".join(arguments[: 2 if arguments[0] == "policy" else 1])
    assert capsys.readouterr().err == f"media-cache-proxy: {said}; see: media-cache-proxy {command} --help\n"


def test_the_help_of_serve_is_a_manual(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"]) == 0
    words = capsys.readouterr().out.split()
    shown = " ".join(words)
    assert "Usage: media-cache-proxy serve [OPTIONS]" in shown
    for part in ("Examples:", "Exit status:", "SIGTERM", "0 drained", "1 cannot listen", "2 a setting"):
        assert part in shown
    for setting in declared():
        assert f"--{setting.name.replace('_', '-')} " in shown
        assert f"env var: {variable(setting)}" in shown
        assert "".join(setting.metadata["help"].split()) in "".join(words)  # a line may end at any hyphen


def test_help_and_mistakes_load_nothing_of_what_serves() -> None:
    code = (
        "import sys; from proxy.cli import run; run(['serve', '--help']); run(['serve', '--cache-ttl=x']);"
        "sys.exit(','.join(sys.modules.keys() & {'grpc', 'asyncio', 'redis', 'aiohttp', 'prometheus_client'}) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_no_command_shows_the_help_and_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    told = capsys.readouterr().err
    assert told.startswith("Usage: media-cache-proxy ")
    assert "\n  serve " in told


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serv"], "media-cache-proxy: no such command 'serv'"),
        (["--nonsense"], "media-cache-proxy: no such option '--nonsense'"),
        (["serve", "--cache-tll=1h"], "media-cache-proxy: no such option '--cache-tll'"),
        (["serve", "extra"], "media-cache-proxy: got unexpected extra argument (extra)"),
        (["serve", "--cache-ttl"], "media-cache-proxy: option '--cache-ttl' requires an argument"),
        (["config", "--json=x"], "media-cache-proxy: option '--json' does not take a value"),
    ],
)
def test_a_command_or_flag_that_is_not_known_is_one_line_with_a_hint(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith(line)
    assert told.err.endswith("--help\n")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("name", ["serve", "config"])
def test_a_bad_setting_is_one_line_and_status_2(name: str) -> None:
    result = command(name, CACHE_TTL="soon")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "media-cache-proxy: CACHE_TTL: 'soon' is not understood; accepted: a number with ms, s, m, h or d "
        "(plain: seconds), at most 24h, like 90, 90s, 15m, 1h\n"
    )


@pytest.mark.parametrize(
    "variables",
    [{"REDIS_ADDR": "redis://u:hidden@h:x"}, {"RABBITMQ_ADDR": "amqp://u:hid,den@h"}, {"LISTEN_ADDR": "u:hidden@h"}],
)
def test_a_bad_setting_shows_no_credential(variables: dict[str, str]) -> None:
    result = command("serve", **variables)
    assert result.returncode == 2
    assert "***@h" in result.stderr
    assert "hid" not in result.stderr


def test_settings_that_do_not_fit_together_are_one_line_and_status_2() -> None:
    result = command("serve", CACHE_TTL="24h")
    assert result.returncode == 2
    assert result.stderr == (
        "media-cache-proxy: CACHE_TTL: '24h' with CACHE_STALE_IF_ERROR of '10m' is more than 24h; accepted: together "
        "at most 24h: lower CACHE_TTL to 1430m, or CACHE_STALE_IF_ERROR to 0s\n"
    )


def test_serve_hands_over_settings_and_sources_and_ends_with_the_status(
    serve_runs: Callable[[App], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[tuple[Settings, Mapping[str, str]]] = []

    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        handed.append((settings, sources))
        return 7

    serve_runs(app)
    monkeypatch.setenv("REDIS_ADDR", "")
    monkeypatch.setenv("CACHE_MODE", "")
    assert run(["serve", "--cache-ttl", "0"]) == 7
    ((settings, sources),) = handed
    assert (settings.cache_ttl, settings.redis_addr, settings.cache_mode) == (0.0, None, "on")
    assert list(sources) == [setting.name for setting in declared()]
    assert [sources[name] for name in ("cache_ttl", "redis_addr", "cache_mode", "log_level")] == [
        "flag",
        "environment",
        "default",
        "default",
    ]


def test_serve_sets_up_the_log_as_set(serve_runs: Callable[[App], None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        return 0

    serve_runs(app)
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(log, "setup", lambda level, style, **_: calls.append((level, style)))
    assert run(["serve", "--log-level", "debug", "--log-format", "console"]) == 0
    assert calls == [("debug", "console")]


def test_what_cannot_start_is_one_line_and_status_1(
    serve_runs: Callable[[App], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        raise StartError("LISTEN_ADDR: cannot listen on '127.0.0.1:1': Permission denied")

    serve_runs(app)
    assert run(["serve"]) == 1
    told = capsys.readouterr().err
    assert told == "media-cache-proxy: LISTEN_ADDR: cannot listen on '127.0.0.1:1': Permission denied\n"


@pytest.mark.parametrize("name", ["LISTEN_ADDR", "PROBE_ADDR"])
def test_an_address_in_use_is_one_line_beside_the_log_and_status_1(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = {"LISTEN_ADDR": "127.0.0.1:0", "PROBE_ADDR": "127.0.0.1:0", "REDIS_ADDR": "", "RABBITMQ_ADDR": ""}
        result = command("serve", **{**free, name: address})
    assert result.returncode == 1
    told = [line for line in result.stderr.splitlines() if not line.startswith('{"ts": ')]
    assert len(told) == 1
    assert told[0].startswith(f"media-cache-proxy: {name}: ")
    assert address in told[0]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


_LATE = """
import sys, time
from proxy.telemetry import log
write = log.LineWriter._write
def late(writer, line):
    time.sleep(0.05)
    write(writer, line)
log.LineWriter._write = late
from proxy.cli import main
main()
"""
"""The command, with a log whose thread is late, as it is on a busy machine."""


@pytest.mark.parametrize(
    ("variable", "given"), [("PROBE_ADDR", "{taken}"), ("LISTEN_ADDR", "{taken}"), ("LISTEN_TLS_CERT", "/nowhere")]
)
def test_why_serve_ends_is_the_last_line_however_late_the_log_is(variable: str, given: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = {"LISTEN_ADDR": "127.0.0.1:0", "PROBE_ADDR": "127.0.0.1:0", "REDIS_ADDR": "", "RABBITMQ_ADDR": ""}
        given = given.format(taken=f"127.0.0.1:{taken.getsockname()[1]}")
        environment = {"PATH": os.environ["PATH"], **free, variable: given}
        command = [sys.executable, "-c", _LATE, "serve"]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert ended.returncode in {1, 2}, ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[-1].startswith(("media-cache-proxy: ", f"-c: {variable}")), lines
    assert variable in lines[-1]


def test_an_unexpected_failure_is_logged_with_its_traceback_and_status_1(
    serve_runs: Callable[[App], None], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        raise RuntimeError("a bug")

    serve_runs(app)
    assert run(["serve"]) == 1
    assert [each.getMessage() for each in caplog.records] == ["unexpected failure; the proxy ends"]
    assert "RuntimeError: a bug" in caplog.text
    assert capsys.readouterr().err == ""


def test_ctrl_c_is_130_without_a_traceback(
    serve_runs: Callable[[App], None], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        return 0

    serve_runs(app)
    assert run(["serve"]) == 130
    assert capsys.readouterr().err.strip() == ""
    assert caplog.records == []


def test_it_runs_on_uvloop(serve_runs: Callable[[App], None]) -> None:
    loops: list[str] = []

    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        loops.append(type(asyncio.get_running_loop()).__module__)
        return 0

    serve_runs(app)
    assert run(["serve"]) == 0
    assert loops == ["uvloop"]


@pytest.mark.parametrize(("given", "kept"), [(None, "NONE"), ("debug", "debug")])
def test_grpc_writes_no_lines_of_its_own_unless_asked_to(
    given: str | None, kept: str, serve_runs: Callable[[App], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    async def app(settings: Settings, sources: Mapping[str, str]) -> int:
        seen.append(os.environ.get("GRPC_VERBOSITY"))
        return 0

    serve_runs(app)
    if given is None:
        monkeypatch.delenv("GRPC_VERBOSITY")
    else:
        monkeypatch.setenv("GRPC_VERBOSITY", given)
    assert run(["serve"]) == 0
    assert seen == [kept]


def test_config_shows_each_setting_its_value_and_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITMQ_ADDR", "amqp://u:hidden@h/v")
    monkeypatch.setenv("CACHE_NAMESPACE", "staging")
    assert run(["config", "--cache-ttl=90m"]) == 0
    shown = capsys.readouterr().out
    assert "hidden" not in shown
    rows = [line.split() for line in shown.splitlines()]
    names = [row[0] for row in rows]
    assert [name for name in names if not name.startswith("OTEL_")] == [variable(setting) for setting in declared()]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in names
    assert ["RABBITMQ_ADDR", "amqp://***@h/v", "environment"] in rows
    assert ["CACHE_TTL", "90m", "flag"] in rows
    assert ["EVENTS_QUEUE_PREFIX", "api-gateway-media-cache-staging", "default"] in rows


def test_config_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_ADDR", "")
    assert run(["config", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["REDIS_ADDR"] == {"value": "", "source": "environment"}
    assert shown["CACHE_MODE"] == {"value": "on", "source": "default"}
    assert [name for name in shown if not name.startswith("OTEL_")] == [variable(setting) for setting in declared()]
    assert shown["OTEL_TRACES_SAMPLER"] == {"value": "parentbased_always_on", "source": "default"}


@pytest.mark.parametrize(
    "arguments", [["config"], ["--help"], ["--version"], ["serve", "--help"], ["config", "--json"]]
)
def test_an_output_that_cannot_be_written_is_one_line_and_status_1(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "proxy", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.stderr == "media-cache-proxy: the output cannot be written: no space left on device\n"
    assert ended.returncode == 1


def test_completion_knows_commands_and_their_words() -> None:
    environment = {**os.environ, "_MEDIA_CACHE_PROXY_COMPLETE": "bash_complete"}

    def completed(words: str, at: int) -> list[str]:
        given = {**environment, "COMP_WORDS": words, "COMP_CWORD": str(at)}
        command = [str(Path(sys.executable).with_name("media-cache-proxy"))]
        ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        return [line.partition(",")[2] for line in ended.stdout.splitlines()]

    assert completed("media-cache-proxy st", 1) == ["stats"]
    assert completed("media-cache-proxy mode ", 2) == ["on", "off", "shadow"]


def test_a_reader_of_the_output_that_went_away_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_files_of_another_package_of_our_import_name_are_told(tmp_path: Path) -> None:
    """proxy.py of PyPI has a package proxy.core, which hides our module of that name."""
    assert foreign_files(Path(proxy.__file__).parent) == ""
    for name in ("core.py", "cli.py", "core/__init__.py", "http/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert foreign_files(tmp_path) == "of an unknown distribution"
