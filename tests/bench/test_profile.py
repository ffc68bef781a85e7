from bench.profile import shares


def test_a_sample_belongs_to_its_innermost_frame_and_waiting_is_none() -> None:
    stacks = [
        "thread 1: MainThread;main (a.py);EpollSelector.select (selectors.py) 90",
        "thread 1: MainThread;main (a.py);Handle._run (asyncio/events.py) 6",
        "thread 1: MainThread;get (proxy/caching/cache.py);decode (proxy/media/entry.py) 3",
        "thread 1: MainThread;somewhere (else.py) 1",
        "thread 2: log;run (threading.py) 50",
    ]
    assert shares(stacks) == {
        "gRPC: its core and Cython, kernel included": 0.6,
        "key and entry: memo, header, checksum": 0.3,
        "everything else": 0.1,
    }
