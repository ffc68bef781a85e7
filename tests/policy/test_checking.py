"""proxy.policy.checking: reports faults of expressions at their places in the file."""

from proxy.policy.checking import Checker, one_tag, tags
from proxy.policy.descriptors import Descriptors
from proxy.policy.document import Document
from proxy.policy.expressions import Language
from tests.policy import PRODUCT

REQUEST = {"request": "product.Product"}


def checker(written: str) -> Checker:
    document = Document(f"tag: {written}", "p.yaml")
    return Checker(document, Language(Descriptors.of(PRODUCT).pool, {}))


def wrong(written: str) -> list[str]:
    found = checker(written)
    document = found.document
    (_, node) = document.mapping(document.root, "policy", None)["tag"]
    found.expression(document.text(node, "tag"), "read Get: tag", REQUEST, "text")
    return [str(mistake) for mistake in document.mistakes]


def test_a_fault_is_told_where_it_stands_in_the_file() -> None:
    field = "read Get: tag: product.Product: unknown field 'idd'; did you mean 'id'?"
    assert wrong("request.idd")[0].startswith(f"p.yaml:1:13: {field}")
    assert wrong("\"'é' + string(request.idd)\"")[0].startswith(f"p.yaml:1:27: {field}")
    assert wrong("|\n  'a' +\n    string(request.idd)\n")[0].startswith(f"p.yaml:3:19: {field}")


def test_what_is_right_is_told_nothing_of() -> None:
    assert wrong("string(request.id)") == []
    assert checker("x").expression(None, "read Get: tag", REQUEST, "text") is None


def test_a_field_of_log_lines_needs_a_name_of_its_own() -> None:
    found = checker("{name: request.name, product_name: request.name, source: request.name}")
    document = found.document
    (_, node) = document.mapping(document.root, "policy", None)["tag"]
    given = {name: document.text(value, name) for name, (_, value) in document.mapping(node, "log", None).items()}
    fields = {name: source for name, source in given.items() if source is not None}
    found.log_fields(fields, REQUEST, "read Get")
    told = "log lines have it already; accepted: other names, like product_name"
    assert [str(mistake) for mistake in document.mistakes] == [
        f"p.yaml:1:13: read Get: log: name: {told}",
        f"p.yaml:1:63: read Get: log: source: {told}",
    ]


def test_tags_that_can_be_empty_are_told_however_they_are_written() -> None:
    never = ["'a/' + string(request.id)", "'a'", '"a b" + request.slug', "['a', 'b/' + request.slug + 'c']"]
    maybe = [
        "request.slug",
        "'' + request.slug",
        "['a', request.slug]",
        "true ? '' : 'a'",
        "'a' == 'a' ? '' : 'b'",
        "[('')]",
    ]
    for text in (*never, *maybe):
        assert bool(told_of_empty(text)) is (text in maybe), text


def told_of_empty(text: str) -> list[str]:
    found = checker(f"|\n  {text}\n")
    document = found.document
    (_, node) = document.mapping(document.root, "policy", None)["tag"]
    source = document.text(node, "tag")
    assert source is not None
    several = text.startswith("[")
    expression = found.expression(source, "read Get: tag", REQUEST, "texts" if several else "text")
    assert expression is not None
    of = (tags if several else one_tag)(expression)
    found.never_empty(source, "read Get: tag", lambda: of(Descriptors.of(PRODUCT).message("product.Product")()))
    return [str(mistake) for mistake in document.mistakes]
