"""Assigns a sample of py-spy to its owner: the innermost frame that has one. Pure.

A frame is `name (file:line)`; native frames stand among Python's. Frames of the interpreter, libc and system calls have
no owner: their time belongs to their caller.
"""

import re
from collections.abc import Sequence

CORE = "gRPC's core and Cython"
CORE_THREADS = "gRPC's core: threads of its own"
ENVOY = "Envoy's core"
LOOP = "uvloop: turns, waiting"
SENDING, RECEIVING = "Redis' socket: sending", "Redis' socket: receiving"
BARE = "the bare server's own handler"
OURS = "ours: "
ELSE = "everything else"

_OWNERS = (
    ("/cygrpc.", CORE),
    ("/grpc/", "gRPC's Python layer"),
    ("/inspect.py", "gRPC's Python layer"),
    ("<frozen abc>", "gRPC's Python layer"),
    ("hiredis", "Redis' replies: hiredis"),
    ("/prometheus_client/", "prometheus_client"),
    ("/pyvoy/", "pyvoy"),
    ("/_bin/envoy", ENVOY),
    ("/asyncio/", "asyncio: tasks and futures"),
    ("_asynciomodule.c", "asyncio: tasks and futures"),
)
_LOOP = re.compile(r"\(/project/(uvloop|build/libuv)")
_OF_OURS = re.compile(r"/(proxy/[\w/]+\.py)")
_FLOOR = "/bench/floors.py"
_SENDS = re.compile(r"^(Wire\.send|Wire\._flush|_Redis\.ask) ")
_READS = "uv__read"
_WAITS = re.compile(
    r"^(epoll_p?wait|p?poll|select|PyThread_acquire_lock_timed|pthread_cond_(timed)?wait|sem_\w*wait|take_gil"
    r"|clock_nanosleep)\b|\d+Thread4park\b"
)
_NEAR = 3
"""How many of the innermost frames are searched for a wait; the innermost may be symbols that libc does not export."""


def waits(frames: Sequence[str]) -> bool:
    """Whether the thread was waiting; py-spy cannot always tell. The cost of waits is distributed over the rest."""
    return any(_WAITS.search(frame) for frame in frames[-_NEAR:])


def owner(frames: Sequence[str]) -> str:
    """The owner of a sample; `frames` begin with the outermost."""
    in_loop = ""
    for frame in reversed(frames):
        if _LOOP.search(frame):
            in_loop = RECEIVING if _READS in frame or in_loop == RECEIVING else LOOP
            continue
        named = _named(frame)
        if not named:
            continue
        if in_loop and not (_SENDS.match(frame)):
            return in_loop
        return SENDING if in_loop else named
    return in_loop or ELSE


def _named(frame: str) -> str:
    if found := _OF_OURS.search(frame):
        return OURS + found[1]
    if _FLOOR in frame:
        return BARE
    return next((name for part, name in _OWNERS if part in frame), "")
