"""What Redis refuses to our user: one line for each command, with what to grant, and one when all works again."""

import logging

import pytest

from proxy.store.permissions import Permissions
from proxy.store.redis_scripts import Script
from tests.support.redis_parts import Watched, linked, maker
from tests.support.servers.redis import RedisServer

FILL, RELEASE = Script("fill"), Script("release")
_ALL = (
    "on >pw ~media:* resetchannels -@all "
    "+info +time +echo +script|load +evalsha +hget +hset +hdel +hkeys +pttl +pexpire"
)


async def _permit(server: RedisServer, *words: str) -> None:
    await server.cli("ACL", "SETUSER", "proxy", *words)


async def _refused(watched: Watched, *command: bytes) -> str:
    """What is told of a command that is refused."""
    reply = watched.link.request(*command)
    with pytest.raises(Exception, match=r"permission|executing"):
        await reply
    return watched.link.permissions.missing


def _told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage()) for record in caplog.records if record.name.endswith(".permissions")
    ]


@pytest.mark.parametrize(
    ("lacking", "command", "remedy"),
    [
        ("-hget", (b"HGET", b"media:x", b"f"), "grant +hget to the user"),
        ("-evalsha", (b"EVALSHA", RELEASE.sha, b"1", b"media:x", b"f", b"r", b"t"), "grant +evalsha to the user"),
        ("+hget", (b"HGET", b"other:x", b"f"), "the keys of CACHE_NAMESPACE"),
        ("-hdel", (b"EVALSHA", RELEASE.sha, b"1", b"media:x", b"1", b"run", b"token"), "grant all of +hdel +hget to"),
    ],
)
async def test_the_line_says_what_to_grant_and_comes_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, lacking: str, command: tuple[bytes, ...], remedy: str
) -> None:
    caplog.set_level(logging.INFO, "proxy")
    await own_redis.cli("HSET", "media:x", "l1", "run token 1 2")
    await _permit(own_redis, *_ALL.split(), lacking)
    async with linked(maker(own_redis.port, username="proxy", password="pw"), RELEASE.source) as watched:
        assert remedy in await _refused(watched, *command)
        await _refused(watched, *command)
        assert await watched.link.request(b"ECHO", b"another") == b"another"
        assert watched.link.permissions.missing
        ((level, line),) = _told(caplog)
        assert (level, remedy in line) == ("WARNING", True)
        await _permit(own_redis, "+hget", "+evalsha", "+hdel", "~other:*")
        await watched.link.request(*command)
        assert watched.link.permissions.missing == ""
        assert _told(caplog)[1:] == [("INFO", "Redis refuses no command of ours any more")]
        await _permit(own_redis, "-@all")
        await _refused(watched, *command)
        assert [level for level, _ in _told(caplog)] == ["WARNING", "INFO", "WARNING"]


def test_other_errors_are_none_of_it(caplog: pytest.LogCaptureFixture) -> None:
    permissions = Permissions([FILL.source])
    permissions.refused((b"HGET", b"k"), ValueError("WRONGTYPE"))
    permissions.worked((b"HGET", b"k"))
    assert permissions.missing == ""
    assert _told(caplog) == []


def test_all_that_a_script_calls_is_named() -> None:
    assert Permissions([FILL.source])._inside[FILL.sha] == ("hdel", "hget", "hset", "pexpire", "pttl", "time")
