"""Bytes that nobody should send, on every socket: the log has nothing unhandled, and no other connection is touched.

That the log is clean is seen to by each Program's own end.
"""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
from typing import List, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Waiting, ask, connect_unix, exchange, receive_until, talk
from tests.e2e.processes import Xacceptor, Xproxy
from tests.e2e.services import Gate, SlotService, mxproxy_preamble
from xproxy.handoff.messages import VERSION

RANDOM = random.Random(20)

NOISE: List[bytes] = [
    b"\0",
    b"\xff" * 100,
    b"\0" * 100_000,
    b"\r\n" * 1000,
    bytes(range(256)) * 40,
    *(bytes(RANDOM.randrange(256) for _ in range(RANDOM.randrange(1, 3000))) for _ in range(40)),
]

HTTP: List[bytes] = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /" + b"a" * 100_000,
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
]

_PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"

PREAMBLES: List[bytes] = [
    b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n",
    b"PROXY " + b"x" * 200 + b"\r\n",
    b"PROXY UNKNOWN",
    _PROXY_V2,
    _PROXY_V2 + b"\x21\x11\xff\xff" + b"x" * 65535,
    _PROXY_V2 + b"\x31\x11\x00\x0c" + b"x" * 12,
    _PROXY_V2 + b"\x21\x11\x00\x0f\x7f\0\0\1\x7f\0\0\1\0\1\0\1\xe0\xff\xff",
    _PROXY_V2 + b"\x20\x00\x00\x0a\xe0\x00\x07nowhere",
    mxproxy_preamble()[:-1],
    mxproxy_preamble() + b"more",
    mxproxy_preamble()[:14] + b"\xff\xff" + b"x" * 100,
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
]


def box(**fields: bytes) -> bytes:
    """An AMP box."""
    parts = [struct.pack(">H", len(k)) + k.encode() + struct.pack(">H", len(v)) + v for k, v in fields.items()]
    return b"".join(parts) + b"\0\0"


BOXES: List[bytes] = [
    b"\0\0",
    b"\0\1",
    b"\0\xff" + b"k" * 255 + b"\xff\xff" + b"v" * 65535,
    box(_command=b"Nothing"),
    box(_command=b"Hello", _ask=b"1", version=b"%d" % VERSION, board=b"0"),
    box(_command=b"Hello", _ask=b"1", version=b"x", board=b"0"),
    box(_command=b"Census", _ask=b"1"),
    box(_command=b"Ask", pool=b"default", arrivals=b"12345678", seen=b"0"),
    box(_command=b"GiveBack", lease=b"0"),
    box(_command=b"LeaseClosed", lease=b"99999999999999999999"),
    box(_command=b"LeaseGranted", pool=b"default", lease=b"0", service=b"x", slot=b"0"),
    box(_answer=b"1", json0=b"{}"),
    box(_error=b"1", _error_code=b"UNKNOWN", _error_description=b"x"),
]


HELLO = box(_command=b"Hello", _ask=b"1", version=b"%d" % VERSION, board=b"0")


def send(connection: socket.socket, data: bytes, *descriptors: int) -> None:
    """Send bytes, with descriptors."""
    rights = struct.pack(f"{len(descriptors)}i", *descriptors)
    connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


class BadBytesTests(SynchronousTestCase):
    """An acceptor, a proxy, a service in two slots; a request is running and a client is waiting for its second answer."""

    def setUp(self) -> None:
        self.acceptor = Xacceptor(self).ready()
        self.proxy = Xproxy(self, "--acceptor", self.acceptor.handoff).ready()
        self.gate = Gate()
        self.service = SlotService(self, self.acceptor.slots, 2, self.gate)
        self.acceptor.has(slots=2)
        self.running = Waiting(self.proxy.http, "/running")
        self.gate.next()
        self.acceptor.has(leased=1, idle=1, in_flight=1)
        self.before = self.acceptor.descriptors(), self.proxy.descriptors()

    def assert_unharmed(self) -> None:
        """The same slots as before, the request that ran is answered, so is the next one, and no descriptor is left."""
        self.assertEqual(2, self.service.dialled)
        self.gate.let_go(2)
        self.assertEqual(200, self.running.response().status)
        self.assertEqual(200, ask(self.proxy.http).status)
        pool = self.acceptor.has(slots=2, in_flight=0)
        self.assertEqual(2, pool["idle"] + pool["leased"])
        acceptor, proxy = self.before
        self.acceptor.eventually(lambda: self.acceptor.descriptors() <= acceptor, f"{acceptor} descriptors, as before")
        # The running client's connection is gone, and the second request may have taken the second slot.
        self.proxy.eventually(lambda: self.proxy.descriptors() <= proxy, f"{proxy} descriptors, as before")
        self.assertNotIn("is lost", self.proxy.story())

    def test_http(self) -> None:
        """Each is refused with an error or closed; nothing of it reaches the service."""
        for data in NOISE + HTTP:
            answer = talk(self.proxy.http, data)
            if answer:
                self.assertRegex(answer[:12], rb"^HTTP/1\.[01] [45]\d\d$", data[:80])
                self.assertIn(b"\r\nConnection: close\r\n", answer, data[:80])
        self.assertEqual(["/running"], [request.target for request in self.service.requests])
        self.assert_unharmed()

    def test_slots(self) -> None:
        """None becomes a slot that is given to anybody; each is closed."""
        for data in NOISE + PREAMBLES + HTTP:
            told = talk(self.acceptor.slots, data)
            self.assertIn(told[:22], (b"", b"HTTP/1.1 403 Forbidden"), data[:80])
            if data.startswith(b"\x16\x03"):
                self.assertEqual(b"", told)  # It speaks TLS, and could make nothing of it.
        self.acceptor.has(slots=2)
        refused = self.acceptor.metric("xproxy_registrations_total", pool="default", result="bad_preamble")
        self.assertGreater(refused, len(NOISE) / 2)
        self.assert_unharmed()

    def test_idle_slot_speaks(self) -> None:
        """A slot that registered and then says something unasked is closed before anybody gets it."""
        for words in (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmug!", b"x"):
            with socket.create_connection(self.acceptor.slots) as slot:
                slot.sendall(mxproxy_preamble())
                self.acceptor.has(slots=3)
                self.assertEqual(b"", exchange(slot, words, half_close=False))
        self.assertEqual(2.0, self.acceptor.metric("xproxy_slots_closed_total", pool="default", reason="unasked"))
        self.assert_unharmed()

    def test_handoff(self) -> None:
        """Each connection is closed; no answer but to what is of the protocol."""
        for data in NOISE + HTTP + BOXES:
            if data[:1] != b"\x80":
                with connect_unix(self.acceptor.handoff) as connection:
                    self.assertEqual(b"", exchange(connection, data), data[:80])
        self.assert_unharmed()

    def test_handoff_descriptors(self) -> None:
        """Descriptors that nobody asked for are closed; a board is a file of the right size, and may be cut short later."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        for data, descriptors in (
            (HELLO, [read]),
            (HELLO, [write, read]),
            (b"\0", [read] * 8),
            (b"\x80", [read]),
            (b"A", [read]),
        ):
            self.assertEqual(b"", self.cut(data, descriptors))
        with open(self.mktemp(), "wb+") as board:
            number = board.fileno()
            self.assertEqual(b"", self.cut(HELLO, [number]), "it is empty")
            board.truncate(65536)
            with connect_unix(self.acceptor.handoff) as connection:
                send(connection, HELLO, number)
                receive_until(connection, b"pools")
                board.truncate(0)
                connection.sendall(box(_command=b"Census", _ask=b"2"))
                receive_until(connection, b"in_flight")
                send(connection, HELLO, number)
                self.assertEqual(b"", exchange(connection, b"", half_close=False))
        self.assert_unharmed()

    def cut(self, data: bytes, descriptors: List[int]) -> bytes:
        """Send these to the handoff socket; what comes back until the acceptor closes the connection."""
        with connect_unix(self.acceptor.handoff) as connection:
            send(connection, data, *descriptors)
            return exchange(connection, b"", half_close=False)

    def test_half_said(self) -> None:
        """Connections that say half of something and stay, by the hundred: everybody else is served meanwhile."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        kept: List[socket.socket] = []
        starts: List[Tuple[bytes, object]] = [
            (b"GET / HT", self.proxy.http),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", self.proxy.http),
            (mxproxy_preamble()[:-1], self.acceptor.slots),
        ]
        for number in range(300):
            data, address = starts[number % 3]
            kept.append(socket.create_connection(address))  # type: ignore[arg-type]
            kept[-1].sendall(data)
        for _ in range(100):
            kept.append(connect_unix(self.acceptor.handoff))
            kept[-1].sendall(b"\0")
        self.gate.let_go(1 + 5)
        for _ in range(5):
            self.assertEqual(200, ask(self.proxy.http).status)
        for connection in kept:
            connection.close()
        self.assert_unharmed()
