"""The chart's README: its table of values is current."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.chart.tools import CHART, ROOT


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, root / "scripts" / "chart-docs", "--check"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_table_of_values_is_current() -> None:
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


def test_a_value_without_its_line_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "charts" / CHART.name
    shutil.copytree(CHART, copy)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "chart-docs", tmp_path / "scripts")
    values = copy / "values.yaml"
    values.write_text(values.read_text() + "# -- New.\nadded: 1\n")
    assert "is not current; run scripts/chart-docs" in check(tmp_path).stderr
    values.write_text(values.read_text() + "bare: 1\n")
    assert "bare has no `# -- ` comment" in check(tmp_path).stderr
