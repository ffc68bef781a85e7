"""Every kind of abuse is tested on each transport."""

import pytest


@pytest.fixture(autouse=True)
def _each_transport(each_transport: None) -> None:
    """Sets the transport with which `Scene` starts the proxy."""
