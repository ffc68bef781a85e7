"""One line when file descriptors run out, one when there are some again."""

import logging
import os
import resource

import pytest

from proxy.telemetry.descriptors import Descriptors


def test_a_line_each_way_however_often_it_looks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")
    left = [100, 2, 1, 0, 1, 50, 50]
    looking = iter(left)
    descriptors = Descriptors(lambda: next(looking))
    for _ in left:
        descriptors.look()
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert f"no file descriptors are left (limit: {limit})" in caplog.messages[0]


def test_none_to_look_with_is_none_left(caplog: pytest.LogCaptureFixture) -> None:
    def none() -> int:
        raise OSError(24, "Too many open files")

    Descriptors(none).look()
    assert "no file descriptors are left" in caplog.text


def test_it_counts_those_of_this_process() -> None:
    descriptors = Descriptors()
    before = descriptors._left()
    reading, writing = os.pipe()
    try:
        assert descriptors._left() == before - 2
    finally:
        os.close(reading)
        os.close(writing)
