"""Session tickets that several processes open."""

from __future__ import annotations

import struct
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.certificates import NOW, POLICY
from xproxy.tls import ticket_keys
from xproxy.tls.self_signed import self_signed_pair
from xproxy.tls.ticket_keys import TICKET_KEYS_BYTES, function_offset, set_ticket_keys

KEYS = bytes(range(TICKET_KEYS_BYTES))


class TicketKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = self_signed_pair(NOW)

    def server(self, keys: bytes) -> SSL.Context:
        """A context as another process would have it."""
        context = POLICY.context([self.pair])
        if keys:
            self.assertTrue(set_ticket_keys(context, keys))
        return context

    def resumes(self, first: SSL.Context, second: SSL.Context, version: int) -> bool:
        """Whether a session that began with one goes on with the other: a client is not asked twice for a certificate."""
        self.client = SSL.Context(SSL.TLS_METHOD)
        self.client.set_max_proto_version(version)
        connection = self.shaken(first, None)
        again = self.shaken(second, connection.get_session())
        return bool(SSL._lib.SSL_session_reused(again._ssl))  # type: ignore[attr-defined]

    def shaken(self, context: SSL.Context, session: Any) -> SSL.Connection:
        """A client's connection, after its handshake."""
        server, client = SSL.Connection(context, None), SSL.Connection(self.client, None)
        self.addCleanup(lambda: server)  # The session goes with its connection.
        server.set_accept_state()
        client.set_connect_state()
        if session is not None:
            client.set_session(session)
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                for call in (one.do_handshake, lambda one=one: one.recv(1)):
                    try:
                        call()
                    except SSL.WantReadError:
                        pass  # The other end has something to say first.
                try:
                    other.bio_write(one.bio_read(1 << 20))
                except SSL.WantReadError:
                    pass  # Nothing was said.
        return client

    def test_resumed(self) -> None:
        """With the same keys a session goes on with another context, by either version of TLS."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertTrue(self.resumes(self.server(KEYS), self.server(KEYS), version))

    def test_not_resumed(self) -> None:
        """With others it does not."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertFalse(self.resumes(self.server(KEYS), self.server(KEYS[::-1]), version))
            self.assertFalse(self.resumes(self.server(b""), self.server(b""), version))

    def test_not_found(self) -> None:
        """Where OpenSSL's function is not found, nothing is set, and that is told."""
        self.patch(ticket_keys, "_control", lambda: None)
        self.assertFalse(set_ticket_keys(POLICY.context([self.pair]), KEYS))

    def test_no_library(self) -> None:
        """What is no library, or half of one, is refused, never taken for something else."""
        with self.assertRaises(ValueError):
            function_offset(b"MZ" + bytes(100), b"x")
        with self.assertRaises(struct.error):
            function_offset(b"\x7fELF\x02\x01" + bytes(10), b"x")
        self.assertIsNone(function_offset(b"\x7fELF\x02\x01" + bytes(58), b"x"))
