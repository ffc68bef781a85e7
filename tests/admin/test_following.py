"""The `flush` command waits for a flush that is under way, and says how far it is."""

from typing import Any, cast

import pytest

from proxy.admin import following
from proxy.admin.client import AdminClient

KEPT = {"done": False, "note": "Redis has not confirmed it yet"}


class Told:
    """Answers `/stats` with these flushes, one after the other."""

    def __init__(self, *flushes: dict[str, Any] | None) -> None:
        self._flushes = list(flushes)

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/stats"
        return {"flush": self._flushes.pop(0)}


def flush(share: float | None) -> dict[str, Any]:
    return {"reason": "asked for", "services": [], "seconds": 4.0, "share": share, "tags": 120}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_EVERY", 0.0)


def followed(*flushes: dict[str, Any] | None) -> dict[str, Any]:
    return following.followed(cast("AdminClient", Told(*flushes)), KEPT)


def test_it_waits_until_the_flush_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert followed(flush(0.25), flush(0.5), None) == {"done": True}
    assert capsys.readouterr().err == "flushing everything, 25 %, 120 models so far, for 4s: asked for\n"


def test_it_does_not_wait_for_a_redis_that_takes_nothing() -> None:
    assert followed(flush(0.25), flush(None)) == KEPT
