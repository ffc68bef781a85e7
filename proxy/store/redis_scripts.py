"""`Script`: a Lua script, called by its SHA-1; and sending a script or command without waiting for its reply."""

from hashlib import sha1
from importlib.resources import files

from redis.exceptions import NoScriptError

from proxy.errors import RedisUnavailableError
from proxy.store.redis_link import Reply, ignored
from proxy.store.redis_node import Node
from proxy.telemetry import span_names


class Script:
    """The script in `lua/<name>.lua`."""

    def __init__(self, name: str) -> None:
        self.source = (files("proxy.store") / "lua" / f"{name}.lua").read_bytes()
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()
        span_names.script(self.sha, self.source, name)


def send(node: Node | None, *command: bytes, batch: int = 1) -> Reply | None:
    """Sends a command that nobody needs to wait for; if it is lost, only something is not stored. The future has the
    outcome; None means that the command was not sent.
    """
    try:
        reply = node.send(*command, batch=batch) if node is not None else None
    except RedisUnavailableError:
        return None
    if reply is not None:
        reply.add_done_callback(ignored)
    return reply


def send_script(node: Node, script: Script, key: bytes, *arguments: bytes, batch: int = 1) -> Reply | None:
    """Does the same for a script on one key."""
    reply = send(node, b"EVALSHA", script.sha, b"1", key, *arguments, batch=batch)
    if reply is not None:
        reply.add_done_callback(lambda done: _again_if_unknown(done, node, script, key, arguments))
    return reply


def _again_if_unknown(done: Reply, node: Node, script: Script, key: bytes, arguments: tuple[bytes, ...]) -> None:
    """After a SCRIPT FLUSH, Redis lacks the script; without a second try, each key would wait for its lease to end."""
    if not done.cancelled() and isinstance(done.exception(), NoScriptError):
        send(node, b"EVAL", script.source, b"1", key, *arguments)
