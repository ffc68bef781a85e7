"""proxy.telemetry.method_labels: names come from the policy, whatever callers ask for."""

from proxy.telemetry.method_labels import OTHER, MethodLabels


def test_a_method_of_the_policy_has_a_label_and_all_others_share_one() -> None:
    labels = MethodLabels()
    labels.add({"/a.B/Get": "Get", "/c.D/Get": "c.D/Get"}, ["/c.D/Get"])
    assert [labels.of(path) for path in ("/a.B/Get", "/c.D/Get", "/c.D/Invented")] == ["Get", "c.D/Get", OTHER]
    assert [labels.rpc(path) for path in ("/a.B/Get", "/c.D/Get", "/c.D/Invented")] == ["a.B/Get", "c.D/Get", "_OTHER"]
    assert [labels.of_rpc(name) for name in ("a.B/Get", "c.D/Get", "_OTHER")] == ["Get", "c.D/Get", OTHER]
    assert [labels.path(label) for label in ("Get", "c.D/Get", OTHER)] == ["/a.B/Get", "/c.D/Get", ""]
    assert labels.cached == {"/c.D/Get"}


def test_what_another_policy_adds_comes_on_top() -> None:
    labels = MethodLabels()
    labels.add({"/a.B/Get": "a.B/Get"}, ["/a.B/Get"])
    labels.add({"/a.B/List": "a.B/List"}, [])
    assert (labels.of("/a.B/Get"), labels.of("/a.B/List")) == ("a.B/Get", "a.B/List")
