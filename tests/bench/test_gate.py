"""What a hit costs must not creep up unseen."""

import pytest

from bench import gate


@pytest.mark.timeout(300)
async def test_a_hit_costs_at_most_half_more_than_the_bare_echo() -> None:
    assert await gate.hit() <= gate.MOST
