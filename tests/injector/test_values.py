"""The types of the injector's own settings and annotations."""

from decimal import Decimal

import click
import pytest

from proxy.injector.values import (
    AsText,
    ContainerNames,
    EnvList,
    EnvName,
    Image,
    PlainAddress,
    PullPolicy,
    Quantity,
    SecretRef,
    User,
    Words,
)
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr, SettingType


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1", "1"), ("50m", "0.05"), (".5", "0.5"), ("1.5Gi", "1610612736"), ("2k", "2000"), ("1e3", "1000"),
     ("5e-1", "0.5"), ("3E", "3000000000000000000")],
)  # fmt: skip
def test_a_quantity_is_its_number(text: str, amount: str) -> None:
    assert Quantity.amount(text) == Decimal(amount)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Quantity(), ""), (Quantity(), "0"), (Quantity(), "1K"), (Quantity(), "\uff11"),
        (SecretRef("k"), "a:b:c"), (SecretRef("k"), "a" * 300), (SecretRef("k"), ":k"),
        (ContainerNames(), ""), (ContainerNames(), "A"), (Words(), "A"), (EnvName(), ""), (EnvName(), "A=B"),
        (Image(), ""), (Image(), "a b"), (User(), "0"), (User(), "root"), (PullPolicy(), "always"),
        (EnvList(), "{}"), (EnvList(), "x"), (EnvList(), '[{"name": ""}]'), (EnvList(), '[{"name": "A", "value": 1}]'),
        (EnvList(), '[{"name": "A", "x": "1"}]'), (EnvList(), '[{"name": "A"}, {"name": "A"}]'),
        (EnvList(), '[{"name": "A", "value": "", "valueFrom": {}}]'),
        (PlainAddress(RedisAddr()), "redis://:p@r:1"), (AsText(RedisAddr()), "x"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_is_not_understood(kind: SettingType, text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not understood; accepted: "):
        kind.convert(text, None, None)


def test_what_is() -> None:
    assert Quantity(empty=True).parse("") == ""
    assert User().parse("") is None
    assert User().parse("7") == 7
    assert Words().parse("") == ()
    source = '{"fieldRef": {"fieldPath": "spec.nodeName"}}'
    assert EnvList().parse(f'[{{"name": "A", "valueFrom": {source}}}]')[0]["name"] == "A"
    assert PullPolicy().parse("Always") == "Always"
    assert SecretRef("k").parse("") is None
    assert Settings().redis_addr == RedisAddr().parse(PlainAddress(RedisAddr()).parse("localhost:6379"))
