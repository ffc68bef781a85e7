from bench import tables
from bench.loading import STANDARD, package
from bench.start import Start, largest, ratios


def test_a_module_belongs_to_its_package_and_what_python_has_itself_to_one() -> None:
    modules = ("proxy.store.redis_node", "opentelemetry.sdk.trace", "google.protobuf.message", "email.parser")
    assert [package(name) for name in modules] == ["proxy", "opentelemetry.sdk", "google.protobuf", STANDARD]


def test_all_but_the_ten_largest_are_one() -> None:
    found = {f"p{number}": (2.0, 100.0 - number) for number in range(13)}
    assert list(largest(found).items())[-2:] == [("p9", (2.0, 91.0)), ("3 others", (6.0, 267.0))]


def test_a_start_is_compared_with_the_one_beside_it() -> None:
    before, now = ([_start(seconds) for seconds in each] for each in ((1.0, 4.0, 2.0), (0.5, 2.0, 1.8)))
    assert ratios(now, before)["ready"] == 0.5


def test_memory_is_told_by_process() -> None:
    assert tables.memory({"envoy": [Start(0.1, 0.2, 0.3, 100.0, (10.0, 30.0))]}).splitlines()[2:] == [
        "| envoy: serve | 10.0 |",
        "| envoy: Envoy and the interpreter inside | 30.0 |",
        "| envoy: files, such as programs and libraries | 60.0 |",
        "| envoy: total | 100.0 |",
    ]


def _start(ready: float) -> Start:
    return Start(0.1, ready, 0.3, 60.0, (40.0,))
