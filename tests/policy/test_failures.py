"""proxy.policy.failures: one kind of error, whatever an expression fails on."""

import pytest

from proxy.policy.failures import ExpressionError
from tests.policy.test_expressions import PRODUCT_TYPE, made


@pytest.mark.parametrize("text", ["event.missing", "event.id", "event.text[0]"])
def test_whoever_asks_need_not_tell_failures_apart(text: str) -> None:
    with pytest.raises(ExpressionError):
        made(text)(request=PRODUCT_TYPE(), event={"id": 7, "text": "x"})
