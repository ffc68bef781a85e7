"""Commands that Redis refuses to the proxy's user: one line each, with what to grant, and one when all work again."""

import logging

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from proxy.errors import RedisUnavailableError
from proxy.store.permissions import Permissions
from proxy.store.redis_node import Budget
from proxy.store.redis_scripts import Script
from tests.support.redis_parts import Watched, linked, maker, noded
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

FILL, RELEASE = Script("fill"), Script("release")
SCRIPTS = FILL.source, RELEASE.source, Script("invalidate").source
_ALL = (
    "on >pw ~media:* resetchannels -@all "
    "+info +time +echo +script|load +evalsha +hget +hset +hdel +hkeys +pttl +pexpire"
)


async def _permit(server: RedisServer, *words: str) -> None:
    await server.cli("ACL", "SETUSER", "proxy", *words)


async def _refused(watched: Watched, *command: bytes) -> str:
    """What is reported about a refused command."""
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

        async def works() -> bool:
            await watched.link.request(*command)
            return watched.link.permissions.missing == ""

        await until(works, "it to have worked for a while")
        assert _told(caplog)[1:] == [("INFO", "Redis no longer refuses any of the proxy's commands")]
        await _permit(own_redis, "-@all")
        await _refused(watched, *command)
        assert [level for level, _ in _told(caplog)] == ["WARNING", "INFO", "WARNING"]


@pytest.mark.parametrize(("name", "up"), [("HKEYS", False), ("HSTRLEN", True), ("EVALSHA", False), ("HGET", False)])
async def test_a_server_that_lacks_a_command_says_so(name: str, up: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Managed servers may lack commands. If that went unnoticed, every call would silently be a miss."""
    async with RedisServer(f'rename-command {name} ""') as server:
        async with noded(maker(server.port), *SCRIPTS, up=up, probed=True) as (node, told):
            if up:
                with pytest.raises(RedisUnavailableError):
                    await node.ask(Budget(5), name.encode(), b"k", b"f")
            await until(lambda: _told(caplog), "a line")
            ((level, line),) = _told(caplog)
            assert level == "WARNING"
            assert "the server must have" in line
            assert name.lower() in line
            assert node.usable is up
            assert [each for each, _ in told.changes if each] == [True] * up


async def test_a_script_that_works_in_between_is_told_of_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The second command of the write probe needs fewer permissions than the first."""
    caplog.set_level(logging.INFO, "proxy")
    await _permit(own_redis, *_ALL.split(), "+evalsha", "+eval", "-hset")
    make = maker(own_redis.port, username="proxy", password="pw")
    async with noded(make, Script("invalidate").source, up=False, probed=True) as (node, _):
        await until(lambda: "accepts no invalidations" in node.trouble or node._link.permissions.missing)
        await own_redis.cli("CONFIG", "RESETSTAT")

        async def tried() -> bool:
            calls = (await own_redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)
            return bool(calls >= 20)

        await until(tried, "ten pings")
        assert [level for level, _ in _told(caplog)] == ["WARNING"]
        await _permit(own_redis, "+hset")
        await until(lambda: node.usable and not node.trouble, "the grant to be noticed")
        assert [level for level, _ in _told(caplog)] == ["WARNING", "INFO"]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ResponseError("ACL failure in script: User p has no permissions to run the 'hdel' command"), "grant +hdel to"),
        (NoPermissionError("No permissions to access a key"), "grant it the keys of CACHE_NAMESPACE"),
    ],
)
def test_the_words_of_valkey_9_are_understood(error: Exception, remedy: str) -> None:
    permissions = Permissions([RELEASE.source])
    permissions.refused((b"EVALSHA", RELEASE.sha), error)
    assert remedy in permissions.missing


def test_other_errors_are_none_of_it(caplog: pytest.LogCaptureFixture) -> None:
    permissions = Permissions([FILL.source])
    permissions.refused((b"HGET", b"k"), ValueError("WRONGTYPE"))
    permissions.worked((b"HGET", b"k"))
    assert permissions.missing == ""
    assert _told(caplog) == []


def test_all_that_a_script_calls_is_named() -> None:
    assert Permissions([FILL.source])._inside[FILL.sha] == ("hdel", "hget", "hset", "pexpire", "pttl", "time")
