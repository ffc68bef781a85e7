"""`written`: writes everything that Envoy and the interpreter inside it start with into their directory.

With a policy, a separate process does so and ends. Otherwise the modules that it loads, and the configuration of some
hundred methods, would stay in the memory of `serve`: 30 MB, which the interpreter inside Envoy needs anyway.

That process also saves what it has read, and the interpreter inside Envoy builds its policy from that. It must answer
the calls that Envoy's routes send to it, and the policy's own file may have changed meanwhile.
"""

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from proxy.envoy import dynamic_config
from proxy.envoy.bootstrap import Place, bootstrap, clusters_of
from proxy.envoy.listener import routes
from proxy.envoy.services import Placed, builtin, placed
from proxy.envoy.tls import secrets
from proxy.errors import SettingError, StartError, cannot_listen
from proxy.policy.watched import Watched
from proxy.settings.config import Settings

_PROGRAM = "from proxy.envoy.config_files import main; main()"


def written(settings: Settings, place: Place) -> None:
    """Writes the configuration for the policy in POLICY. Raises PolicyError with every mistake in it, and StartError
    for an address that Envoy cannot use.
    """
    if not settings.policy:
        _write(settings, place, builtin(settings))
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}
    asked = pickle.dumps((settings, place))
    command = [sys.executable, "-P", "-c", _PROGRAM]
    done = subprocess.run(command, input=asked, env=environment, stdout=subprocess.PIPE, check=False)  # noqa: S603 -- ours
    if done.returncode:
        _write_by_policy(settings, place)  # the process itself failed, which says nothing about the policy
        return
    failed: StartError | None = pickle.loads(done.stdout)  # noqa: S301 -- by ourselves
    if failed is not None:
        raise failed


def main() -> None:
    """The main function of the separate process."""
    settings, place = pickle.load(sys.stdin.buffer)  # noqa: S301 -- by ourselves
    failed = None
    try:
        _write_by_policy(settings, place)
    except StartError as error:
        failed = error
    sys.stdout.buffer.write(pickle.dumps(failed))


def shown(settings: Settings, place: Place) -> dict[str, object]:
    """Envoy's whole configuration, for people: the parts that Envoy reads from separate files, because they may change,
    are included.
    """
    return _rendered(replace(settings, policy=""), place, placed(settings))


def resolve(host: str) -> Sequence[str]:
    """The addresses of a name, as this machine resolves it. Raises OSError if it cannot."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _write_by_policy(settings: Settings, place: Place) -> None:
    watched = Watched(keeping=True)
    services = placed(settings, watched)
    _write(settings, place, services)
    dynamic_config.write(place.directory, dynamic_config.CLUSTERS, clusters_of(settings, place, services))
    dynamic_config.write(place.directory, dynamic_config.ROUTES, [routes(settings, services)])
    watched.save(place.policy)


def _write(settings: Settings, place: Place, services: Sequence[Placed]) -> None:
    for name, secret in secrets(settings, services).items():
        (place.directory / name).write_text(json.dumps(secret))
    place.config.write_text(json.dumps(_rendered(settings, place, services), indent=1))


def _rendered(settings: Settings, place: Place, services: Sequence[Placed]) -> dict[str, object]:
    try:
        return bootstrap(settings, place, resolve, services)
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error)) from None
    except OSError:
        raise StartError(cannot_listen(settings.listen_addr)) from None
