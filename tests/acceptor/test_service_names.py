"""Which names in a certificate are good for which pools."""

from __future__ import annotations

from typing import List, Tuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.crypto import X509
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.certificates import DAY, NOW, Authority, common_name
from xproxy.acceptor.over_tls.service_names import SHOWN_CHARACTERS, NotNamed, ServiceNames
from xproxy.config import PoolConfig


def pool(name: str, *names: str) -> PoolConfig:
    return PoolConfig(name, service_names=names)


class NamesTests(SynchronousTestCase):
    """Host names by service-identity, URIs to the letter."""

    authority: Authority

    @classmethod
    def setUpClass(cls) -> None:
        cls.authority = Authority()

    def pools(self, names: ServiceNames, *certified: str, subject: str = "a service") -> List[str]:
        certificate = self.authority.issue(*certified, subject=common_name(subject), alternative=bool(certified)).certificate
        return [found.name for found in names.pools_of(X509.from_cryptography(certificate))]

    def refused(self, names: ServiceNames, *certified: str, subject: str = "a service") -> str:
        error = self.assertRaises(NotNamed, self.pools, names, *certified, subject=subject)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_host_names(self) -> None:
        names = ServiceNames([pool("a", "a.example.com"), pool("b", "b.example.com", "other.example.com")])
        cases: List[Tuple[Tuple[str, ...], List[str]]] = [
            (("a.example.com",), ["a"]),
            (("A.Example.COM",), ["a"]),
            (("other.example.com",), ["b"]),
            (("x.example.com", "b.example.com"), ["b"]),
            (("b.example.com", "a.example.com"), ["a", "b"]),
        ]
        for certified, expected in cases:
            self.assertEqual(self.pools(names, *certified), expected, certified)

    def test_what_is_no_match(self) -> None:
        names = ServiceNames([pool("a", "a.example.com")])
        for certified in ("b.example.com", "example.com", "x.a.example.com", "a.example.com.evil.com", "aXexample.com", "a"):
            self.assertIn("may join no pool here", self.refused(names, certified))

    def test_wildcards_are_no_name_of_a_service(self) -> None:
        names = ServiceNames([pool("a", "a.example.com")])
        for certified in ("*.example.com", "*", "a*.example.com", "*.com"):
            self.refused(names, certified)
        self.assertEqual(self.pools(names, "*.example.com", "a.example.com"), ["a"])

    def test_uris(self) -> None:
        names = ServiceNames([pool("a", "spiffe://example.com/web"), pool("b", "spiffe://example.com/api")])
        self.assertEqual(self.pools(names, "spiffe://example.com/web"), ["a"])
        for certified in (
            "spiffe://example.com/",
            "spiffe://example.com/WEB",
            "spiffe://example.com/web/x",
            "spiffe://EXAMPLE.com/web",
            "spiffe://example.org/web",
            "https://example.com/web",
            "spiffe://*/web",
            "spiffe://a:8080:9/x",
        ):
            self.refused(names, certified)

    def test_a_host_is_no_uri_and_a_uri_no_host(self) -> None:
        names = ServiceNames([pool("a", "example.com"), pool("b", "spiffe://example.com/web")])
        self.assertEqual(self.pools(names, "example.com"), ["a"])
        self.assertIn("'spiffe://example.com'", self.refused(names, "spiffe://example.com"))

    def test_addresses_and_common_names_do_not_count(self) -> None:
        names = ServiceNames([pool("a", "a.example.com")])
        self.assertIn("no host name or URI", self.refused(names, "ip:192.0.2.1"))
        self.assertIn("no subject alternative name", self.refused(names, subject="a.example.com"))
        self.assertEqual(self.pools(names, "192.0.2.1", "a.example.com"), ["a"])

    def test_what_is_shown_is_short_and_printable(self) -> None:
        names = ServiceNames([pool("a", "a.example.com")])
        line = self.refused(names, *(f"x{number}." + "y" * 300 for number in range(50)))
        self.assertLess(len(line), 4 * SHOWN_CHARACTERS + 100)
        self.assertIn("47 more", line)
        self.assertTrue(self.refused(names, "x\ny\x1b[31m://z").isprintable())

    def test_extensions_that_can_not_be_read(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(common_name("x"))
            .issuer_name(common_name("x"))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x82"), critical=False)
            .sign(key, hashes.SHA256())
        )
        shown = X509.from_cryptography(certificate)
        error = self.assertRaises(NotNamed, ServiceNames([pool("a", "a")]).pools_of, shown)
        self.assertIn("can't be read", str(error))

    def test_a_certificate_that_can_not_be_read(self) -> None:
        """What OpenSSL lets pass and cryptography does not."""

        class Strange(X509):
            def to_cryptography(self) -> x509.Certificate:
                raise ValueError("invalid version")

        error = self.assertRaises(NotNamed, ServiceNames([pool("a", "a")]).pools_of, Strange())
        self.assertIn("its certificate can't be read", str(error))

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(["a.b", "b", "*.b", "a.*", "s://a.b", "s://b", "ip:::1", "c.a.b"]), min_size=1, max_size=4))
    def test_only_what_is_written_counts(self, certified: List[str]) -> None:
        """A pool is joined exactly when one of its names is in the certificate, letter by letter."""
        served = [pool("one", "a.b", "s://b"), pool("two", "b"), pool("three", "s://a.b", "c.a.b")]
        expected = [found.name for found in served if set(found.service_names) & set(certified)]
        try:
            self.assertEqual(self.pools(ServiceNames(served), *certified), expected)
        except NotNamed:
            self.assertEqual(expected, [])
