"""proxy.policy.builtin.methods: lists the methods that the policy's file has."""

from proxy.policy.builtin import methods
from tests.support.media_methods import POLICY


def test_the_methods_are_those_of_the_policy() -> None:
    (service,) = POLICY.services.values()
    assert service.name == methods.SERVICE
    assert (tuple(service.reads), tuple(service.writes)) == (methods.READS, methods.WRITES)
    assert set(service.unary) == set(methods.UNARY)
    assert POLICY.large == methods.LARGE
