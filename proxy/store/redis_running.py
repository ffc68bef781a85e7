"""`run_script`: runs a script where its keys are, and follows them while slots move."""

import asyncio
from collections.abc import Callable

from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from proxy.errors import RedisUnavailableError
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script
from proxy.store.redis_topology import Topology

_REDIRECTIONS_FOLLOWED = 5
_TRY_AGAIN = 0.005

Arguments = Callable[[Node], tuple[bytes, ...]]
"""Made anew for each node that is asked: they may name its run id."""


async def run_script(
    topology: Topology,
    script: Script,
    keys: tuple[bytes, ...],
    arguments: Arguments,
    budget: Budget,
    *,
    durable: bool = False,
) -> object:
    """Its reply; RedisUnavailableError. `durable`: it counts only if the server is seen to be the master after it."""
    node, call, asking = topology.node_for(keys[0]), (b"EVALSHA", script.sha), False
    if node is None:
        raise RedisUnavailableError("not connected yet")
    for _ in range(_REDIRECTIONS_FOLLOWED):
        command = (*call, b"%d" % len(keys), *keys, *arguments(node))
        try:
            return await (node.write if durable else node.ask)(budget, *command, asking=asking)
        except NoScriptError:
            call = (b"EVAL", script.source)
        except AskError as error:  # MOVED too
            node = topology.redirected(error, node) or node
            asking = not isinstance(error, MovedError)
        except TryAgainError:  # the slot is on its way
            await asyncio.sleep(_TRY_AGAIN)
            budget.left -= _TRY_AGAIN
    raise RedisUnavailableError("the key's slot is moving")
