"""Certificates and their keys: read from files, checked, ready for an OpenSSL context.

Data comes from the files that the configuration names, or from ``self_signed``; it is read once, checked with ``cryptography``,
and goes to ``tls_contexts`` as a Pair. Every mistake is a CertificateError whose text is one line with the file and the reason.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from typing import Any, Optional, Tuple

import attr
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from ..config import CertificateConfig
from ..config.files import read_most
from ..startup import os_reason
from .stapling import MAX_RESPONSE_BYTES, ResponseError, Staple, checked_staple

MAX_PEM_BYTES = 1024 * 1024
"""A chain has a few kilobytes; what is larger is another file."""

KINDS = {
    "rsa": rsa.RSAPrivateKey,
    "ecdsa": ec.EllipticCurvePrivateKey,
    "ed25519": ed25519.Ed25519PrivateKey,
    "ed448": ed448.Ed448PrivateKey,
}
"""The kinds of key that TLS 1.3 knows (RFC 8446 section 4.2.3). A context holds one certificate of each kind."""

_name = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*").fullmatch


class CertificateError(Exception):
    """A certificate or a key that can't be used. Its text is one line with the file and the reason."""


@attr.frozen(eq=False)
class Pair:
    """A certificate chain and the key of its first certificate, checked against each other.

    :ivar source: where it came from, for logs.
    :ivar chain_pem: the chain as it is sent to clients.
    :ivar key: a private key of ``cryptography``. Not shown by repr.
    :ivar kind: one of KINDS.
    :ivar names: what it is good for: lower case, perhaps with ``*.`` in front.
    :ivar not_after: when it expires, aware of its time zone. It is shown all the same: other names have other certificates, and
        a client that insists can still see what is wrong.
    :ivar not_before: from when on it is valid, in the same way.
    :ivar was_good: whether it was valid when it was read; of two for one name and kind that one is shown.
    """

    source: str
    chain_pem: bytes = attr.field(repr=False)
    key: Any = attr.field(repr=False)
    kind: str
    names: Tuple[str, ...]
    not_after: datetime
    not_before: datetime
    was_good: bool = True
    staple: Optional[Staple] = None
    """The OCSP response that goes with it."""
    no_staple: str = ""
    """Why the one that the configuration names can't be used: one line with its file."""

    @property
    def label(self) -> str:
        """What metrics and logs call it: the first of its names."""
        return self.names[0] if self.names else self.source


def read_pair(files: CertificateConfig, now: datetime) -> Pair:
    """Read and check the files of one certificate. Raises CertificateError; not for an OCSP response, without which it goes."""
    chain, key = _read(files.chain, "certificate"), _read(files.key, "key")
    pair = checked_pair(chain, key, files.chain, files.key, now)
    if not files.ocsp:
        return pair
    try:
        response = _read(files.ocsp, "OCSP response", MAX_RESPONSE_BYTES)
        return attr.evolve(pair, staple=checked_staple(response, files.ocsp, x509.load_pem_x509_certificates(chain), now))
    except CertificateError as error:
        return attr.evolve(pair, no_staple=str(error))
    except ResponseError as error:
        return attr.evolve(pair, no_staple=f"OCSP response {files.ocsp}: {error}")


def checked_pair(chain_pem: bytes, key_pem: bytes, chain_source: str, key_source: str, now: datetime) -> Pair:
    """A Pair of PEM texts. Raises CertificateError.

    :param chain_source: what messages call the chain: the path of its file.
    :param key_source: the same of the key.
    :param now: aware of its time zone.
    """
    certificate = _first_certificate(chain_pem, chain_source)
    key = _private_key(key_pem, key_source)
    kind = next((kind for kind, shape in KINDS.items() if isinstance(key, shape)), None)
    if kind is None:
        raise CertificateError(f"key {key_source}: a {type(key).__name__} is of no use in TLS")
    if _public_bytes(certificate.public_key()) != _public_bytes(key.public_key()):
        raise CertificateError(f"key {key_source}: does not belong to the first certificate in {chain_source}")
    not_before, not_after = _utc(certificate, "not_valid_before"), _utc(certificate, "not_valid_after")
    good = not_before <= now <= not_after
    return Pair(chain_source, chain_pem, key, kind, names_of(certificate), not_after, not_before, good)


def names_of(certificate: x509.Certificate) -> Tuple[str, ...]:
    """The host names a certificate is good for: its alternative names, else (old ones) its common name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        found = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    lowered = (name.lower().rstrip(".") for name in found)
    return tuple(dict.fromkeys(name for name in lowered if _name(name)))


def fingerprint(files: CertificateConfig) -> Tuple[Any, ...]:
    """What changes when a file is replaced or written: device, inode, size and time of each; None for a missing one."""
    found = _stat(files.chain), _stat(files.key)
    return (*found, _stat(files.ocsp)) if files.ocsp else found


def _stat(path: str) -> Any:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: str, what: str, most_bytes: int = MAX_PEM_BYTES) -> bytes:
    try:
        content = read_most(path, most_bytes)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{what} {path}: {os_reason(error)}") from error
    if len(content) > most_bytes:
        raise CertificateError(f"{what} {path}: larger than {most_bytes} bytes")
    return content


def _first_certificate(pem: bytes, source: str) -> x509.Certificate:
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise CertificateError(f"certificate {source}: holds no certificate in PEM format")
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise CertificateError(f"certificate {source}: cannot be read as PEM") from error


def _private_key(pem: bytes, source: str) -> Any:
    if b"PRIVATE KEY-----" not in pem:
        raise CertificateError(f"key {source}: holds no private key in PEM format")
    try:
        return load_pem_private_key(pem, None)
    except TypeError as error:
        raise CertificateError(f"key {source}: is encrypted; nobody is there to type its passphrase") from error
    except Exception as error:  # UnsupportedAlgorithm, ValueError; older versions raise their own
        raise CertificateError(f"key {source}: cannot be read as PEM") from error


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _utc(certificate: x509.Certificate, name: str) -> datetime:
    """A date of a certificate, aware: cryptography has properties for that from version 42 on only."""
    found = getattr(certificate, name + "_utc", None)
    if found is None:
        found = getattr(certificate, name).replace(tzinfo=timezone.utc)
    assert isinstance(found, datetime)
    return found
