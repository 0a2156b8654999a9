"""The outlet: at once while nothing waits, in order when something does, and its owner knows how it goes."""

from __future__ import annotations

import errno
from typing import Any, List, Optional
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.outlet_owner import RecordingOwner
from tests.world.descriptors import make_pair
from tests.world.peers import Peer
from tests.world.reactor import LoopReactor
from tests.world.sockets import CAPACITY, KERNEL, MEMORY
from xproxy.net.bodies import spool
from xproxy.net.bodies.spool import Spool
from xproxy.net.outlet import Outlet

SOMEWHERE = IPv4Address("TCP", "192.0.2.1", 1)


class Owner(RecordingOwner):
    """Owns an outlet; remembers what it is told."""

    def __init__(self, memory_bytes: int) -> None:
        super().__init__()
        self.memory_bytes = memory_bytes
        self.lost: Optional[Failure] = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.outlet = Outlet(self.transport, self, self.memory_bytes)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason
        self.outlet.close()


class OutletMixin:
    """The tests that hold over both kinds of sockets."""

    kind = MEMORY

    def build(self: Any, capacity: int = CAPACITY, memory_bytes: int = 1000) -> None:
        """An owner with its outlet, and the peer at the other end."""
        self.reactor = LoopReactor()
        near, far = make_pair(self.kind, capacity)
        self.near = near
        self.peer = Peer(far)
        self.reactor.peers.append(self.peer)
        self.owner = Owner(memory_bytes)
        self.transport = self.reactor.connect(near, self.owner, SOMEWHERE)
        self.outlet = self.owner.outlet
        self.addCleanup(self.stop)

    def stop(self: Any) -> None:
        """Close both ends."""
        self.transport.abortConnection()
        self.reactor.settle()
        self.peer.close()

    def stall(self: Any) -> bytes:
        """Send until the peer takes no more; returns what was sent."""
        self.peer.reading = False
        sent = b""
        while not self.outlet.draining:
            piece = b"%07d\n" % len(sent) * 512
            self.outlet.send(piece)
            sent += piece
        return sent

    def test_at_once(self: Any) -> None:
        """What the kernel takes does not wait for the reactor."""
        self.build()
        self.outlet.send(b"one")
        self.outlet.send(b"two")
        self.peer.pump()
        self.assertEqual(self.peer.received, b"onetwo")
        self.assertFalse(self.outlet.draining)
        self.assertEqual(self.reactor.writers, {})
        self.assertEqual(self.owner.told, [])

    def test_the_rest_follows_in_order(self: Any) -> None:
        """A slow peer gets everything, through memory and file, and the owner hears of each step."""
        self.build(4608)
        sent = self.stall()
        for number in range(200):
            piece = b"<%04d>" % number * 1000
            self.outlet.send(piece)
            sent += piece
        self.assertEqual(self.outlet.waiting, 200 * 6000)
        self.assertEqual(self.owner.told, [])
        self.peer.reading = True
        self.reactor.settle()
        self.assertEqual(self.peer.received, sent)
        self.assertEqual(self.owner.told[-1], "drained")
        self.assertEqual(set(self.owner.told[:-1]), {"progress"})
        self.assertEqual((self.outlet.draining, self.outlet.waiting), (False, 0))
        self.peer.take()
        self.outlet.send(b"at once again")
        self.peer.pump()
        self.assertEqual(self.peer.received, b"at once again")

    def test_nothing_moves_while_the_peer_does_not_read(self: Any) -> None:
        """No busy loop, no progress."""
        self.build(4608)
        self.stall()
        self.outlet.send(b"more")
        self.reactor.settle()
        self.assertEqual(self.owner.told, [])
        self.assertTrue(self.outlet.draining)

    def test_body(self: Any) -> None:
        """A spool is read as the peer takes it; what is left after a rewind is the owner's."""
        self.build(4608)
        self.peer.reading = False
        body = Spool(1000)
        content = b"".join(b"[%05d]" % number for number in range(60_000))
        for start in range(0, len(content), 9_999):
            body.put(content[start : start + 9_999])
        self.outlet.send(b"head ")
        self.outlet.send_body(body)
        self.reactor.settle()
        self.assertTrue(self.outlet.draining)
        self.assertGreater(body.unread, 0)
        self.assertEqual(self.outlet.waiting, 0)
        self.peer.reading = True
        self.reactor.settle()
        self.assertEqual(self.peer.received, b"head " + content)
        self.assertEqual(body.unread, 0)
        body.rewind()
        self.assertEqual(body.unread, len(content))
        body.clear()

    def test_body_after_a_head_that_did_not_fit(self: Any) -> None:
        """First the head, then the body."""
        self.build(4608)
        self.peer.reading = False
        body = Spool(10)
        body.put(b"the body")
        self.outlet.send(b"x" * 100_000)
        self.outlet.send_body(body)
        self.peer.reading = True
        self.reactor.settle()
        self.assertEqual(self.peer.received, b"x" * 100_000 + b"the body")
        body.clear()

    def test_small_body(self: Any) -> None:
        """A body that fits is gone when the call returns."""
        self.build()
        body = Spool(10)
        body.put(b"one ")
        body.put(b"two")
        self.outlet.send_body(body)
        self.assertFalse(self.outlet.draining)
        self.reactor.settle()
        self.assertEqual(self.peer.received, b"one two")

    def test_close_when_everything_is_sent(self: Any) -> None:
        """``end`` closes at once when nothing waits."""
        self.build()
        self.outlet.send(b"bye")
        self.outlet.end()
        self.assertIsNotNone(self.owner.lost)
        self.reactor.settle()
        self.assertEqual((self.peer.received, self.peer.ended, self.peer.was_reset), (b"bye", True, False))

    def test_half_close_when_everything_is_sent(self: Any) -> None:
        """``end_sending`` ends our direction, now or after what waits, and the other goes on."""
        for slow in (False, True):
            self.build(4608)
            sent = self.stall() if slow else b""
            self.outlet.send(b"bye")
            self.outlet.end_sending()
            self.reactor.settle()
            self.assertEqual(self.peer.ended, not slow)
            self.peer.reading = True
            self.reactor.settle()
            self.assertEqual(self.peer.received, sent + b"bye")
            self.assertEqual((self.peer.ended, self.peer.was_reset), (True, False))
            self.assertIn("half-closed", self.owner.told)
            self.assertIsNone(self.owner.lost)
            self.peer.send(b"still there")
            self.peer.end()
            self.reactor.settle()
            self.assertIn("eof", self.owner.told)

    def test_peer_is_gone(self: Any) -> None:
        """The transport finds out and tells; what waits is dropped, with its file."""
        self.build(4608, memory_bytes=10)
        self.stall()
        self.outlet.send(b"y" * 100)
        self.peer.reset()
        self.reactor.settle()
        self.assertIsNotNone(self.owner.lost)
        self.assertEqual((self.outlet.draining, self.outlet.waiting), (False, 0))
        self.assertNotIn("drained", self.owner.told)
        self.outlet.send(b"too late")
        self.assertFalse(self.outlet.draining)

    def test_peer_is_gone_before_the_first_byte(self: Any) -> None:
        """An error on the direct way is the transport's to report."""
        self.build()
        self.transport.pauseProducing()
        self.peer.close()
        self.outlet.send(b"hello?")
        self.assertIsNone(self.owner.lost)
        self.reactor.settle()
        self.assertIsNotNone(self.owner.lost)

    def test_what_passes_through_is_not_kept(self: Any) -> None:
        """A peer that is always a little behind makes no file grow without end."""
        self.build(4608, memory_bytes=1000)
        self.peer.reading = False
        with mock.patch.object(spool, "SEGMENT_BYTES", 20_000):
            sent = self.stall()
            largest = 0
            for number in range(200):
                piece = b"%06d," % number * 700
                self.outlet.send(piece)
                sent += piece
                while self.outlet.waiting > 40_000:
                    self.peer.reading = True
                    self.peer.pump()
                    self.peer.reading = False
                    self.reactor.settle()
                self.assertTrue(self.outlet.draining)
                largest = max(largest, self.outlet.kept)
            self.assertLess(largest, 100_000)
            self.peer.reading = True
            self.reactor.settle()
        self.assertEqual(self.peer.received, sent)
        self.assertEqual(self.outlet.kept, 0)


class MemoryOutletTests(OutletMixin, SynchronousTestCase):
    """Over memory, where the kernel does what the test wants."""

    def test_nothing_taken(self) -> None:
        """EAGAIN at the first byte."""
        self.build(5)
        self.peer.reading = False
        self.outlet.send(b"12345")
        self.assertFalse(self.outlet.draining)
        self.outlet.send(b"6")
        self.assertTrue(self.outlet.draining)
        self.peer.reading = True
        self.reactor.settle()
        self.assertEqual(self.peer.received, b"123456")

    def test_partly_taken(self) -> None:
        """The transport gets only what the kernel did not take."""
        self.build(5)
        self.peer.reading = False
        self.outlet.send(b"1234567")
        self.assertEqual(self.outlet.waiting, 0)
        self.outlet.send(b"89")
        self.assertEqual(self.outlet.waiting, 2)
        self.peer.reading = True
        self.reactor.settle()
        self.assertEqual(self.peer.received, b"123456789")
        self.assertEqual(self.owner.told, ["progress", "drained"])

    def test_error_that_is_none_of_the_connection(self) -> None:
        """ENOBUFS: the transport tries again."""
        self.build()
        self.near.fail_sends = errno.ENOBUFS
        self.outlet.send(b"12")
        self.assertTrue(self.outlet.draining)
        self.near.fail_sends = 0
        self.reactor.settle()
        self.assertEqual(self.peer.received, b"12")

    def test_disk_full(self) -> None:
        """The owner decides what becomes of the connection."""
        self.build(5, memory_bytes=3)
        self.peer.reading = False
        self.outlet.send(b"123456")
        with mock.patch("xproxy.net.bodies.spool.tempfile.TemporaryFile", side_effect=OSError(errno.ENOSPC, "no space")):
            self.assertRaises(OSError, self.outlet.send, b"7890")

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(
        capacity=st.integers(min_value=1, max_value=20),
        memory_bytes=st.integers(min_value=0, max_value=20),
        steps=st.lists(st.one_of(st.binary(min_size=1, max_size=30), st.just("read"), st.just("settle")), max_size=30),
    )
    def test_order(self, capacity: int, memory_bytes: int, steps: List[Any]) -> None:
        """Whatever is sent and taken when: the peer reads exactly what was sent."""
        self.build(capacity, memory_bytes)
        self.peer.reading = False
        sent = b""
        for step in steps:
            if step == "read":
                self.peer.reading = True
                self.peer.pump()
                self.peer.reading = False
            elif step == "settle":
                self.reactor.settle()
            else:
                self.outlet.send(step)
                sent += step
        self.peer.reading = True
        self.reactor.settle()
        self.assertEqual(self.peer.received, sent)
        self.assertEqual((self.outlet.draining, self.outlet.waiting), (False, 0))
        self.stop()


class KernelOutletTests(OutletMixin, SynchronousTestCase):
    """Over real socket pairs."""

    kind = KERNEL


class Elsewhere:
    """A transport without a socket, as the plugin of an endpoint may bring; it asks a pull producer when all is sent."""

    def __init__(self) -> None:
        self.written: List[bytes] = []
        self.producer: Any = None
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None and not streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.closed = True


class ElsewhereTests(SynchronousTestCase):
    """Transports that take everything and say later how it went."""

    def setUp(self) -> None:
        self.transport = Elsewhere()
        self.owner = Owner(1000)
        self.outlet = Outlet(self.transport, self.owner, 100)

    def test_one_piece_at_a_time(self) -> None:
        self.outlet.send(b"one")
        self.assertTrue(self.outlet.draining)
        self.outlet.send(b"two")
        self.assertEqual((self.transport.written, self.outlet.waiting), ([b"one"], 3))
        self.transport.producer.resumeProducing()
        self.assertEqual((self.transport.written, self.owner.told), ([b"one", b"two"], ["progress"]))
        self.transport.producer.resumeProducing()
        self.assertEqual(self.owner.told, ["progress", "drained"])
        self.assertIsNone(self.transport.producer)
        self.assertFalse(self.outlet.draining)

    def test_end(self) -> None:
        """No descriptor to write to, and an orderly end."""
        self.assertIsNone(self.outlet.splice_target())
        self.outlet.end()
        self.assertTrue(self.transport.closed)

    def test_gone(self) -> None:
        """What waits is dropped."""
        self.outlet.send(b"one")
        self.outlet.send(b"two")
        self.outlet.stopProducing()
        self.assertEqual((self.outlet.draining, self.outlet.waiting), (False, 0))
