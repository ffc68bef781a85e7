"""One API server for the whole run, with the chart installed and one webhook serving."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.installation import SYSTEM, Installation, Replica
from tests.cluster.node import Node


@contextmanager
def running() -> Iterator[ControlPlane]:
    """An API server of its own."""
    found = ControlPlane()
    try:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(found.start())
        found.namespace("default")
        found.namespace(SYSTEM)
        yield found
    finally:
        found.remove()


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def live() -> Iterator[Node]:
    """A node with an API server of its own; on the first API server, nothing that is created ever runs."""
    with running() as plane, Node(plane) as node:
        yield node


@pytest.fixture(scope="session")
def installation(plane: ControlPlane) -> Installation:
    """The chart with its defaults."""
    found = Installation(plane)
    # A policy without namespaces: tests create ConfigMaps of its name, which the webhook may read.
    own = [{"name": "shop", "policy": "version: 1", "namespaces": [SYSTEM]}]
    found.install("--set-json", f"policies={json.dumps(own)}")
    return found


@pytest.fixture(scope="session")
def webhook(installation: Installation) -> Iterator[Replica]:
    """One ready replica of the webhook, for the whole run."""
    with installation.replica() as started:
        installation.plane.wait(installation.injects, "the API server to trust the webhook")
        yield started
