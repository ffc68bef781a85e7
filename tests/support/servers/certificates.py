"""`Authority`: a CA of the tests, and the certificates that it issues, as files.

authority = Authority(tmp_path)
server = authority.issue("localhost", "127.0.0.1")      # server.cert, server.key
authority.ca                                            # the file to trust them by
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    cert: Path
    key: Path

    def write_to(self, other: "Issued") -> None:
        """Replaces another certificate's files by these, each atomically, as Kubernetes does."""
        swap(self.cert, other.cert)
        swap(self.key, other.key)

    def environment(self, prefix: str) -> dict[str, str]:
        """`<prefix>_CERT` and `<prefix>_KEY`."""
        return {f"{prefix}_CERT": str(self.cert), f"{prefix}_KEY": str(self.key)}


@dataclass(slots=True)
class Authority:
    """Writes into `directory`, under names that begin with its own name."""

    directory: Path
    name: str = "ca"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _issued: int = 0

    def __post_init__(self) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tests {self.name}")])
        usage = x509.KeyUsage(
            digital_signature=False,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        signed = (
            self._builder(subject, self._key, expired=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca.write_bytes(signed.public_bytes(_PEM))

    @property
    def ca(self) -> Path:
        """The file of the CA's certificate."""
        return self.directory / f"{self.name}.pem"

    def issue(self, *names: str, expired: bool = False, common_name: str = "a client") -> Issued:
        """A certificate for these host names and addresses, good for servers and for clients.

        `common_name` is for a certificate without names; otherwise the first name is used.
        """
        self._issued += 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else common_name)])
        builder = self._builder(subject, key, expired=expired)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(each) for each in names]), critical=False
            )
        signed = builder.sign(self._key, hashes.SHA256())
        issued = Issued(
            self.directory / f"{self.name}-{self._issued}.pem", self.directory / f"{self.name}-{self._issued}.key"
        )
        issued.cert.write_bytes(signed.public_bytes(_PEM))
        issued.key.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return issued

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, expired: bool
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tests {self.name}")])
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _HOUR)
            .not_valid_after(now - _HOUR if expired else now + 24 * _HOUR)
            .add_extension(signer, critical=False)
        )


def swap(source: Path, target: Path) -> None:
    """Replaces `target` atomically by a copy of `source`."""
    beside = target.with_suffix(".new")
    beside.write_bytes(source.read_bytes())
    os.replace(beside, target)  # noqa: PTH105 -- the word for it


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
