"""proxy.policy.builtin.methods: what is written out is what the policy's file says."""

from proxy.policy.builtin import methods
from tests.support.media_methods import POLICY


def test_the_methods_are_those_of_the_policy() -> None:
    (service,) = POLICY.services.values()
    assert service.name == methods.SERVICE
    assert (tuple(service.reads), tuple(service.writes)) == (methods.READS, methods.WRITES)
    assert set(service.unary) == set(methods.UNARY)
    assert POLICY.large == methods.LARGE
