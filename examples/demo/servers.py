"""The servers of the demo, each a `Process` that can tell whether it is ready."""

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

import aiohttp

from examples.demo.process import FailedError, Process

ROOT = Path(__file__).parents[2]


_given: set[int] = set()


def free_port(preferred: int = 0) -> int:
    """Returns the preferred port if it is free, otherwise any free one. No port is returned twice."""
    for candidate in (preferred, *[0] * 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                port = int(probe.getsockname()[1])
                if port not in _given:
                    _given.add(port)
                    return port
    raise FailedError("no port is free on 127.0.0.1")


def redis(program: str, version: str, port: int, directory: Path) -> Process:
    """Redis or Valkey, without persistence."""
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]

    async def is_ready() -> bool:
        return await _answers(port, b"PING\r\n", b"+PONG")

    return Process(
        "Redis", f"127.0.0.1:{port} ({version})", [*command, "--dir", str(directory)], directory / "redis.log", is_ready
    )


def epmd(program: str, port: int, directory: Path) -> Process:
    """Erlang's port mapper, started by the demo because RabbitMQ would start one that outlives it."""

    async def is_ready() -> bool:
        return await _answers(port, b"\x00\x01n", port.to_bytes(4, "big"))

    command = [program, "-port", str(port), "-address", "127.0.0.1"]
    return Process("epmd", f"127.0.0.1:{port}", command, directory / "epmd.log", is_ready)


def rabbitmq(program: str, port: int, epmd_port: int, directory: Path) -> Process:
    """A broker with guest/guest and no plugins, which keeps its data in the demo's directory."""
    base = directory / "rabbitmq"
    base.mkdir()
    (base / "enabled_plugins").write_text("[].\n")
    (base / "rabbitmq.conf").write_text(
        f"listeners.tcp.default = 127.0.0.1:{port}\ndisk_free_limit.absolute = 1MB\nlog.console.level = warning\n"
    )
    env = {
        "HOME": str(base),
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_NODE_PORT": str(port),
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
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-noinput -start_epmd false +sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }

    async def is_ready() -> bool:
        # A broker answers an unknown protocol header with its own; unlike an open port, that shows that it serves.
        return await _answers(port, b"AMQP\x00\x00\x00\x00", b"AMQP\x00\x00\x09\x01")

    return Process("RabbitMQ", amqp_url(port), [program], directory / "rabbitmq.log", is_ready, env)


def amqp_url(port: int) -> str:
    """The broker's URL."""
    return f"amqp://guest:guest@127.0.0.1:{port}/"


def media_service(port: int, directory: Path, **settings: str) -> Process:
    """The reference media service, with the examples' avatars."""

    async def is_ready() -> bool:
        return await _listens(port)

    env = {
        "PYTHONPATH": str(ROOT),
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "DATA_DIR": str(directory / "media"),
        "SEED": "1",
        **settings,
    }
    command = [sys.executable, "-m", "examples.media_service"]
    return Process("media service", f"127.0.0.1:{port}", command, directory / "media-service.log", is_ready, env)


def product_service(port: int, directory: Path, **settings: str) -> Process:
    """The reference product service, with the examples' products."""

    async def is_ready() -> bool:
        return await _listens(port)

    env = {"PYTHONPATH": str(ROOT), "LISTEN_ADDR": f"127.0.0.1:{port}", **settings}
    command = [sys.executable, "-m", "examples.product_service"]
    return Process("product service", f"127.0.0.1:{port}", command, directory / "product-service.log", is_ready, env)


def proxy(port: int, probe_port: int, directory: Path, session: aiohttp.ClientSession, **settings: str) -> Process:
    """The proxy, which logs what it did for each read."""
    probe = f"127.0.0.1:{probe_port}"

    async def is_ready() -> bool:
        try:
            async with session.get(f"http://{probe}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    env = {
        "PYTHONPATH": str(ROOT),
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "PROBE_ADDR": probe,
        "LOG_LEVEL": "debug",
        "DRAIN_TIME": "100ms",
        **settings,
    }
    command = [sys.executable, "-m", "proxy", "serve"]
    return Process("proxy", f"127.0.0.1:{port}", command, directory / "proxy.log", is_ready, env)


def gateway(name: str, port: int, addresses: tuple[str, str], directory: Path) -> Process:
    """The reference gateway, in front of the services or of the proxy; it cannot tell the difference."""

    async def is_ready() -> bool:
        return await _listens(port)

    env = {"PYTHONPATH": str(ROOT), "GATEWAY_ADDR": f"127.0.0.1:{port}"}
    env |= zip(("MEDIA_SERVICE_ADDR", "PRODUCT_SERVICE_ADDR"), addresses, strict=True)
    command = [sys.executable, "-m", "examples.gateway"]
    log = directory / f"{name.replace(' ', '-')}.log"
    return Process(name, f"http://localhost:{port}/query", command, log, is_ready, env)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _answers(port: int, question: bytes, answer: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(question)
        return (await asyncio.wait_for(reader.read(64), 2)).startswith(answer)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
