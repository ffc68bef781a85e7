"""`Pair`: certificates as bytes. Makes a CA with one leaf, merges bundles, and tries a handshake in memory.

The CA's key signs one leaf and is discarded, so nothing in the cluster can sign another certificate that the API server
would trust for this webhook.
"""

import os
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pair:
    """A leaf certificate (with its intermediates, if any), its key, and the CAs that it can be verified with: all PEM.

    The properties raise ValueError if the certificate cannot be read.
    """

    certificate: bytes
    key: bytes
    ca: bytes

    @property
    def expires(self) -> datetime:
        """When the certificate expires, in UTC."""
        return _leaf(self.certificate).not_valid_after_utc

    @property
    def life(self) -> timedelta:
        """How long the certificate is valid in all."""
        leaf = _leaf(self.certificate)
        return leaf.not_valid_after_utc - leaf.not_valid_before_utc

    @property
    def renewal(self) -> datetime:
        """When two thirds of the certificate's life are over, in UTC."""
        return _leaf(self.certificate).not_valid_before_utc + self.life * 2 / 3


def make(names: Sequence[str], now: datetime, life: timedelta) -> Pair:
    """A new CA and leaf for these DNS names, valid from five minutes before `now` until `life` after it."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"media-cache-proxy injector {now:%Y-%m-%dT%H:%MZ}")]
    )
    signer = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    valid = (now - _CLOCK_SKEW, now + life)
    ca = (
        _builder(authority, authority, ca_key, valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(signer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "media-cache-proxy injector")])
    leaf = (
        _builder(subject, authority, key, valid)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return Pair(
        leaf.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        ca.public_bytes(serialization.Encoding.PEM),
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _leaf(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def union(*bundles: bytes, now: datetime | None = None) -> bytes:
    """The CAs of all bundles in their order, each once, without expired ones and anything that is not a certificate."""
    now = now or datetime.now(UTC)
    found: dict[bytes, None] = {}
    for pem in (match for bundle in bundles for match in _PEM.findall(bundle)):
        try:
            certificate = _leaf(pem)
        except ValueError:
            continue
        if certificate.not_valid_after_utc > now:
            found[certificate.public_bytes(serialization.Encoding.PEM)] = None
    return b"".join(found)


def server_context(pair: Pair) -> ssl.SSLContext:
    """A TLS context for a listener; raises ssl.SSLError or ValueError if certificate and key do not match."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load(context, pair)
    return context


def load(context: ssl.SSLContext, pair: Pair) -> None:
    """Makes later handshakes present this pair; existing connections are not affected. Raises as `server_context`."""
    # OpenSSL only reads files. A file in memory leaves no key on any disk, and works with a read-only root.
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pair.certificate + b"\n" + pair.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    finally:
        os.close(descriptor)


def _no_password() -> str:
    """The password for an encrypted key; without this callback OpenSSL would ask on the terminal."""
    return ""


def disagreement(pair: Pair, bundle: bytes, name: str) -> str | None:
    """Why a client that trusts only the bundle would not accept the pair under a name; None if it would.

    The TLS library itself tries a handshake in memory, so it judges chain, name and dates as a client would.
    """
    try:
        client_context = ssl.create_default_context(cadata=bundle.decode("ascii"))
        server_side, client_side = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_context(pair).wrap_bio(server_side, client_side, server_side=True)
        client = client_context.wrap_bio(client_side, server_side, server_hostname=name)
        for _ in range(4):
            for end in (client, server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (ssl.SSLError, ValueError) as error:
        return " ".join(str(error).split())
    return None
