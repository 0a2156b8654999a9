"""Certificates for tests: authorities that are made on the spot, and what they issue, in memory and as files."""

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

SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
"""What a certificate may be used for."""


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
    """A private key as PEM."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem


def common_name(name: str) -> x509.Name:
    """A distinguished name that says no more."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def general_name(name: str) -> x509.GeneralName:
    """``spiffe://...`` is a URI, ``ip:192.0.2.1`` an address, anything else a host name."""
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if name.startswith("ip:"):
        return x509.IPAddress(ipaddress.ip_address(name[3:]))
    return x509.DNSName(name)


@attr.frozen
class Issued:
    """A certificate with its key.

    :ivar chain: the certificate and those between it and the root, as PEM.
    :ivar files: both as files, where the authority has a directory.
    """

    certificate: x509.Certificate
    chain: bytes
    key: bytes
    files: CertificateConfig = attr.Factory(lambda: CertificateConfig("", ""))

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
    """A CA.

    :param issuer: the CA above it; None: it is a root.
    :param directory: where its certificate and all that it issues are written; empty: nowhere.
    :ivar pem: its certificate.
    :ivar path: the same as a file, where there is a directory.
    """

    def __init__(self, name: str = "test CA", issuer: Optional[Authority] = None, directory: str = "") -> None:
        self.key = ec_key()
        self.name = common_name(name)
        self.issuer = issuer
        self._prefix = os.path.join(directory, name)
        self._directory = directory
        self._count = 0
        signer = issuer or self
        builder = self._builder(self.name, signer.name, self.key, (-30 * DAY, 300 * DAY))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        self.path = f"{self._prefix}-ca.pem" if directory else ""
        if directory:
            with open(self.path, "wb") as file:
                file.write(self.pem)

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: Any, valid: Tuple[timedelta, timedelta]
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(NOW + valid[0]).not_valid_after(NOW + valid[1])

    def issue(
        self,
        *names: str,
        key: Any = None,
        valid: Tuple[timedelta, timedelta] = (-DAY, 90 * DAY),
        usages: Sequence[x509.ObjectIdentifier] = (*CLIENT, *SERVER),
        subject: Optional[x509.Name] = None,
        alternative: bool = True,
    ) -> Issued:
        """A certificate for these names, ``example.com`` where there are none, see ``general_name``.

        :param valid: from when to when, from NOW on.
        :param subject: the first name, where it is not given.
        :param alternative: the names are alternative names, as they should be.
        """
        key = key or ec_key()
        names = names or ("example.com",)
        builder = self._builder(subject or common_name(names[0][:64]), self.name, key, valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        chain = certificate.public_bytes(Encoding.PEM) + (self.pem if self.issuer else b"")
        issued = Issued(certificate, chain, key_pem(key))
        if not self._directory:
            return issued
        self._count += 1
        return attr.evolve(issued, files=issued.write("", f"{self._prefix}-{self._count}"))
