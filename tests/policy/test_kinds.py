"""proxy.policy.kinds: the kinds of value that a key may have."""

from dataclasses import dataclass

from proxy.policy.document import Document, Source
from proxy.policy.kinds import Flag, Form, Forms, Inner, Named, Several, Text, Value, key, keys_of, read_form
from proxy.settings.setting_types import Duration


@dataclass
class Part(Form):
    name: Source | None = key(Text("a word", r"\w+"), "A word.", required=True)


@dataclass
class Whole(Form):
    ttl: float | None = key(Value(Duration()), "A time.")
    on: bool | None = key(Flag(), "A flag.")
    words: tuple[Source, ...] | None = key(Several(Text("a word", r"\w+")), "Words.")
    log: dict[str, Source] | None = key(Named(Text()), "Named texts.")
    one: Part | None = key(Inner(Part), "A part.")
    parts: tuple[Part, ...] | None = key(Forms(Part), "Parts.")


def read(text: str) -> tuple[Whole, list[str]]:
    document = Document(text, "p.yaml")
    whole = read_form(document, document.root, Whole, "whole")
    return whole, [str(mistake).removeprefix("p.yaml:") for mistake in sorted(document.mistakes)]


def test_a_form_holds_what_its_keys_say() -> None:
    whole, wrong = read(
        "ttl: 5m\non: true\nwords: [a, b]\nlog: {x: y z}\none: {name: n}\nparts: [{name: p}, {name: q}]"
    )
    assert wrong == []
    assert (whole.ttl, whole.on) == (300.0, True)
    assert [word.text for word in whole.words or ()] == ["a", "b"]
    assert {name: text.text for name, text in (whole.log or {}).items()} == {"x": "y z"}
    assert whole.one is not None
    assert whole.one.name is not None
    assert whole.one.name.text == "n"
    assert [part.name.text for part in whole.parts or () if part.name] == ["p", "q"]
    assert str(whole.at_key("on")) == "p.yaml:2:1"
    assert str(whole.at_key("missing")) == "p.yaml:1:1"


def test_one_text_may_stand_without_its_list() -> None:
    assert [word.text for word in read("words: a")[0].words or ()] == ["a"]


def test_what_was_not_given_is_none() -> None:
    whole, _ = read("on: false")
    assert (whole.ttl, whole.on, whole.words, whole.log) == (None, False, None, None)


def test_a_key_that_is_wrong_is_told_by_name_and_place() -> None:
    _, wrong = read("ttl: soon\nwords: [a b]\nlog: {'1x': y}\nparts: [{nme: p}]\non: {}")
    assert wrong == [
        "1:6: whole: ttl: 'soon' is not understood; accepted: " + Duration().accepted,
        "2:9: whole: words: 'a b' is not understood; accepted: a word",
        "3:7: whole: log: '1x' is not understood; accepted: letters, digits and underscores",
        "4:9: part: name is missing; accepted: a word",
        "4:10: part: unknown key 'nme'; did you mean 'name'? accepted: name",
        "5:5: whole: on: keys with values were given; accepted: true, false",
    ]


def test_what_is_accepted_is_said_of_every_kind() -> None:
    assert all(kind.accepted and text.endswith(".") for _, kind, text, _ in keys_of(Whole))
