"""OCSP responses from files: checked, and stapled to the handshakes of their certificate (RFC 6066 section 8, RFC 6960).

A response is a statement of a certificate's CA that it was not revoked, good for some days. Somebody else fetches it and writes
it to a file; here it is read together with its certificate. What can't be used is not stapled, and is no reason not to serve:
clients then ask the CA themselves, or not at all, as without a file.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Optional, Sequence

import attr
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import Hash
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

MAX_RESPONSE_BYTES = 64 * 1024
"""A response has a few kilobytes with the certificates of its signer; it goes into a TLS handshake message (2^24 bytes)."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours the clock of a responder may be; as OpenSSL's example of OCSP_check_validity(3) has it."""


class ResponseError(Exception):
    """A response that can't be stapled. Its text is one line with the reason."""


@attr.define(eq=False)
class Staple:
    """A response that was checked.

    :ivar source: the path of its file, for logs.
    :ivar serial_number: of its certificate.
    :ivar response: its bytes; empty once its time is over.
    :ivar until: when that is, aware of its time zone.
    """

    source: str
    serial_number: int
    response: bytes = attr.field(repr=False)
    until: datetime

    def expire(self, now: datetime) -> bool:
        """Staple it no more if its time is over; whether that is news."""
        if not self.response or now <= self.until:
            return False
        self.response = b""
        return True


def checked_staple(response: bytes, source: str, chain: Sequence[x509.Certificate], now: datetime) -> Staple:
    """A response for the first certificate of a chain, which may have that of its issuer behind it. Raises ResponseError.

    The signature is looked at where the issuer is known, and its algorithm to ``cryptography``; clients look at it anyway.

    :param now: aware of its time zone.
    """
    try:
        found = ocsp.load_der_ocsp_response(response)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ResponseError("holds no OCSP response in DER format") from error
    if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ResponseError(f"the responder says {found.response_status.name.lower().replace('_', ' ')}")
    certificate = chain[0]
    issuer = next((other for other in chain[1:] if other.subject == certificate.issuer), None)
    single = next((single for single in found.responses if _is_about(single, certificate, issuer)), None)
    if single is None:
        raise ResponseError("is about another certificate")
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise ResponseError(f"says that the certificate is {single.certificate_status.name.lower()}")
    begins, until = _utc(single, "this_update"), _utc(single, "next_update")
    if begins is None or until is None:
        raise ResponseError("does not say until when it is good")
    if begins > now + CLOCK_SKEW:
        raise ResponseError(f"is not good before {begins:%Y-%m-%d %H:%M} UTC")
    if until < now:
        raise ResponseError(f"has expired on {until:%Y-%m-%d %H:%M} UTC")
    if issuer is not None:
        _check_signature(found, issuer)
    return Staple(source, certificate.serial_number, response, until)


def _is_about(single: Any, certificate: x509.Certificate, issuer: Optional[x509.Certificate]) -> bool:
    """By serial number and issuer (RFC 6960 section 4.1.1); by the issuer's key too where its certificate is there."""
    if single.serial_number != certificate.serial_number:
        return False
    if issuer is None:
        digest = Hash(single.hash_algorithm)
        digest.update(certificate.issuer.public_bytes())
        return bool(single.issuer_name_hash == digest.finalize())
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
    return bool((single.issuer_name_hash, single.issuer_key_hash) == (request.issuer_name_hash, request.issuer_key_hash))


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> None:
    """By the issuer itself, or by whom it has named for that in a certificate (RFC 6960 section 4.2.2.2)."""
    signer = issuer
    for other in response.certificates:
        if other.public_key() != issuer.public_key() and _may_sign(other, issuer):
            signer = other
    try:
        verify(signer.public_key(), response.signature, response.tbs_response_bytes, response.signature_hash_algorithm)
    except InvalidSignature as error:
        raise ResponseError("its signature is wrong, or not that of the certificate's issuer") from error
    except UnsupportedAlgorithm:
        pass


def _may_sign(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usages or certificate.issuer != issuer.subject:
            return False
        verify(
            issuer.public_key(), certificate.signature, certificate.tbs_certificate_bytes, certificate.signature_hash_algorithm
        )
    except (InvalidSignature, x509.ExtensionNotFound, ValueError):
        return False
    except UnsupportedAlgorithm:
        pass
    return True


def verify(key: Any, signature: bytes, signed: bytes, algorithm: Any) -> None:
    """Raises InvalidSignature, and UnsupportedAlgorithm for what is not known here: another kind of key, RSA with PSS."""
    if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
        key.verify(signature, signed, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
        key.verify(signature, signed, ec.ECDSA(algorithm))
    elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        key.verify(signature, signed)
    else:
        raise UnsupportedAlgorithm("a signature of this kind")


def _utc(single: Any, name: str) -> Optional[datetime]:
    """A time of a response, aware: cryptography has properties for that from version 43 on only."""
    if hasattr(type(single), name + "_utc"):
        found = getattr(single, name + "_utc")
    else:
        plain = getattr(single, name)
        found = None if plain is None else plain.replace(tzinfo=timezone.utc)
    assert found is None or isinstance(found, datetime)
    return found


def staple(context: SSL.Context, staples: Dict[int, Staple]) -> None:
    """Let a context staple these, by the serial numbers of their certificates, to handshakes of clients that want it."""

    def response(connection: SSL.Connection, data: object) -> bytes:
        # The context may have a certificate of each kind; which of them is shown was decided just before.
        shown = connection.get_certificate()
        found = None if shown is None else staples.get(shown.get_serial_number())
        return b"" if found is None else found.response

    context.set_ocsp_server_callback(response)
