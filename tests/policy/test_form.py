"""proxy.policy.form: the forms of a policy file."""

from proxy.policy import form
from proxy.policy.kinds import keys_of


def test_a_file_is_read_into_its_forms() -> None:
    policy, document = form.read_policy(
        "version: 1\nservices: [{name: a.B, reads: [{method: Get, tag: \"'x'\", ttl: 1m}]}]\n"
        "events: [{exchange: e, routing_keys: [k, l.*], invalidates: '[]'}]",
        "p.yaml",
    )
    assert document.mistakes == []
    (service,), (event,) = policy.services or (), policy.events or ()
    (read,) = service.reads or ()
    assert service.name is not None
    assert read.tag is not None
    assert (service.name.text, read.tag.text, read.ttl) == ("a.B", "'x'", 60.0)
    assert [key.text for key in event.routing_keys or ()] == ["k", "l.*"]


def test_a_form_overrides_single_keys_of_another() -> None:
    def read(text: str) -> form.Read:
        policy, _ = form.read_policy(f"version: 1\nservices: [{{name: a.B, reads: [{text}]}}]", "p.yaml")
        return (policy.services or ())[0].reads[0]  # type: ignore[index]  # the text above has one

    base, by = read("{method: Get, tag: a, ttl: 1m, bypass: b}"), read("{method: Get, tag: c, bypass: d}")
    merged = form.overridden(base, by)
    assert merged.tag is not None
    assert (merged.tag.text, merged.ttl) == ("c", 60.0)
    assert merged.at_key("ttl") == base.at_key("ttl")
    assert merged.at_key("tag") == by.at_key("tag")


def test_every_key_has_help() -> None:
    forms = (form.Policy, form.Service, form.Read, form.Write, form.LookUp, form.Event)
    texts = [text for each in forms for _, _, text, _ in keys_of(each)]
    assert all(text.endswith(".") for text in texts)
