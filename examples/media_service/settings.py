"""`MediaSettings`: the media service's settings, read from an environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from examples.environment import address, amqp_urls, seconds, setting, whole

S3_LONGEST = 7 * 86400
"""Seconds; S3 does not sign for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """Every setting of the media service, already understood."""

    listen_addr: str = "localhost:50056"
    rabbitmq_addr: tuple[str, ...] = ()
    """The AMQP URLs to try, in order; none: no events."""
    latency: float = 0.05
    """Additional duration of `GetFilesByModel`, in seconds."""
    data_dir: Path | None = None
    """Where the rows and the contents are stored. None means a temporary directory, which is removed at the end."""
    presign_expires: int = 86400
    """Validity of a signed URL, in seconds."""
    first_id: int = 1
    """The id of the first file of a new directory; beyond 2^53 it reveals programs that round an int64."""
    seed: bool = False
    """Whether a new directory starts with avatars of the users 1 and 123."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "MediaSettings":
        """The settings of an environment; ValueError says in one line which is not understood and what is accepted."""
        directory = environ.get("DATA_DIR", "").strip()
        return cls(
            listen_addr=setting(environ, "LISTEN_ADDR", "localhost:50056", address, "host:port"),
            rabbitmq_addr=setting(
                environ,
                "RABBITMQ_ADDR",
                "amqp://guest:guest@localhost:5672/",
                amqp_urls,
                "amqp://user:password@host:port/vhost, several separated by commas; empty: no events",
            ),
            latency=setting(environ, "LATENCY", "50ms", seconds, "a duration like 50ms or 1s; 0: none"),
            data_dir=Path(directory) if directory else None,
            presign_expires=setting(
                environ, "PRESIGN_EXPIRES", "86400", whole(1, S3_LONGEST), f"whole seconds from 1 to {S3_LONGEST}"
            ),
            first_id=setting(environ, "FIRST_ID", "1", whole(1, 2**62), "a whole number from 1 to 2^62"),
            seed=bool(setting(environ, "SEED", "0", whole(0, 1), "0 or 1")),
        )
