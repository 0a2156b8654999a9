"""OCSP responses: which are stapled, which are not, and that clients get them."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, List, Optional

import attr
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from tests.doubles.certificates import DAY, NOW, Authority, Issued, rsa_key
from tests.tls.test_certificate_store import TLS13, Bearer, StoreCase
from tests.tls.test_contexts import shake_hands
from xproxy.tls.certificate_store import CertificateStore
from xproxy.tls.stapling import CLOCK_SKEW, MAX_RESPONSE_BYTES

HOUR = timedelta(hours=1)


def response(
    issued: Issued,
    authority: Authority,
    begins: timedelta = -HOUR,
    until: Optional[timedelta] = 3 * DAY,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    algorithm: Any = None,
    signer: Any = None,
    signer_certificate: Optional[x509.Certificate] = None,
) -> bytes:
    """What a responder of ``authority`` says of a certificate."""
    issuer = x509.load_pem_x509_certificate(authority.pem)
    revoked = NOW - DAY if status is ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        issued.certificate,
        issuer,
        algorithm or hashes.SHA1(),
        status,
        NOW + begins,
        None if until is None else NOW + until,
        revoked,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer_certificate or issuer)
    if signer_certificate is not None:
        builder = builder.certificates([signer_certificate])
    made: bytes = builder.sign(signer or authority.key, hashes.SHA256()).public_bytes(Encoding.DER)
    return made


class StaplingCase(StoreCase):
    """A store with a certificate that has a response, and its CA behind it in the chain."""

    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(self.directory, "one.ocsp")
        self.issued = self.issue("one")
        self.files = attr.evolve(self.written(self.issued, "one"), ocsp=self.path)

    def issue(self, name: str, key: Any = None) -> Issued:
        return self.authority.issue("example.com", key=key)

    def written(self, issued: Issued, name: str) -> Any:
        return attr.evolve(issued, chain=issued.chain + self.authority.pem).write(self.directory, name)

    def put(self, content: bytes) -> None:
        """The response is in its file from now on."""
        with open(self.path, "wb") as file:
            file.write(content)

    def stapled(self, store: CertificateStore, version: int = TLS13, ciphers: bytes = b"") -> bytes:
        """What a client that asks for it gets."""
        got: List[bytes] = []
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(version)
        if ciphers:
            context.set_cipher_list(ciphers)

        def take(connection: SSL.Connection, data: bytes, _: object) -> bool:
            got.append(data)
            return True

        context.set_ocsp_client_callback(take)
        client = SSL.Connection(context, None)
        client.set_tlsext_host_name(b"example.com")
        client.request_ocsp()
        shake_hands(store.serverConnectionForTLS(Bearer()), client)
        return b"".join(got)


class StaplingTests(StaplingCase):
    """What a client gets."""

    def test_good(self) -> None:
        """Whatever hash names the issuer; over both versions; and nobody is given it who has not asked."""
        for algorithm in (hashes.SHA1(), hashes.SHA256()):
            good = response(self.issued, self.authority, algorithm=algorithm)
            self.put(good)
            store = self.start(self.files)
            for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
                self.assertEqual(self.stapled(store, version), good)
            self.shown(store)
        self.assertEqual(self.said(), [])

    def test_without_its_issuer_in_the_chain(self) -> None:
        """Nobody can look at the signature then."""
        self.put(response(self.issued, self.authority))
        store = self.start(attr.evolve(self.issued.write(self.directory, "bare"), ocsp=self.path))
        self.assertTrue(self.stapled(store))

    def test_of_each_kind_its_own(self) -> None:
        """Two certificates for one name: whose response it is depends on which of them is shown."""
        rsa = self.issue("rsa", rsa_key())
        other = os.path.join(self.directory, "rsa.ocsp")
        with open(other, "wb") as file:
            file.write(response(rsa, self.authority))
        self.put(response(self.issued, self.authority))
        store = self.start(self.files, attr.evolve(self.written(rsa, "rsa"), ocsp=other))
        for ciphers, issued in ((b"ECDHE-RSA-AES128-GCM-SHA256", rsa), (b"ECDHE-ECDSA-AES128-GCM-SHA256", self.issued)):
            found = ocsp.load_der_ocsp_response(self.stapled(store, SSL.TLS1_2_VERSION, ciphers))
            self.assertEqual(found.serial_number, issued.certificate.serial_number)

    def test_by_whom_the_ca_has_named(self) -> None:
        signing = self.authority.issue("responder", usages=[ExtendedKeyUsageOID.OCSP_SIGNING])
        not_signing = self.authority.issue("responder")
        for signer, good in ((signing, True), (not_signing, False)):
            pair = signer.pair()
            self.put(response(self.issued, self.authority, signer=pair.key, signer_certificate=signer.certificate))
            self.assertEqual(bool(self.stapled(self.start(self.files))), good)
        self.assertEqual(len(self.said()), 1)


class RefusedTests(StaplingCase):
    """What is not stapled; everything else goes on."""

    def refused(self, content: bytes, reason: str) -> None:
        self.put(content)
        store = self.start(self.files)
        self.assertEqual(self.stapled(store), b"")
        self.assertEqual(self.said(), [f"OCSP response one.ocsp: {reason}; nothing is stapled to example.com"])

    def test_reasons(self) -> None:
        authority = self.authority
        other = authority.issue("example.com")
        no_service = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
        good = response(self.issued, authority)
        forged = good[:-1] + bytes((good[-1] ^ 1,))  # The signature is last.
        for content, reason in (
            (b"", "holds no OCSP response in DER format"),
            (b"-----BEGIN CERTIFICATE-----", "holds no OCSP response in DER format"),
            (no_service, "the responder says try later"),
            (response(other, authority), "is about another certificate"),
            (response(self.issued, Authority("another CA")), "is about another certificate"),
            (response(self.issued, Authority()), "is about another certificate"),
            (forged, "its signature is wrong, or not that of the certificate's issuer"),
            (response(self.issued, authority, status=ocsp.OCSPCertStatus.REVOKED), "says that the certificate is revoked"),
            (response(self.issued, authority, status=ocsp.OCSPCertStatus.UNKNOWN), "says that the certificate is unknown"),
            (response(self.issued, authority, until=None), "does not say until when it is good"),
            (response(self.issued, authority, -2 * DAY, -DAY), f"has expired on {NOW - DAY:%Y-%m-%d %H:%M} UTC"),
            (response(self.issued, authority, DAY), f"is not good before {NOW + DAY:%Y-%m-%d %H:%M} UTC"),
        ):
            self.refused(content, reason)
        self.put(response(self.issued, authority, CLOCK_SKEW - timedelta(minutes=1)))
        self.assertTrue(self.stapled(self.start(self.files)))

    def test_no_file(self) -> None:
        store = self.start(self.files)
        self.assertEqual(self.stapled(store), b"")
        self.assertEqual(self.said(), ["OCSP response one.ocsp: no such file or directory; nothing is stapled to example.com"])

    def test_a_large_file(self) -> None:
        self.refused(b"\0" * (MAX_RESPONSE_BYTES + 1), f"larger than {MAX_RESPONSE_BYTES} bytes")


class ChangeTests(StaplingCase):
    """Files and times go on."""

    def test_a_new_response(self) -> None:
        store = self.start(self.files)
        self.assertEqual(self.stapled(store), b"")
        fresh = response(self.issued, self.authority)
        self.put(fresh)
        self.poll()
        self.assertEqual(self.stapled(store), fresh)

    def test_one_that_expires(self) -> None:
        """It is stapled no more; that is said once, and a new one takes its place."""
        self.put(response(self.issued, self.authority, until=HOUR))
        store = self.start(self.files)
        self.said()
        self.now: datetime = NOW + HOUR + timedelta(seconds=1)
        for _ in range(3):
            self.poll()
        self.assertEqual(self.stapled(store), b"")
        end = NOW + HOUR
        self.assertEqual(
            self.said(), [f"OCSP response one.ocsp: has expired on {end:%Y-%m-%d %H:%M} UTC; nothing is stapled to example.com"]
        )
        store.reload()
        self.poll()
        self.assertEqual(len(self.said()), 1, "that they were read")
        self.put(response(self.issued, self.authority))
        self.poll()
        self.assertTrue(self.stapled(store))

    def test_a_new_certificate(self) -> None:
        """The old one's response is not its."""
        self.put(response(self.issued, self.authority))
        store = self.start(self.files)
        self.assertTrue(self.stapled(store))
        self.written(self.issue("two"), "one")
        self.poll()
        self.assertEqual(self.stapled(store), b"")
        self.assertIn("is about another certificate", self.said()[-1])
