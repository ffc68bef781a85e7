"""`RabbitServer`: a real RabbitMQ node of the tests, with its own epmd."""

import asyncio
import itertools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.support.servers.certificates import Authority, Issued
from tests.support.servers.children import Child, free_port, program
from tests.support.servers.server import Server

_NODE = "rabbit@localhost"
_COOKIE = "MEDIACACHEPROXYTESTS"
# One scheduler that does not spin, because the tests need no throughput.
_ERL_ARGS = (
    "+S 1:1 +SDcpu 1:1 +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none -noinput -start_epmd false "
    "-kernel inet_dist_use_interface {127,0,0,1}"
)
# Debian's program on the path is a wrapper that switches to the user rabbitmq; the script behind it runs as any user.
_BEHIND_WRAPPER = "/usr/lib/rabbitmq/bin/"


class RabbitServer(Server):
    """One broker on a free port, user guest/guest, no plugins. It takes some seconds to start, so share it.

    `vhost()` gives each test its own virtual host. Durable queues and persistent messages survive `restart()`, and
    `kill()` with `start()`: the port and the directory stay the same.
    """

    start_timeout = 90.0
    stop_timeout = 60.0

    def __init__(self, beside: "RabbitServer | None" = None) -> None:
        """`beside`: a running node, whose cluster this one joins at its first start."""
        self.port = free_port()
        self._node = _NODE if beside is None else f"{_NODE.partition('@')[0]}{self.port}@localhost"
        self.directory = Path(tempfile.mkdtemp(prefix="test-rabbitmq-"))
        self._vhosts = itertools.count(1)
        server = program("rabbitmq-server", _BEHIND_WRAPPER + "rabbitmq-server", "rabbitmq-server")
        self._ctl = program("rabbitmq-server", _BEHIND_WRAPPER + "rabbitmqctl", "rabbitmqctl")
        self._erl_call = program("erlang-base", "erl_call")
        self._beside = beside
        self.epmd_port: int = free_port() if beside is None else beside.epmd_port
        self.env = self._prepare(self.epmd_port)
        epmd = [program("erlang-base", "epmd"), "-port", str(self.epmd_port), "-address", "127.0.0.1"]
        self._epmd = Child(f"epmd on port {self.epmd_port}", epmd, self.directory / "epmd")
        self.child = Child(f"rabbitmq-server on port {self.port}", [server], self.directory, self.env)

    def _prepare(self, epmd_port: int) -> dict[str, str]:
        """Writes the node's configuration; returns an environment that confines it and rabbitmqctl to its directory."""
        base = self.directory
        cookie = base / ".erlang.cookie"
        cookie.write_text(_COOKIE)
        cookie.chmod(0o400)
        (base / "enabled_plugins").write_text("[].\n")
        (base / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 1MB\n"
            "vm_memory_high_watermark.absolute = 1GB\nlog.console.level = info\n"
            + "".join(
                f"cluster_formation.classic_config.nodes.{number} = {node}\n"
                for number, node in enumerate([] if self._beside is None else [self._beside.node, self._node], 1)
            )
        )
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(base),
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
            "RABBITMQ_LOG_BASE": str(base / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(base / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "enabled_plugins"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(base / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(base / "config"),
            "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(base / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(base / "rabbitmq-env.conf"),
            # Makes the script exec the VM, so that signals reach the broker itself.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERL_ARGS,
        }

    @property
    def node(self) -> str:
        """The name of the Erlang node."""
        return self._node

    def url(self, vhost: str = "/") -> str:
        """The value for RABBITMQ_ADDR: `amqp://…`."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{'' if vhost == '/' else vhost}"

    async def vhost(self) -> str:
        """The URL of a new, empty virtual host."""
        name = f"test-{next(self._vhosts)}"
        await self.eval(
            f'rabbit_vhost:add(<<"{name}">>, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).'
        )
        return self.url(name)

    async def drop(self, url: str) -> None:
        """Removes a virtual host of `vhost()` with everything in it; its connections are closed."""
        await self.eval(f'rabbit_vhost:delete(<<"{url.rpartition("/")[2]}">>, <<"tests">>).')

    async def secure(self, authority: Authority, shown: Issued, *, clients: bool = False) -> int:
        """Opens another port, for amqps, and returns it. With `clients` it demands their certificates. It reads its
        files again only after `forget_certificates()`.
        """
        port = free_port()
        asks = "verify_peer}, {fail_if_no_peer_cert, true" if clients else "verify_none"
        options = (
            f'{{cacertfile, "{authority.ca}"}}, {{certfile, "{shown.cert}"}}, {{keyfile, "{shown.key}"}}, '
            f"{{verify, {asks}}}"
        )
        await self.forget_certificates()
        await self.eval(
            f'application:ensure_all_started(ssl), ok = rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}, '
            f"inet}}, [{options}], 1)."
        )
        return port

    async def forget_certificates(self) -> None:
        """Makes the broker drop the certificates that it has read, which it keeps for two minutes."""
        await self.eval("application:ensure_all_started(ssl), ssl:clear_pem_cache().")

    async def start(self) -> Self:
        """Starts the node and waits until it takes AMQP connections."""
        if self._beside is None and not self._epmd.running:
            self._epmd.spawn()
        return await super().start()

    async def serving(self) -> bool:
        """Whether it serves: a broker answers an unknown protocol header with its own; a port may only be open."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"AMQP\x00\x00\x00\x00")
            return await reader.read(8) == b"AMQP\x00\x00\x09\x01"
        except OSError:
            return False
        finally:
            writer.close()

    async def revive(self) -> None:
        """Makes it serve again, whatever was done to it: thaws or starts it."""
        if self.child.frozen:
            self.thaw()
        if not self.child.running:
            await self.start()

    async def eval(self, expression: str) -> str:
        """Evaluates an Erlang expression in the node and returns its value as text; takes some milliseconds."""
        command = [self._erl_call, "-sname", self._node, "-c", _COOKIE, "-e"]
        answer = await self._run(command, stdin=f"{expression}\n")
        if not answer.startswith("{ok, "):
            raise RuntimeError(f"{expression} answered {answer}")
        return answer.removeprefix("{ok, ").removesuffix("}")

    async def ctl(self, *args: str) -> str:
        """Runs `rabbitmqctl --quiet …` and returns its output. It takes about a second; `eval` is faster."""
        return await self._run([self._ctl, "--quiet", "--node", self._node, *args])

    async def _run(self, command: list[str], stdin: str = "") -> str:
        done = await asyncio.to_thread(
            subprocess.run, command, env=self.env, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stdout}{done.stderr}")
        return str(done.stdout)

    def remove(self) -> None:
        """Ends its epmd, too."""
        self._epmd.kill()
        super().remove()
