"""A certificate authority in the hands of a test."""

from __future__ import annotations

import functools
import ipaddress
import os
from datetime import datetime, timedelta, timezone
from typing import Any, Optional, Sequence, Tuple

import attr
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from xproxy.config import CertificateConfig
from xproxy.tls.certificates import Pair, checked_pair
from xproxy.tls.contexts import TLSPolicy

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)

POLICY = TLSPolicy()
"""No client certificates, HTTP/2."""


@functools.cache
def rsa_key() -> Any:
    """Made once: it takes its time."""
    return rsa.generate_private_key(65537, 2048)


def ec_key() -> Any:
    """A new one."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any, passphrase: bytes = b"") -> bytes:
    """A key as PEM."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem


@attr.frozen
class Issued:
    """A certificate with its key."""

    chain: bytes
    key: bytes

    def pair(self, source: str = "test") -> Pair:
        """As the proxy has it."""
        return checked_pair(self.chain, self.key, source, source, NOW)

    def write(self, directory: str, name: str = "one") -> CertificateConfig:
        """As files."""
        files = CertificateConfig(os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key"))
        for path, content in ((files.chain, self.chain), (files.key, self.key)):
            with open(path, "wb") as file:
                file.write(content)
        return files


class Authority:
    """A CA, which may have an intermediate one."""

    def __init__(self, name: str = "test CA", issuer: Optional[Authority] = None) -> None:
        self.key = ec_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.issuer = issuer
        signer = issuer or self
        builder = self._builder(self.name, signer.name, self.key, NOW - 30 * DAY, NOW + 300 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @staticmethod
    def _builder(subject: x509.Name, issuer: x509.Name, key: Any, start: datetime, end: datetime) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)

    def issue(
        self,
        names: Sequence[str] = ("example.com",),
        key: Any = None,
        valid: Tuple[datetime, datetime] = (NOW - DAY, NOW + 90 * DAY),
        client: bool = False,
        subject: Sequence[Tuple[Any, str]] = (),
        alternative: bool = True,
    ) -> Issued:
        """A certificate, with the chain up to but without the root.

        :param alternative: the names are alternative names, as they should be.
        """
        key = key or ec_key()
        parts = subject or [(NameOID.COMMON_NAME, names[0])]
        shown = x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
        builder = self._builder(shown, self.name, key, *valid)
        if alternative:
            found = [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return Issued(pem + (self.pem if self.issuer else b""), key_pem(key))
