"""`GatewaySettings`: the gateway's settings, read from an environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from examples.environment import address, setting


def _text(text: str) -> str:
    if not text or any(character.isspace() for character in text):
        raise ValueError(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Every setting of the gateway, already understood."""

    media_service_addr: str = "localhost:50056"
    """Any gRPC target: the media service itself, or the proxy in front of it."""
    product_service_addr: str = "localhost:50055"
    """Any gRPC target: the product service itself, or the proxy in front of it."""
    avatar_collection: str = "avatars"
    gateway_addr: str = "127.0.0.1:8080"
    """Where it listens (HTTP)."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "GatewaySettings":
        """The settings of an environment; ValueError says in one line which is not understood and what is accepted."""
        return cls(
            media_service_addr=setting(
                environ, "MEDIA_SERVICE_ADDR", _DEFAULT.media_service_addr, _text, "a gRPC target like host:port"
            ),
            product_service_addr=setting(
                environ, "PRODUCT_SERVICE_ADDR", _DEFAULT.product_service_addr, _text, "a gRPC target like host:port"
            ),
            avatar_collection=setting(
                environ, "AVATAR_COLLECTION", _DEFAULT.avatar_collection, _text, "a collection's name, without spaces"
            ),
            gateway_addr=setting(environ, "GATEWAY_ADDR", _DEFAULT.gateway_addr, address, "host:port"),
        )


_DEFAULT = GatewaySettings()
