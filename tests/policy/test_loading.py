"""proxy.policy.loading: loads a policy from its file."""

from pathlib import Path

import pytest

from proxy.policy.document import MOST_BYTES
from proxy.policy.loading import load_policy
from proxy.policy.mistakes import PolicyError
from proxy.settings.flags import NOWHERE
from proxy.settings.tolerance import ROUTES_OF
from tests.policy import EXAMPLES, PRODUCT, SERVICE
from tests.support.servers.certificates import Authority


def test_no_path_is_the_built_in_policy() -> None:
    assert list(load_policy("").services) == ["media.MediaService"]


def test_descriptors_lie_beside_the_policy(tmp_path: Path) -> None:
    (tmp_path / "product.binpb").write_bytes(PRODUCT)
    (tmp_path / "p.yaml").write_text(SERVICE)
    assert list(load_policy(str(tmp_path / "p.yaml")).services) == ["product.ProductService"]
    assert "hipstershop.ProductCatalogService" in load_policy(str(EXAMPLES / "boutique.yaml")).services


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "is not valid UTF-8; accepted: a policy in YAML"),
        (b" " * (MOST_BYTES + 1), "is too long; accepted: at most 1 MiB"),
        (SERVICE.encode(), "product.binpb cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, data: bytes | None, told: str) -> None:
    path = tmp_path / "p.yaml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PolicyError) as failed:
        load_policy(str(path))
    assert str(failed.value).startswith(f"{path}:")
    assert told in str(failed.value)
    assert "\n" not in str(failed.value)


def addressed(environ: dict[str, str]) -> dict[str, str]:
    policy = load_policy(str(EXAMPLES / "product.yaml"), environ=environ)
    return {name: service.upstream for name, service in policy.services.items()}


def test_an_address_in_the_environment_goes_before_the_policys_own() -> None:
    """The injector passes such addresses. The media service's address is a setting, which they do not override."""
    given = {"PRODUCT_SERVICE_ADDR": "dns:///product.shop:1", "MEDIA_SERVICE_ADDR": "elsewhere:1"}
    expected = {"media.MediaService": "", "product.ProductService": "dns:///product.shop:1"}
    assert addressed(given) == expected
    assert addressed({"PRODUCT_SERVICE_ADDR": " "})["product.ProductService"] == "localhost:50055"


def test_an_address_that_is_none_is_told_where_its_variable_is_named() -> None:
    with pytest.raises(PolicyError) as failed:
        addressed({"PRODUCT_SERVICE_ADDR": "no address"})
    assert "product.yaml:12:23: PRODUCT_SERVICE_ADDR: 'no address' is not understood" in str(failed.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SERVICE.replace("product.binpb", "missing.binpb\n    upstream: p:1"), {"product.ProductService": "p:1"}),
        (
            SERVICE + "    address_variable: PRODUCT_SERVICE_ADDR\n    reads: [{method: No, tag: x}]\n",
            {"product.ProductService": "given:1"},
        ),
        ("services: [", {}),
        (None, {}),
    ],
)
def test_of_a_policy_that_cannot_be_used_the_routes_are_kept(
    text: str | None, expected: dict[str, str], tmp_path: Path
) -> None:
    """A proxy that tolerates mistakes forwards each service to its address: nothing else would know its methods."""
    path = tmp_path / "p.yaml"
    if text is not None:
        path.write_text(text)
    policy = load_policy(f"{ROUTES_OF}{path}", environ={"PRODUCT_SERVICE_ADDR": "given:1"})
    others = {name: service.upstream for name, service in policy.services.items() if name != "media.MediaService"}
    assert others == expected
    assert not any(policy.services[name].unary for name in others), "nothing of them is known"


def test_such_a_policy_stores_nothing_and_hears_no_event(tmp_path: Path) -> None:
    policy = load_policy(f"{ROUTES_OF}{tmp_path / 'none.yaml'}")
    asked = [read.asked(b"") for read in policy.reads.values()]
    assert asked
    assert all(each is not None and each.bypass for each in asked)
    assert policy.events == ()
    assert policy.large, "uploads have their memory all the same"


def test_such_a_policy_keeps_a_service_behind_tls(tmp_path: Path, authority: Authority) -> None:
    """Its files are used if they can be."""
    text = SERVICE.replace(
        "descriptors: product.binpb", "descriptors: missing\n    upstream_tls: {server_name: p, ca: %s}"
    )
    (tmp_path / "p.yaml").write_text(text % authority.ca)
    (tmp_path / "q.yaml").write_text(text % "none.pem")
    for name, ca in (("p", str(authority.ca)), ("q", "")):
        tls = load_policy(f"{ROUTES_OF}{tmp_path}/{name}.yaml").services["product.ProductService"].upstream_tls
        assert tls is not None
        assert (tls.on, tls.server_name, tls.ca) == (True, "p", ca)


def test_a_service_is_never_where_the_proxy_itself_listens(tmp_path: Path) -> None:
    """That happens if the app's variable is replaced while its ConfigMap already has the sidecar's address."""
    environ, listen = {"PRODUCT_SERVICE_ADDR": "localhost:50066"}, "127.0.0.1:50066"
    path = str(EXAMPLES / "product.yaml")
    with pytest.raises(PolicyError) as failed:
        load_policy(path, environ=environ, listen_addr=listen)
    said = "'localhost:50066', the address of product.ProductService (PRODUCT_SERVICE_ADDR), is this proxy's own LISTEN"
    assert said in str(failed.value)
    policy = load_policy(f"{ROUTES_OF}{path}", environ=environ, listen_addr=listen)
    assert policy.services["product.ProductService"].upstream == NOWHERE
