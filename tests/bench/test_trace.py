"""The trace in small: it must see what is stale, and count against the ideal."""

import pytest

from bench import trace
from proxy.caching.invalidations import Invalidations


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "READS", 2000)
    monkeypatch.setattr(trace, "MODELS", 50)
    monkeypatch.setattr(trace, "WRITES", 0.05)


async def test_every_read_is_answered_and_none_is_stale() -> None:
    found = await trace.run()
    assert sum(found.answers.values()) == 2000
    assert found.wrong == []
    assert 0 < found.writes < 200
    assert found.answers["hit"] <= found.ideal
    assert found.fetches == found.answers["miss"]


async def test_an_invalidation_that_does_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(Invalidations, "invalidate", nothing)
    found = await trace.run()
    assert found.wrong
    assert found.wrong[0].startswith("stale")
