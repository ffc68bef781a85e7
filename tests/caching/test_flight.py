"""Waiting for a flight, joining it and cancelling it (the rules in proxy/caching/flight.py)."""

import asyncio

import pytest

from proxy.caching.flight import Flight, Flights
from tests.support.servers.waiting import until

TOKEN = (b"hash", b"field", b"token")


class Work:
    """A fetch that waits until the test lets it go on, and then stores until the test lets it go on again."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.fetched, self.stored = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.error = error
        self.ended = ""

    async def __call__(self, flight: Flight[str]) -> None:
        self.begun.set()
        try:
            await self.fetched.wait()
            if self.error is not None:
                raise self.error
            flight.land("answer")
            await self.stored.wait()
            self.ended = "stored"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def _joined(flight: Flight[str], count: int) -> list[asyncio.Task[str]]:
    """Tasks that have begun to wait for a flight."""
    tasks = [asyncio.create_task(flight.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def _gone(task: asyncio.Task[str]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _ended(flights: Flights[str]) -> None:
    await until(lambda: len(flights) == 0, "the flights' end")


class TestWaiters:
    async def test_all_get_the_one_result(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        tasks = await _joined(flights.start(TOKEN, work), 3)
        work.fetched.set()
        assert await asyncio.gather(*tasks) == ["answer"] * 3
        work.stored.set()
        await _ended(flights)

    async def test_the_leaders_end_harms_no_follower(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        leader, *followers = await _joined(flights.start(TOKEN, work), 3)
        await _gone(leader)
        work.fetched.set()
        work.stored.set()
        assert await asyncio.gather(*followers) == ["answer"] * 2
        await _ended(flights)
        assert work.ended == "stored"

    async def test_the_last_to_leave_cancels_the_work(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        tasks = await _joined(flights.start(TOKEN, work), 2)
        await work.begun.wait()
        await _gone(tasks[0])
        assert work.ended == ""
        await _gone(tasks[1])
        assert flights.find(TOKEN) is None
        await _ended(flights)
        assert work.ended == "cancelled"

    async def test_leaving_before_the_first_step_cancels_it_too(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        flight = flights.start(TOKEN, work)
        waiter = flight.wait()
        waiter.send(None)  # it waits now, and no task has run yet
        waiter.close()
        await _ended(flights)
        assert not work.begun.is_set()
        assert flights.find(TOKEN) is None

    async def test_after_the_landing_nobodys_leaving_ends_the_storing(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        (task,) = await _joined(flights.start(TOKEN, work), 1)
        work.fetched.set()
        assert await task == "answer"
        await asyncio.sleep(0)
        assert work.ended == ""
        work.stored.set()
        await _ended(flights)
        assert work.ended == "stored"

    async def test_an_error_reaches_every_waiter(self) -> None:
        flights: Flights[str] = Flights()
        work = Work(RuntimeError("broken"))
        tasks = await _joined(flights.start(TOKEN, work), 2)
        work.fetched.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["broken", "broken"]
        await _ended(flights)

    async def test_an_error_after_the_landing_is_none_of_theirs(self) -> None:
        flights: Flights[str] = Flights()

        async def work(flight: Flight[str]) -> None:
            flight.land("answer")
            raise RuntimeError("storing failed")

        assert await flights.start(TOKEN, work).wait() == "answer"
        await _ended(flights)

    async def test_an_error_that_nobody_waits_for_is_not_reported_as_lost(self) -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        flights: Flights[str] = Flights()
        work = Work(RuntimeError("broken"))
        flights.start(TOKEN, work)
        work.fetched.set()
        await _ended(flights)
        assert reported == []

    async def test_work_that_forgets_to_land_leaves_nobody_waiting(self) -> None:
        async def work(_: Flight[str]) -> None:
            pass

        with pytest.raises(asyncio.CancelledError):
            await Flights[str]().start(TOKEN, work).wait()


class TestJoining:
    async def test_by_the_token_until_it_is_stored(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        flight = flights.start(TOKEN, work)
        assert flights.find(TOKEN) is flight
        assert flights.find((b"hash", b"field", b"other")) is None
        (task,) = await _joined(flight, 1)
        work.fetched.set()
        await task
        assert flights.find(TOKEN) is flight
        assert await flight.wait() == "answer"
        work.stored.set()
        await _ended(flights)
        assert flights.find(TOKEN) is None

    async def test_under_another_token_too(self) -> None:
        flights: Flights[str] = Flights()
        other = (b"hash", b"field", b"taken over")
        work = Work()
        flight = flights.start(TOKEN, work)
        flight.also_known_as(other)
        assert flights.find(TOKEN) is flights.find(other) is flight
        work.fetched.set()
        work.stored.set()
        await _ended(flights)
        assert flights.find(TOKEN) is flights.find(other) is None

    async def test_an_old_flights_end_does_not_hide_a_new_one(self) -> None:
        """The last waiter leaves, and before the cancelled fetch has ended, another read starts a new flight."""
        flights: Flights[str] = Flights()
        (task,) = await _joined(flights.start(TOKEN, Work()), 1)
        task.cancel()
        await asyncio.sleep(0)  # it has left; its fetch is cancelled and has not ended
        new = flights.start(TOKEN, Work())
        await until(lambda: len(flights) == 1, "the old flight's end")
        assert flights.find(TOKEN) is new
        await flights.close()


class TestClose:
    async def test_cancels_what_flies_and_waits_for_its_end(self) -> None:
        flights: Flights[str] = Flights()
        work = Work()
        (task,) = await _joined(flights.start(TOKEN, work), 1)
        await work.begun.wait()
        await flights.close()
        assert work.ended == "cancelled"
        assert len(flights) == 0
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_leaves_nobody_waiting_for_what_had_not_begun(self) -> None:
        flights: Flights[str] = Flights()
        flight = flights.start(TOKEN, Work())
        waiter = flight.wait()
        waiter.send(None)
        await flights.close()
        with pytest.raises(asyncio.CancelledError):
            waiter.send(None)

    async def test_of_nothing(self) -> None:
        await Flights[str]().close()


async def test_an_error_after_the_landing_is_logged_and_harms_no_waiter(caplog: pytest.LogCaptureFixture) -> None:
    async def work(flight: Flight[str]) -> None:
        flight.land("answer")
        raise RuntimeError("broken on purpose")

    flights: Flights[str] = Flights()
    assert await flights.start(TOKEN, work).wait() == "answer"
    await until(lambda: not len(flights), "the flight to end")
    (record,) = caplog.records
    assert record.getMessage() == "an answer was given and could not be stored"
    assert record.exc_info is not None
    assert "broken on purpose" in str(record.exc_info[1])
