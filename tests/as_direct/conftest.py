"""A hand-written upstream and one proxy of each transport in front of it, shared by all tests of a pytest worker."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.as_direct.upstream import HandUpstream
from tests.conftest import TRANSPORTS, _run
from tests.support.servers.process import ProxyProcess

READ = "/media.MediaService/GetFilesByModel"
UPLOAD = "/media.MediaService/UploadFile"
UNARY = "/media.MediaService/GetFileURL"
ANY = "/any.Service/Anything"
METHODS = (READ, UPLOAD, UNARY, ANY)
"""One method for each way through the proxy: the cache, an own write, a method known to be unary, any other."""


@dataclass(frozen=True, slots=True)
class Ways:
    """The ports to call: `direct`, `grpcio`, `envoy`."""

    upstream: HandUpstream
    proxies: dict[str, ProxyProcess]

    def port(self, way: str) -> int:
        return self.upstream.port if way == "direct" else self.proxies[way].listen_port


@pytest.fixture(scope="session")
def ways() -> Iterator[Ways]:
    """The running upstream and proxies, without Redis."""
    with HandUpstream().serving() as upstream:
        settings = {"MEDIA_SERVICE_ADDR": f"127.0.0.1:{upstream.port}"}
        proxies = {each: ProxyProcess(TRANSPORT=each, **settings) for each in TRANSPORTS}
        try:
            for proxy in proxies.values():
                _run(proxy.start())
            yield Ways(upstream, proxies)
        finally:
            for proxy in proxies.values():
                proxy.remove()


@pytest.fixture(autouse=True)
def usual(request: pytest.FixtureRequest) -> None:
    """Resets the upstream before each test."""
    if "ways" in request.fixturenames:
        upstream = request.getfixturevalue("ways").upstream
        upstream.answers.clear()
        upstream.seen.clear()
