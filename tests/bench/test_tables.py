from pathlib import Path

import pytest

from bench import tables
from bench.load import Sample
from bench.side_by_side import Row
from bench.targets import Target


def test_what_stands_between_markers_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- bench:cost -->\nold\n<!-- /bench:cost -->\nafter\n")
    tables.put(document, "cost", "new \\1")
    assert document.read_text() == "before\n<!-- bench:cost -->\nnew \\1\n<!-- /bench:cost -->\nafter\n"


def test_a_document_without_the_markers_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("nothing")
    with pytest.raises(ValueError, match=r"document\.md: has no <!-- bench:cost -->"):
        tables.put(document, "cost", "new")


def test_a_target_says_by_how_much_it_is_missed() -> None:
    assert tables.targets([Target("CPU", 1.5, 1.25), Target("hits", 0.99, 0.98, "", at_least=True)]) == (
        "| target | measured | bound | verdict |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| CPU | 1.5 x | ≤ 1.25 x | missed by 20% |\n"
        "| hits | 0.99 | ≥ 0.98 | met |"
    )


def test_a_figure_without_a_bound_is_only_told() -> None:
    told = Target("p50", 51.234, None, "ms")
    assert told.met
    assert tables.targets([told]).endswith("| p50 | 51.2 ms |  |  |")


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    """The second round met a busy machine: both figures doubled, the ratio did not."""
    echo, hit = (
        Row(name, name, unary=True, samples={8: [Sample(cpu, 1.0, 1.0, 1.0) for cpu in spent]})
        for name, spent in (("echo", (100, 200, 110)), ("hit", (120, 240, 220)))
    )
    assert hit.ratio(echo, 8, lambda sample: sample.cpu_us) == 1.2
