"""The collector over TLS, by the standard variables: taken, refused, renewed; what is bad ends the start."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from proxy.errors import SettingError
from proxy.telemetry import span_export
from proxy.telemetry.otlp_tls import RenewedExporter, collector_leg
from proxy.tls import Given
from proxy.transport.credentials import server_credentials
from tests.support.servers.certificates import Authority, Issued, swap
from tests.support.servers.otlp import Collector
from tests.support.tls_legs import leg

NONE = Given("X", "")


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets OTEL_EXPORTER_OTLP_ variables."""

    def given(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(value))

    given(TIMEOUT="1")
    return given


def _span() -> ReadableSpan:
    span = TracerProvider().get_tracer("tests").start_span("a span")
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


async def exported(exporter: SpanExporter) -> bool:
    """In a thread, as the exporting one is: its calls block."""
    result = await asyncio.to_thread(exporter.export, [_span()])
    return result is SpanExportResult.SUCCESS


async def _taken(endpoint: str) -> bool:
    """One span, by an exporter as the variables say."""
    exporter = span_export._exporter(endpoint)
    try:
        return await exported(exporter)
    finally:
        exporter.shutdown()


async def test_a_collector_that_shows_the_right_certificate(
    env: Callable[..., None], authority: Authority, stranger: Authority
) -> None:
    shown = leg(own=authority.issue("127.0.0.1"), server=True)
    async with Collector(credentials=server_credentials(shown)) as collector:
        env(ENDPOINT=collector.endpoint, CERTIFICATE=authority.ca)
        assert await _taken(collector.endpoint)
        assert len(collector.named("a span")) == 1
        env(CERTIFICATE=stranger.ca)
        assert not await _taken(collector.endpoint)
        env(TRACES_CERTIFICATE=authority.ca)
        assert await _taken(collector.endpoint)


@pytest.mark.parametrize(("names", "expired"), [(("collector.test",), False), (("127.0.0.1",), True)])
async def test_another_name_and_an_expired_certificate(
    env: Callable[..., None], authority: Authority, names: tuple[str, ...], expired: bool
) -> None:
    shown = leg(own=authority.issue(*names, expired=expired), server=True)
    async with Collector(credentials=server_credentials(shown)) as collector:
        env(ENDPOINT=collector.endpoint, CERTIFICATE=authority.ca)
        assert not await _taken(collector.endpoint)
        assert not collector.requests


async def test_both_show_one(env: Callable[..., None], authority: Authority, stranger: Authority) -> None:
    shown = leg(authority.ca, authority.issue("127.0.0.1"), server=True)
    async with Collector(credentials=server_credentials(shown)) as collector:
        env(ENDPOINT=collector.endpoint, CERTIFICATE=authority.ca)
        assert not await _taken(collector.endpoint)
        for own, taken in ((stranger.issue(), False), (authority.issue(), True)):
            env(CLIENT_CERTIFICATE=own.cert, CLIENT_KEY=own.key)
            assert await _taken(collector.endpoint) is taken


async def test_renewed_certificates_are_for_the_next_batch(
    env: Callable[..., None], authority: Authority, stranger: Authority
) -> None:
    shown, own = authority.issue("127.0.0.1"), authority.issue()
    service = leg(authority.ca, shown, server=True)
    async with Collector(credentials=server_credentials(service)) as collector:
        env(ENDPOINT=collector.endpoint, CERTIFICATE=authority.ca, CLIENT_CERTIFICATE=own.cert, CLIENT_KEY=own.key)
        exporter = span_export._exporter(collector.endpoint)
        assert await exported(exporter)
        stranger.issue("127.0.0.1").write_to(shown)
        stranger.issue().write_to(own)
        swap(stranger.ca, authority.ca)
        assert service.look()
        assert await exported(exporter)
        assert len(collector.named("a span")) == 2
        exporter.shutdown()


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("CERTIFICATE", "/nowhere", "CERTIFICATE: '/nowhere' cannot be read: No such file or directory; accepted: "),
        ("CLIENT_CERTIFICATE", "/c", "CLIENT_KEY: '' does not go with OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/c; acc"),
        ("TRACES_CLIENT_KEY", "/k", "CLIENT_CERTIFICATE: '' does not go with OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=/k"),
    ],
)
def test_what_is_of_no_use_ends_the_start(env: Callable[..., None], variable: str, value: str, line: str) -> None:
    env(ENDPOINT="https://collector:4317", **{variable: value})
    with pytest.raises(SettingError) as refusal:
        span_export.start("1")
    assert str(refusal.value).startswith(f"OTEL_EXPORTER_OTLP_{line}")


@pytest.mark.parametrize(("endpoint", "insecure"), [("http://c:4317", ""), ("c:4317", "true")])
def test_in_plaintext_the_files_are_not_asked_for(env: Callable[..., None], endpoint: str, insecure: str) -> None:
    """The variables are the whole pod's: another library's collector may be another one."""
    env(ENDPOINT=endpoint, INSECURE=insecure, CERTIFICATE="/nowhere")
    exporter = span_export._exporter(endpoint)
    assert isinstance(exporter, OTLPSpanExporter)
    exporter.shutdown()


def test_without_files_the_sdk_does_as_ever(env: Callable[..., None]) -> None:
    assert collector_leg(NONE, NONE, NONE) is None


def test_an_exporter_over_http_gets_the_paths(authority: Authority) -> None:
    own = authority.issue()
    made: list[_OverHttp] = []

    def make(**options: Any) -> SpanExporter:
        made.append(_OverHttp(options))
        return made[-1]

    tls = collector_leg(Given("CA", str(authority.ca)), Given("CERT", str(own.cert)), Given("KEY", str(own.key)))
    assert tls is not None
    exporter = RenewedExporter(make, "http/protobuf", tls)
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert [each.options for each in made] == [_paths(authority.ca, own)]
    authority.issue().write_to(own)
    exporter.export([])
    assert [each.ended for each in made] == [True, False], "the old one is ended, a new one reads the files"
    assert exporter.force_flush()
    exporter.shutdown()
    assert made[1].ended


def _paths(ca: Path, own: Issued) -> dict[str, str]:
    return {"certificate_file": str(ca), "client_certificate_file": str(own.cert), "client_key_file": str(own.key)}


class _OverHttp(SpanExporter):
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.ended = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
