"""A certificate made on the spot, for trying out: no client trusts it, and it is gone with the process."""

from __future__ import annotations

import ipaddress
import socket
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .certificates import Pair, checked_pair

LIFETIME = timedelta(days=30)
"""Longer than anybody tries something out."""

SOURCE = "made on the spot"


def self_signed_pair(now: datetime) -> Pair:
    """A new certificate and key for this host and the loopback addresses.

    :param now: aware of its time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = ["localhost"]
    host = socket.gethostname().lower()
    if host.isascii() and host != "localhost":
        names.append(host)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xproxy, for trying out")])
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return checked_pair(certificate.public_bytes(Encoding.PEM), key_pem, SOURCE, SOURCE, now)
