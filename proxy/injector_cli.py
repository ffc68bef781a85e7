"""The arguments of the commands `inject` and `webhook`."""

import asyncio
from difflib import unified_diff
from pathlib import Path
from typing import Any, TextIO

import click

from proxy.injector import settings, sidecar
from proxy.injector.settings import InjectorSettings
from proxy.injector.versions import NEWEST, Version, parse_version
from proxy.settings.setting_types import LOG_LEVEL, Duration, HostPort, OneOf

_LEAST_LIFE = 3600.0
_NEEDS_EXTRA = "needs more packages: pip install '.[webhook]' in the source tree"


class Life(Duration):
    """The lifetime of a certificate: an hour at least, so that every API server knows a new one before the old ends."""

    def __init__(self) -> None:
        super().__init__(400 * 86400.0)
        self.accepted += f", at least {self.text(_LEAST_LIFE)}"

    def parse(self, text: str) -> float:
        """Seconds; ValueError also for a lifetime that is too short."""
        seconds = super().parse(text)
        if seconds < _LEAST_LIFE:
            raise ValueError(text)
        return seconds


class KubernetesVersion(click.ParamType[Version]):
    """A version of Kubernetes, such as `1.33` or `v1.33.2`."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Version:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return] # the default, converted already
        try:
            return parse_version(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class PolicyFile(click.ParamType[tuple[str, str]]):
    """`NAME=FILE`; the value is the name and the text of the file."""

    name = "name=file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, path = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not understood; accepted: NAME=FILE", param, ctx)
        try:
            return name, Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{path}: {error}", param, ctx)


@click.command(params=list(settings.options()))
@click.option(
    "-f", "--filename", type=click.File(encoding="utf-8"), required=True, help="YAML file to read; -: standard input."
)
@click.option("--diff", is_flag=True, help="Print what changes instead of the result.")
@click.option(
    "--kubernetes-version",
    type=KubernetesVersion(),
    default=".".join(map(str, NEWEST)),
    show_default=True,
    help="Version of the cluster; --mode auto depends on it.",
)
@click.option(
    "--policy",
    "policies",
    type=PolicyFile(),
    multiple=True,
    help="Policy that pods name in an annotation: NAME of its ConfigMap, and FILE with its text.",
)
def inject(
    filename: TextIO, diff: bool, kubernetes_version: Version, policies: tuple[tuple[str, str], ...], **flags: Any
) -> None:
    """Print manifests as the webhook would change their pods: with the sidecar, and the app pointed at it."""
    try:
        from proxy.injector import manifests  # noqa: PLC0415 -- ruamel.yaml is an extra
    except ModuleNotFoundError as error:
        raise click.ClickException(f"inject {_NEEDS_EXTRA} ({error})") from None
    defaults = _defaults(flags)
    try:
        text = filename.read()
        result = manifests.inject(text, kubernetes_version, defaults, dict(policies))
    except (UnicodeDecodeError, manifests.BadManifest) as error:
        raise click.ClickException(f"{filename.name}: {error}") from None
    for line in result.warnings:
        click.echo(f"warning: {filename.name}: {line}", err=True)
    for line in result.errors:
        click.echo(f"error: {filename.name}: {line}", err=True)
    if result.errors:
        raise click.exceptions.Exit(1)
    if not result.injected:
        click.echo(f"warning: {filename.name}: nothing was injected", err=True)
    if not diff:
        click.echo(result.text, nl=False)
        return
    names = (filename.name, f"{filename.name} (injected)")
    click.echo("".join(unified_diff(text.splitlines(True), result.text.splitlines(True), *names)), nl=False)


def _defaults(flags: dict[str, Any]) -> InjectorSettings:
    """The settings of pods without annotations. A mistake in them ends the command, not the start of every pod."""
    defaults = settings.from_flags(flags)
    try:
        sidecar.check(defaults)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return defaults


def _option(
    name: str, variable: str, kind: click.ParamType[Any], text: str, default: str | None = None
) -> click.Option:
    return click.Option(
        [f"--{name}"],
        envvar=variable,
        type=kind,
        # The argument is left out if there is no default, since click would take None for a default.
        **({"required": True} if default is None else {"default": default}),
        help=text,
        show_default=bool(default),
        show_envvar=True,
    )


_WEBHOOK_OPTIONS = (
    _option("listen-addr", "WEBHOOK_LISTEN_ADDR", HostPort(), "HTTPS address for admission reviews.", "[::]:9443"),
    _option("probe-addr", "PROBE_ADDR", HostPort(), "HTTP address of the probes and metrics.", "[::]:9464"),
    _option("namespace", "WEBHOOK_NAMESPACE", click.STRING, "Namespace of the webhook's Service and Secret."),
    _option("service", "WEBHOOK_SERVICE", click.STRING, "Name of the webhook's Service."),
    _option("configuration", "WEBHOOK_CONFIGURATION", click.STRING, "Name of the MutatingWebhookConfiguration."),
    _option(
        "tls-mode",
        "TLS_MODE",
        click.Choice(["selfManaged", "certManager", "existingSecret"]),
        "Who makes the certificate: the webhook (selfManaged), cert-manager (certManager), or you (existingSecret).",
        "selfManaged",
    ),
    _option("tls-secret", "TLS_SECRET", click.STRING, "selfManaged: name of the Secret that holds it.", ""),
    _option("tls-dir", "TLS_DIR", click.STRING, "Other modes: directory of tls.crt, tls.key and ca.crt.", "/tls"),
    _option(
        "tls-write-ca-bundle",
        "TLS_WRITE_CA_BUNDLE",
        click.BOOL,
        "existingSecret: whether to add ca.crt to the caBundle of the configuration.",
        "true",
    ),
    _option(
        "tls-life",
        "TLS_LIFE",
        Life(),
        "selfManaged: lifetime of the certificate, which is renewed after two thirds of it.",
        "90d",
    ),
    _option(
        "tls-interval", "TLS_INTERVAL", Duration(3600.0), "Time between checks of certificate and caBundle.", "30s"
    ),
    _option(
        "tls-settle",
        "TLS_SETTLE",
        Duration(3600.0),
        "Minimum time between an update of the caBundle and the use of a new certificate.",
        "20s",
    ),
    _option(
        "namespace-rules",
        "WEBHOOK_NAMESPACE_RULES",
        click.BOOL,
        "Whether to read the namespaces' LimitRanges and ResourceQuotas and fit the sidecar to them.",
        "true",
    ),
    _option(
        "events",
        "WEBHOOK_EVENTS",
        click.BOOL,
        "Whether to write an Event when a requested sidecar is not added.",
        "true",
    ),
    _option("drain-time", "DRAIN_TIME", Duration(600.0), "Time that it goes on serving after SIGTERM.", "5s"),
    _option("log-level", "LOG_LEVEL", LOG_LEVEL, "Lowest level that is logged.", "info"),
    _option(
        "log-format", "LOG_FORMAT", OneOf("json", "console"), "json: one object per line; console: for reading.", "json"
    ),
)


@click.command(params=[*_WEBHOOK_OPTIONS, *settings.options()])
def webhook(**flags: Any) -> None:
    """Run the admission webhook that adds the sidecar to pods, until SIGTERM."""
    defaults = _defaults(flags)
    own = {name: value for name, value in flags.items() if not name.startswith("sidecar_")}
    if own["tls_mode"] == "selfManaged" and not own["tls_secret"]:
        raise click.UsageError("TLS_SECRET: is empty; accepted: the name of the Secret that the chart renders")
    try:
        from proxy.injector import launch  # noqa: PLC0415 -- its libraries are an extra
        from proxy.telemetry import log  # noqa: PLC0415 -- help and mistakes are answered without loading what serves
    except ModuleNotFoundError as error:
        raise click.ClickException(f"webhook {_NEEDS_EXTRA} ({error})") from None
    log.setup(own.pop("log_level"), own.pop("log_format"))
    try:
        asyncio.run(launch.run(launch.Launch(**own), defaults))
    except launch.StartError as error:
        raise click.ClickException(str(error)) from None
    finally:
        log.end()
