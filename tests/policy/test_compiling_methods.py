"""proxy.policy.compiling_methods: compiles a policy's reads and writes to plain callables."""

import pytest

from proxy.calls.reads import Excess, Verdict
from proxy.policy.compiled import Read, Write
from proxy.policy.descriptors import Descriptors
from tests.policy import PRODUCT, SERVICE, compiled, mistakes

MESSAGES = Descriptors.of(PRODUCT)


def read(text: str, method: str = "GetProductBySlug") -> Read:
    policy = compiled(f"{SERVICE}    reads:\n      - {{method: {method}, {text}}}")
    return policy.services["product.ProductService"].reads[f"/product.ProductService/{method}"]


def write(text: str, method: str = "UpdateProduct") -> Write:
    policy = compiled(f"{SERVICE}    writes:\n      - {{method: {method}, {text}}}")
    return policy.services["product.ProductService"].writes[f"/product.ProductService/{method}"]


def answer(name: str, **fields: object) -> bytes:
    return MESSAGES.message(f"product.{name}")(**fields).SerializeToString()


def test_a_read_that_says_nothing_of_answers_stores_every_one_unread() -> None:
    found = read("tag: \"'slug/' + request.slug\"")
    request = found.requests.whole(answer("GetProductBySlugRequest", slug="mug"))
    assert request is not None
    assert (found.tag_of(request), found.bypasses(request)) == ("slug/mug", False)
    assert found.storable(b"", b"no message at all") == Verdict()


def test_a_read_says_which_answers_are_stored_and_what_they_depend_on() -> None:
    found = read(
        "tag: \"'slug/' + request.slug\", store: response.success, "
        "further_tags: \"['product/' + string(response.data.id)]\", aliases: \"[response.data.slug, '']\""
    )
    asked = answer("GetProductBySlugRequest", slug="mug")
    verdict = found.storable(asked, answer("GetProductBySlugResponse", success=True, data={"id": 7, "slug": "mug"}))
    assert isinstance(verdict, Verdict)
    assert (verdict.further_tags, verdict.aliases) == (("product/7",), ("mug",))
    assert found.storable(asked, answer("GetProductBySlugResponse")) == "success is false"
    assert str(found.storable(asked, b"\xff")).startswith("the policy cannot tell: it is not a product.")
    assert found.successful(asked, answer("GetProductBySlugResponse", success=True))
    assert not found.successful(asked, answer("GetProductBySlugResponse"))
    assert found.successful(asked, b"\xff")


def test_an_answer_whose_urls_are_unclear_is_not_stored() -> None:
    found = read('tag: "\'x\'", presigned_urls: "[response.message]"')
    assert found.storable(b"", answer("GetProductBySlugResponse", message="https://s3/?X-Amz-Expires=5")) == (
        "a presigned URL in it does not say when it expires"
    )
    dated = answer("GetProductBySlugResponse", message="https://s3/?X-Amz-Date=20260101T000000Z&X-Amz-Expires=600")
    verdict = found.storable(b"", dated)
    assert isinstance(verdict, Verdict)
    assert verdict.life.seconds == 540


def test_too_many_tags_fail_as_an_expression_does() -> None:
    found = read(
        "tag: \"'all'\", further_tags: \"response.data.products.map(p, 'product/' + string(p.id))\"", "GetAllProducts"
    )
    products = [{"id": number} for number in range(65)]
    assert isinstance(found.storable(b"", answer("GetAllProductsResponse", data={"products": products[:64]})), Verdict)
    refused = found.storable(b"", answer("GetAllProductsResponse", data={"products": products}))
    assert refused == "the policy cannot tell: there are more than 64 tags"
    assert isinstance(refused, Excess)


def test_the_digest_is_of_what_decides_which_answers_are_found() -> None:
    plain = read("tag: \"'a'\"").digest
    assert read("tag: \"'a'\"").digest == plain
    assert read("tag: \"'a'\", subject: \"'b'\", log: {x: request.slug}").digest == plain
    others = ["tag: \"'b'\"", "tag: \"'a'\", ttl: 1m", "tag: \"'a'\", vary: x", "tag: \"'a'\", store: response.success"]
    assert len({read(text).digest for text in others} | {plain}) == 5


def test_a_write_names_tags_by_its_request_its_alias_or_a_look_up() -> None:
    found = write(
        "invalidates: \"['products']\", alias: string(request.id), look_up: {method: GetProductByID, "
        'request: "product.GetProductByIDRequest{id: request.id}", '
        "invalidates: \"['slug/' + response.data.slug, string(request.id)]\", log: {slug: response.data.slug}}",
        "DeleteProduct",
    )
    request = found.requests.readable(answer("DeleteProductRequest", id=7))
    assert (found.invalidates(request), found.alias(request)) == (("products",), "7")
    assert found.look_up is not None
    assert (found.look_up.path, found.look_up.request(request)) == (
        "/product.ProductService/GetProductByID",
        b"\x08\x07",
    )
    told = answer("GetProductByIDResponse", data={"slug": "mug"})
    assert found.look_up.tags(request, told) == ("slug/mug", "7")
    assert found.look_up.describe(told) == {"slug": "mug"}


def test_a_write_has_succeeded_unless_its_answer_says_otherwise() -> None:
    plain, told = write("invalidates: \"['a']\""), write("invalidates: \"['a']\", succeeded: response.success")
    assert plain.succeeded(b"", False)
    assert [told.succeeded(body, True) for body in (b"", b"\x08\x01", b"\xff")] == [False, True, True]
    assert not told.succeeded(b"\xff", False)


def test_log_lines_have_what_the_policy_says_and_lack_what_fails() -> None:
    found = read(
        'tag: "\'a\'", subject: "\'the \' + request.slug", log: {slug: request.slug, bad: "1 / size(request.slug)"}'
    )
    described = found.describe(found.requests.default())
    assert (described.subject, described.fields) == ("the ", {"slug": ""})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "reads: [{method: GetProductByID, tag: request.id}]",
            "5:43: read GetProductByID: tag: gives an int; accepted: a string",
        ),
        (
            "reads: [{method: GetProductBySlug, tag: request.slug}]",
            "read GetProductBySlug: tag: the tag is empty if no field",
        ),
        (
            "reads: [{method: GetProductByID, tag: \"'a'\", bypass: response.success}]",
            "must come from the request alone",
        ),
        ("reads: [{method: GetProductByID, tag: \"'a'\", ttl: 20h, stale_if_error: 5h}]", "accepted: at most 24h"),
        (
            "writes: [{method: UpdateProduct}]",
            "write UpdateProduct: names no tag; accepted: invalidates, alias or look_up",
        ),
        ("writes: [{method: UpdateProduct, invalidates: \"['a', 1]\"}]", "a list with items that are not strings"),
        ('writes: [{method: UpdateProduct, invalidates: "[request.slug]"}]', "the tag is empty if no field is set"),
        (
            "writes: [{method: UpdateProduct, look_up: {method: Nope, request: a, invalidates: b}}]",
            "look_up: unknown unary method 'Nope'",
        ),
        (
            "writes: [{method: UpdateProduct, look_up: {method: GetProductByID, request: request, invalidates: '[]'}}]",
            "gives product.UpdateProductRequest; accepted: a product.GetProductByIDRequest",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(text: str, told: str) -> None:
    (found,) = mistakes(f"{SERVICE}    {text}")
    assert told in found


def test_a_tag_that_is_always_too_long_is_told() -> None:
    for tag in (f"'{'x' * 600}'", f"request.slug + '{'x' * 600}'"):
        (told,) = mistakes(f'{SERVICE}    reads: [{{method: GetProductBySlug, tag: "{tag}", ttl: 1m}}]')
        assert told.endswith("tag: the tag is longer than 512 bytes if no field is set; accepted: shorter ones")
