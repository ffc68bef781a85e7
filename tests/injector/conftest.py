"""Fixtures of the webhook's tests: a fake API server, and the cluster as the webhook sees it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.injector.cluster import Cluster, connect
from tests.injector import fake_api
from tests.injector.fake_api import FakeApi


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    async with fake_api.running() as fake:
        monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(tmp_path)))
        yield fake


@pytest.fixture
async def cluster(api: FakeApi) -> AsyncIterator[Cluster]:
    async with connect("system", "tls", "injector") as found:
        yield found
