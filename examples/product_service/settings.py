"""`ProductSettings`: the product service's settings, read from an environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from examples.environment import address, amqp_urls, seconds, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSettings:
    """Every setting of the product service, already understood."""

    listen_addr: str = "localhost:50055"
    rabbitmq_addr: tuple[str, ...] = ()
    """The AMQP URLs to try, in order; none: no events."""
    latency: float = 0.02
    """Additional duration of a read, in seconds."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "ProductSettings":
        """The settings of an environment; ValueError says in one line which is not understood and what is accepted."""
        return cls(
            listen_addr=setting(environ, "LISTEN_ADDR", "localhost:50055", address, "host:port"),
            rabbitmq_addr=setting(
                environ,
                "RABBITMQ_ADDR",
                "amqp://guest:guest@localhost:5672/",
                amqp_urls,
                "amqp://user:password@host:port/vhost, several separated by commas; empty: no events",
            ),
            latency=setting(environ, "LATENCY", "20ms", seconds, "a duration like 50ms or 1s; 0: none"),
        )
