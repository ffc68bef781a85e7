"""What INFO says about replication, and what replicas reveal about the master. Pure."""

import logging

import pytest

from proxy.store.replication import Following, Replication

A, B = "10.0.0.1:6379", "10.0.0.2:6379"


def _info(*replicas: str, role: str = "master") -> bytes:
    lines = [f"slave{number}:{each}" for number, each in enumerate(replicas)]
    return "\r\n".join(
        ["# Replication", f"role:{role}", *lines, "master_replid:abc0", "master_repl_offset:9", ""]
    ).encode()


def _online(name: str, *, lag: int = 0, offset: int = 9) -> str:
    ip, _, port = name.partition(":")
    return f"ip={ip},port={port},state=online,offset={offset},lag={lag}"


def _told(**lags: int) -> Replication:
    return Replication(True, b"abc0", {{"a": A, "b": B}[name]: lag for name, lag in lags.items()})


class TestReplication:
    def test_of_a_master(self) -> None:
        told = Replication.told(_info(_online(A), _online(B, lag=1)))
        assert told == Replication(True, b"abc0", {A: 0, B: 1})

    def test_of_a_replica(self) -> None:
        assert not Replication.told(_info(role="slave")).master

    def test_one_that_has_acknowledged_nothing_is_no_witness(self) -> None:
        """It may be a tool that only reads the stream, such as `redis-cli --replica` or a backup."""
        syncing = "ip=10.0.0.1,port=0,state=wait_bgsave,offset=0,lag=0"
        assert not Replication.told(_info(_online(A, offset=0), syncing)).replicas

    def test_a_server_that_tells_no_offset_is_taken_at_its_word(self) -> None:
        assert Replication.told(_info("ip=10.0.0.1,port=6379,state=online,lag=1")).replicas == {A: 1}

    @pytest.mark.parametrize(
        "line", ["", "nonsense", "ip=1,state=online,offset=x,lag=0", "state=online,offset=1,lag=0"]
    )
    def test_what_cannot_be_read_is_none(self, line: str) -> None:
        assert not Replication.told(_info(line)).replicas

    def test_a_server_that_tells_nothing(self) -> None:
        assert Replication.told(b"") == Replication(False, b"", {})


class TestFollowing:
    def test_without_replicas_nothing_is_doubted(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(), 1.0)
        assert (following.doubt, following.unproven, following.watched) == ("", "", False)

    def test_one_that_left_makes_the_master_doubtful(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(a=0, b=1), 1.0)
        following.seen(_told(b=0), 2.0)
        assert A in following.doubt
        assert following.unproven == following.doubt

    def test_one_that_is_back_ends_the_doubt(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(a=0), 1.0)
        following.seen(_told(), 2.0)
        following.seen(_told(a=1), 3.0)
        assert (following.doubt, following.unproven) == ("", "")

    def test_the_address_word_counts_only_some_time_after_the_loss(self, caplog: pytest.LogCaptureFixture) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(a=0), 1.0)
        following.seen(_told(), 2.0)
        following.confirmed(6.9)
        assert following.doubt
        with caplog.at_level(logging.WARNING):
            following.confirmed(7.0)
        assert not following.doubt
        assert f"no longer wait for its replica {A}" in caplog.text
        following.seen(_told(), 8.0)
        assert not following.doubt  # it is forgotten

    def test_a_silent_one_leaves_the_reads_alone(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(a=0), 1.0)
        following.seen(_told(a=2), 3.0)
        assert not following.unproven  # INFO reports whole seconds, and a replica acknowledges every second
        following.seen(_told(a=3), 4.0)
        assert "has acknowledged nothing for 3 s" in following.unproven
        assert not following.doubt

    def test_a_silent_one_is_not_waited_for_for_ever(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(a=0), 1.0)
        following.seen(_told(a=3), 4.0)
        following.confirmed(9.0)
        following.seen(_told(a=9), 10.0)
        assert not following.unproven
        following.seen(_told(), 11.0)
        assert not following.doubt
        following.seen(_told(a=0), 12.0)
        following.seen(_told(), 13.0)
        assert following.doubt  # it was a witness again

    def test_a_master_that_nobody_contradicts_is_believed_at_last(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(a=0), 1.0)
        following.seen(_told(), 2.0)
        following.seen(_told(), 61.0)
        assert following.doubt
        following.seen(_told(), 62.1)
        assert not following.doubt

    def test_since_when_it_is_not_sure(self) -> None:
        following = Following(5.0, False, 0.0)
        following.seen(_told(), 1.0)
        assert following.sure_at == 0.0  # no witness
        following.confirmed(2.0)
        assert following.sure_at == 2.0
        following.seen(_told(a=0), 3.0)
        assert following.sure_at == 3.0
        following.seen(_told(), 4.0)
        assert following.sure_at == 3.0

    def test_one_that_needs_no_witness(self) -> None:
        following = Following(5.0, True, 0.0)
        following.seen(_told(), 1.0)
        assert following.sure_at == 1.0
