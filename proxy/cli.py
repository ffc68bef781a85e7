"""The command line: parses arguments and returns the exit status. What the commands do is in other modules.

A user's mistake leads to one line on stderr, never to a traceback. The exit statuses are:

    0     done; `serve`: it was told to end and has drained
    1     `serve` could not start (an address is in use) or failed unexpectedly; a command for operators could not reach
          the proxy or was refused; the output could not be written
    2     a setting, a file that it names, a command or a flag is not understood
    3     `invalidate`, `flush`: Redis has not confirmed it yet; the proxy keeps it and retries
    130   Ctrl-C before `serve` was serving; after that it drains, as with SIGTERM
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import proxy
from proxy import starting
from proxy.admin import commands
from proxy.admin.lines import table
from proxy.errors import SettingError, StartError
from proxy.lazy_commands import LazyGroup
from proxy.printable import printable, printable_json
from proxy.reasons import in_words
from proxy.settings import config, flags, otel, otel_rules
from proxy.settings.tolerance import Taken

PROGRAM = "media-cache-proxy"

_SOURCES = {ParameterSource.ENVIRONMENT: "environment", ParameterSource.COMMANDLINE: "flag"}
_logger = logging.getLogger(__name__)


@click.group(
    cls=LazyGroup,
    lazy={"inject": "proxy.injector_cli", "policy": "proxy.policy_cli", "webhook": "proxy.injector_cli"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(getattr(proxy, "__version__", ""), message="%(prog)s %(version)s")
def cli() -> None:
    """A transparent caching sidecar for gRPC services.

    Callers connect to it instead of the service. It answers the methods that a policy calls reads from Redis where it
    can, and passes every other call on unchanged. Events from RabbitMQ, and writes that pass through, remove the
    cached answers that they make stale. The built-in policy is for the media service.
    """


_CLICKS_OWN = ("Missing ", "No such ", "Got ", "Option ")
"""Beginnings of click's own messages."""
_SERVE_HELP = """Run the proxy until SIGTERM or Ctrl-C.

Each setting is a flag or the environment variable shown with it; the flag wins. An empty variable counts as not set,
except where the help says what empty means.

Redis, RabbitMQ and the media service may be away, even at the start: calls are then forwarded uncached, missed events
are made up for, and caching resumes by itself.

After SIGTERM it reports that it is not ready, goes on serving until it is idle, for DRAIN_TIME at most, and ends.

\b
Examples:
  media-cache-proxy serve
  media-cache-proxy serve --media-service-addr media:50056 --log-format console
  CACHE_MODE=shadow REDIS_ADDR=redis://:secret@cache:6379/2 media-cache-proxy serve

\b
Exit status:
  0  drained after SIGTERM
  1  cannot listen on an address, or failed unexpectedly
  2  a setting is not understood, or a file that it names cannot be used
"""


@cli.command("serve", params=flags.options(), help=_SERVE_HELP, short_help="Run the proxy.")
@click.pass_context
def serve(context: click.Context, /, **values: Any) -> int:
    """Build the settings and hand over to the composition root."""
    taken = Taken.of(values, flags.faults(context))
    # By default gRPC's C core writes lines to stderr, for each failed connection too. It reads the variable when it is
    # loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    while True:
        try:
            return _serve(taken, _sources(context))
        except SettingError as error:
            taken = taken.after(error)


def _serve(taken: Taken, sources: dict[str, str]) -> int:
    """Serves with the transport that is set; SettingError names what cannot be used."""
    settings = taken.settings
    from proxy.telemetry import log, stderr_records  # noqa: PLC0415 -- help and mistakes do not load what serves

    stderr_records.hook()
    try:
        if settings.transport == "envoy":
            _require_envoy()
            log.setup(settings.log_level, settings.log_format)
            return _run(taken, sources)
        from proxy.telemetry import tracing  # noqa: PLC0415 -- with TRANSPORT=envoy only the process inside loads it

        with stderr_records.captured(settings.log_format) as fd:
            log.setup(settings.log_level, settings.log_format, fd=fd, trace_ids=tracing.ids)
            return _run(taken, sources)
    finally:
        log.end()  # its thread may be late, and the last line on stderr is to be the reason of the end


def _run(taken: Taken, sources: dict[str, str]) -> int:
    wrong = {"faults": taken.faults} if taken.faults else {}
    try:
        import asyncio  # noqa: PLC0415

        if taken.settings.transport == "envoy":
            from proxy.envoy import supervisor  # noqa: PLC0415

            return asyncio.run(supervisor.run(taken.settings, sources=sources, **wrong))
        import uvloop  # noqa: PLC0415

        app = starting.load("proxy.app")
        return int(uvloop.run(app.run(taken.settings, sources=sources, **wrong)))
    except SettingError:
        raise
    except StartError as error:
        raise click.ClickException(str(error)) from error
    except Exception:
        _logger.exception("unexpected failure; the proxy ends")
        return 1


@cli.command("envoy-config", params=flags.options(), short_help="Show Envoy's configuration.")
def envoy_config(**values: Any) -> None:
    """Show the configuration that `serve` with TRANSPORT=envoy gives to Envoy, as JSON, for a person to read.

    The paths of sockets are examples: each start makes a new directory for them.
    """
    settings = config.Settings(**values)
    _require_envoy()
    from proxy.envoy import config_files, launch  # noqa: PLC0415
    from proxy.envoy.bootstrap import Place  # noqa: PLC0415

    try:
        place = Place(Path("/run/media-cache-proxy"), launch.module(), launch.authorities())
        click.echo(json.dumps(config_files.shown(settings, place), indent=2, ensure_ascii=False))
    except SettingError:
        raise
    except StartError as error:
        raise click.ClickException(str(error)) from error


@cli.command("config", params=flags.options(), short_help="Show the settings in effect.")
@click.option("as_json", "--json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def show_config(context: click.Context, /, as_json: bool, **values: Any) -> None:
    """Show the settings that `serve` would use with the same flags and environment, and where each came from.

    OpenTelemetry's variables are included. Credentials are masked. A setting that is not understood is an error, as
    it is for `serve`.
    """
    sources = _sources(context)
    taken = Taken.of(values, flags.faults(context))
    unread = otel_rules.wrong()
    if unread and otel.traced():
        taken = taken.after(SettingError(unread[0]))
    elif unread:
        click.echo("\n".join(f"{PROGRAM}: {line}; nothing is traced, so it has no effect" for line in unread), err=True)
    for fault in taken.faults:
        click.echo(f"{PROGRAM}: {fault}", err=True)
    settings = taken.settings
    shown = {name.upper(): (text, sources[name]) for name, text in settings.shown().items()}
    shown |= otel.shown()
    if as_json:
        entries = {name: {"value": text, "source": source} for name, (text, source) in shown.items()}
        click.echo(printable_json(json.dumps(entries, indent=2)))
        return
    click.echo("\n".join(table([(name, *entry) for name, entry in shown.items()])))


for _command in commands.commands():
    cli.add_command(_command)


def _require_envoy() -> None:
    """SettingError: the packages of the extra `envoy` are not installed."""
    if find_spec("pyvoy") is None:
        raise SettingError(
            "TRANSPORT: 'envoy' needs packages that are not installed; accepted: grpcio, or envoy after "
            "pip install '.[envoy]' in the source tree"
        )


def _sources(context: click.Context) -> dict[str, str]:
    """Setting's name -> `environment`, `flag` or `default`."""
    sources = {setting.name: context.get_parameter_source(setting.name) for setting in config.declared()}
    return {name: "default" if source is None else _SOURCES.get(source, "default") for name, source in sources.items()}


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default the process's own, and returns the exit status."""
    try:
        status = cli.main(arguments, PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except SettingError as error:
        click.echo(f"{PROGRAM}: {error}", err=True)
        return 2
    except click.ClickException as error:
        click.echo(f"{PROGRAM}: {printable(_told(error))}", err=True)
        return error.exit_code
    except OSError as error:
        return _unwritten(error)
    return status or 0


def _unwritten(error: OSError) -> int:
    """The exit status after stdout could not be written: the disk is full, or the pipe's reader has left."""
    # At its end the interpreter would write the rest of the buffer, and fail with a traceback.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        click.echo(f"{PROGRAM}: the output cannot be written: {in_words(error)}", err=True)
    return 1


def _told(error: click.ClickException) -> str:
    """The mistake in one line; for mistakes in the arguments it also names the command's help."""
    message = " ".join(error.format_message().split())
    if not isinstance(error, click.UsageError):
        return message
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        message = flags.one_line(error)
        if isinstance(error.param, flags.SettingOption):
            return message  # it already says what is accepted
    command = error.ctx.command_path if error.ctx else PROGRAM
    if message.startswith(_CLICKS_OWN):
        message = message[0].lower() + message[1:]
    return f"{message.removesuffix('.')}; see: {command} --help"


def main() -> None:
    """The console script, and `python -m proxy`."""
    if others := foreign_files(Path(__file__).parent):
        why = f"another package with the import name proxy, {others}, has overwritten files of this one"
        click.echo(f"{PROGRAM}: {why}; accepted: an environment for media-cache-proxy alone", err=True)
        sys.exit(1)
    sys.exit(run())


def foreign_files(folder: Path) -> str:
    """The names of other distributions that have installed files in `folder`, such as proxy.py; "" if there are none.

    First it looks for a file that would hide one of the proxy's modules, since asking all distributions takes longer
    than a command does.
    """
    ours = {path.stem for path in folder.glob("*.py")}
    if not any((folder / name / "__init__.py").exists() for name in ours) and hasattr(proxy, "__version__"):
        return ""
    from importlib.metadata import packages_distributions  # noqa: PLC0415 -- it loads a mail parser

    names = {name for name in packages_distributions().get("proxy", []) if name != PROGRAM}
    return ", ".join(sorted(names)) or "of an unknown distribution"
