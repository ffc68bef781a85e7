"""A failure inside Envoy's interpreter ends the proxy as it does with the other transport."""

import json

import pytest

from tests.support.servers.process import ProxyProcess


@pytest.mark.parametrize(
    ("settings", "told", "status"),
    [
        ({"PROBE_ADDR": "192.0.2.1:1"}, "PROBE_ADDR: cannot listen on '192.0.2.1:1': ", 1),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: 'nowhere' is not understood; ",
            2,
        ),
        (
            {"UPSTREAM_TLS": "on", "UPSTREAM_TLS_CA": "/nowhere"},
            "UPSTREAM_TLS_CA: '/nowhere' cannot be read: No such file or directory; accepted: ",
            2,
        ),
    ],
)
async def test_a_start_that_fails_is_one_line_with_the_status_of_any_transport(
    settings: dict[str, str], told: str, status: int
) -> None:
    proxy = ProxyProcess(TRANSPORT="envoy", **settings)
    proxy.child.spawn()
    try:
        assert await proxy.exited() == status
        assert proxy.stderr.splitlines()[-1].startswith(f"media-cache-proxy: {told}")
        assert "Traceback" not in proxy.stderr
    finally:
        proxy.remove()


async def test_its_lines_are_those_of_any_transport() -> None:
    async with ProxyProcess(TRANSPORT="envoy", LOG_LEVEL="debug") as proxy:
        proxy.terminate()
        assert await proxy.exited() == 0
        lines = [json.loads(line) for line in proxy.stderr.splitlines()]
    said = [line["msg"] for line in lines if line["logger"] == "proxy.app"]
    assert said == ["starting", "serving", "draining", "stopped"]
    assert any(line["logger"] == "proxy.envoy.process" for line in lines)
