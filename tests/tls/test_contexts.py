"""Tests for ``xproxy.tls.contexts``: who is shown which certificate, and what is agreed on in a handshake."""

from __future__ import annotations

import os
from typing import Any, List, Optional, Sequence, cast
from unittest import SkipTest

from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.certificates import CLIENT, DAY, NOW, SERVER, Authority, rsa_key
from xproxy.tls.certificates import CertificateError, Pair, checked_pair
from xproxy.tls.contexts import NameTable, TLSPolicy, openssl_reason


def shake_hands(server: SSL.Connection, client: SSL.Connection) -> int:
    """Let two connections shake hands in memory; raises what the one that fails first raises.

    :returns: how many bytes the server has sent.
    """
    server.set_accept_state()
    client.set_connect_state()
    done: List[SSL.Connection] = []
    sent = 0
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                if end not in done:
                    done.append(end)
            except SSL.WantReadError:
                pass
            finally:
                try:
                    data = end.bio_read(65536)
                    other.bio_write(data)
                    sent += len(data) if end is server else 0
                except SSL.WantReadError:
                    pass
    assert len(done) == 2, "the handshake does not end"
    try:
        client.recv(1)  # Where TLS 1.3 has its session tickets.
    except SSL.WantReadError:
        pass
    return sent


class NameTableTests(SynchronousTestCase):
    """Contexts by name."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.made: List[Sequence[Pair]] = []

    def make(self, pairs: Sequence[Pair]) -> Any:
        self.made.append(pairs)
        return tuple(pair.source for pair in pairs)

    def table(self, *named: Sequence[str]) -> NameTable:
        pairs = [self.authority.issue(*names).pair(str(number)) for number, names in enumerate(named)]
        return NameTable(pairs, self.make)

    def found(self, table: NameTable, *names: Optional[bytes]) -> List[str]:
        return ["+".join(cast(Any, table.find(name))) for name in names]

    def test_exact_wildcard_default(self) -> None:
        table = self.table(("first.example",), ("a.example.com", "*.example.com"), ("b.example.com",))
        found = self.found(
            table, b"first.example", b"a.example.com", b"c.example.com", b"b.example.com", b"other.example", None
        )
        self.assertEqual(found, ["0", "1", "1", "2", "0", "0"])

    def test_a_wildcard_is_one_label(self) -> None:
        table = self.table(("first.example",), ("*.example.com",))
        found = self.found(table, b"a.b.example.com", b"example.com", b".example.com", b"*.example.com")
        self.assertEqual(found, ["0", "0", "1", "1"])

    def test_case_and_the_root(self) -> None:
        table = self.table(("first.example",), ("a.example.com",))
        self.assertEqual(self.found(table, b"A.Example.COM", b"a.example.com.", b""), ["1", "1", "0"])

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.binary(max_size=40))
    def test_any_name(self, name: bytes) -> None:
        table = self._any = getattr(self, "_any", None) or self.table(("first.example",), ("*.example.com",))
        self.assertIn(table.find(name), (table.default, table.find(b"a.example.com")))

    def test_kinds_side_by_side(self) -> None:
        elliptic = self.authority.issue("a.example", "b.example").pair("elliptic")
        rsa = self.authority.issue("a.example", key=rsa_key()).pair("rsa")
        another = self.authority.issue("a.example", key=rsa_key()).pair("another")
        table = NameTable([elliptic, rsa, another], self.make)
        self.assertEqual(table.find(b"a.example"), ("elliptic", "rsa"))
        self.assertEqual(table.find(b"b.example"), ("elliptic",))
        self.assertEqual(table.default, ("elliptic",))  # RSA would not do for all of its names.
        self.assertEqual(len(self.made), 2)

    def test_the_default_has_both_kinds_too(self) -> None:
        pairs = [self.authority.issue(key=key).pair(str(number)) for number, key in enumerate((None, rsa_key()))]
        self.assertEqual(NameTable(pairs, self.make).default, ("0", "1"))

    def test_no_name_at_all(self) -> None:
        nameless = self.authority.issue("No Host", alternative=False).pair("nameless")
        self.assertEqual(NameTable([nameless], self.make).find(b"a"), ("nameless",))


class HandshakeCase(SynchronousTestCase):
    """Two ends in memory."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.elliptic = self.authority.issue().pair()
        self.rsa = self.authority.issue(key=rsa_key()).pair()

    def agree(self, server: SSL.Context, client: Optional[SSL.Context] = None, protocols: Sequence[bytes] = ()) -> Any:
        ends = SSL.Connection(server, None), SSL.Connection(client or SSL.Context(SSL.TLS_METHOD), None)
        if protocols:
            ends[1].set_alpn_protos(list(protocols))
        shake_hands(*ends)
        return ends

    def reason(self, *args: Any, **kwargs: Any) -> str:
        return openssl_reason(self.assertRaises(SSL.Error, self.agree, *args, **kwargs))

    def client(self, ciphers: bytes = b"", highest: int = SSL.TLS1_3_VERSION, lowest: int = 0) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(highest)
        if lowest:
            context.set_min_proto_version(lowest)
        if ciphers:
            context.set_cipher_list(ciphers)
        return context


class HandshakeTests(HandshakeCase):
    """What two ends agree on."""

    def test_groups(self) -> None:
        """Those of the intermediate profile, and no other."""
        say: Any = getattr(SSL._lib, "SSL_CTX_set1_curves_list", None)  # type: ignore[attr-defined]
        if say is None:
            raise SkipTest("this cryptography can't say which groups there are")
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for groups, good in ((b"X25519", True), (b"P-256", True), (b"P-384", True), (b"P-521", False), (b"X448", False)):
                client = self.client(highest=version)
                self.assertEqual(say(client._context, groups), 1)
                server = TLSPolicy().context([self.elliptic, self.rsa])
                if good:
                    self.agree(server, client)
                else:
                    self.assertIn(self.reason(server, client), ("no suitable key share", "no shared cipher", "no shared group"))

    def test_versions(self) -> None:
        server = TLSPolicy().context([self.elliptic])
        self.assertEqual(self.agree(server)[0].get_protocol_version_name(), "TLSv1.3")
        twelve = self.client(highest=SSL.TLS1_2_VERSION)
        self.assertEqual(self.agree(server, twelve)[0].get_protocol_version_name(), "TLSv1.2")
        eleven = self.client(b"DEFAULT@SECLEVEL=0", SSL.TLS1_1_VERSION, SSL.TLS1_VERSION)
        self.assertEqual(self.reason(server, eleven), "unsupported protocol")

    def test_ciphers(self) -> None:
        server = TLSPolicy().context([self.elliptic, self.rsa])
        for weak in (b"AES128-GCM-SHA256", b"ECDHE-RSA-AES128-SHA256", b"DHE-RSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-CCM"):
            self.assertEqual(self.reason(server, self.client(weak, SSL.TLS1_2_VERSION)), "no shared cipher", weak)
        both = self.client(b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", SSL.TLS1_2_VERSION)
        self.assertEqual(self.agree(server, both)[0].get_cipher_name(), "ECDHE-ECDSA-AES128-GCM-SHA256")

    def test_the_kind_that_the_client_can_check(self) -> None:
        server = TLSPolicy().context([self.elliptic, self.rsa])
        for cipher, pair in ((b"ECDHE-RSA-AES128-GCM-SHA256", self.rsa), (b"ECDHE-ECDSA-AES128-GCM-SHA256", self.elliptic)):
            _, client = self.agree(server, self.client(cipher, SSL.TLS1_2_VERSION))
            shown = client.get_peer_certificate().to_cryptography().public_key()
            self.assertEqual(shown.public_numbers(), pair.key.public_key().public_numbers())

    def test_each_kind_has_its_own_chain(self) -> None:
        between = Authority("between", self.authority)
        chained = between.issue(key=rsa_key()).pair()
        server = TLSPolicy().context([self.elliptic, chained])
        for cipher, length in ((b"ECDHE-RSA-AES128-GCM-SHA256", 2), (b"ECDHE-ECDSA-AES128-GCM-SHA256", 1)):
            _, client = self.agree(server, self.client(cipher, SSL.TLS1_2_VERSION))
            self.assertEqual(len(client.get_peer_cert_chain()), length, cipher)

    def test_protocols(self) -> None:
        server = TLSPolicy().context([self.elliptic])
        plain = TLSPolicy(http2=False).context([self.elliptic])
        for context, offered, chosen in (
            (server, (b"http/1.1", b"h2"), b"h2"),
            (server, (b"spdy/3", b"http/1.1"), b"http/1.1"),
            (server, (), b""),
            (plain, (b"h2", b"http/1.1"), b"http/1.1"),
        ):
            self.assertEqual(self.agree(context, None, offered)[1].get_alpn_proto_negotiated(), chosen)
        self.assertEqual(self.reason(server, None, (b"acme-tls/1",)), "no application protocol")

    def test_no_renegotiation(self) -> None:
        server, client = self.agree(TLSPolicy().context([self.elliptic]), self.client(highest=SSL.TLS1_2_VERSION))
        client.renegotiate()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        server.bio_write(client.bio_read(65536))
        self.assertRaises(SSL.WantReadError, server.recv, 100)
        client.bio_write(server.bio_read(65536))
        refused = self.assertRaises(SSL.Error, client.do_handshake)
        self.assertEqual(openssl_reason(refused), "no renegotiation")

    def test_a_key_that_openssl_refuses(self) -> None:
        weak = self.authority.issue(key=rsa.generate_private_key(65537, 1024)).pair("weak.pem")
        policy = TLSPolicy()
        try:
            policy.context([weak])
        except CertificateError as error:  # Where OpenSSL's security level is 2, as in Debian.
            self.assertEqual(str(error), "certificate weak.pem: ee key too small")


class ClientCertificateTests(HandshakeCase):
    """Clients that have to say who they are."""

    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.abspath(self.mktemp())
        with open(self.path, "wb") as file:
            file.write(self.authority.pem)

    def bearer(self, issued: Any) -> SSL.Context:
        context = TLSPolicy().context([issued.pair()])
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return context

    def test_required_and_optional(self) -> None:
        required = TLSPolicy(self.path).context([self.elliptic])
        optional = TLSPolicy(self.path, client_required=False).context([self.elliptic])
        good = self.bearer(self.authority.issue("bob", usages=CLIENT))
        for server in (required, optional):
            ours, client = self.agree(server, good)
            self.assertEqual(ours.get_peer_certificate().to_cryptography().subject.rfc4514_string(), "CN=bob")
            self.assertEqual([name.CN for name in client.get_client_ca_list()], ["test CA"])
        self.assertEqual(self.reason(required), "peer did not return a certificate")
        self.assertIsNone(self.agree(optional)[0].get_peer_certificate())

    def test_bad_ones(self) -> None:
        for server in (TLSPolicy(self.path).context([self.elliptic]), TLSPolicy(self.path, False).context([self.elliptic])):
            stranger = self.bearer(Authority().issue("bob", usages=CLIENT))
            not_for_clients = self.bearer(self.authority.issue("bob", usages=SERVER))
            for client in (stranger, not_for_clients):
                self.assertEqual(self.reason(server, client), "certificate verify failed")

    def test_an_expired_one(self) -> None:
        issued = self.authority.issue("bob", valid=(-3 * DAY, -DAY), usages=CLIENT)
        client = TLSPolicy().context([checked_pair(issued.chain, issued.key, "c", "k", NOW - 2 * DAY)])
        self.assertEqual(self.reason(TLSPolicy(self.path).context([self.elliptic]), client), "certificate verify failed")

    def test_files_that_are_none(self) -> None:
        error = self.assertRaises(CertificateError, TLSPolicy("/no/such.pem").context)
        self.assertEqual(str(error), "client CA /no/such.pem: no such file or directory")
        with open(self.path, "wb") as file:
            file.write(b"nothing")
        error = self.assertRaises(CertificateError, TLSPolicy(self.path).context)
        self.assertEqual(str(error), f"client CA {self.path}: holds no certificate in PEM format")
