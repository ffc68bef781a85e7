"""Text of others is fit for a terminal, and JSON stays the same document."""

import json
import unicodedata

import pytest

from proxy.printable import printable, printable_json

TITLE = "\x1b]0;owned\x07user"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user", "user"),
        ("Ünïcode 写真", "Ünïcode 写真"),
        (TITLE, "\\x1b]0;owned\\x07user"),
        ("a\x9b31mb", "a\\x9b31mb"),
        ("one\ntwo\u2028three", "one\\x0atwo\\u2028three"),
        ("\u202euser", "\\u202euser"),
        ("\x7f", "\\x7f"),
    ],
)
def test_what_a_terminal_would_act_on_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_control_character_is_left_of_any() -> None:
    every = "".join(map(chr, range(0x3000)))
    assert not [char for char in printable(every) if unicodedata.category(char) in {"Cc", "Zl", "Zp"}]
    turns = {"RLO", "LRO", "RLE", "LRE", "RLI", "LRI"}
    assert not turns & {unicodedata.bidirectional(char) for char in printable(every)}


def test_json_means_the_same_and_holds_none_either() -> None:
    document = {"model_type": TITLE + "\x7f\x9b\u202e", "detail": "写真"}
    text = printable_json(json.dumps(document, indent=2, ensure_ascii=False))
    assert json.loads(text) == document
    assert not [char for char in text if unicodedata.category(char) == "Cc" and char != "\n"]
    assert "写真" in text
