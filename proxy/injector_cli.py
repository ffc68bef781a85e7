"""The commands `inject` and `webhook`: arguments only."""

import sys
from difflib import unified_diff
from typing import Any, TextIO

import click

from proxy.injector import settings
from proxy.injector.versions import NEWEST, Version, parse_version

_NEEDS_EXTRA = "needs more packages; install media-cache-proxy[webhook]"


class KubernetesVersion(click.ParamType[Version]):
    """`1.33` or `v1.33.2`."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Version:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return] # the default, converted already
        try:
            return parse_version(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(params=list(settings.options()))
@click.option(
    "-f", "--filename", type=click.File(encoding="utf-8"), required=True, help="A YAML file; -: standard input."
)
@click.option("--diff", is_flag=True, help="Show what changes instead of the result.")
@click.option(
    "--kubernetes-version",
    type=KubernetesVersion(),
    default=".".join(map(str, NEWEST)),
    show_default=True,
    help="The cluster's version; decides --mode auto.",
)
def inject(filename: TextIO, diff: bool, kubernetes_version: Version, **flags: Any) -> None:
    """Print manifests as the webhook would leave their pods: with the sidecar, the app pointed at it."""
    try:
        from proxy.injector import manifests  # noqa: PLC0415 -- ruamel.yaml is an extra
    except ImportError:
        raise click.ClickException(f"inject {_NEEDS_EXTRA}") from None
    defaults = settings.from_flags(flags)
    try:
        text = filename.read()
        result = manifests.inject(text, kubernetes_version, defaults)
    except (UnicodeDecodeError, manifests.BadManifest) as error:
        raise click.ClickException(f"{filename.name}: {error}") from None
    for line in result.warnings:
        click.echo(f"warning: {filename.name}: {line}", err=True)
    for line in result.errors:
        click.echo(f"error: {filename.name}: {line}", err=True)
    if result.errors:
        sys.exit(1)
    if not result.injected:
        click.echo(f"warning: {filename.name}: nothing was injected", err=True)
    if not diff:
        click.echo(result.text, nl=False)
        return
    names = (filename.name, f"{filename.name} (injected)")
    click.echo("".join(unified_diff(text.splitlines(True), result.text.splitlines(True), *names)), nl=False)
