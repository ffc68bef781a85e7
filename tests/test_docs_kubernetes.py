"""docs/kubernetes.md: it knows every annotation, every refusal and every alert's anchor."""

import re
from pathlib import Path

import pytest

from proxy.injector.annotations import TYPES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "kubernetes.md").read_text()


@pytest.mark.parametrize("name", TYPES)
def test_every_annotation_is_explained(name: str) -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert any(f"`{name}`" in row.split("|")[1] for row in rows)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "charts/media-cache-proxy/files/alerts").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_alert_leads_to_a_chapter(path: Path) -> None:
    anchors = {
        re.sub(r"[^a-z ]", "", line.strip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for anchor in re.findall(r"docs/kubernetes\.md#([a-z-]+)", path.read_text()):
        assert anchor in anchors


def test_every_refusal_is_explained() -> None:
    """The words of each refusal in the code that this table's first column quotes."""
    quoted = re.findall(r"^\| `([^`]+)` \| ", TEXT.partition("## Refusals")[2], re.MULTILINE)
    code = "".join(path.read_text() for path in sorted((ROOT / "proxy").glob("injector/*.py")))
    code += (ROOT / "proxy" / "setting_types.py").read_text()
    joined = re.sub(r'"\s*f?"', "", code)
    for words in quoted:
        for part in words.split("…"):
            assert part.strip(" ;-") in joined, words
