from pathlib import Path

import pytest

from bench import owners, profile, tables
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


def test_what_is_left_of_a_call_is_told_beside_what_the_least_server_takes() -> None:
    found = {
        profile.ECHO: {owners.CORE: 100.0},
        profile.SHAPE: {owners.CORE: 110.0},
        profile.HIT: {owners.CORE: 115.0, "ours: proxy/calls/entry.py": 30.0, "ours: proxy/errors.py": 0.1},
        profile.FORWARDING: {owners.CORE: 180.0},
        profile.PASSED: {owners.CORE: 200.0, "ours: proxy/transport/upstream.py": 25.0},
        profile.IN_ENVOY: {owners.ENVOY: 50.0, "pyvoy": 20.0, "ours: proxy/calls/entry.py": 12.0},
    }
    assert tables.left(found).splitlines()[0] == (
        "* A hit takes 145 µs, 30 of them in the proxy's own files. The echo with one HGET in a hit's shape takes 110, "
        "1.10 x the bare echo's 100: grpc.aio, the event loop and the kernel take that much in any proxy."
    )
    assert tables.left(found).splitlines()[2] == (
        "* A hit in Envoy takes 82 µs, 12 of them in the proxy's own files and 70 in Envoy and pyvoy."
    )
    shown = tables.profile(found).splitlines()
    assert shown[2] == "| gRPC's core and Cython | 100.0 | 110.0 | 115.0 | 180.0 | 200.0 |  |"
    assert "| ours: other files |  |  | 0.1 |  |  |  |" in shown
    assert shown[-1] == "| total | 100 | 110 | 145 | 180 | 225 | 82 |"
