"""bench.profile, and bench.owners: whose a sample is."""

import pytest

from bench import owners
from bench.profile import per_call

LOOP = "uv_run (/project/build/libuv-x86_64/src/unix/core.c:452);Loop__run (/project/uvloop/loop.c:1)"
_UV = "/project/build/libuv-x86_64/src/unix"
READ = f"uv_run ({_UV}/core.c:464);uv__read ({_UV}/stream.c:1)"
CORE = "0x7f (/x/grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so)"
WRITE = "write (/usr/lib/libc.so.6)"


@pytest.mark.parametrize(
    ("stack", "whose"),
    [
        (f"main (a.py:1);{LOOP}", owners.LOOP),
        (f"main (a.py:1);{LOOP};decode (/w/proxy/calls/entry.py:74)", "ours: proxy/calls/entry.py"),
        (f"{LOOP};decode (/w/proxy/calls/entry.py:74);memcpy (/usr/lib/libc.so.6)", "ours: proxy/calls/entry.py"),
        (f"{LOOP};FastPath.serve (/w/proxy/transport/fast_path.py:1);{CORE};sendmsg (/usr/lib/libc.so.6)", owners.CORE),
        (f"{LOOP};{CORE};wait (/py/asyncio/tasks.py:1)", "asyncio: tasks and futures"),
        (
            f"{LOOP};Wire.send (/w/proxy/store/redis_wire.py:50);write (/project/uvloop/loop.c:9);{WRITE}",
            owners.SENDING,
        ),
        (f"{LOOP};_Redis.ask (/w/bench/floors.py:50);write (/project/uvloop/loop.c:9);{WRITE}", owners.SENDING),
        (f"Runner.run (/py/asyncio/runners.py:1);{READ};read (/usr/lib/libc.so.6)", owners.RECEIVING),
        (f"{LOOP};look (/w/bench/floors.py:80)", owners.BARE),
        ("run (/x/site-packages/pyvoy/_pyvoy.abi3.so)", "pyvoy"),
        ("somewhere (/else.py:1)", owners.ELSE),
    ],
)
def test_a_sample_belongs_to_the_innermost_frame_that_is_somebodys(stack: str, whose: str) -> None:
    assert owners.owner(stack.split(";")) == whose


@pytest.mark.parametrize(
    "frame",
    [
        "epoll_pwait (/usr/lib/libc.so.6)",
        "epoll_wait (/usr/lib/libc.so.6)",
        "pthread_cond_timedwait (/usr/lib/libc.so.6);0x7f (/usr/lib/libc.so.6)",
        "_RNvMs_NtNtCsgHYy_3std6thread6threadNtB4_6Thread4park (/pyvoy.so);syscall (/usr/lib/libc.so.6)",
    ],
)
def test_who_waits_does_nothing(frame: str) -> None:
    assert owners.waits(f"{LOOP};{frame}".split(";"))
    assert not owners.waits(f"{LOOP};{CORE};sendmsg (/usr/lib/libc.so.6)".split(";"))


def test_a_threads_time_is_shared_out_by_its_samples_and_the_time_of_the_others_is_the_cores() -> None:
    stacks = [
        f"thread (7): MainThread;main (a.py:1);{LOOP} 1",
        f"thread (7): MainThread;main (a.py:1);{LOOP};decode (/w/proxy/calls/entry.py:74) 3",
        f"thread (7): MainThread;main (a.py:1);{LOOP};epoll_pwait (/usr/lib/libc.so.6) 50",
    ]
    found = per_call(stacks, {7: 400_000_000, 8: 100_000_000, 9: 200_000_000}, 1000, owners.CORE_THREADS)
    assert found == {
        "ours: proxy/calls/entry.py": pytest.approx(300),
        owners.CORE_THREADS: pytest.approx(300),
        owners.LOOP: pytest.approx(100),
    }
