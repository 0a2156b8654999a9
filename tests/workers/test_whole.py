"""The parent and real workers, all in one process: real sockets, a real control connection, no second process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, List, Tuple

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.doubles.certificates import DAY, NOW, Authority
from tests.doubles.crewing import HostedWorker
from tests.doubles.handoff import until
from tests.doubles.waiting import Answer
from tests.tls.test_stapling import response
from xproxy.config import Config, from_toml
from xproxy.net.descriptors import SYSTEM
from xproxy.startup import StartupError
from xproxy.workers.orders import unpacked
from xproxy.workers.page import Share, made_page, received_page
from xproxy.workers.seats import SeatState
from xproxy.workers.whole import WholeProxy

RESPONDS = """
[proxy]
http = ["tcp:0:interface=127.0.0.1"]
access_log = "none"
workers = {workers}
{more}
[[routes]]
respond = {{ body = "{body}" }}
[limits]
connections = {connections}
"""


def configuration(body: str = "one", more: str = "", connections: int = 100, workers: int = 2) -> Config:
    """A proxy that answers by itself."""
    return from_toml(RESPONDS.format(body=body, more=more, connections=connections, workers=workers), "xproxy.toml")


class WholeCase(TestCase):
    """Two workers."""

    timeout = 20

    async def start(self, config: Config) -> WholeProxy:
        """The whole, serving."""
        self.hosted: List[HostedWorker] = []
        self.asked: List[int] = []
        whole = WholeProxy(
            reactor, config, lambda config: config.proxy.workers, lambda _: (1000, 10), "", self.asked.append, hire=self.hire
        )
        whole.privilegedStartService()
        whole.startService()
        self.addCleanup(self.end, whole)
        await until(lambda: all(seat.state is SeatState.SERVING for seat in whole.crew.seating.seats))
        return whole

    def hire(self, number: int, crew: Any) -> HostedWorker:
        worker = HostedWorker(reactor, number, crew)
        self.hosted.append(worker)
        return worker

    async def end(self, whole: WholeProxy) -> None:
        """Nothing is left."""
        await whole.stopService()
        for descriptor in self.asked:
            SYSTEM.close(descriptor)

    async def connected(self, whole: WholeProxy) -> Answer:
        """A client."""
        address: Any = whole.addresses()[0]
        connecting = connectProtocol(HostnameEndpoint(reactor, address.host, address.port), Answer())
        answer: Answer = await connecting
        return answer

    async def ask(self, whole: WholeProxy) -> bytes:
        """An answer's body, on a connection of its own."""
        answer = await self.connected(whole)
        transport: Any = answer.transport
        transport.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return (await answer.ended).rpartition(b"\r\n\r\n")[2]

    def counted(self) -> List[int]:
        """How many clients each worker has had."""
        return [worker.worker.numbers()["counts"]["connections_total"]["client"] for worker in self.hosted]


class WholeTests(WholeCase):
    async def test_serves(self) -> None:
        """Clients go to both; the numbers of both are those of the whole."""
        whole = await self.start(configuration())
        self.assertEqual([b"one"] * 40, [await self.ask(whole) for _ in range(40)])
        self.assertEqual(40, sum(self.counted()))
        self.assertNotIn(0, self.counted())
        work = await whole.work()
        self.assertEqual({200: 40}, work.counts.routeless)
        shown = [(each["number"], each["state"], each["generation"], each["answers"]) for each in work.workers]
        self.assertEqual([(1, "serving", 1, True), (2, "serving", 1, True)], shown)

    async def test_asks_for_the_acceptor(self) -> None:
        """Each worker gets a connection to it, through its parent."""
        await self.start(configuration())
        await until(lambda: len(self.asked) == 2)

    async def test_another_configuration(self) -> None:
        """All go by it when that is done; endpoints come and go."""
        whole = await self.start(configuration())
        before = whole.addresses()[0]
        two = from_toml(RESPONDS.format(body="two", more="", connections=9, workers=2).replace("127.0.0.1", "127.0.0.2"), "x")
        await whole.prepare(two).commit()
        self.assertEqual({"two"}, {(await self.ask(whole)).decode() for _ in range(20)})
        self.assertEqual([2, 2], [each["generation"] for each in (await whole.work()).workers])
        self.assertNotEqual(before, whole.addresses()[0])
        with self.assertRaises(ConnectError):
            await connectProtocol(HostnameEndpoint(reactor, before.host, before.port), Answer())  # type: ignore[attr-defined]

    async def test_another_number(self) -> None:
        """More and fewer, while clients come: none is refused, and who was connected stays so."""
        config = configuration(workers=1)
        whole = await self.start(config)
        kept = await self.connected(whole)
        await until(lambda: sum(self.counted()) == 1)
        for workers in (3, 1, 4):
            await whole.prepare(configuration(workers=workers)).commit()
            await until(lambda workers=workers: sum(s.state is SeatState.SERVING for s in whole.crew.seating.seats) == workers)  # type: ignore[misc]
            self.assertEqual([b"one"] * 40, [await self.ask(whole) for _ in range(40)])
        numbers = [worker.number for worker in self.hosted]
        self.assertEqual([1, 2, 3, 2, 3, 4], numbers)
        self.assertEqual([False, True, True, False, False, False], [worker.ended.called for worker in self.hosted])
        self.assertTrue(all(self.counted()))
        transport: Any = kept.transport
        transport.write(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIn(b"\r\n\r\none", await kept.ended)

    async def test_all_addresses_instead_of_one(self) -> None:
        """An endpoint takes the place of another one of ours."""
        whole = await self.start(configuration())
        port = whole.addresses()[0].port  # type: ignore[attr-defined]
        wider = RESPONDS.format(body="all", more="", connections=9, workers=2).replace(
            "tcp:0:interface=127.0.0.1", f"tcp:{port}"
        )
        await whole.prepare(from_toml(wider, "x")).commit()
        self.assertEqual([port], [address.port for address in whole.addresses()])  # type: ignore[attr-defined]
        connecting = connectProtocol(HostnameEndpoint(reactor, "127.0.0.9", port), Answer())
        answer: Answer = await connecting
        transport: Any = answer.transport
        transport.write(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIn(b"\r\n\r\nall", await answer.ended)

    async def test_a_configuration_that_cannot_be(self) -> None:
        """Nothing changes, and nothing stays open."""
        whole = await self.start(configuration())
        taken: Any = whole.addresses()[0]
        more = f'https = ["tcp:{taken.port}:interface=127.0.0.1"]'
        bad = configuration("bad", more + '\ncertificates = [{ chain = "/nonexistent", key = "/nonexistent" }]')
        descriptors = len(os.listdir("/proc/self/fd"))
        with self.assertRaises(StartupError):
            whole.prepare(bad)
        change = whole.prepare(
            configuration("never", 'http = ["tcp:0:interface=127.0.0.3"]'.replace("http = ", "https = [] #"))
        )
        change.abort()
        self.assertEqual(descriptors, len(os.listdir("/proc/self/fd")))
        self.assertEqual(b"one", await self.ask(whole))

    async def test_guards(self) -> None:
        """One that can't be made is seen by the parent, at the start and at a reload, and no worker hears of it."""
        guard = '[guards.x]\nkind = "nothing-of-that-kind"'
        text = RESPONDS.format(body="x", more="", connections=9, workers=2) + guard
        bad = from_toml(text, "x")
        with self.assertRaises(StartupError):
            WholeProxy(reactor, bad, lambda config: 2, lambda _: (1000, 10))
        whole = await self.start(configuration())
        with self.assertRaises(StartupError):
            whole.prepare(bad)
        self.assertEqual(b"one", await self.ask(whole))

    async def test_limit_of_the_whole(self) -> None:
        """``limits.connections`` bounds the sum, whichever worker a client comes to; who leaves makes room."""
        whole = await self.start(configuration(connections=6))
        kept = [await self.connected(whole) for _ in range(6)]
        await until(lambda: sum(self.counted()) == 6)
        for _ in range(8):
            refused = await self.connected(whole)
            self.assertEqual(b"", await refused.ended)
        self.assertEqual(6, sum(self.counted()))
        for answer in kept:
            transport: Any = answer.transport
            transport.loseConnection()
            await answer.ended
        await until(lambda: all(not worker.worker.proxy.front.clients for worker in self.hosted if worker.worker.proxy))
        await deferLater(reactor, 0.0, lambda: None)
        for worker in self.hosted:
            assert worker.worker.proxy is not None
            worker.worker.proxy.gateway.sweep.look()
        self.assertEqual(b"one", await self.ask(whole))

    async def test_one_is_replaced(self) -> None:
        """While clients come, nobody is refused; its open connections go on until they are done."""
        whole = await self.start(configuration())
        first = self.hosted[0]
        first.worker.asked_to_leave()
        await until(lambda: len(self.hosted) == 3)
        while not first.ended.called:
            self.assertEqual(b"one", await self.ask(whole))
        self.assertEqual([2, 1], [seat.worker.number for seat in whole.crew.seating.seats][::-1])
        self.assertEqual(0, whole.crew.deaths)
        self.assertGreaterEqual((await whole.work()).counts.routeless[200], 1)

    async def test_drain(self) -> None:
        """Who waits at a door is served, who runs is finished; then nobody listens."""
        whole = await self.start(configuration())
        address: Any = whole.addresses()[0]
        answer = await self.connected(whole)
        drained = whole.drain()
        transport: Any = answer.transport
        transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"Connection: close", await answer.ended)
        await drained
        with self.assertRaises(ConnectError):
            await connectProtocol(HostnameEndpoint(reactor, address.host, address.port), Answer())

    async def test_the_parent_dies(self) -> None:
        """A worker that has lost its control connection drains by itself."""
        whole = await self.start(configuration())
        answer = await self.connected(whole)
        await until(lambda: sum(self.counted()) == 1)
        for worker in self.hosted:
            transport: Any = worker._link.transport
            transport.abortConnection()
        transport = answer.transport
        transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"\r\n\r\none", await answer.ended)
        for worker in self.hosted:
            await until(lambda worker=worker: worker.ended.called)  # type: ignore[misc]

    async def test_certificates(self) -> None:
        """They come from the parent, which alone reads and watches files; renewed ones come to all, and so do ticket keys."""
        directory = self.mktemp()
        os.makedirs(directory)
        files = Authority().issue("one.example").write(directory)
        more = f'https = ["tcp:0:interface=127.0.0.1"]\ncertificates = [{{ chain = "{files.chain}", key = "{files.key}" }}]'
        whole = await self.start(configuration(more=more))
        stores: List[Any] = [worker.worker.proxy.entrances.certificates for worker in self.hosted if worker.worker.proxy]
        self.assertEqual([["one.example"]] * 2, [[pair.label for pair in store.pairs] for store in stores])
        self.assertEqual(1, len({store._ticket_keys for store in stores}))
        self.assertEqual([("one.example", "ecdsa")], [end[:2] for end in whole.certificate_ends()])
        Authority().issue("two.example").write(directory)
        whole.secrets.store.poll()  # type: ignore[union-attr]
        await until(lambda: [store.pairs[0].label for store in stores] == ["two.example"] * 2)
        keys = stores[0]._ticket_keys
        whole.secrets.renew()
        await until(lambda: stores[0]._ticket_keys == stores[1]._ticket_keys != keys)
        self.assertEqual([1, 1], [each["generation"] for each in (await whole.work()).workers])

    async def test_ocsp_responses(self) -> None:
        """The parent reads them, and says when they have expired."""
        directory = self.mktemp()
        os.makedirs(directory)
        authority = Authority()
        issued = authority.issue("one.example")
        files, stapled = issued.write(directory), response(issued, authority)
        Path(directory, "ocsp").write_bytes(stapled)
        more = f'chain = "{files.chain}", key = "{files.key}", ocsp = "{Path(directory, "ocsp").absolute()}"'
        more = f'https = ["tcp:0:interface=127.0.0.1"]\ncertificates = [{{ {more} }}]'
        whole = await self.start(configuration(more=more))
        stores: List[Any] = [worker.worker.proxy.entrances.certificates for worker in self.hosted if worker.worker.proxy]
        self.assertEqual([stapled] * 2, [store.pairs[0].staple.response for store in stores])
        assert whole.secrets.store is not None
        whole.secrets.store._now = lambda: NOW + 4 * DAY
        whole.secrets.store.poll()
        await until(lambda: [store.pairs[0].staple for store in stores] == [None] * 2)

    async def test_orders(self) -> None:
        """They name no certificate's file, and have no text of the configuration's."""
        whole = await self.start(configuration())
        orders = unpacked(whole.orders())
        self.assertEqual((1000, 10, ""), (orders.clients, orders.files, orders.handoff))
        self.assertEqual(configuration().routes, orders.config.routes)
        self.assertEqual("", orders.config.source.file)


class PageTests(TestCase):
    """What two workers know of each other."""

    def shares(self) -> Tuple[Share, Share, List[int], List[int]]:
        descriptor, page = made_page(SYSTEM)
        self.addCleanup(SYSTEM.close, descriptor)
        ours: List[int] = []
        others: List[int] = []
        self.page = page
        return Share(page, 1, ours), Share(received_page(descriptor), 2, others), ours, others

    def test_elsewhere(self) -> None:
        one, other, _, _ = self.shares()
        self.assertEqual(0, one.elsewhere(3))
        self.assertEqual(3, other.elsewhere(5))
        self.assertEqual(5, one.elsewhere(4))
        self.assertEqual(9, self.page.total())

    def test_gone(self) -> None:
        """Who has left is not counted after a sweep, nor are those of a dead worker."""
        one, other, ours, _ = self.shares()
        one.elsewhere(3)
        ours.append(0)
        one.deadline_passed(0.0)
        self.assertEqual(1, other.elsewhere(1))
        self.page.write(1, 0)
        self.assertEqual(0, other.elsewhere(1))

    def test_leaving(self) -> None:
        """Who drains beside its successor counts beside it."""
        one, other, ours, _ = self.shares()
        ours += [1, 2]
        one.leave()
        successor = Share(self.page, 1, [])
        self.assertEqual(2, successor.elsewhere(1))
        self.page.write(1, 0, leaving=True)
        self.assertEqual(1, other.elsewhere(0))
