"""Tests for ``xproxy.tls.secure_socket``: OpenSSL on the descriptor of a transport, however full, cut or closed it is."""

from __future__ import annotations

import errno
import socket
from typing import Any, List, Optional

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.outlet_owner import RecordingOwner
from tests.world.reactor import LoopReactor
from tests.world.secure import client_context, server_pair
from tests.world.sockets import CAPACITY, kernel_pair
from xproxy.tls import secure_socket
from xproxy.tls.contexts import TLSPolicy
from xproxy.tls.secure_socket import MAX_READ_BYTES, RECORD_BYTES, SecureInlet, SecureOutlet, SecureSocket, write_now

SOMEWHERE = IPv4Address("TCP", "192.0.2.1", 1)


class Owner(RecordingOwner):
    """What is at the near end; remembers what it is told."""

    outlet: SecureOutlet

    def __init__(self) -> None:
        super().__init__()
        self.received: List[bytes] = []
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True
        self.inlet.close()
        self.outlet.close()

    inlet: SecureInlet


class SecureSocketCase(SynchronousTestCase):
    """A transport with TLS at the near end, a client in the hands of the test at the far one."""

    def build(self, capacity: int = CAPACITY, size: int = RECORD_BYTES, highest: int = SSL.TLS1_3_VERSION) -> None:
        self.reactor = LoopReactor()
        near, self.far = kernel_pair(capacity)
        self.addCleanup(self.far.close)
        self.owner = Owner()
        self.transport = self.reactor.connect(near, self.owner, SOMEWHERE)
        self.addCleanup(self.transport.abortConnection)
        self.socket = SecureSocket(TLSPolicy().context([server_pair()]), near)
        self.transport.socket = self.socket  # type: ignore[assignment]
        self.client = SSL.Connection(client_context(highest=highest), None)
        self.client.set_connect_state()
        self.clear = b""
        self.pulled = 0
        self.end: Optional[str] = None
        done: Optional[bool] = False
        while not done:
            try:
                self.client.do_handshake()
            except SSL.WantReadError:
                pass
            self.push()
            done = self.socket.shake()
            self.pull()
        self.owner.inlet = SecureInlet(self.transport, self.owner.dataReceived, size)
        self.outlet = self.owner.outlet = SecureOutlet(self.transport, self.owner, 1000)

    def push(self) -> None:
        """Send what the client has sealed."""
        try:
            self.far.sendall(self.client.bio_read(1_000_000))
        except SSL.WantReadError:
            pass

    def pull(self, most: int = 1_000_000) -> None:
        """Read what is there, and open it."""
        try:
            data = self.far.recv(most)
        except BlockingIOError:
            return
        self.pulled += len(data)
        if data:
            self.client.bio_write(data)
        try:
            while True:
                self.clear += self.client.recv(65536)
        except SSL.WantReadError:
            self.end = self.end if data else "cut off"
        except SSL.ZeroReturnError:
            self.end = "in order"

    def pull_all(self) -> None:
        """Read until nothing comes any more."""
        for _ in range(3000):
            self.reactor.settle()
            before = self.pulled
            self.pull()
            if self.pulled == before:
                return
        raise AssertionError("it does not end")

    def seal(self, data: bytes) -> None:
        """Send from the client."""
        for start in range(0, len(data), RECORD_BYTES):
            self.client.send(data[start : start + RECORD_BYTES])
        self.push()


class PrivateTests(SynchronousTestCase):
    """What is used here of pyOpenSSL without being promised."""

    def test_what_is_there(self) -> None:
        for name in (
            "SSL_do_handshake",
            "SSL_read",
            "SSL_write",
            "SSL_shutdown",
            "SSL_get_error",
            "ERR_clear_error",
            "SSL_ERROR_WANT_READ",
            "SSL_ERROR_WANT_WRITE",
            "SSL_ERROR_ZERO_RETURN",
        ):
            self.assertTrue(hasattr(SSL._lib, name), name)  # type: ignore[attr-defined]
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), near)
        pointer = SSL._ffi.typeof("SSL *")  # type: ignore[attr-defined]
        self.assertIs(SSL._ffi.typeof(connection._ssl), pointer)  # type: ignore[attr-defined]

    def test_modes(self) -> None:
        """A write is offered again from another place, and with more behind it."""
        mode = TLSPolicy().context([server_pair()]).set_mode(0)
        self.assertEqual(mode & 0x13, 0x13)  # SSL_MODE_ENABLE_PARTIAL_WRITE, ACCEPT_MOVING_WRITE_BUFFER, RELEASE_BUFFERS


class ReadTests(SecureSocketCase):
    """What comes from the client."""

    def test_records(self) -> None:
        """One at a time, until one is full: then as many as there is room for."""
        self.build(size=4 * RECORD_BYTES)
        self.seal(b"one")
        self.client.send(b"two")
        self.seal(b"three")
        self.reactor.settle()
        self.assertEqual(self.owner.received, [b"one", b"two", b"three"])
        self.owner.received.clear()
        self.seal(b"x" * (5 * RECORD_BYTES + 100))
        self.reactor.settle()
        self.assertEqual([len(data) for data in self.owner.received], [4 * RECORD_BYTES, RECORD_BYTES + 100])

    def test_nobody_else_reads(self) -> None:
        self.build()
        self.assertFalse(self.owner.inlet.lend(lambda: None))
        self.owner.inlet.open()
        self.seal(b"one")
        self.reactor.settle()
        self.assertEqual(self.owner.received, [b"one"])
        self.owner.inlet.close()
        self.owner.inlet.open()

    def test_a_size_of_less_than_a_record(self) -> None:
        """A record is read whole."""
        self.build(size=10)
        self.seal(b"x" * (2 * RECORD_BYTES))
        self.reactor.settle()
        self.assertEqual([len(data) for data in self.owner.received], [RECORD_BYTES] * 2)

    def test_the_end_right_after_a_full_record(self) -> None:
        """It is told at once: the socket has nothing more that would wake anybody."""
        self.build(size=MAX_READ_BYTES)
        self.client.send(b"x" * RECORD_BYTES)
        self.client.shutdown()
        self.push()
        self.reactor.settle()
        self.assertEqual(self.owner.received, [b"x" * RECORD_BYTES])
        self.assertEqual(self.owner.told, ["eof"])

    def test_nothing_whole(self) -> None:
        self.build()
        self.client.send(b"one")
        sealed = self.client.bio_read(65536)
        for byte in sealed:
            self.assertEqual(self.owner.received, [])
            self.far.send(bytes((byte,)))
            self.reactor.settle()
        self.assertEqual(self.owner.received, [b"one"])

    def test_cut_off(self) -> None:
        """TCP ends, and TLS does not."""
        self.build()
        self.far.close()
        self.assertIs(self.transport.doRead(), CONNECTION_LOST)
        self.assertEqual(self.owner.received, [])

    def test_an_error_is_not_taken_for_that_of_another(self) -> None:
        """OpenSSL has one queue of errors for all."""
        self.build()
        broken, transport = self.socket, self.transport
        self.far.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertIs(transport.doRead(), CONNECTION_LOST)
        self.build()
        self.assertIsNone(self.transport.doRead())
        self.seal(b"one")
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.owner.received, [b"one"])
        self.assertRaises(OSError, broken.send, b"x")
        self.assertIsNone(self.transport.doRead())

    def test_gone_in_the_middle(self) -> None:
        """Whoever gets the data may close the connection."""
        self.build(size=MAX_READ_BYTES)
        self.owner.inlet.close()
        self.owner.inlet = SecureInlet(self.transport, lambda data: self.outlet.end(), MAX_READ_BYTES)
        self.client.send(b"x" * RECORD_BYTES)
        self.client.shutdown()
        self.push()
        self.reactor.settle()
        self.assertTrue(self.owner.lost)


class WriteTests(SecureSocketCase):
    """What goes to the client."""

    def test_at_once(self) -> None:
        self.build()
        self.outlet.send(b"one")
        self.outlet.send(b"")
        self.outlet.send(b"two" * 10_000)
        self.assertFalse(self.outlet.draining)
        self.assertEqual(self.reactor.writers, {})
        self.pull()
        self.assertEqual(self.clear, b"one" + b"two" * 10_000)
        self.assertIsNone(self.outlet.splice_target())

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        st.sampled_from([SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]),
        st.lists(st.one_of(st.integers(1, 60_000), st.integers(-20_000, -1)), max_size=20),
    )
    def test_order(self, highest: int, steps: List[int]) -> None:
        """Whatever is sent (more than 0) and taken (less) when: the client opens exactly what was sent."""
        self.build(1000, highest=highest)
        sent = b""
        for number, step in enumerate(steps):
            if step > 0:
                piece = b"%05d," % number * (step // 6 + 1)
                self.outlet.send(piece)
                sent += piece
            else:
                self.pull(-step)
                self.reactor.settle()
        self.outlet.end()
        self.pull_all()
        self.assertEqual((self.clear, self.end), (sent, "in order"))
        self.assertTrue(self.owner.lost)

    def test_progress_is_seen_by_the_record(self) -> None:
        """A client that takes records is not one that takes nothing, though there is always one more that waits."""
        self.build(1000)
        self.outlet.send(b"x" * 200_000)
        for _ in range(4):
            before = len(self.transport.dataBuffer) - self.transport.offset + self.transport._tempDataLen
            for _ in range(5):
                self.pull(5000)
                self.reactor.settle()
            self.assertLess(len(self.transport.dataBuffer) - self.transport.offset, before)

    def test_now(self) -> None:
        """For protocols that ask the transport themselves."""
        self.build(1000)
        self.assertTrue(write_now(self.transport, b""))
        self.assertTrue(write_now(self.transport, b"one"))
        self.assertFalse(write_now(self.transport, b"two" * 10_000))
        self.assertFalse(write_now(self.transport, b"three"))
        self.pull_all()
        self.assertEqual(self.clear, b"one" + b"two" * 10_000 + b"three")
        self.assertTrue(write_now(self.transport, b"four"))
        self.far.close()
        self.assertFalse(write_now(self.transport, b"five"))
        self.reactor.settle()
        self.assertTrue(self.owner.lost)
        self.assertFalse(write_now(self.transport, b"six"))

    def test_the_client_is_gone(self) -> None:
        self.build(1000)
        self.outlet.send(b"x" * 100_000)
        self.outlet.send(b"y")
        self.far.close()
        self.reactor.settle()
        self.assertTrue(self.owner.lost)
        self.assertFalse(self.outlet.draining)
        self.outlet.send(b"too late")
        self.assertFalse(self.outlet.draining)


class EndTests(SecureSocketCase):
    """close_notify, and the descriptor."""

    def test_at_once(self) -> None:
        self.build()
        self.outlet.send(b"bye")
        self.outlet.end()
        self.assertTrue(self.owner.lost)
        self.pull()
        self.assertEqual((self.clear, self.end), (b"bye", "in order"))

    def test_when_there_is_no_room_for_it(self) -> None:
        """It is said when there is."""
        self.build(1000)
        filled = 0
        while True:
            try:
                filled += self.socket.plain.send(b"past TLS")
            except BlockingIOError:
                break
        self.outlet.end()
        self.reactor.settle()
        self.assertFalse(self.owner.lost)
        while filled:
            filled -= len(self.far.recv(filled))
        self.reactor.settle()
        self.assertTrue(self.owner.lost)
        self.pull()
        self.assertEqual(self.end, "in order")

    def test_half_close(self) -> None:
        """Our direction ends in order, with TCP's; the client's goes on."""
        self.build()
        self.transport.loseWriteConnection()
        self.reactor.settle()
        self.pull()
        self.assertEqual((self.end, self.owner.told), ("in order", ["half-closed"]))
        self.seal(b"still there")
        self.reactor.settle()
        self.assertEqual(self.owner.received, [b"still there"])
        self.client.shutdown()
        self.push()
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)

    def test_abort(self) -> None:
        """No close_notify."""
        self.build()
        self.transport.abortConnection()
        self.reactor.settle()
        self.assertTrue(self.owner.lost)
        self.pull()
        self.assertEqual(self.end, "cut off")

    def test_closed(self) -> None:
        """Nothing is done to a descriptor that may be another's by now."""
        self.build()
        self.socket.close()
        self.socket.close()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.assertTrue(self.socket.say_goodbye())
        for data in (b"x", b"x" * 100_000, memoryview(b"x")):
            self.assertEqual(self.assertRaises(OSError, self.socket.send, data).errno, errno.EBADF)
        self.assertEqual(self.socket.fileno(), -1)

    def test_options(self) -> None:
        """Those of the socket below."""
        self.build()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.assertTrue(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(self.socket.getsockname(), self.socket.plain.getsockname())

    def test_buffer(self) -> None:
        """Whole records fit."""
        self.assertEqual(len(secure_socket._view) % RECORD_BYTES, 0)
