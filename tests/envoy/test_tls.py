"""The TLS settings in Envoy's configuration."""

from pathlib import Path
from typing import Any

from proxy.envoy.addresses import target
from proxy.envoy.services import DEFAULT, Clusters, Placed
from proxy.envoy.tls import secrets, towards_callers, towards_upstream
from proxy.settings.config import Settings
from proxy.settings.upstream_tls import UpstreamTls

HERE, ROOTS = Path("/run/here"), "/roots.pem"
PAIR = {"cert": "/tls/tls.crt", "key": "/tls/tls.key"}


def listen(**settings: Any) -> dict[str, Any]:
    return towards_callers(Settings(**settings), HERE)


def upstream(address: str = "media:1", **settings: Any) -> dict[str, Any]:
    how = UpstreamTls.of(Settings(upstream_tls="on", **settings))
    return towards_upstream(how, DEFAULT, target(address), HERE, ROOTS)


def config_of(socket: dict[str, Any]) -> dict[str, Any]:
    config = socket["transport_socket"]["typed_config"]
    assert config["common_tls_context"]["alpn_protocols"] == ["h2"]
    assert isinstance(config, dict)
    return config


def test_plaintext_is_what_it_was() -> None:
    assert listen() == towards_upstream(None, DEFAULT, target("media:1"), HERE, ROOTS) == secrets(Settings()) == {}


def test_callers_are_shown_our_certificate_and_asked_for_theirs_where_there_is_a_ca() -> None:
    settings = {"listen_tls_cert": PAIR["cert"], "listen_tls_key": PAIR["key"]}
    config = config_of(listen(**settings))
    [pair] = config["common_tls_context"]["tls_certificate_sds_secret_configs"]
    assert pair["sds_config"]["path_config_source"] == {"path": "/run/here/listen-pair.json"}
    assert config["require_client_certificate"] is False
    asked = config_of(listen(**settings, listen_tls_client_ca="/ca/ca.crt"))
    assert asked["require_client_certificate"] is True
    assert asked["common_tls_context"]["validation_context_sds_secret_config"]["name"] == "listen-ca"


def test_files_are_read_anew_when_their_directory_changes() -> None:
    settings = Settings(
        listen_tls_cert=PAIR["cert"],
        listen_tls_key=PAIR["key"],
        listen_tls_client_ca="/ca/ca.crt",
        upstream_tls="on",
        upstream_tls_ca="/ca/up.crt",
    )
    found = secrets(settings)
    assert set(found) == {"listen-pair.json", "listen-ca.json", "upstream-ca.json"}
    [pair] = found["listen-pair.json"]["resources"]
    assert pair["tls_certificate"] == {
        "certificate_chain": {"filename": "/tls/tls.crt"},
        "private_key": {"filename": "/tls/tls.key"},
        "watched_directory": {"path": "/tls"},
    }
    [ca] = found["listen-ca.json"]["resources"]
    assert ca["validation_context"]["watched_directory"] == {"path": "/ca"}


def test_the_media_services_name_is_checked() -> None:
    config = config_of(upstream(upstream_tls_ca="/ca/up.crt"))
    combined = config["common_tls_context"]["combined_validation_context"]
    names = combined["default_validation_context"]["match_typed_subject_alt_names"]
    assert (config["sni"], names) == ("media", [{"san_type": "DNS", "matcher": {"exact": "media"}}])
    given = config_of(upstream(upstream_tls_server_name="other"))
    context = given["common_tls_context"]["validation_context"]
    assert (given["sni"], context["trusted_ca"]) == ("other", {"filename": ROOTS})
    assert context["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "other"}


def test_the_dot_at_the_end_of_a_whole_name_is_in_no_certificate() -> None:
    for socket in (upstream("media.shop.svc.:1"), upstream(upstream_tls_server_name="media.shop.svc.")):
        config = config_of(socket)
        [name] = config["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
        assert (config["sni"], name["matcher"]) == ("media.shop.svc", {"exact": "media.shop.svc"})


def test_an_address_is_checked_as_one_and_is_no_server_name() -> None:
    config = config_of(upstream("10.0.0.1:1"))
    assert "sni" not in config
    [name] = config["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert name == {"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}}
    assert config_of(upstream("unix:/run/media.sock"))["sni"] == "localhost"


def test_our_certificate_is_shown_where_there_is_one() -> None:
    config = config_of(upstream(upstream_tls_cert=PAIR["cert"], upstream_tls_key=PAIR["key"]))
    [pair] = config["common_tls_context"]["tls_certificate_sds_secret_configs"]
    assert pair["name"] == "upstream-pair"


def test_a_service_has_secrets_of_its_own() -> None:
    own, names = (
        UpstreamTls("/shop/ca.crt", "/shop/tls.crt", "/shop/tls.key", "shop.internal"),
        Clusters("m-7", "u-7", "a-7"),
    )
    shop = Placed("shop.S", "shop:1", own, names, (), (), frozenset(), {})
    found = secrets(Settings(upstream_tls="on", upstream_tls_ca="/ca/up.crt"), [shop])
    assert set(found) == {"upstream-ca.json", "u-7-ca.json", "u-7-pair.json"}
    config = config_of(towards_upstream(own, names, target("shop:1"), HERE, ROOTS))
    assert config["sni"] == "shop.internal"
    combined = config["common_tls_context"]["combined_validation_context"]
    assert combined["validation_context_sds_secret_config"]["name"] == "u-7-ca"
