"""Where Envoy finds each service."""

import re
from pathlib import Path

from proxy.envoy.services import DEFAULT, builtin, placed
from proxy.policy.loading import load_policy
from proxy.settings.config import Settings
from tests.support.services import policy_in


def test_the_built_in_policy_is_written_out_as_it_is() -> None:
    (written,), (service,) = builtin(Settings()), load_policy("").services.values()
    assert (written.reads, written.writes) == (tuple(service.reads), tuple(service.writes))
    assert written.labels == service.labels
    assert written.large == load_policy("").large


def test_each_target_has_clusters_of_its_own(tmp_path: Path) -> None:
    found = placed(Settings(policy=policy_in(tmp_path, product="shop:1", catalogue="catalogue:2")))
    assert [(each.name, each.target) for each in found] == [
        ("media.MediaService", "localhost:50056"),
        ("product.ProductService", "shop:1"),
        ("hipstershop.ProductCatalogService", "catalogue:2"),
    ]
    of_media, of_products, of_catalogue = (each.clusters for each in found)
    assert of_media is DEFAULT
    assert len({*of_media, *of_products, *of_catalogue}) == 9
    # Whatever else another policy names, Envoy must recognize these clusters.
    alone = placed(Settings(policy=policy_in(tmp_path, product="shop:1")))
    assert alone[1].clusters == of_products
    assert re.fullmatch(r"upstream-[0-9]+", of_products.first)
