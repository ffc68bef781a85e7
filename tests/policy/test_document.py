"""proxy.policy.document: YAML with line and column."""

import re

import pytest

from proxy.policy.document import MOST_BYTES, Document, Source
from proxy.policy.mistakes import PolicyError


def source(text: str) -> Source:
    document = Document(text, "p.yaml")
    (_, node) = document.mapping(document.root, "policy", None)["tag"]
    found = document.text(node, "tag")
    assert found is not None
    return found


def marked(text: str, at: str) -> str:
    """The place of a mark in a text, as messages write it."""
    before = text[: text.index(at)]
    return f"p.yaml:{before.count(chr(10)) + 1}:{len(before) - (before.rfind(chr(10)) + 1) + 1}"


@pytest.mark.parametrize(
    "written",
    [
        "tag: 1 + X",
        "tag: '1 + X'",
        'tag: "1 + X"',
        'é: 1\ntag:   "é + X"',
        "tag: |\n  1 +\n    X\n",
        "a:\n  - 1\ntag: |\n\n     1 +\n     X\n",
    ],
)
def test_a_place_within_a_text_is_the_place_in_the_file(written: str) -> None:
    found = source(written)
    before = found.text[: found.text.index("X")]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    assert str(found.at(line, column)) == marked(written, "X")


@pytest.mark.parametrize("written", ['tag: "\\x31 + X"', "tag: '''' + X''", "tag: >\n  1 +\n  X\n", "tag: 1 +\n  X"])
def test_where_yaml_rewrote_a_text_the_place_is_its_beginning(written: str) -> None:
    found = source(written) if "''''" not in written else source("tag: '''a'' + X'")
    assert str(found.at(1, 4)) == str(found.place)


def test_values_are_texts_as_they_are_written() -> None:
    document = Document("a: yes\nb: 007\nc: 1h\nd: 2001-01-01", "p.yaml")
    nodes = document.mapping(document.root, "policy", None)
    texts = {name: document.text(node, name) for name, (_, node) in nodes.items()}
    assert {name: found.text for name, found in texts.items() if found} == {
        "a": "yes",
        "b": "007",
        "c": "1h",
        "d": "2001-01-01",
    }


def test_every_mistake_is_noted_at_its_place() -> None:
    document = Document("tag: [1]\ntag: 2\nttl: ''\nlst: {}\nflag: yes\n? [x]\n: 1", "p.yaml")
    nodes = document.mapping(document.root, "policy", ["tag", "ttl", "lst", "flag"])
    document.text(nodes["tag"][1], "tag")
    document.text(nodes["ttl"][1], "ttl")
    list(document.items(nodes["lst"][1], "lst"))
    document.flag(nodes["flag"][1], "flag")
    document.mapping(nodes["ttl"][1], "ttl", [])
    assert [str(mistake) for mistake in sorted(document.mistakes)] == [
        "p.yaml:1:6: tag: a list was given; accepted: a text",
        "p.yaml:2:1: policy: 'tag' appears twice; accepted: each key once",
        "p.yaml:3:6: ttl: is empty; accepted: a text",
        "p.yaml:3:6: ttl: nothing was given; accepted: keys with values",
        "p.yaml:4:6: lst: keys with values were given; accepted: a list",
        "p.yaml:5:7: flag: 'yes' is not understood; accepted: true, false",
        "p.yaml:6:3: policy: unknown key ''; accepted: tag, ttl, lst, flag",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"p.yaml:1:1: is empty; accepted: a policy, .*"),
        ("a: [", r"p.yaml:2:1: is not valid YAML: .*"),
        ("a: *b", r"p.yaml:1:4: is not valid YAML: .*"),
        ("a: \x07", r"p.yaml:1:1: is not valid YAML: .*"),
        ("[" * 5000, r"p.yaml:\d+:\d+: is not valid YAML: .*"),
        ("a" * (MOST_BYTES + 1), r"p.yaml:1:1: is too long; accepted: at most 1 MiB"),
        ("\ud800", r"p.yaml:1:1: is not valid YAML: .*"),
    ],
)
def test_what_is_no_yaml_is_one_line(text: str, told: str) -> None:
    with pytest.raises(PolicyError) as failed:
        Document(text, "p.yaml")
    assert re.fullmatch(told, str(failed.value))
