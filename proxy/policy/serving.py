"""The policy that a process serves. The built-in policy needs neither CEL nor YAML, so neither is imported for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxy.policy.builtin.media import media_policy
from proxy.policy.compiled import Policy
from proxy.policy.watched import Watched

if TYPE_CHECKING:
    from proxy.policy.loading import Connect


def served_policy(
    path: str,
    *,
    constants: Mapping[str, int],
    default_upstream: str,
    connect: "Connect",
    watched: Watched,
    listen_addr: str = "",
    transport: str = "grpcio",
) -> Policy:
    """The policy in a file, or the built-in one if `path` is empty; raises PolicyError with every mistake.

    `watched` reads each file.
    """
    if not path:
        return media_policy(constants)
    from proxy.policy.loading import load_policy  # noqa: PLC0415 -- see above

    return load_policy(
        path,
        constants=constants,
        default_upstream=default_upstream,
        connect=connect,
        watched=watched,
        listen_addr=listen_addr,
        transport=transport,
    )
