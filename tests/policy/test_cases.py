"""proxy.policy.cases: reports where a policy differs from what a case expects."""

import pytest

from proxy.policy.cases import differences, read_cases
from proxy.policy.compiled import Policy
from proxy.policy.loading import load_policy
from proxy.policy.mistakes import PolicyError
from tests.policy import EXAMPLES, SERVICE, compiled

PRODUCT = load_policy(str(EXAMPLES / "product.yaml"))


def found(case: str, policy: Policy = PRODUCT) -> list[str]:
    cases = read_cases(f"policy: p.yaml\ncases:\n  - {{name: a case, {case}}}", "c.yaml")
    return [str(difference) for each in cases.cases or () for difference in differences(policy, each)]


@pytest.mark.parametrize("name", ["product", "boutique", "media", "media-all"])
def test_the_cases_that_ship_hold(name: str) -> None:
    file = EXAMPLES / f"{name}.cases.yaml"
    cases = read_cases(file.read_text(), str(file))
    assert cases.policy is not None
    policy = load_policy("" if cases.policy.text == "builtin" else str(EXAMPLES / cases.policy.text))
    assert [difference for case in cases.cases or () for difference in differences(policy, case)] == []
    assert len(cases.cases or ()) > 3


SLUG = "read: product.ProductService/GetProductBySlug, request: {slug: mug}"
EVENT = "event: {exchange: damar.exchange, routing_key: product.event.updated}"
ANSWER = "response: {success: true, data: {id: 7}}"


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (f"{SLUG}, tag: slug/cup", 'c.yaml:3:94: a case: tag: expected "slug/cup", found "slug/mug"'),
        (f"{SLUG}, bypass: true", "bypass: expected true, found false"),
        (f"{SLUG}, {ANSWER}, stored: false", "stored: expected false, found true"),
        (f"{SLUG}, response: {{}}, ttl: 5m", "ttl: expected 5m, found nothing"),
        (f"{SLUG}, {ANSWER}, ttl: 1h", "ttl: expected 1h, found 5m"),
        (f"{SLUG}, {ANSWER}, further_tags: [product/8]", 'further_tags: expected ["product/8"], found ["product/7"]'),
        (f"{SLUG}, {ANSWER}, aliases: [x]", 'aliases: expected ["x"], found []'),
        (
            "write: product.ProductService/DeleteProduct, request: {id: 7}, invalidates: [products]",
            'invalidates: expected ["products"], found ["product/7", "products"]',
        ),
        ("write: product.ProductService/DeleteProduct, alias: x", 'alias: expected "x", found ""'),
        (
            f"{EVENT}, body: {{product_id: 7}}, invalidates: []",
            'invalidates: expected [], found ["product/7", "products"]',
        ),
        (
            f"{EVENT}, body: {{}}",
            'malformed: expected nothing, found "product_id"',
        ),
        (
            f"{EVENT}, body: '{{', malformed: data",
            'malformed: expected "data", found "envelope"',
        ),
        ("read: product.ProductService/Nope", "unknown read 'product.ProductService/Nope'; did you mean"),
        ("event: {exchange: e, routing_key: k}", "unknown event 'e k'; accepted: damar.events media.event.uploaded"),
        (f"{SLUG}, response: {{nope: 1}}", "no field named"),
        (f"{SLUG}, {ANSWER}, at: 2026-99-99, ttl: 5m", "at: 2026-99-99 is not a time"),
    ],
)
def test_what_differs_is_told_with_its_place(case: str, told: str) -> None:
    (difference,) = found(case)
    assert told in difference


def test_a_case_says_what_it_is_about() -> None:
    for case in ("{name: x}", f"{{name: x, {SLUG}, write: product.ProductService/DeleteProduct}}"):
        with pytest.raises(PolicyError, match="does not say what it is about; accepted: one of read, write, event"):
            read_cases(f"policy: p.yaml\ncases: [{case}]", "c.yaml")


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("status: NOT_FOUND, stored: true, ttl: 30s, further_tags: [], aliases: []", []),
        ("status: NOT_FOUND, ttl: 1h", ["ttl: expected 1h, found 30s"]),
        ("status: OUT_OF_RANGE, ttl: 1m", []),
        ("status: UNAVAILABLE, stored: false", []),
        ("status: UNAVAILABLE, stored: true, ttl: 1s", ["expected true, found false", "expected 1s, found nothing"]),
    ],
)
def test_a_status_is_stored_for_as_long_as_the_policy_says(case: str, told: list[str]) -> None:
    """OUT_OF_RANGE has 5m, but is not stored longer than a message, which has 1m."""
    kept = "ttl: 1m, negative_ttl: {NOT_FOUND: 30s, OUT_OF_RANGE: 5m}"
    policy = compiled(f"{SERVICE}    reads: [{{method: GetProductBySlug, tag: \"'slug/' + request.slug\", {kept}}}]")
    differing = found(f"{SLUG}, {case}", policy)
    assert len(differing) == len(told)
    assert all(expected in line for expected, line in zip(told, differing, strict=True))


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (f"{SLUG}, status: OK", "c.yaml:2:101: case: status: 'OK' is not understood; accepted: a status other than OK"),
        (f"{SLUG}, status: 5", "'5' is not understood; accepted: a status other than OK: CANCELLED, UNKNOWN"),
        (f"{SLUG}, {ANSWER}, status: NOT_FOUND", "case: status: has no place here; accepted: a read without response"),
        ("write: product.ProductService/DeleteProduct, status: NOT_FOUND", "case: status: has no place here"),
    ],
)
def test_a_status_that_cannot_be_is_told(case: str, told: str) -> None:
    with pytest.raises(PolicyError) as raised:
        read_cases(f"policy: p.yaml\ncases: [{{name: a case, {case}}}]", "c.yaml")
    assert told in str(raised.value)
