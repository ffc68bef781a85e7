"""The commands `policy init`, `check`, `test` and `explain`. Their exit statuses:

0   done: `check` found no mistake, `test` no difference
1   `test` found a difference; `check --strict` has a warning; `init` could not reach the server or use the file
2   a policy, a file of cases, an argument or a flag is not understood
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from proxy.errors import StartError
from proxy.settings import flags
from proxy.settings.setting_types import GrpcTarget

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EXIT_STATUS = """
\b
Exit status:
  0  {zero}
  1  {one}
  2  {two}
"""
_BAD_POLICY = "the policy has mistakes, or an argument is not understood"
_TLS = ("upstream_tls", "upstream_tls_ca", "upstream_tls_cert", "upstream_tls_key", "upstream_tls_server_name")
"""The TLS settings of services whose policy has none of its own."""
_file = click.argument("file", type=click.Path(dir_okay=False))


def _status(zero: str, one: str, two: str = _BAD_POLICY) -> str:
    return _EXIT_STATUS.format(zero=zero, one=one, two=two)


@click.group(context_settings=_HELP)
def policy() -> None:
    """Write, check and try policies: what a service's methods mean to the cache.

    A policy is a YAML file that POLICY names. docs/policies.md shows how to write one, and has every key.

    \b
    Examples:
      media-cache-proxy policy init --descriptors shop.binpb > shop.yaml
      media-cache-proxy policy check shop.yaml
      media-cache-proxy policy explain shop.yaml shop.Products/Get '{"id": 7}'
      media-cache-proxy policy test shop.cases.yaml
    """


@policy.command(
    help="""Print a policy to begin with: it lists every method of a server or of a file, and caches none yet.

    It guesses which methods are reads from `idempotency_level = NO_SIDE_EFFECTS` and from their names.

    With UPSTREAM_TLS=on the server is asked over TLS, and the policy gets the same TLS settings.

\b
Examples:
  media-cache-proxy policy init --reflection localhost:50055 > shop.yaml
  media-cache-proxy policy init --reflection shop:443 --upstream-tls on --upstream-tls-ca shop-ca.pem > shop.yaml
  buf build -o shop.binpb && media-cache-proxy policy init --descriptors shop.binpb > shop.yaml
"""
    + _status("printed", "the server cannot be reached, or the file cannot be used", "an argument is not understood"),
    short_help="Print a policy to begin with.",
    params=flags.options(*_TLS),
)
@click.option("--reflection", metavar="TARGET", type=GrpcTarget(), help="Server to ask for its services.")
@click.option(
    "--descriptors", metavar="FILE", type=click.Path(dir_okay=False), help="FileDescriptorSet written by protoc or buf."
)
@click.option(
    "--upstream",
    metavar="TARGET",
    type=GrpcTarget(),
    help="Address of the services, for the policy. Default: that of --reflection.",
)
def init(reflection: str | None, descriptors: str | None, upstream: str | None, **tls: Any) -> None:
    """Prints a commented policy."""
    from proxy.policy.descriptors import BadDescriptors  # noqa: PLC0415
    from proxy.policy.loading import descriptors_in  # noqa: PLC0415
    from proxy.policy.reflection import ask  # noqa: PLC0415
    from proxy.policy.starter import starter  # noqa: PLC0415

    if (reflection is None) == (descriptors is None):
        raise click.UsageError(
            "the descriptors need exactly one source; accepted: --reflection TARGET, --descriptors FILE"
        )
    try:
        if reflection is not None:
            with closing(_reflecting(tls)(reflection, None)) as channel:
                found = ask(channel)
        else:
            found = descriptors_in(Path(descriptors or ""))
    except BadDescriptors as bad:
        raise click.ClickException(f"{reflection or descriptors} {bad}") from None
    source = "reflection" if reflection else Path(descriptors or "").name
    where = upstream or reflection or "localhost:50055"
    how = _upstream_tls(tls) if reflection else None
    click.echo(starter(found, file="shop.yaml", source=source, upstream=where, tls=how), nl=False)


@policy.command(
    help="""Print every mistake in a policy with file, line and column, or a table of its methods if there is none.

What works but is probably not intended leads to a warning: a tag that no write or event names, or a read whose answers
callers can shape.

\b
Examples:
  media-cache-proxy policy check shop.yaml
  media-cache-proxy policy check --strict shop.yaml     # in CI: warnings fail too
"""
    + _status("no mistake", "--strict: a warning"),
    short_help="Print every mistake in a policy, or what it caches.",
)
@_file
@click.option("--strict", is_flag=True, help="End with exit status 1 if there is a warning.")
def check(file: str, strict: bool) -> None:
    """Prints mistakes, or the table and the warnings."""
    from proxy.policy.advice import warnings  # noqa: PLC0415 -- help loads none of it
    from proxy.policy.table import lines  # noqa: PLC0415

    loaded = _loaded(file)
    click.echo("\n".join(lines(loaded)))
    found = [*warnings(loaded), *_where_served(loaded)]
    for warning in found:
        click.echo(f"warning: {warning}", err=True)
    if found and strict:
        raise click.exceptions.Exit(1)


@policy.command(
    help="""Run cases against the policy that they name, and print the differences.

A case is a read with the tag, the bypass and the storage that are expected, or a write or an event with the tags that
it is expected to name.

\b
Example of a file of cases, shop.cases.yaml:
  policy: shop.yaml
  cases:
    - name: a product is stored under its own tag
      read: shop.Products/Get
      request: {id: 7}
      tag: product/7
    - name: an update names the product and the list
      event: {exchange: shop.events, routing_key: product.updated}
      body: {product_id: 7}
      invalidates: [product/7, products]
"""
    + _status("nothing differs", "something differs", "the policy or a file of cases has mistakes"),
    short_help="Run cases against a policy.",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
def test(files: tuple[str, ...]) -> None:
    """Prints the differences, then the number of cases."""
    from proxy.policy import cases  # noqa: PLC0415 -- help loads none of it
    from proxy.policy.loading import policy_text  # noqa: PLC0415

    ran, failed = 0, 0
    for file in files:
        try:
            given = cases.read_cases(policy_text(file), file)
        except StartError as error:
            raise click.UsageError(str(error)) from None
        name = given.policy.text if given.policy else ""
        loaded = _loaded("" if name == "builtin" else str(Path(file).parent / name))
        for case in given.cases or ():
            found = list(cases.differences(loaded, case))
            ran, failed = ran + 1, failed + bool(found)
            for difference in found:
                click.echo(str(difference))
    click.echo(f"{ran} case{'' if ran == 1 else 's'}, {failed} {'differs' if failed == 1 else 'differ'}")
    if failed:
        raise click.exceptions.Exit(1)


@policy.command(
    help="""Explain what a policy means for one call, offline: its tag, and whether and how long its answer is stored.

REQUEST is the message in protobuf's JSON. METHOD needs no service if only one has the method.
FILE may be the word builtin, for the policy that is used when POLICY is empty.

\b
Examples:
  media-cache-proxy policy explain shop.yaml Get '{"id": 7}'
  media-cache-proxy policy explain shop.yaml Get '{"id": 7}' --response '{"success": true}'
  media-cache-proxy policy explain shop.yaml Get '{"id": 8}' --status NOT_FOUND
  media-cache-proxy policy explain shop.yaml ListProducts '{}'
"""
    + _status("explained", "an expression of the policy fails on this call"),
    short_help="Explain what a policy means for one call.",
)
@_file
@click.argument("method")
@click.argument("request", default="{}")
@click.option("--response", metavar="JSON", help="The answer, to see whether and how long it is stored.")
@click.option("--status", metavar="NAME", help="The status of an answer that is an error, like NOT_FOUND.")
def explain(file: str, method: str, request: str, response: str | None, status: str | None) -> None:
    """Prints one line for each thing that the policy says about the call."""
    from proxy.policy.explaining import explained  # noqa: PLC0415 -- help loads none of it
    from proxy.policy.failures import ExpressionError  # noqa: PLC0415
    from proxy.policy.jsonish import BadMessage  # noqa: PLC0415

    code = None if status is None else _status_code(status)
    if code is not None and response is not None:
        raise click.UsageError("gives two answers; accepted: one of --response JSON, --status NAME")
    loaded = _loaded("" if file == "builtin" else file)
    try:
        answer = None if response is None else _json("--response", response)
        told = explained(loaded, method, _json("REQUEST", request), answer, code)
    except BadMessage as bad:
        raise click.UsageError(str(bad)) from None
    except ExpressionError as error:
        raise click.ClickException(f"an expression fails on this call, so it is forwarded, uncached: {error}") from None
    width = max(len(name) for name, _ in told)
    for name, value in told:
        click.echo(f"{name:<{width}}  {value}")


def _where_served(loaded: Any) -> Iterator[str]:
    """Warnings about what `serve` could not use here, or with the other transport; it may run elsewhere."""
    from proxy.envoy.addresses import target  # noqa: PLC0415 -- help loads none of it
    from proxy.tls import Leg  # noqa: PLC0415

    for service in loaded.services.values():
        try:
            target(service.upstream or "localhost:1")
        except ValueError:
            yield f"{service.name}: upstream: {service.upstream!r} cannot be reached with TRANSPORT=envoy"
        try:
            if service.upstream_tls is not None and service.upstream_tls.on:
                Leg.to(service.upstream_tls)
        except StartError as error:
            yield f"serve would not start here: {error}"


def _status_code(name: str) -> Any:
    from grpc import StatusCode  # noqa: PLC0415 -- help loads none of it

    from proxy.calls.statuses import ERRORS  # noqa: PLC0415

    if name.upper() not in ERRORS:
        raise click.UsageError(f"--status: {name!r} is not understood; accepted: {', '.join(ERRORS)}")
    return StatusCode[name.upper()]


def _json(what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError(
            f'{what}: is not valid JSON; accepted: a message in protobuf\'s JSON, like {{"id": 7}}'
        ) from None


def _upstream_tls(given: dict[str, Any]) -> dict[str, str] | None:
    """A policy's `upstream_tls` for these settings, with absolute paths; None without TLS."""
    if given["upstream_tls"] != "on":
        return None
    said = {name.removeprefix("upstream_tls_"): text for name, text in given.items() if name != "upstream_tls" and text}
    return {name: text if name == "server_name" else str(Path(text).absolute()) for name, text in said.items()}


def _reflecting(given: dict[str, Any]) -> Any:
    """A function that connects to a server for reflection, with these settings."""
    from proxy.settings.config import Settings  # noqa: PLC0415 -- help loads none of it
    from proxy.transport.credentials import reflecting  # noqa: PLC0415

    return reflecting(Settings(**given))


def _loaded(file: str) -> Any:
    """The policy, loaded as `serve` would load it in the same environment; mistakes are printed and end the command."""
    from proxy.policy.loading import load_policy  # noqa: PLC0415 -- help loads none of it

    names = ("media_service_addr", "cache_bypass_per_page", "transport", *_TLS)
    given = click.Command("", params=flags.options(*names)).make_context("", []).params
    try:
        return load_policy(
            file,
            constants={"CACHE_BYPASS_PER_PAGE": given.pop("cache_bypass_per_page")},
            default_upstream=given["media_service_addr"],
            connect=_reflecting(given),
            transport=given["transport"],
        )
    except StartError as error:
        for line in str(error).splitlines():
            click.echo(line, err=True)
        raise click.exceptions.Exit(2) from None
