"""The errors that cross our own layers. Errors of libraries are translated where they enter."""


class RedisUnavailableError(Exception):
    """Redis gave no usable answer in time: away, frozen, slow, full, or refusing. The text says which."""


class RedisRefusedError(RedisUnavailableError):
    """Redis answered with an error; the connection is fine."""


class UnexpectedReplyError(RedisUnavailableError):
    """A reply has another form than the command's; `to` names the command."""

    def __init__(self, to: str = "a script") -> None:
        super().__init__(f"Redis gave an unexpected reply to {to}")


class StartError(Exception):
    """The proxy cannot start; the text is one line for the person who started it."""


class SettingError(StartError, ValueError):
    """A setting cannot be used (a file that it names, another setting that it contradicts): exit status 2."""


class BadPolicyError(SettingError):
    """What POLICY names cannot be used; a proxy with all its other settings can."""
