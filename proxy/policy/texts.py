"""What the own functions of expressions do with a text. This module does not import CEL, which few processes need."""

from proxy.policy import spellings


def casefolded(text: str) -> str:
    """The text case-folded as Unicode defines it, for case-insensitive comparison."""
    return _whole(text.casefold())


def foldings(text: str) -> list[str]:
    """Every form that databases may compare by, depending on their locale; usually one."""
    return [_whole(each) for each in spellings.foldings(text)]


def _whole(text: str) -> str:
    """The text without NULs: CEL's bindings would cut it there, and its tag would be that of another text."""
    return text.replace("\0", "\ufffd")
