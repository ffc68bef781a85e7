"""What expressions make of a text by functions of ours. Apart from CEL, which few processes load."""

from proxy.policy import spellings


def casefolded(text: str) -> str:
    """For comparing without regard to case."""
    return _whole(text.casefold())


def foldings(text: str) -> list[str]:
    """All that databases make of it when they compare so."""
    return [_whole(each) for each in spellings.foldings(text)]


def _whole(text: str) -> str:
    """CEL's bindings cut what comes from Python at a NUL; then it would be the tag of another text."""
    return text.replace("\0", "\ufffd")
