"""Tests for ``xproxy.tls.certificate_store``: certificates that come, change, break and end while the proxy runs."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Dict, List, Optional

import attr
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.doubles.certificates import CLIENT, DAY, NOW, POLICY, Authority
from tests.doubles.logged import Logged
from tests.tls.test_contexts import shake_hands
from xproxy.startup import StartupError
from xproxy.tls import certificate_store
from xproxy.tls.certificate_store import POLL_INTERVAL_S, TICKET_LIFETIME, CertificateStore
from xproxy.tls.contexts import TLSPolicy
from xproxy.tls.ticket_keys import TICKET_KEYS_BYTES


def subject(client: SSL.Connection) -> str:
    """Of the certificate that a client was shown."""
    shown = client.get_peer_certificate()
    assert shown is not None
    return shown.to_cryptography().subject.rfc4514_string()


TLS13 = SSL.TLS1_3_VERSION


class Bearer:
    """The protocol that a connection is for."""


class StoreCase(SynchronousTestCase):
    """A store over files, and a clock of each kind."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.reactor = Clock()
        self.now: datetime = NOW
        self.contexts: Dict[int, SSL.Context] = {}
        self.logged = Logged(self)

    def make(self, *files: Any, policy: TLSPolicy = POLICY) -> CertificateStore:
        return CertificateStore(self.reactor, files, policy, now=lambda: self.now)

    def start(self, *files: Any, policy: TLSPolicy = POLICY) -> CertificateStore:
        store = self.make(*files, policy=policy)
        store.startService()
        self.addCleanup(store.stopService)
        return store

    def poll(self) -> None:
        self.reactor.advance(POLL_INTERVAL_S)

    def said(self) -> List[str]:
        """What was logged since the last call, with the directory taken out."""
        told = [line.replace(self.directory + "/", "") for line in self.logged.lines]
        self.logged.clear()
        return told

    def shown(
        self, store: CertificateStore, name: Optional[bytes] = b"example.com", session: Any = None, version: int = TLS13
    ) -> Any:
        """The client's end of a handshake."""
        context = self.contexts.get(version)
        if context is None:  # A session belongs to the context that it was made with.
            context = self.contexts[version] = SSL.Context(SSL.TLS_METHOD)
            context.set_max_proto_version(version)
        client = SSL.Connection(context, None)
        if name is not None:
            client.set_tlsext_host_name(name)
        if session is not None:
            client.set_session(session)
        self.server = store.serverConnectionForTLS(Bearer())
        self.flight_bytes = shake_hands(self.server, client)
        return client

    def was_resumed(self, whole_bytes: int) -> bool:
        """Whether the last handshake resumed a session, which pyOpenSSL does not tell: no certificate was sent.

        :param whole_bytes: what the server has sent in a whole handshake.
        """
        return self.flight_bytes < whole_bytes - 300

    def serial(self, store: CertificateStore, name: Optional[bytes] = b"example.com") -> int:
        number: int = self.shown(store, name).get_peer_certificate().get_serial_number()
        return number


class ChoiceTests(StoreCase):
    """What a client is shown."""

    def test_by_name(self) -> None:
        one = self.authority.issue("one.example")
        other = self.authority.issue("other.example")
        store = self.make(one.write(self.directory, "one"), other.write(self.directory, "other"))
        names = (b"one.example", b"other.example", b"unknown.example", None)
        shown = [subject(self.shown(store, name)) for name in names]
        self.assertEqual(shown, ["CN=one.example", "CN=other.example", "CN=one.example", "CN=one.example"])

    def test_other_files(self) -> None:
        """They take the place of the first ones when they are installed, and not before; what can't be read changes nothing."""
        one = self.authority.issue("one.example").write(self.directory, "one")
        other = self.authority.issue("other.example").write(self.directory, "other")
        store = self.make(one)
        install = store.prepare([other], POLICY)
        self.assertEqual(subject(self.shown(store, None)), "CN=one.example")
        install()
        self.assertEqual(subject(self.shown(store, None)), "CN=other.example")
        self.assertEqual([pair.label for pair in store.pairs], ["other.example"])
        self.assertTrue(store.reload())
        self.assertEqual(subject(self.shown(store, None)), "CN=other.example")
        os.unlink(one.chain)
        self.assertRaises(StartupError, store.prepare, [one], POLICY)
        self.assertEqual(subject(self.shown(store, None)), "CN=other.example")

    def test_the_same_files(self) -> None:
        """Nothing changes, so that sessions are resumed; another content, policy or a broken file is seen."""
        files = self.authority.issue("one.example").write(self.directory, "one")
        store = self.make(files)
        front = store.front
        store.prepare([files], POLICY)()
        self.assertIs(store.front, front)
        self.authority.issue("one.example").write(self.directory, "one")
        store.prepare([files], POLICY)()
        self.assertIsNot(store.front, front)
        front = store.front
        store.prepare([files], attr.evolve(POLICY, http2=False))()
        self.assertIsNot(store.front, front)
        with open(files.chain, "wb") as file:
            file.write(b"broken")
        self.assertFalse(store.reload())
        self.assertRaises(StartupError, store.prepare, [files], attr.evolve(POLICY, http2=False))

    def test_interface(self) -> None:
        store = self.make(self.authority.issue().write(self.directory))
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, store))

    def test_shared_ticket_keys(self) -> None:
        """A session goes on with another process that has the same keys; where they can't be set, that is said once."""
        files = [self.authority.issue().write(self.directory)]
        keys = bytes(range(TICKET_KEYS_BYTES))
        one, other = (CertificateStore(self.reactor, files, POLICY, ticket_keys=keys) for _ in range(2))
        client = self.shown(one)
        whole = self.flight_bytes
        kept = self.server, client
        self.shown(other, session=client.get_session())
        self.assertTrue(self.was_resumed(whole))
        del kept
        self.patch(certificate_store, "set_ticket_keys", lambda context, keys: False)
        self.said()
        store = CertificateStore(self.reactor, files, POLICY, ticket_keys=keys)
        store.reload()
        self.assertEqual(1, sum("resumes only on the worker" in line for line in self.said()))
        self.assertTrue(store.pairs)

    def test_sessions_are_resumed_whatever_the_certificate(self) -> None:
        files = [self.authority.issue(name).write(self.directory, name) for name in ("one.example", "other.example")]
        store = self.make(*files)
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            client = self.shown(store, b"other.example", version=version)
            whole = self.flight_bytes
            kept = self.server, client  # A connection that is dropped without an end takes its session with it.
            again = self.shown(store, b"other.example", client.get_session(), version)
            self.assertEqual(subject(again), "CN=other.example")
            self.assertTrue(self.was_resumed(whole), version)
            del kept


class StartTests(StoreCase):
    """Stores that can't be."""

    def test_no_certificate(self) -> None:
        error = self.assertRaises(StartupError, self.make)
        self.assertEqual(str(error), "https needs a certificate: [[proxy.certificates]], or --self-signed to try it out")

    def test_a_bad_one(self) -> None:
        files = self.authority.issue().write(self.directory)
        Path(files.chain).write_bytes(b"nothing")
        error = self.assertRaises(StartupError, self.make, files)
        self.assertIn("one.pem: holds no certificate", str(error))

    def test_a_bad_client_ca(self) -> None:
        files = self.authority.issue().write(self.directory)
        error = self.assertRaises(StartupError, self.make, files, policy=TLSPolicy("/no/such.pem"))
        self.assertEqual(str(error), "client CA /no/such.pem: no such file or directory")


class ReloadTests(StoreCase):
    """Files that change."""

    def replace(self, content: bytes, name: str = "one.pem") -> None:
        """As a careful tool does it: a new file takes the place of the old one."""
        fresh = os.path.join(self.directory, "fresh")
        with open(fresh, "wb") as file:
            file.write(content)
        os.replace(fresh, os.path.join(self.directory, name))

    def test_on_demand(self) -> None:
        store = self.make(self.authority.issue().write(self.directory))
        before = self.serial(store)
        self.authority.issue().write(self.directory)
        self.assertTrue(store.reload())
        self.assertNotEqual(self.serial(store), before)
        self.assertEqual(self.said(), ["certificates read again: example.com"])

    def test_when_a_file_changes(self) -> None:
        store = self.start(self.authority.issue().write(self.directory))
        before = self.serial(store)
        self.poll()
        self.assertEqual((self.serial(store), self.said()), (before, []))
        self.authority.issue().write(self.directory)
        self.poll()
        self.assertNotEqual(self.serial(store), before)
        self.said()
        self.poll()
        self.assertEqual(self.said(), [])

    def test_a_broken_one_is_told_once_and_changes_nothing(self) -> None:
        store = self.start(self.authority.issue().write(self.directory))
        before = self.serial(store)
        fresh = self.authority.issue()
        self.replace(fresh.chain)
        for _ in range(3):
            self.poll()
        self.assertEqual(
            self.said(), ["key one.key: does not belong to the first certificate in one.pem; the certificates in use stay"]
        )
        self.assertEqual(self.serial(store), before)
        self.replace(fresh.key, "one.key")
        self.poll()
        self.assertEqual(self.said(), ["certificates read again: example.com"])
        self.assertNotEqual(self.serial(store), before)

    def test_a_missing_one(self) -> None:
        store = self.start(self.authority.issue().write(self.directory))
        before = self.serial(store)
        os.unlink(os.path.join(self.directory, "one.pem"))
        self.poll()
        self.assertEqual(self.said(), ["certificate one.pem: no such file or directory; the certificates in use stay"])
        self.assertEqual(self.serial(store), before)

    def test_all_or_nothing(self) -> None:
        one, other = (self.authority.issue(name).write(self.directory, name) for name in ("one.example", "other.example"))
        store = self.make(one, other)
        before = self.serial(store, b"one.example")
        self.authority.issue("one.example").write(self.directory, "one.example")
        self.replace(b"", "other.example.pem")
        self.assertFalse(store.reload())
        self.assertEqual(self.serial(store, b"one.example"), before)

    def test_an_open_handshake_meets_one_or_the_other(self) -> None:
        """The old ones, where there is only one; where they are chosen by the name, those of the moment of the choice."""
        for others in ((), ("other.example",)):
            old = self.authority.issue()
            files = [old.write(self.directory), *(self.authority.issue(name).write(self.directory, name) for name in others)]
            store = self.make(*files)
            server = store.serverConnectionForTLS(Bearer())
            fresh = self.authority.issue()
            fresh.write(self.directory)
            store.reload()
            client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
            client.set_tlsext_host_name(b"example.com")
            shake_hands(server, client)
            shown = client.get_peer_certificate()
            assert shown is not None
            self.assertEqual(shown.to_cryptography(), x509.load_pem_x509_certificate((fresh if others else old).chain))

    def test_a_client_ca_that_changes(self) -> None:
        path = os.path.join(self.directory, "ca.pem")
        with open(path, "wb") as file:
            file.write(self.authority.pem)
        store = self.start(self.authority.issue().write(self.directory), policy=TLSPolicy(path))
        self.replace(b"nothing", "ca.pem")
        self.poll()
        self.assertEqual(self.said(), ["client CA ca.pem: holds no certificate in PEM format; the certificates in use stay"])
        other = Authority("other CA")
        self.replace(other.pem, "ca.pem")
        self.poll()
        client = SSL.Connection(TLSPolicy().context([other.issue("bob", usages=CLIENT).pair()]), None)
        shake_hands(store.serverConnectionForTLS(Bearer()), client)
        self.assertEqual([name.CN for name in client.get_client_ca_list()], ["other CA"])


class TimeTests(StoreCase):
    """What happens by itself."""

    def test_ticket_keys_are_replaced(self) -> None:
        store = self.start(self.authority.issue().write(self.directory))
        client = self.shown(store)
        whole = self.flight_bytes
        kept = self.server
        self.now += TICKET_LIFETIME - timedelta(seconds=1)
        self.poll()
        again = self.shown(store, session=client.get_session())
        self.assertTrue(self.was_resumed(whole))
        kept_too = self.server
        self.now += timedelta(seconds=1)
        self.poll()
        self.shown(store, session=again.get_session())
        self.assertFalse(self.was_resumed(whole))
        del kept, kept_too

    def test_ticket_keys_stay_when_the_client_ca_is_broken(self) -> None:
        path = os.path.join(self.directory, "ca.pem")
        with open(path, "wb") as file:
            file.write(self.authority.pem)
        store = self.start(self.authority.issue().write(self.directory), policy=TLSPolicy(path, False))
        os.unlink(path)
        self.poll()
        self.said()
        self.now += TICKET_LIFETIME
        self.poll()
        self.assertEqual(self.said(), ["client CA ca.pem: no such file or directory; the session tickets keep their keys"])
        self.shown(store)
        self.poll()
        self.assertEqual(self.said(), [])

    def test_the_end_is_announced_once_a_day(self) -> None:
        self.start(self.authority.issue().write(self.directory))
        self.now = NOW + 75 * DAY
        self.poll()
        self.assertEqual(self.said(), [])
        self.now = NOW + 76 * DAY
        for _ in range(3):
            self.poll()
        self.assertEqual(self.said(), [f"certificate one.pem (example.com) expires on {NOW + 90 * DAY:%Y-%m-%d %H:%M} UTC"])
        self.now += DAY
        self.poll()
        self.assertEqual(len(self.said()), 1)

    def test_expired_from_the_start(self) -> None:
        """It is shown, and said; the others are renewed by a reload all the same."""
        old = self.authority.issue("old.example", valid=(-9 * DAY, -DAY)).write(self.directory, "old")
        new = self.authority.issue("new.example").write(self.directory, "new")
        store = self.make(old, new)
        store.poll()
        self.assertEqual(self.said(), [f"certificate old.pem (old.example) has expired on {NOW - DAY:%Y-%m-%d %H:%M} UTC"])
        self.assertEqual(subject(self.shown(store, b"old.example")), "CN=old.example")
        self.authority.issue("new.example", valid=(-DAY, 200 * DAY)).write(self.directory, "new")
        self.assertTrue(store.reload())
        self.assertEqual(store.pairs[1].not_after, NOW + 200 * DAY)

    def test_not_valid_yet(self) -> None:
        files = self.authority.issue(valid=(DAY, 90 * DAY)).write(self.directory)
        store = self.make(files)
        store.poll()
        self.assertEqual(self.said(), [f"certificate one.pem (example.com) is not valid before {NOW + DAY:%Y-%m-%d %H:%M} UTC"])

    def test_a_valid_one_beside_it(self) -> None:
        """Of two for one name the valid one is shown, whatever their order."""
        old = self.authority.issue(valid=(-9 * DAY, -DAY)).write(self.directory, "old")
        new = self.authority.issue().write(self.directory, "new")
        store = self.make(old, new)
        self.assertGreater(
            self.shown(store, b"example.com").get_peer_certificate().get_notAfter()[:8], b"%d" % int(f"{NOW:%Y%m%d}")
        )

    def test_after_the_end(self) -> None:
        self.start(self.authority.issue().write(self.directory))
        self.now = NOW + 91 * DAY
        self.poll()
        self.assertEqual(self.said(), [f"certificate one.pem (example.com) has expired on {NOW + 90 * DAY:%Y-%m-%d %H:%M} UTC"])
