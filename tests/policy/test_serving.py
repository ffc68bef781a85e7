"""proxy.policy.serving: which policy a process serves."""

from proxy.policy.loading import in_plaintext
from proxy.policy.serving import served_policy
from proxy.policy.watched import Watched
from tests.policy import CONSTANTS, EXAMPLES


def test_without_a_file_it_is_the_built_in_one_and_else_the_files() -> None:
    for path, services in (
        ("", ["media.MediaService"]),
        (str(EXAMPLES / "product.yaml"), ["product.ProductService", "media.MediaService"]),
    ):
        found = served_policy(
            path, constants=CONSTANTS, default_upstream="localhost:1", connect=in_plaintext, watched=Watched()
        )
        assert sorted(found.services) == sorted(services)
