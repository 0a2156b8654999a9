"""Certificates for tests: authorities that are made on the spot, and what they issue, as files."""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta, timezone
from typing import Any, List, Optional, Sequence, Tuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


def now() -> datetime:
    """The present, as ``cryptography`` of every version takes it: in UTC, without a time zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def subject(name: str) -> x509.Name:
    """A distinguished name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def general_name(name: str) -> x509.GeneralName:
    """``spiffe://...`` is a URI, ``ip:192.0.2.1`` an address, anything else a host name."""
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if name.startswith("ip:"):
        return x509.IPAddress(ipaddress.ip_address(name[3:]))
    return x509.DNSName(name)


def pem_of(key: Any) -> bytes:
    """A private key as PEM."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


class Authority:
    """A CA.

    :param directory: where the files go.
    :ivar path: its certificate, as a file.
    """

    def __init__(self, directory: str, name: str = "CA") -> None:
        self._directory = directory
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        certificate = (
            self._builder(name, self._key, (now() - 30 * DAY, now() + 365 * DAY))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)
        self.path = self._write("ca.pem", self.pem)

    def _builder(self, name: str, key: Any, valid: Tuple[datetime, datetime]) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject(name))
            .issuer_name(subject(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(valid[0])
            .not_valid_after(valid[1])
        )

    def _write(self, name: str, content: bytes) -> str:
        path = os.path.join(self._directory, f"{self._name}-{name}")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def issue(
        self,
        *names: str,
        common_name: str = "a service",
        valid: Optional[Tuple[timedelta, timedelta]] = None,
        usages: Sequence[Any] = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
        key: Any = None,
    ) -> Issued:
        """A certificate for these names.

        :param valid: from when to when, from now on.
        :param usages: what it may be used for.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        since, until = valid or (-DAY, 90 * DAY)
        builder = self._builder(common_name, key, (now() + since, now() + until))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            found: List[x509.GeneralName] = [general_name(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._count += 1
        pem = certificate.public_bytes(Encoding.PEM)
        return Issued(
            certificate,
            self._write(f"{self._count}.pem", pem),
            self._write(f"{self._count}.key", pem_of(key)),
            pem,
            pem_of(key),
        )


class Issued:
    """A certificate with its key.

    :ivar chain: the file of the certificate.
    :ivar key: the file of the key.
    """

    def __init__(self, certificate: x509.Certificate, chain: str, key: str, chain_pem: bytes, key_pem: bytes) -> None:
        self.certificate = certificate
        self.chain = chain
        self.key = key
        self.chain_pem = chain_pem
        self.key_pem = key_pem
