"""Acceptor and proxies over a real handoff socket, with real slots."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from typing import Any, List, Tuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.doubles.handoff import HELLO_ANSWER, HandoffTestCase, ended, reactor, readable, soon, until
from tests.doubles.holders import RecordingHolder, descriptors
from xproxy.handoff import acceptor_connection
from xproxy.handoff.board import make_board
from xproxy.handoff.boxes import encode_box
from xproxy.handoff.client import HandoffClient
from xproxy.handoff.messages import (
    VERSION,
    Ask,
    GiveBack,
    Hello,
    LeaseGranted,
    LeasesRecalled,
    encode,
    encode_answer,
    encode_error,
)
from xproxy.interfaces import ILeaseHolder, ISlotSource
from xproxy.net.descriptors import SystemDescriptors
from xproxy.slots.tides import TABLE_BYTES
from xproxy.startup import StartupError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class LeaseTests(HandoffTestCase):
    """A slot's way to a proxy and back."""

    async def test_interfaces(self) -> None:
        verifyObject(ISlotSource, HandoffClient(reactor, self.path, RecordingHolder()))
        verifyObject(ILeaseHolder, RecordingHolder())

    async def test_lease_and_return(self) -> None:
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        holder, _ = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        self.assertEqual(holder.grants, [("default", 0, "127.0.0.1")])
        self.assertFalse(os.get_inheritable(holder.sockets[0].fileno()))
        holder.sockets[0].sendall(b"GET")
        await until(lambda: readable(service))
        self.assertEqual(service.recv(10), b"GET")
        service.sendall(b"200")
        self.assertEqual(holder.sockets[0].recv(10), b"200")
        self.assertEqual(acceptor.acceptor.books["default"].leased, 1)
        holder.give_back(0)
        await until(lambda: acceptor.acceptor.books["default"].idle)
        self.assertFalse(readable(service))

    async def test_question(self) -> None:
        """It is answered after the grants that it could bring."""
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 2)
        holder, client = await self.proxy()
        client.ask("default", 8, 0, 9)
        await holder.until(lambda: holder.answers)
        self.assertEqual((len(holder.grants), holder.answers), (2, [("default", 9)]))
        client.ask("default", 6, 2)
        client.ask("default", 6, 2, 10)
        await holder.until(lambda: len(holder.answers) == 2)
        self.assertEqual(holder.answers[1:], [("default", 10)])

    async def test_whether_anybody_is_registered(self) -> None:
        """Said when a proxy comes, when the first slot registers and when the last one is gone."""
        acceptor = self.start_acceptor()
        holder, _ = await self.proxy()
        await holder.until(lambda: holder.registered == {"default": False})
        first, second = await self.slots(acceptor, 2)
        await holder.until(lambda: holder.registered["default"])
        late, _ = await self.proxy()
        await late.until(lambda: late.registered == {"default": True})
        first.close()
        await until(lambda: acceptor.acceptor.books["default"].registered == 1)
        self.assertTrue(holder.registered["default"])
        second.close()
        await holder.until(lambda: not holder.registered["default"])
        await late.until(lambda: not late.registered["default"])

    async def test_who_waits_is_recalled_for(self) -> None:
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 1)
        first, _ = await self.proxy()
        second, _ = await self.proxy()
        first.ask(1.0)
        await first.until(lambda: first.grants)
        second.ask(2.0)
        await first.until(lambda: first.recalls)
        self.assertEqual(first.recalls, [("default", 1)])
        first.ask()
        first.give_back(0)
        await second.until(lambda: second.grants)
        await first.until(lambda: first.recalls[-1] == ("default", 0))

    async def test_changing_recalls_are_paced(self) -> None:
        """A thousand changes in a short time are a few messages; the last one is said."""
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 1)
        first, _ = await self.proxy()
        second, _ = await self.proxy()
        first.ask(1.0)
        await first.until(lambda: first.grants)
        book = acceptor.acceptor.books["default"]
        holding = list(acceptor.acceptor.holdings)[1]
        began = reactor.seconds()
        for number in range(1000):
            holding.ask("default", number % 2, 0)
        await until(lambda: book.waiting == 1)
        await first.until(lambda: first.recalls[-1:] == [("default", 1)])
        self.assertLess(len(first.recalls), 4 + (reactor.seconds() - began) * 100)
        self.assertEqual(book.waiting, 1)
        self.assertEqual(second.grants, [])

    async def test_a_growing_ask_is_said_at_once_the_rest_soon(self) -> None:
        acceptor = self.start_acceptor()
        holder, client = await self.proxy()
        book = acceptor.acceptor.books["default"]
        client.ask("default", 2, 0)
        await until(lambda: book.waiting == 2)
        for number in range(100):
            client.ask("default", 3 + number, 0)
        await until(lambda: book.waiting == 102)
        client.ask("default", 0, 0)
        await until(lambda: book.waiting == 0)
        self.assertEqual(holder.grants, [])

    async def test_census(self) -> None:
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 2)
        holder, client = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        client.board[0] = 1
        census: Any = await client.census()
        self.assertEqual(census, acceptor.census())
        row = census["default"]
        self.assertEqual((row["slots"], row["idle"], row["leased"], row["in_flight"]), (2, 1, 1, 1))
        self.assertEqual(row["services"], [{"name": "127.0.0.1", "slots": 2, "idle": 1, "leased": 1}])
        client.board[0] = 0
        census = await client.census()
        self.assertEqual(census["default"]["in_flight"], 0)

    async def test_many_leases_go_round(self) -> None:
        """Every descriptor is the one it should be, also when numbers are used again at once; none is left over."""
        acceptor = self.start_acceptor()
        services = await self.slots(acceptor, 40)
        holder, _ = await self.proxy()
        before = descriptors()
        found = set()
        for _ in range(5):
            holder.ask(*[1.0] * 40)
            await holder.until(lambda: len(holder.sockets) == 40)
            holder.ask()
            for lease, plain in holder.sockets.items():
                plain.sendall(b"%d" % lease)
                found.add(plain.getpeername())
            await until(lambda: all(map(readable, services)))
            self.assertEqual(sorted(int(service.recv(10)) for service in services), list(range(40)))
            for lease in list(holder.sockets):
                holder.give_back(lease)
            await until(lambda: acceptor.acceptor.books["default"].idle == 40)
        self.assertEqual(found, {service.getsockname() for service in services})
        self.assertEqual(descriptors(), before)

    async def test_a_thousand_slots_come_and_vanish(self) -> None:
        acceptor = self.start_acceptor()
        holder, _ = await self.proxy()
        before = descriptors()
        book = acceptor.acceptor.books["default"]
        for turn in range(10):
            services = []
            for _ in range(5):  # Within the listening queue of an endpoint, 50.
                services += await self.slots(acceptor, 20)
            holder.ask(*[1.0] * 30)
            await holder.until(lambda: len(holder.sockets) == 30)
            holder.ask()
            for service in services[turn::2]:
                service.close()
            for lease in list(holder.sockets):
                if lease % 3:
                    holder.give_back(lease)
                else:
                    holder.close_lease(lease)
            for service in services:
                service.close()
            await until(lambda: book.registered == 0)
            self.assertEqual((book.idle, book.leased, book.lent), (0, 0, 0))
            self.sockets = [plain for plain in self.sockets if plain.fileno() >= 0]
        await soon()
        self.assertEqual(descriptors(), before)
        self.assertEqual(acceptor.census()["default"]["registrations"], {"ok": 1000})


class _Output(ProcessProtocol):
    """Tells what a process prints, and when it has ended."""

    def __init__(self) -> None:
        self.said: Deferred[bytes] = Deferred()
        self.over: Deferred[None] = Deferred()
        self.errors = b""
        self._line = b""

    def outReceived(self, data: bytes) -> None:
        self._line += data
        if self._line.endswith(b"\n"):
            self.said.callback(self._line)

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        if not self.said.called:
            self.said.callback(self.errors)
        self.over.callback(None)


class DeathTests(HandoffTestCase):
    """What happens when an end dies."""

    async def test_a_proxy_is_killed(self) -> None:
        """Its idle lease returns to the ring, the slot in an exchange is closed."""
        acceptor = self.start_acceptor()
        services = await self.slots(acceptor, 2)
        output = _Output()
        environment = {**os.environ, "PYTHONPATH": ROOT}
        process = reactor.spawnProcess(
            output, sys.executable, [sys.executable, "-m", "tests.handoff.proxy_to_kill", self.path], environment, ROOT
        )
        self.assertEqual((await output.said).strip(), b"ready")
        self.assertEqual(acceptor.census()["default"]["in_flight"], 1)
        process.signalProcess(signal.SIGKILL)
        await output.over
        book = acceptor.acceptor.books["default"]
        await until(lambda: book.leased == 0)
        self.assertEqual((book.idle, book.registered), (1, 1))
        await until(lambda: any(readable(service) and service.recv(10) == b"POST /" for service in services))
        await until(lambda: sorted(map(ended, services)) == [False, True])
        holder, _ = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)

    async def test_a_proxy_stops(self) -> None:
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        holder, client = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        await self.stop(client)
        self.assertEqual(holder.events, ["found", "lost"])
        await until(lambda: acceptor.acceptor.books["default"].idle == 1)
        self.assertFalse(ended(service))
        self.assertEqual([line for line in self.lines if "lost" in line or "cut" in line], [])

    async def test_an_acceptor_stops_and_comes_back(self) -> None:
        """The leases live on; it is dialled again; the log says both, once."""
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        holder, client = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        holder.ask(2.0, 3.0)
        old_board = client.board
        old_board[0] = 1
        await self.stop(acceptor)
        await holder.until(lambda: holder.events[-1] == "lost")
        holder.sockets[0].sendall(b"still here")
        await until(lambda: readable(service))
        self.assertEqual(service.recv(20), b"still here")
        await self.failed(client.census())
        client.give_back(0)
        client.lease_closed(0)
        holder.sockets.pop(0).close()
        successor = self.start_acceptor()
        await holder.until(lambda: holder.events == ["found", "lost", "found"])
        self.assertIsNot(client.board, old_board)
        self.assertEqual(client.board[0], 0)
        book = successor.acceptor.books["default"]
        await until(lambda: book.waiting == 2)
        await self.slots(successor, 1)
        await holder.until(lambda: len(holder.grants) == 2)
        said = [line for line in self.lines if "acceptor" in line]
        self.assertEqual(len(said), 2, said)
        self.assertIn("is lost", said[0])
        self.assertIn("is back", said[1])

    async def failed(self, outcome: Deferred[Any]) -> None:
        try:
            await outcome
        except ConnectionLost:
            return
        self.fail("there is no acceptor")

    async def test_a_proxy_that_is_cut_off_may_go_on_using_its_leases(self) -> None:
        """So they are closed, though the board says that nothing is on them: nobody else may get them."""
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        stranger = self.plain()
        descriptor, board = make_board()
        board.close()
        hello_and_ask = encode_box(encode(Hello(VERSION, 0), b"1")) + encode_box(encode(Ask("default", 1, 0)))
        socket.send_fds(stranger, [hello_and_ask], [descriptor])
        os.close(descriptor)
        await until(lambda: acceptor.acceptor.books["default"].leased == 1)
        stranger.sendall(encode_box(encode(GiveBack(7))))
        await until(lambda: acceptor.acceptor.books["default"].registered == 0)
        await until(lambda: ended(service))

    async def test_a_proxy_that_cuts_the_connection_goes_on_using_its_leases(self) -> None:
        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        holder, client = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        assert client._connection is not None
        client._connection.drop("it said something odd")
        await holder.until(lambda: holder.events == ["found", "lost", "found"])
        self.assertEqual(acceptor.acceptor.books["default"].registered, 0)
        await until(lambda: ended(service))

    async def test_an_ask_before_there_is_an_acceptor(self) -> None:
        holder = RecordingHolder()
        self.holders.append(holder)
        client = HandoffClient(reactor, self.path, holder, lambda attempt: 0.001)
        holder.source = client
        holder.ask(1.0)
        client.startService()
        self.services.append(client)
        acceptor = self.start_acceptor()
        await self.slots(acceptor, 1)
        await holder.until(lambda: holder.grants)

    async def test_where_no_acceptor_is_at_the_start(self) -> None:
        client = HandoffClient(reactor, self.path, RecordingHolder())
        error = self.assertRaises(StartupError, client.privilegedStartService)
        self.assertIn("does not exist", str(error))

    async def test_the_acceptor_is_lost_while_it_answers(self) -> None:
        acceptor = self.start_acceptor()
        _, client = await self.proxy()
        asked = client.census()
        acceptor.acceptor.close()
        await self.failed(asked)


class _Impostor(Protocol):
    """Something else that listens where the acceptor should."""

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.says = self.factory.says

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        says, self.says = self.says, []
        for part, fds in says:
            for number in fds:
                transport.sendFileDescriptor(number)
            transport.write(part)
        if self.factory.hangs_up:
            transport.loseConnection()


class ImpostorTests(HandoffTestCase):
    """What an acceptor says is not believed either."""

    async def start(self, says: List[Tuple[bytes, List[int]]], hangs_up: bool = False) -> Tuple[RecordingHolder, Factory]:
        factory: Any = Factory.forProtocol(_Impostor)
        factory.says, factory.connections, factory.hangs_up = says, [], hangs_up
        self.port = reactor.listenUNIX(self.path, factory)
        self.addCleanup(self.port.stopListening)
        holder = RecordingHolder()
        self.holders.append(holder)
        client = HandoffClient(reactor, self.path, holder, lambda attempt: 0.001)
        holder.source = client
        client.startService()
        self.services.append(client)
        return holder, factory

    async def refused(self, says: List[Tuple[bytes, List[int]]], reason: str) -> None:
        """It is dialled again, and the log has said why, once."""
        _, factory = await self.start(says)
        await until(lambda: len(factory.connections) >= 3)  # type: ignore[attr-defined]
        said = [line for line in self.lines if "is lost" in line]
        self.assertEqual(len(said), 1, said)
        self.assertIn(reason, said[0])
        self.assertEqual(self.flushLoggedErrors(), [])

    FOUND = encode_box(encode_answer(b"1", HELLO_ANSWER))

    async def test_garbage(self) -> None:
        await self.refused([(b"HTTP/1.1 400 Bad Request\r\n\r\n", [])], "longer than")

    async def test_another_version(self) -> None:
        await self.refused([(encode_box(encode_error(b"1", b"VERSION", "too old")), [])], "too old")

    async def test_an_answer_that_is_none(self) -> None:
        await self.refused([(encode_box({b"_answer": b"1", b"json0": b"{"}), [])], "not JSON")

    async def test_no_tide_table(self) -> None:
        """It does not come with the answer."""
        await self.refused([(self.FOUND, [])], "without the descriptor")

    async def test_another_file_for_a_tide_table(self) -> None:
        """Touching what a shorter one has not would kill us."""
        with tempfile.TemporaryFile() as file:
            file.truncate(TABLE_BYTES - 1)
            await self.refused([(self.FOUND, [file.fileno()])], "a tide table has")

    async def test_no_column(self) -> None:
        """Or one that nobody can have."""
        for column in (0, 128, "1"):
            answer = encode_box(encode_answer(b"1", {**HELLO_ANSWER, "column": column}))
            await self.refused([(answer, [self.table()])], "no tide table came")
            await self.port.stopListening()
            for holder in self.holders:
                await self.stop(holder.source)
            self.holders.clear()
            self.lines.clear()

    async def test_an_answer_nobody_asked_for(self) -> None:
        await self.refused([(encode_box(encode_answer(b"2", {})), [])], "nobody asked")

    async def test_a_grant_before_hello_is_answered(self) -> None:
        await self.refused([(encode_box(encode(LeaseGranted("default", 0, "x", 0))), [0])], "can't be")

    async def test_a_grant_without_a_descriptor(self) -> None:
        _, factory = await self.start(
            [(self.FOUND, [self.table()]), (encode_box(encode(LeaseGranted("default", 0, "x", 1))), [])]
        )
        await until(lambda: len(factory.connections) >= 2)  # type: ignore[attr-defined]
        self.assertIn("without the descriptor", self.lines[0])

    async def test_a_grant_off_the_board(self) -> None:
        grant = encode_box(encode(LeaseGranted("default", 65536, "x", 1)))
        holder, factory = await self.start([(self.FOUND, [self.table()]), (grant, [0])])
        holder.ask(1.0)
        await until(lambda: len(factory.connections) >= 2)  # type: ignore[attr-defined]
        self.assertIn("can't be", self.lines[0])

    async def test_a_pool_nobody_asked_about(self) -> None:
        """The proxy may not know it."""
        for message, fds in ((LeaseGranted("other", 0, "x", 1), [0]), (LeasesRecalled("other", 0), [])):
            holder, factory = await self.start([(self.FOUND, [self.table()]), (encode_box(encode(message)), fds)])
            holder.ask(1.0)
            await until(lambda: len(factory.connections) >= 2)  # type: ignore[attr-defined]  # noqa: B023
            await self.stop(holder.source)
            await self.port.stopListening()
            self.assertEqual((holder.grants, holder.recalls), ([], []))

    async def test_descriptors_without_a_message(self) -> None:
        """They are closed with the connection."""
        holder, factory = await self.start([(self.FOUND, [self.table(), 0, 0, 0])], hangs_up=True)
        await until(lambda: len(factory.connections) >= 3)  # type: ignore[attr-defined]
        self.assertEqual(holder.grants, [])

    async def test_silence(self) -> None:
        self.patch(acceptor_connection, "HELLO_S", 0.01)
        await self.refused([], "does not answer")

    async def test_it_hangs_up(self) -> None:
        """Again and again: the delays grow, for a connection alone is no success."""
        holder = RecordingHolder()
        attempts: List[int] = []
        factory: Any = Factory.forProtocol(_Impostor)
        factory.says, factory.connections, factory.hangs_up = [], [], True
        port = reactor.listenUNIX(self.path, factory)
        self.addCleanup(port.stopListening)

        def policy(attempt: int) -> float:
            attempts.append(attempt)
            return 0.001

        client = HandoffClient(reactor, self.path, holder, policy)
        client.startService()
        self.services.append(client)
        await until(lambda: len(attempts) >= 4)
        self.assertEqual(attempts[:4], [1, 2, 3, 4])

    async def test_no_board_can_be_made(self) -> None:
        def none(self: Any, size: int) -> Any:
            raise OSError(24, "Too many open files")

        self.patch(SystemDescriptors, "memory", none)
        await self.refused([], "Too many open files")


class TwistedPeerTests(HandoffTestCase):
    """The handoff socket speaks AMP: a peer made of Twisted's own classes can use it."""

    async def test_a_proxy_made_with_twisted(self) -> None:
        from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
        from twisted.protocols import amp

        from tests.handoff.test_messages import TwistedAsk, TwistedGiveBack, TwistedRegistered

        class TwistedHello(amp.Command):
            commandName = b"Hello"
            arguments = [(b"version", amp.Integer()), (b"board", amp.Descriptor())]
            response = [(b"json0", amp.String())]

        class TwistedGrant(amp.Command):
            commandName = b"LeaseGranted"
            arguments = [
                (b"pool", amp.Unicode()),
                (b"lease", amp.Integer()),
                (b"service", amp.Unicode()),
                (b"slot", amp.Descriptor()),
            ]
            requiresAnswer = False

        granted: Deferred[Tuple[str, int, str, int]] = Deferred()
        received: List[int] = []

        class Peer(amp.AMP):
            @TwistedGrant.responder
            def grant(self, pool: str, lease: int, service: str, slot: int) -> Any:
                granted.callback((pool, lease, service, slot))
                return {}

            def fileDescriptorReceived(self, descriptor: int) -> None:
                received.append(descriptor)
                super().fileDescriptorReceived(descriptor)

            @TwistedRegistered.responder
            def registered(self, pool: str, registered: int, place: int) -> Any:
                return {}

        acceptor = self.start_acceptor()
        (service,) = await self.slots(acceptor, 1)
        peer: Any = await connectProtocol(UNIXClientEndpoint(reactor, self.path), Peer())
        descriptor, board = make_board()
        board.close()
        answer = await peer.callRemote(TwistedHello, version=VERSION, board=descriptor)
        os.close(descriptor)
        self.assertEqual(answer["json0"], b'{"pools":["default"],"column":1,"tides":0}')
        self.assertEqual(os.fstat(received[0]).st_size, TABLE_BYTES)
        os.close(received[0])
        peer.callRemote(TwistedAsk, pool="default", waiting=1, seen=0, question=0)
        pool, lease, name, number = await granted
        self.assertEqual((pool, lease, name), ("default", 0, "127.0.0.1"))
        with socket.socket(fileno=number) as slot:
            slot.sendall(b"GET")
        await until(lambda: readable(service))
        peer.callRemote(TwistedGiveBack, lease=0)
        await until(lambda: acceptor.acceptor.books["default"].idle == 1)
        peer.transport.loseConnection()
        await until(lambda: not acceptor._handoff[0].factory.connections)
