"""Makes text from callers, brokers and servers safe to print on a terminal: it cannot set the title or use colours.

A terminal acts on control characters (C0, DEL and C1: `\\x9b` begins a sequence as `\\x1b[` does). Unicode's
bidirectional controls change the order in which a line is shown, and its line and paragraph separators end the line.
"""

_UNSAFE = (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSAFE}
_LINE_ENDS = frozenset("\n\t")
_IN_JSON = {code: f"\\u{code:04x}" for code in _UNSAFE if chr(code) not in _LINE_ENDS}


def printable(text: str) -> str:
    """The text as one line, with each unsafe character written as an escape (`\\x1b`, `\\u2028`)."""
    return text.translate(_SHOWN)


def printable_json(text: str) -> str:
    """An equal JSON document, with the unsafe characters in its strings escaped; line ends and tabs stay."""
    return text.translate(_IN_JSON)
