"""proxy.program_pages: what is given back after the start, and what is not."""

import subprocess
import sys

import pytest

from proxy.program_pages import unwritten

_MAPPING = """\
{range} {rights} 00000000 08:01 {inode} {file}
Size:               4096 kB
Rss:                {rss} kB
Anonymous:          {anonymous} kB
VmFlags: rd ex mr mw me
"""


def mapping(
    *, rights: str = "r-xp", inode: int = 7, file: str = "/usr/bin/envoy", rss: int = 4096, anonymous: int = 0
) -> str:
    given = {"rights": rights, "inode": inode, "file": file, "rss": rss, "anonymous": anonymous}
    return _MAPPING.format(range="7f0000000000-7f0000400000", **given)


@pytest.mark.parametrize("rights", ["r-xp", "r--p"])
def test_what_comes_out_of_a_file_is_given_back(rights: str) -> None:
    assert unwritten(mapping(rights=rights)) == [(0x7F0000000000, 4 << 20)]


@pytest.mark.parametrize(
    "kept",
    [
        mapping(rights="rw-p"),
        mapping(rights="r--s"),
        mapping(rights="r--p", anonymous=4),
        mapping(inode=0, file=""),
        mapping(rss=1020),
        mapping(inode=0, file="[vdso]"),
    ],
)
def test_what_is_in_no_file_is_kept_and_so_is_what_is_small(kept: str) -> None:
    assert unwritten(kept) == []


def test_each_mapping_is_judged_by_its_own_lines() -> None:
    both = mapping(rights="rw-p") + mapping() + mapping(rights="r--p", anonymous=4)
    assert unwritten(both) == [(0x7F0000000000, 4 << 20)]


def test_a_process_goes_on_with_less() -> None:
    """It runs the same code once more: gRPC's library, which is 15 MB."""
    _run(
        "import re, grpc\n"
        "from pathlib import Path\n"
        "from proxy import program_pages\n"
        "def use():\n"
        "    with grpc.insecure_channel('127.0.0.1:1') as channel:\n"
        "        try: channel.unary_unary('/a/b')(b'')\n"
        "        except grpc.RpcError: pass\n"
        "def files(): return int(re.search(r'RssFile:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "use()\n"
        "before = files()\n"
        "program_pages.give_back()\n"
        "after = files()\n"
        "use()\n"
        "assert after < before - 5000, (before, after)\n"
    )


def _run(program: str) -> None:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
