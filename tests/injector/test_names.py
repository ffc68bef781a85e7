"""Names that Kubernetes limits."""

import re

from proxy.injector import names


def test_names_are_such_as_kubernetes_takes() -> None:
    for port in (names.GRPC_PORT_NAME, names.PROBE_PORT_NAME):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", port)
        assert len(port) <= 15
    for key in (names.STATUS, names.INJECTED):
        assert re.fullmatch(r"media-cache-proxy\.io/[a-z]+", key)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", names.CONTAINER)
