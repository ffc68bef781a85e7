import os
import time
from pathlib import Path

import pytest

from bench.accounting import Tree
from bench.load import Asked, _sample
from tests.support.servers.children import Child
from tests.support.servers.waiting import until

_SAID = """
finished in 1.50s, 2000.50 req/s, 1.0MB/s
requests: 200 total, 200 started, 200 done, {succeeded} succeeded, 0 failed, 0 errored, 0 timeout
status codes: 200 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.21KB (1240) total, 400B (400) headers (space savings 94.28%), 2.00KB ({received}) data
"""
_ASKED = Asked("/a/b", b"", answer_bytes=10)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text("".join(f"1700000000\t200\t{micros}\n" for micros in range(1, 201)))
    return path


def test_a_run_is_cpu_per_call_rate_and_latency(log: Path) -> None:
    sample = _sample(_SAID.format(succeeded=200, received=2000), log, _ASKED, 200, spent=0.050)
    assert (sample.cpu_us, sample.rate) == pytest.approx((250, 2000.5))
    assert (sample.p50_us, sample.p99_us) == pytest.approx((100.5, 198.99))


@pytest.mark.parametrize(("succeeded", "received"), [(199, 2000), (200, 1990)])
def test_a_run_with_other_answers_than_expected_is_none(log: Path, succeeded: int, received: int) -> None:
    with pytest.raises(RuntimeError, match=f"{succeeded} of 200 calls answered, {received} bytes not 2000"):
        _sample(_SAID.format(succeeded=succeeded, received=received), log, _ASKED, 200, spent=0.050)


def test_what_h2load_could_not_do_is_told_in_its_words(log: Path) -> None:
    with pytest.raises(RuntimeError, match="could not connect"):
        _sample("could not connect", log, _ASKED, 200, spent=0.0)


def test_the_kernels_account_is_the_process_own() -> None:
    tree = Tree(os.getpid())
    before, own = tree.cpu(), time.process_time()
    until_then = time.process_time() + 0.05
    while time.process_time() < until_then:
        pass
    # Children, of other tests of this run, may be in it.
    assert tree.cpu() - before >= time.process_time() - own - 0.001


async def test_children_are_accounted_with_their_parent(tmp_path: Path) -> None:
    busy = Child("sh", ["sh", "-c", "(while :; do :; done) & wait"], tmp_path)
    busy.spawn()
    try:
        tree = Tree(busy.pid)
        await until(lambda: tree.cpu() > 0.1, "the child's CPU time")
        assert Tree(busy.pid).resident() > 0
        # The parent alone only waits.
        assert time.clock_gettime(~busy.pid << 3 | 2) < 0.05
    finally:
        os.killpg(busy.pid, 9)
        busy.kill()
