from bench.profile import shares


def test_a_sample_belongs_to_its_innermost_frame_in_the_event_loops_thread() -> None:
    stacks = [
        "thread 1: MainThread;main (a.py);Runner.run (asyncio/runners.py:86) 6",
        "thread 1: MainThread;Runner.run (asyncio/runners.py:86);Wire.send (proxy/store/redis_wire.py:50) 2",
        "thread 1: MainThread;get (proxy/caching/cache.py);decode (proxy/calls/entry.py) 1",
        "thread 1: MainThread;somewhere (else.py) 1",
        "thread 2: log;run (threading.py) 50",
    ]
    assert shares(stacks) == {
        "gRPC's core and Cython, uvloop: turns, kernel, receiving from Redis": 0.6,
        "sending to Redis: the kernel's send()": 0.2,
        "key and entry: memo, header, checksum": 0.1,
        "everything else": 0.1,
    }
