"""The errors that cross the proxy's layers. Errors of libraries are translated where the library is called."""


class RedisUnavailableError(Exception):
    """Redis gave no usable answer in time: it is away, frozen, slow, full, or refuses. The text says which."""


class RedisRefusedError(RedisUnavailableError):
    """Redis answered with an error; the connection can still be used."""


class UnexpectedReplyError(RedisUnavailableError):
    """A reply does not have the form that its command's replies have; `to` names the command."""

    def __init__(self, to: str = "a script") -> None:
        super().__init__(f"Redis gave an unexpected reply to {to}")


class StartError(Exception):
    """The proxy cannot start; the text is one line for the person who starts it. Exit status 1."""


def cannot_listen(address: str) -> str:
    """The message for a LISTEN_ADDR that cannot be opened, with either transport."""
    return f"LISTEN_ADDR: {address!r} cannot be opened to listen on; accepted: a free port of a local address"


class SettingError(StartError, ValueError):
    """A setting, or a file that it names, cannot be used, or contradicts another setting. Exit status 2."""


class BadPolicyError(SettingError):
    """The policy cannot be used; all other settings can."""
