"""Tests for ``xproxy.tls.certificates`` and ``self_signed``: what is read, and every way in which it can be refused."""

from __future__ import annotations

import os
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.certificates import DAY, NOW, Authority, ec_key, key_pem, rsa_key
from xproxy.config import CertificateConfig
from xproxy.tls.certificates import MAX_PEM_BYTES, CertificateError, checked_pair, fingerprint, names_of, read_pair
from xproxy.tls.self_signed import LIFETIME, self_signed_pair


class CertificateCase(SynchronousTestCase):
    """A CA and a directory."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)

    def refused(self, files: CertificateConfig, now: Any = NOW) -> str:
        """The one line with which files are refused, with the directory taken out."""
        error = self.assertRaises(CertificateError, read_pair, files, now)
        self.assertNotIn("\n", str(error))
        return str(error).replace(self.directory + "/", "")

    def write(self, name: str, content: bytes) -> str:
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path


class ReadingTests(CertificateCase):
    """What is understood."""

    def test_kinds(self) -> None:
        for kind, key in (("rsa", rsa_key()), ("ecdsa", ec_key()), ("ed25519", ed25519.Ed25519PrivateKey.generate())):
            files = self.authority.issue("a.example", "*.b.example", key=key).write(self.directory)
            pair = read_pair(files, NOW)
            self.assertEqual((pair.kind, pair.names, pair.source), (kind, ("a.example", "*.b.example"), files.chain))
            self.assertEqual(pair.not_after, NOW + 90 * DAY)
            self.assertEqual(pair.label, "a.example")
            self.assertNotIn("PRIVATE", repr(pair))

    def test_a_chain(self) -> None:
        between = Authority("between", self.authority)
        pair = between.issue().pair()
        self.assertEqual(pair.chain_pem.count(b"BEGIN CERTIFICATE"), 2)

    def test_names_are_made_comparable(self) -> None:
        issued = self.authority.issue("EXAMPLE.com", "example.com", "xn--bcher-kva.example", "*.example.com.")
        self.assertEqual(issued.pair().names, ("example.com", "xn--bcher-kva.example", "*.example.com"))

    def test_only_a_common_name(self) -> None:
        self.assertEqual(self.authority.issue("old.example", alternative=False).pair().names, ("old.example",))

    def test_a_common_name_that_is_no_host(self) -> None:
        pair = self.authority.issue("Somebody, Ltd.", alternative=False).pair("some.pem")
        self.assertEqual((pair.names, pair.label), ((), "some.pem"))

    def test_the_second_before_the_end(self) -> None:
        issued = self.authority.issue()
        last = NOW + 90 * DAY
        self.assertEqual(checked_pair(issued.chain, issued.key, "c", "k", last).not_after, last)

    def test_fingerprint(self) -> None:
        files = self.authority.issue().write(self.directory)
        before = fingerprint(files)
        self.assertEqual(fingerprint(files), before)
        os.utime(files.key, ns=(1, 1))
        touched = fingerprint(files)
        self.assertNotEqual(touched, before)
        os.unlink(files.key)
        self.assertEqual(fingerprint(files), (touched[0], None))


class RefusedTests(CertificateCase):
    """What is not."""

    def test_missing_and_unreadable(self) -> None:
        files = self.authority.issue().write(self.directory)
        self.assertEqual(
            self.refused(CertificateConfig("/no/such.pem", files.key)), "certificate /no/such.pem: no such file or directory"
        )
        self.assertEqual(
            self.refused(CertificateConfig(files.chain, "/no/such.key")), "key /no/such.key: no such file or directory"
        )
        self.assertEqual(
            self.refused(CertificateConfig(self.directory, files.key)), f"certificate {self.directory}: is a directory"
        )
        self.assertEqual(self.refused(CertificateConfig("a\0b", files.key)), "certificate a\0b: embedded null byte")

    def test_too_large(self) -> None:
        files = self.authority.issue().write(self.directory)
        large = self.write("large.pem", b"x" * (MAX_PEM_BYTES + 1))
        self.assertEqual(self.refused(CertificateConfig(large, files.key)), "certificate large.pem: larger than 1048576 bytes")

    def test_not_pem(self) -> None:
        files = self.authority.issue().write(self.directory)
        empty = self.write("empty", b"")
        broken = self.write("broken", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        broken_key = self.write("broken.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        self.assertEqual(
            self.refused(CertificateConfig(empty, files.key)), "certificate empty: holds no certificate in PEM format"
        )
        self.assertEqual(self.refused(CertificateConfig(files.chain, empty)), "key empty: holds no private key in PEM format")
        self.assertEqual(self.refused(CertificateConfig(broken, files.key)), "certificate broken: cannot be read as PEM")
        self.assertEqual(self.refused(CertificateConfig(files.chain, broken_key)), "key broken.key: cannot be read as PEM")
        self.assertEqual(
            self.refused(CertificateConfig(files.key, files.chain)), "certificate one.key: holds no certificate in PEM format"
        )

    def test_encrypted(self) -> None:
        key = ec_key()
        files = self.authority.issue(key=key).write(self.directory)
        self.write("one.key", key_pem(key, b"secret"))
        self.assertEqual(self.refused(files), "key one.key: is encrypted; nobody is there to type its passphrase")

    def test_another_key(self) -> None:
        files = self.authority.issue().write(self.directory)
        for other in (ec_key(), rsa_key()):
            self.write("one.key", key_pem(other))
            self.assertEqual(self.refused(files), "key one.key: does not belong to the first certificate in one.pem")

    def test_the_chain_upside_down(self) -> None:
        between = Authority("between", self.authority)
        issued = between.issue()
        files = issued.write(self.directory)
        self.write("one.pem", between.pem + issued.chain)
        self.assertEqual(self.refused(files), "key one.key: does not belong to the first certificate in one.pem")

    def test_a_key_that_tls_does_not_know(self) -> None:
        files = self.authority.issue().write(self.directory)
        self.write("one.key", key_pem(dsa.generate_private_key(1024)))
        self.assertRegex(self.refused(files), r"^key one\.key: a _?DSAPrivateKey is of no use in TLS$")

    def test_dates(self) -> None:
        """What is not valid now is no mistake of the files: it is shown, and said."""
        good = self.authority.issue().write(self.directory)
        expired = self.authority.issue(valid=(-9 * DAY, -DAY)).write(self.directory, "expired")
        early = self.authority.issue(valid=(DAY, 9 * DAY)).write(self.directory, "early")
        self.assertEqual([read_pair(files, NOW).was_good for files in (good, expired, early)], [True, False, False])


class SelfSignedTests(SynchronousTestCase):
    """A certificate made on the spot."""

    def test_it_is_for_this_host(self) -> None:
        pair = self_signed_pair(NOW)
        self.assertEqual(pair.names[0], "localhost")
        self.assertEqual((pair.kind, pair.not_after), ("ecdsa", NOW + LIFETIME))
        certificate = x509.load_pem_x509_certificate(pair.chain_pem)
        self.assertEqual(names_of(certificate), pair.names)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(ip) for ip in found.get_values_for_type(x509.IPAddress)], ["127.0.0.1", "::1"])

    def test_each_is_another(self) -> None:
        one, other = (x509.load_pem_x509_certificate(self_signed_pair(NOW).chain_pem) for _ in range(2))
        self.assertNotEqual(one.serial_number, other.serial_number)
        self.assertNotEqual(one.public_bytes(Encoding.DER), other.public_bytes(Encoding.DER))
