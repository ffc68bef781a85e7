"""The commands for operators. A running proxy's admin server answers them; `ping` connects to dependencies itself.

Their exit statuses:

0   done
1   the proxy, or for `ping` something that it depends on, cannot be reached; or the proxy refused
2   a setting, an argument or a flag is not understood
3   `invalidate`, `flush`: Redis has not confirmed it yet; the proxy keeps it and tries again
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from proxy.admin.lines import lookup_lines, ms, stats_lines, table
from proxy.printable import printable, printable_json
from proxy.settings import config, flags

if TYPE_CHECKING:
    from proxy.admin.client import AdminClient
    from proxy.admin.pinging import Ping

KEPT = 3
_EXIT_STATUS = """
\b
Exit status:
  0  done
  1  {one}
  2  an argument or a setting is not understood{three}
"""
_UNREACHED = "the proxy cannot be reached, or it refused"
_THREE = "\n  3  Redis has not confirmed it yet; the proxy keeps it and tries again"

_as_json = click.option("as_json", "--json", is_flag=True, help="Print the answer as one JSON object.")
_what = click.argument("what", metavar="TAG | TYPE ID", nargs=-1, required=True)
_collection = click.option("--collection", default="", help="Only for the log: the whole model is always invalidated.")
_NAMED = """
\b
TAG is a tag as the policy makes it, like product/7. TYPE and ID name a model of the media service.
"""
_FLUSHED = """
While it is under way, stderr says how far it is. Ctrl-C ends the command, not the flush; `stats` shows the flush too.
"""
_EXPLAINED = """
\b
METHOD is a read of the policy, like shop.Products/Get, and REQUEST its message in protobuf's JSON. TYPE and ID name a
model of the media service: the call is the one that reads the model's files.

\b
Examples:
  media-cache-proxy explain shop.Products/Get '{"id": 7}'
  media-cache-proxy explain user 123 --collection avatars
"""


def commands() -> list[click.Command]:
    """All commands of this module."""
    return [stats, lookup, explain, invalidate, flush, mode, ping]


def _operator_command(
    name: str, text: str, *more: Callable[[Any], Any], kept: bool = False
) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a command of a function, which gets an AdminClient as `ask`. `text` is the help without the exit statuses,
    `more` are further arguments and options, `kept` means that exit status 3 is possible.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        def run(admin_addr: str, admin_token: str, **values: Any) -> Any:
            from proxy.admin.client import AdminClient, AdminError, NotUnderstoodError  # noqa: PLC0415 -- help loads no HTTP

            try:
                return function(AdminClient(admin_addr, admin_token), **values)
            except NotUnderstoodError as error:
                raise click.UsageError(str(error), click.get_current_context()) from error
            except AdminError as error:
                raise click.ClickException(str(error)) from error

        wrapped: Any = run
        for decorate in reversed((*more, _as_json)):
            wrapped = decorate(wrapped)
        status = _EXIT_STATUS.format(one=_UNREACHED, three=_THREE if kept else "")
        command = click.command(name, help=text + "\n" + status, short_help=text.splitlines()[0])(wrapped)
        command.params += flags.options("admin_addr", "admin_token")
        return command

    return made


def _answer(answer: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any]], list[str]]) -> None:
    if as_json:
        click.echo(printable_json(json.dumps(answer, indent=2, ensure_ascii=False)))
    else:
        click.echo("\n".join(lines(answer)))


@_operator_command("stats", "Show how well the proxy caches, what is broken, and the last invalidations.")
def stats(ask: "AdminClient", *, as_json: bool) -> None:
    """Prints a summary."""
    _answer(ask.get("/stats"), as_json, stats_lines)


@_operator_command("lookup", "Show what is stored for a tag, without the answers.\n" + _NAMED, _what)
def lookup(ask: "AdminClient", *, what: tuple[str, ...], as_json: bool) -> None:
    """Prints a table."""
    _answer(ask.get("/lookup", **_named(what)), as_json, lookup_lines)


@_operator_command(
    "explain",
    "Explain why a call would be a hit, a miss or a bypass.\n" + _EXPLAINED,
    click.argument("what", metavar="METHOD [REQUEST] | TYPE ID", nargs=-1, required=True),
    click.option("--collection", default="", help="With TYPE ID: the call's collection_name. Empty: all collections."),
    click.option("--page", type=int, default=1, show_default=True, help="With TYPE ID: the call's page."),
    click.option("--per-page", type=int, default=1, show_default=True, help="With TYPE ID: the call's per_page."),
    click.option("--metadata", multiple=True, metavar="KEY:VALUE", help="Request metadata of the call; repeatable."),
)
def explain(
    ask: "AdminClient", *, what: tuple[str, ...], as_json: bool, metadata: tuple[str, ...], **paging: Any
) -> None:
    """Prints the result and the reasons."""
    if len(what) == 1 or what[1].lstrip().startswith("{"):
        call: dict[str, Any] = {"method": what[0], "request": _at_most_two(what)[-1] if len(what) > 1 else "{}"}
    else:
        call = {**_named(what), **paging}
    answer = ask.post("/explain", **call, metadata=list(metadata))
    _answer(answer, as_json, lambda told: [told["result"], *(f"  {printable(why)}" for why in told["why"])])


@_operator_command("invalidate", "Delete everything stored for a tag.\n" + _NAMED, _what, _collection, kept=True)
def invalidate(ask: "AdminClient", *, what: tuple[str, ...], collection: str, as_json: bool) -> int:
    """Prints whether Redis has confirmed."""
    answer = ask.post("/invalidate", **_named(what), collection=collection)
    return _confirmed(answer, as_json, f"{' '.join(what)} is invalidated")


@_operator_command(
    "flush",
    "Delete everything stored, or everything stored for one service.\n" + _FLUSHED,
    click.argument("service", required=False),
    kept=True,
)
def flush(ask: "AdminClient", *, service: str | None, as_json: bool) -> int:
    """Prints whether Redis has confirmed; while the flush is under way, how far it is."""
    from proxy.admin.following import followed  # noqa: PLC0415 -- help loads no HTTP

    named = {} if service is None else {"service": service}
    answer = followed(ask, ask.post("/flush", **named))
    done = "the whole cache is flushed" if service is None else f"everything stored for {service} is flushed"
    return _confirmed(answer, as_json, done)


@_operator_command(
    "mode",
    "Show the mode of one proxy, or switch it until the proxy ends: on, off (forward only) or shadow.",
    click.argument("mode", type=click.Choice(("on", "off", "shadow"), case_sensitive=False), required=False),
)
def mode(ask: "AdminClient", *, mode: str | None, as_json: bool) -> None:
    """Prints the mode, and the previous one if it was switched."""
    answer = {"mode": ask.get("/stats")["mode"]} if mode is None else ask.post("/mode", mode=mode)
    was = "" if mode is None else f"; it was {answer['before']}"
    _answer(answer, as_json, lambda told: [f"the mode is {told['mode']}{was}"])


_PINGED = (
    "redis_addr",
    "sentinel_password",
    "cache_namespace",
    "rabbitmq_addr",
    "media_service_addr",
    "upstream_tls",
    *(
        f"{leg}_tls_{part}"
        for leg in ("upstream", "redis", "rabbitmq")
        for part in ("ca", "cert", "key", "server_name")
    ),
)
_PING_HELP = f"""Connect to Redis, RabbitMQ and the media service, and show how long that takes.

Of the trace collector, only the port is tried.

No proxy needs to run: the settings are those that `serve` would use with the same flags and variables.
{_EXIT_STATUS.format(one="one of them cannot be reached", three="")}"""


@click.command(
    "ping",
    params=flags.options(*_PINGED),
    help=_PING_HELP,
    short_help="Connect to all dependencies, and show how long that takes.",
)
@click.option(
    "--collector",
    envvar=["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    default="",
    metavar="URL",
    show_envvar=True,
    help="Address of the trace collector. Empty: it is not tried.",
)
@_as_json
def ping(*, collector: str, as_json: bool, **values: Any) -> int:
    """Prints one line for each dependency."""
    settings = config.Settings(**values)
    import asyncio  # noqa: PLC0415 -- help needs none of these
    import logging  # noqa: PLC0415
    import os  # noqa: PLC0415

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from proxy.admin.pinging import ping as reach  # noqa: PLC0415
    from proxy.tls import Tls  # noqa: PLC0415

    logging.getLogger().addHandler(logging.NullHandler())  # hides the libraries' lines; failures are printed below
    told = asyncio.run(
        reach(
            settings.redis,
            settings.rabbitmq_addr,
            settings.media_service_addr,
            collector,
            tls=Tls.load(settings),
            namespace=settings.cache_namespace,
        )
    )
    if as_json:
        shown = {"reached": all(each.reached for each in told), "dependencies": [_shown(each) for each in told]}
        click.echo(printable_json(json.dumps(shown, indent=2, ensure_ascii=False)))
    else:
        rows = [
            (each.name, each.address, each.error or f"connected in {ms(each.connect)}", _asked(each)) for each in told
        ]
        click.echo("\n".join(table(rows)))
    return 0 if all(each.reached for each in told) else 1


def _named(what: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a request about a tag (one word) or a model (two words)."""
    if len(what) == 1:
        return {"tag": what[0]}
    model_type, model_id = _at_most_two(what)
    if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", model_id):
        raise click.UsageError(
            f"{model_id!r} is not an id; accepted: a whole number, or a tag in one word in place of both"
        )
    return {"model_type": model_type, "model_id": str(int(model_id))}


def _at_most_two(what: tuple[str, ...]) -> tuple[str, ...]:
    if len(what) > 2:
        raise click.UsageError(f"{len(what)} words are too many; accepted: one or two")
    return what


def _confirmed(answer: dict[str, Any], as_json: bool, done: str) -> int:
    _answer(answer, as_json, lambda told: [printable(done if told["done"] else told["note"])])
    return 0 if answer["done"] else KEPT


def _shown(each: "Ping") -> dict[str, object]:
    return {**asdict(each), "reached": each.reached}


def _asked(each: "Ping") -> str:
    if not each.reached:
        return ""
    return "only its port was tried" if each.round_trip is None else f"round trip {ms(each.round_trip)}"
