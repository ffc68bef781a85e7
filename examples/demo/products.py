"""The tour's step at the product service, which the same proxy caches by a policy of examples/policies alone."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from examples.demo.process import FailedError, Process

POLICY = Path(__file__).parents[1] / "policies" / "product.yaml"
_PRODUCT = '{ product(id: "1") { name } }'
_LIST = "{ products { products { name } } }"
_UPDATE = "mutation($input: UpdateProductInput!) { updateProduct(input: $input) { success message } }"
_PATIENCE = 10.0

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""A gateway, a query, and its variables."""


class Products:
    """Queries a gateway whose PRODUCT_SERVICE_ADDR is the proxy's address."""

    def __init__(self, ask: Ask, gateway: Process, service: Process) -> None:
        self._ask, self._gateway, self._service = ask, gateway, service

    async def shown(self) -> str:
        """Returns a text of what happened; FailedError if it was not as expected."""
        for query in (_PRODUCT, _LIST):
            await self._cached(query)
        name = f"A better mug ({time.monotonic():.0f})"
        changed = (await self._ask(self._gateway, _UPDATE, input={"id": "1", "name": name}))["updateProduct"]
        if not changed["success"]:
            raise FailedError(changed["message"])
        for query in (_PRODUCT, _LIST):
            if name not in str(await self._ask(self._gateway, query)):
                raise FailedError(f"the change is not in the answer to {query}")
        return "a product and the list of all were hits; after an update both are fresh"

    async def _cached(self, query: str) -> None:
        """Repeats the query until it does not reach the product service."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            calls = self._calls()
            await self._ask(self._gateway, query)
            if self._calls() == calls:
                return
        raise FailedError(f"the product service was asked for {query} each time")

    def _calls(self) -> int:
        return sum("Get" in line for line in self._service.lines())
