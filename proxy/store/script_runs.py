"""Running a script of ours where its keys are: redirections are followed, a slot that is on its way is waited for."""

import asyncio
from collections.abc import Callable

from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from proxy.errors import RedisUnavailableError
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script
from proxy.store.redis_topology import Topology

_REDIRECTIONS_FOLLOWED = 5
_TRY_AGAIN = 0.005


async def run_script(
    topology: Topology,
    script: Script,
    keys: tuple[bytes, ...],
    arguments: Callable[[Node], tuple[bytes, ...]],
    budget: Budget,
    *,
    durable: bool = False,
) -> object:
    """The script's reply; RedisUnavailableError. The keys are of one slot, the arguments those for the node that is
    asked. `durable`: it counts only once the node was seen to be the master after it.
    """
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
