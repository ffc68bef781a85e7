"""proxy.policy.watched: notices files that have changed since they were read."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.policy.loading import load_policy
from proxy.policy.mistakes import PolicyError
from proxy.policy.watched import Watched
from tests.support.services import policy_in


def read(path: Path) -> Watched:
    watched = Watched()
    with suppress(PolicyError):
        load_policy(str(path), watched=watched)
    return watched


def test_a_file_that_was_written_again_has_changed(tmp_path: Path) -> None:
    path = Path(policy_in(tmp_path, product="shop:1"))
    watched = read(path)
    assert not watched.changed
    path.write_text(path.read_text() + "\n")
    assert watched.changed


def test_so_have_descriptors_beside_it(tmp_path: Path) -> None:
    watched = read(Path(policy_in(tmp_path, product="shop:1")))
    file = tmp_path / "product.binpb"
    os.utime(file, ns=(0, 0))
    assert watched.changed


def test_a_link_that_was_turned_leads_to_another_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        policy_in(tmp_path / name, product="shop:1")
        for file in (tmp_path / name).iterdir():
            os.utime(file, ns=(0, 0))  # so that only the inode differs
    (tmp_path / "now").symlink_to("one")
    watched = read(tmp_path / "now" / "policy.yaml")
    assert not watched.changed
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "now")
    assert watched.changed


@pytest.mark.parametrize("begins", [True, False])
def test_a_file_that_comes_or_goes_has_changed(tmp_path: Path, begins: bool) -> None:
    path = Path(policy_in(tmp_path, product="shop:1"))
    if begins:
        path.rename(tmp_path / "away")
    watched = read(path)
    assert not watched.changed
    if begins:
        (tmp_path / "away").rename(path)
    else:
        path.unlink()
    assert watched.changed


def test_what_changes_while_it_is_read_has_changed(tmp_path: Path) -> None:
    watched, path = Watched(), tmp_path / "p.yaml"
    path.write_text("a")
    watched.reading(path)
    path.write_text("ab")
    watched.reading(path)
    assert watched.changed


def test_what_was_kept_is_read_again_whatever_the_file_holds_by_then(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"first")
    watched = Watched(keeping=True)
    assert watched.read(path, 3) == b"firs"
    watched.save(tmp_path / "read")
    path.write_bytes(b"second")
    again = Watched.saved(tmp_path / "read")
    assert again.read(path, 3) == b"firs"
    assert again.changed
    again.forget()
    assert (again.read(path, 9), again.told(path)) == (b"second", None)
    assert Watched().keep("name", b"x") == b"x"


def test_nothing_is_kept_for_nobody(tmp_path: Path) -> None:
    watched = read(Path(policy_in(tmp_path, product="shop:1")))
    watched.save(tmp_path / "read")
    assert (tmp_path / "read").stat().st_size < 1000
