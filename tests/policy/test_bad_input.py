"""Bad input: mistakes that people make in a policy, each reported with its place, what was found and what is accepted.

Each case in `bad_input.txt` is the text that follows the service's descriptors, and then every line that is reported.
READ, WRITE and EVENT stand for correct beginnings.
"""

import re
from pathlib import Path

import pytest

from proxy.policy.loading import load_policy
from proxy.policy.mistakes import PolicyError
from tests.policy import SERVICE, mistakes

READ = """\
    reads:
      - method: GetProductByID
        tag: "'product/' + string(request.id)"
"""
BEGINNINGS = {
    "READ\n": READ,
    "WRITE\n": READ + "    writes:\n      - method: UpdateProduct\n",
    "EVENT\n": READ + "events:\n  - exchange: e\n",
}
MISTAKES = [
    tuple(each.split("-----\n")) for each in Path(__file__).with_name("bad_input.txt").read_text().split("=====\n")[1:]
]


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_a_mistake_says_where_it_is_what_was_found_and_what_is_accepted(text: str, told: str) -> None:
    for word, beginning in BEGINNINGS.items():
        text = text.replace(word, beginning)
    found = mistakes(SERVICE + text)
    assert found == told.splitlines()
    for line in found:
        assert re.fullmatch(r"\d+:\d+: .+[;?] accepted: .+", line)


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) > 50


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "cannot be read: No such file or directory; accepted: a policy in YAML"),
        (b"", "is empty; accepted: a policy, which begins with version: 1"),
        (b"\xff\xfe", "is not valid UTF-8; accepted: a policy in YAML"),
        (b"a" * (2 << 20), "is too long; accepted: at most 1 MiB"),
        (b"- a", "policy: a list was given; accepted: keys with values"),
        (b"{]", "is not valid YAML: did not find expected node content; accepted: YAML"),
    ],
)
def test_what_is_no_policy_at_all(tmp_path: Path, data: bytes | None, told: str) -> None:
    path = tmp_path / "p.yaml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PolicyError) as refused:
        load_policy(str(path))
    assert re.fullmatch(rf"{re.escape(str(path))}:1:\d: {re.escape(told)}", str(refused.value))
