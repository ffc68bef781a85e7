"""`run_script`: runs a script on the node that holds its keys. It follows redirections and waits for a moving slot."""

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
    """Returns the script's reply; raises RedisUnavailableError. All keys are in one slot. `arguments` gets the node
    that is asked. With `durable`, it returns only once the node was found to be the master after the script ran.
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
        except TryAgainError:  # the slot is moving
            await asyncio.sleep(_TRY_AGAIN)
            budget.left -= _TRY_AGAIN
    raise RedisUnavailableError("the key's slot is moving")
