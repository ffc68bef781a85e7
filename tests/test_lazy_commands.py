"""Lazy commands: listed and run like others, imported only when asked for."""

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from proxy.lazy_commands import LazyGroup


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> click.Group:
    (tmp_path / "slow_module.py").write_text(
        "import click\n\n@click.command()\ndef slow(): click.echo('ran')\n\nodd = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_module", raising=False)

    @click.group(cls=LazyGroup, lazy={"slow": "slow_module", "odd": "slow_module"})
    def group() -> None:
        """A group."""

    @group.command()
    def quick() -> None:
        click.echo("quick")

    return group


def test_another_command_does_not_import_it(group: click.Group) -> None:
    assert CliRunner().invoke(group, ["quick"]).output == "quick\n"
    assert "slow_module" not in sys.modules


def test_it_runs_and_is_listed(group: click.Group) -> None:
    assert CliRunner().invoke(group, ["slow"]).output == "ran\n"
    assert group.list_commands(click.Context(group)) == ["odd", "quick", "slow"]


def test_an_unknown_command_is_unknown(group: click.Group) -> None:
    assert "No such command 'other'" in CliRunner().invoke(group, ["other"]).output


def test_what_is_no_command_is_a_mistake_of_ours(group: click.Group) -> None:
    with pytest.raises(TypeError, match=r"slow_module\.odd is not a command"):
        group.get_command(click.Context(group), "odd")
