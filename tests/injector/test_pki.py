"""Certificates: made, merged, and tried in memory."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.injector import pki
from proxy.injector.pki import Pair

NAME = "injector.system.svc"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def made(now: datetime = NOW, life: timedelta = 90 * DAY, name: str = NAME) -> Pair:
    return pki.make([name, "other.example"], now, life)


def test_a_pair_is_accepted_by_its_own_ca_under_its_names() -> None:
    pair = made()
    assert pki.disagreement(pair, pair.ca, NAME) is None
    assert pki.disagreement(pair, pair.ca, "other.example") is None
    assert pair.expires == (NOW + 90 * DAY).replace(microsecond=0)
    assert abs(pair.renewal - (NOW + 60 * DAY)) < timedelta(minutes=10)


def test_old_and_new_are_both_accepted_by_the_union() -> None:
    old, new = made(), made()
    bundle = pki.union(old.ca, new.ca)
    assert pki.disagreement(old, bundle, NAME) is None
    assert pki.disagreement(new, bundle, NAME) is None
    assert pki.disagreement(new, old.ca, NAME)


def test_a_union_has_each_ca_once_and_no_expired_or_broken_one() -> None:
    one, two = made(), made()
    expired = made(NOW - 10 * DAY, 5 * DAY)
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert pki.union(b"noise" + one.ca, two.ca + one.ca, expired.ca, broken, b"") == one.ca + two.ca


@pytest.mark.parametrize(
    ("pair", "bundle", "why"),
    [
        (made(name="elsewhere.svc"), None, "Hostname mismatch"),
        (made(NOW - 10 * DAY, 5 * DAY), None, "certificate has expired"),
        (made(NOW + 10 * DAY), None, "certificate is not yet valid"),
        (made(), b"", "unable to get local issuer certificate"),
        (made(), b"garbage", "no start line"),
        (Pair(made().certificate, made().key, made().ca), None, "key values mismatch"),
        (Pair(b"", b"", made().ca), None, ""),
        (Pair(b"x", b"y", b"\xff"), None, ""),
    ],
)
def test_what_the_api_server_would_not_accept(pair: Pair, bundle: bytes | None, why: str) -> None:
    found = pki.disagreement(pair, pair.ca if bundle is None else bundle, NAME)
    assert found
    assert why in found.replace("_", " ").lower() or why in found


def test_a_context_presents_what_was_loaded_last() -> None:
    old, new = made(), made()
    context = pki.server_context(old)
    pki.load(context, new)

    server_in, client_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(server_in, client_in, server_side=True)
    client = ssl.create_default_context(cadata=new.ca.decode()).wrap_bio(client_in, server_in, server_hostname=NAME)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == "TLSv1.3"


def test_a_self_signed_leaf_is_accepted_by_itself() -> None:
    """Cert-manager's self-signed issuer makes such a certificate, which is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    leaf = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert pki.disagreement(Pair(leaf, private, leaf), leaf, NAME) is None


def test_no_certificate_has_no_dates() -> None:
    with pytest.raises(ValueError, match="PEM"):
        _ = Pair(b"", b"", b"").renewal
