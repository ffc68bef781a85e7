"""docs/kubernetes.md: it knows every annotation, every refusal of the golden pods and every alert's chapter."""

import re
from pathlib import Path

import pytest

from proxy.injector.annotations import TYPES
from tests.injector.pods import GOLDEN, load

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
ALERTS = ROOT / "charts" / "media-cache-proxy" / "files" / "alerts" / "injector.yaml"


def _refusal(path: Path) -> str:
    """Why the pod of a golden file was not injected; empty where it was, or did not want to."""
    expected = load(path)["expect"]
    return str(expected.get("message") or ("" if "patch" in expected else "".join(expected.get("warnings", []))))


REFUSALS = {path.stem: _refusal(path) for path in GOLDEN if _refusal(path)}


@pytest.mark.parametrize("name", TYPES)
def test_every_annotation_is_explained(name: str) -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert any(f"`{name}`" in row.split("|")[1] for row in rows)


def test_every_alert_leads_to_a_chapter() -> None:
    titles = [line.strip("# ").lower() for line in TEXT.splitlines() if line.startswith("#")]
    anchors = {re.sub(r"[^a-z ]", "", title).replace(" ", "-") for title in titles}
    found = re.findall(r"docs/kubernetes\.md#([a-z-]+)", ALERTS.read_text())
    assert found
    assert set(found) <= anchors


@pytest.mark.parametrize("message", REFUSALS.values(), ids=REFUSALS)
def test_every_refusal_of_a_golden_pod_is_explained(message: str) -> None:
    """By a row of the table whose quoted words are in the message."""
    quoted = re.findall(r"^\| `([^`]+)` \| ", TEXT.partition("## Refusals")[2], re.MULTILINE)
    assert any(all(part.strip() in message for part in words.split("…")) for words in quoted)
