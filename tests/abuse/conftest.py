"""Every abuse is tried on each transport."""

import pytest


@pytest.fixture(autouse=True)
def _each_transport(each_transport: None) -> None:
    """`Scene` starts the proxy with it."""
