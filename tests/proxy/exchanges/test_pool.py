"""A pool in the proxy: whom it serves, what it asks for and when, and what becomes of its slots."""

from __future__ import annotations

import os
import socket
from typing import Any, List, Tuple

import attr
from zope.interface.verify import verifyObject

from tests.world.peers import Peer
from tests.world.rig import GET, OK, Rig, RigCase, post, responses, statuses
from tests.world.sockets import KERNEL
from xproxy.interfaces import ISlotSource
from xproxy.metrics import GONE_S
from xproxy.proxy.exchanges.asking import ASK_INTERVAL_S
from xproxy.proxy.exchanges.pool import RETRY_AFTER_S, status_of
from xproxy.slots.line import LOOK_INTERVAL_S
from xproxy.slots.slow_start import SlowStart


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def asks(rig: Rig) -> List[Tuple[int, int]]:
    """What the default pool has asked since the last call: (waiting, seen)."""
    said = [(waiting, seen) for pool, waiting, seen in rig.source.asks if pool == "default"]
    rig.source.asks.clear()
    return said


def looks(rig: Rig) -> None:
    """The pool looks twice what others wait for."""
    for _ in range(2):
        rig.reactor.advance(LOOK_INTERVAL_S)
        rig.settle()


class DoubleTests(RigCase):
    """The double is what it stands for."""

    def test_source(self) -> None:
        """It provides the interface."""
        verifyObject(ISlotSource, self.make_rig().source)


class AskTests(RigCase):
    """When something is asked for."""

    def test_first_to_wait(self) -> None:
        """At once, and said when it is over."""
        rig = self.make_rig()
        self.assertEqual(asks(rig), [(0, 0)])
        client = rig.client(GET)
        self.assertEqual(asks(rig), [(1, 0)])
        service = rig.slot()
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])
        rig.pass_time(1.0)
        self.assertEqual(asks(rig), [])

    def test_coalesced(self) -> None:
        """Those who come while others wait are told of together, soon."""
        rig = self.make_rig()
        asks(rig)
        for _ in range(5):
            rig.client(GET)
            rig.reactor.advance(ASK_INTERVAL_S / 10)
        self.assertEqual([waiting for waiting, _ in asks(rig)], [1])
        rig.reactor.advance(ASK_INTERVAL_S)
        said = asks(rig)
        self.assertEqual([waiting for waiting, _ in said], [5])
        rig.pass_time(1.0)
        self.assertEqual(asks(rig), [])

    def test_after_a_grant(self) -> None:
        """At once, although one is due: what waits now, and how many grants were seen."""
        rig = self.make_rig()
        asks(rig)
        for _ in range(4):
            rig.client(GET)
        self.assertEqual(asks(rig), [(1, 0)])
        rig.slot()
        self.assertEqual(asks(rig), [(3, 1)])

    def test_nothing_new(self) -> None:
        """The acceptor strikes one for each grant by itself; what it knows is not said again."""
        rig = self.make_rig()
        for _ in range(3):
            rig.client(GET)
        rig.pass_time(1.0)
        asks(rig)
        rig.slot()
        rig.slot()
        rig.pass_time(1.0)
        self.assertEqual(asks(rig), [])
        rig.client(GET)
        rig.client(GET)
        rig.pass_time(1.0)
        self.assertEqual(asks(rig), [(3, 2)])

    def test_grant_that_was_for_us(self) -> None:
        """A lease that came serves one of ours, though somebody older waits elsewhere: else two might pass it to and fro."""
        rig = self.make_rig()
        rig.client(GET)
        rig.source.others_wait(900.0)
        service = rig.slot()
        self.assertEqual((len(rig.pool.line), rig.source.given_back), (0, []))
        rig.exchange(service, OK)
        self.assertEqual(rig.source.given_back, [0])

    def test_served_by_a_kept_lease(self) -> None:
        """The acceptor hears soon that somebody does not wait any more."""
        rig = self.make_rig()
        asks(rig)
        service = rig.slot()
        rig.client(GET)
        rig.client(GET)
        self.assertEqual(len(asks(rig)), 1)
        rig.exchange(service, OK)
        rig.pass_time(0.1)
        self.assertEqual(asks(rig), [(0, 1)])

    def test_leases_are_kept(self) -> None:
        """A lease serves one request after the other, and two take turns."""
        rig = self.make_rig()
        asks(rig)
        services = [rig.slot(), rig.slot()]
        client = rig.client()
        for number in range(6):
            client.send(GET)
            rig.settle()
            rig.exchange(services[number % 2], OK)
        self.assertEqual(statuses(client.take()), [200] * 6)
        self.assertEqual((asks(rig), rig.source.given_back), ([], []))


class GenerousSourceTests(RigCase):
    """A source that grants while it is asked."""

    def test_at_once(self) -> None:
        """The request is on its way when the ask returns."""
        rig = self.make_rig()
        rig.source.generous = True
        service = rig.source.register()
        client = rig.client(GET)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_many(self) -> None:
        """However many slots there are when many wait: no recursion, and everybody is served."""
        rig = self.make_rig(limits={"connections": 2000})
        rig.source.board = bytearray(500)
        clients = [rig.client(GET) for _ in range(250)]
        services = [rig.source.register() for _ in range(250)]
        rig.source.generous = True
        rig.proxy.acceptor_lost()
        rig.proxy.acceptor_found()
        rig.settle()
        self.assertEqual(rig.pool.counts.in_flight, 250)
        for service in services:
            rig.exchange(service, OK)
        self.assertEqual({tuple(statuses(client.take())) for client in clients}, {(200,)})
        self.assert_at_rest(rig)


class QueueTests(RigCase):
    """The limits of the line."""

    def test_limit(self) -> None:
        """One more is refused, as soon as it is known that no slot is idle anywhere, and told when to come again."""
        rig = self.make_rig(pool={"queue_limit": 2})
        clients = [rig.client(GET) for _ in range(3)]
        self.assertEqual([client.received for client in clients], [b"", b"", b""])
        rig.pass_time(ASK_INTERVAL_S)
        self.assertEqual([client.received for client in clients[:2]], [b"", b""])
        status, fields, content = responses(clients[2].take())[0]
        self.assertEqual((status, fields[b"retry-after"]), (503, b"%d" % RETRY_AFTER_S))
        self.assertIn(b"queue-full", content)
        self.assertFalse(clients[2].over)
        self.assertEqual(rig.pool.counts.codes, {503: 1})
        clients[2].send(GET)
        rig.settle()
        self.assertEqual(statuses(clients[2].take()), [503])

    def test_timeout(self) -> None:
        """A wait that is too long ends, for each at its own time; the connection goes on."""
        rig = self.make_rig(pool={"queue_timeout": 10.0})
        first = rig.client(GET)
        rig.pass_time(5.0)
        second = rig.client(GET)
        rig.pass_time(5.5)
        status, fields, content = responses(first.take())[0]
        self.assertEqual((status, fields[b"retry-after"]), (503, b"1"))
        self.assertIn(b"queue-timeout", content)
        self.assertEqual(second.received, b"")
        rig.pass_time(5.0)
        self.assertEqual(statuses(second.take()), [503])
        self.assertEqual(asks(rig)[-1][0], 0)
        first.send(GET)
        rig.settle()
        rig.exchange(rig.slot(), OK)
        self.assertEqual(statuses(first.take()), [200])
        self.assert_at_rest(rig)

    def test_timeout_of_pipelined(self) -> None:
        """The next one of a client whose wait is over begins its own."""
        rig = self.make_rig(pool={"queue_timeout": 10.0})
        client = rig.client(GET * 3)
        rig.pass_time(10.5)
        self.assertEqual(statuses(client.take()), [503])
        rig.pass_time(10.5)
        self.assertEqual(statuses(client.take()), [503])
        rig.exchange(rig.slot(), OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_arrival_order(self) -> None:
        """First come, first served."""
        rig = self.make_rig()
        service = rig.slot()
        for number in range(5):
            rig.client(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        order = [rig.exchange(service, OK).split(b" ")[1] for _ in range(5)]
        self.assertEqual(order, [b"/0", b"/1", b"/2", b"/3", b"/4"])

    def test_histograms(self) -> None:
        """How long requests waited, and how long the service took."""
        rig = self.make_rig()
        rig.client(GET)
        rig.pass_time(2.0)
        service = rig.slot()
        rig.pass_time(3.0)
        rig.exchange(service, OK)
        counts = rig.pool.counts
        self.assertEqual((counts.served_waits.count, counts.served_waits.sum), (1, 2.0))
        self.assertEqual((counts.response_seconds.count, counts.response_seconds.sum), (1, 3.0))


class RecallMixin:
    """Leases that others wait for, over both kinds of sockets."""

    def test_free_ones_go(self: Any) -> None:
        """When they were free at two looks. Those free the longest go first; the connection goes on, in other hands."""
        rig = self.make_rig()
        services = [rig.slot() for _ in range(3)]
        rig.source.others_wait(999.0, 999.5)
        self.assertEqual(rig.source.given_back, [])
        looks(rig)
        self.assertEqual(rig.source.given_back, [0, 1])
        self.assertEqual((len(rig.pool.slots), rig.gateway.counts.connections["slot"]), (1, 1))
        rig.settle()
        self.assertEqual([service.over for service in services], [False] * 3)
        services[0].send(OK)
        rig.settle()
        self.assertFalse(services[0].over)  # The acceptor's copy is open, and to read it is the acceptor's.
        rig.source.others_wait()
        looks(rig)
        self.assert_at_rest(rig)

    def test_free_ones_go_at_once(self: Any) -> None:
        """When a request may be refused for want of them."""
        rig = self.make_rig()
        for _ in range(3):
            rig.slot()
        rig.source.others_wait(1000.0, 1000.0, at_once=True)
        self.assertEqual(rig.source.given_back, [0, 1])
        rig.source.others_wait()
        looks(rig)
        self.assert_at_rest(rig)

    def test_busy_ones_when_they_are_free(self: Any) -> None:
        """After the response, one at a time."""
        rig = self.make_rig()
        services = [rig.slot(), rig.slot()]
        clients = [rig.client(GET), rig.client(GET)]
        rig.source.others_wait(999.0)
        self.assertEqual(rig.source.given_back, [])
        rig.exchange(services[1], OK)
        self.assertEqual((rig.source.given_back, rig.source.board[1]), ([1], 0))
        rig.exchange(services[0], OK)
        self.assertEqual(rig.source.given_back, [1])
        self.assertEqual([statuses(client.take()) for client in clients], [[200], [200]])
        self.assertFalse(services[1].over)
        rig.source.others_wait()
        looks(rig)
        self.assert_at_rest(rig)

    def test_the_oldest_first(self: Any) -> None:
        """Who waits here since before is served before the lease goes."""
        rig = self.make_rig()
        service = rig.slot()
        rig.client(GET)
        rig.pass_time(1.0)
        older = rig.client(GET)
        rig.pass_time(1.0)
        rig.source.others_wait(1001.5)
        rig.pass_time(1.0)
        younger = rig.client(GET)
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual(statuses(older.take()), [200])
        self.assertEqual((rig.source.given_back, younger.received), ([0], b""))
        self.assertEqual(len(rig.pool.line), 1)

    def test_taken_back(self: Any) -> None:
        """Nothing is given any more."""
        rig = self.make_rig()
        service = rig.slot()
        rig.client(GET)
        rig.source.others_wait(999.0)
        rig.source.others_wait()
        rig.exchange(service, OK)
        self.assertEqual(rig.source.given_back, [])

    def test_given_and_granted_again(self: Any) -> None:
        """The same socket comes back, and works."""
        rig = self.make_rig()
        service = rig.slot()
        for _ in range(5):
            rig.source.others_wait(999.0, at_once=True)
            rig.source.others_wait()
            client = rig.client(GET)
            rig.source.grant()
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
        self.assertFalse(service.over)
        self.assert_at_rest(rig)

    def test_descriptors(self: Any) -> None:
        """After any churn there are as many as before."""
        rig = self.make_rig()
        before = descriptors()
        for way in ("back", "close", "dies") * 10:
            service = rig.slot()
            if way == "back":
                rig.source.others_wait(999.0, at_once=True)
                rig.source.others_wait()
                rig.source.ring.pop().copy.close()
            elif way == "close":
                client = rig.client(GET)
                rig.exchange(service, OK + b"x")
                client.close()
            service.close()
            rig.settle()
        rig.reactor.peers.clear()
        self.assertEqual((rig.pool.slots, rig.proxy.front.clients), ({}, {}))
        self.assertEqual(descriptors(), before)


class MemoryRecallTests(RecallMixin, RigCase):
    """Over memory."""


class KernelRecallTests(RecallMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL


class OrphanTests(RigCase):
    """The acceptor is gone, and comes back."""

    def test_used_until_another_is_found(self) -> None:
        """Requests are answered from what is held; nothing is said to nobody."""
        rig = self.make_rig()
        asks(rig)
        service = rig.slot()
        rig.proxy.acceptor_lost()
        client = rig.client(GET + GET)
        self.assertEqual([slot.lease.orphaned for slot in rig.pool.slots], [True])
        rig.exchange(service, OK)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200, 200])
        waiting = [rig.client(GET), rig.client(GET)]
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        rig.pass_time(1.0)
        self.assertEqual((asks(rig), rig.source.closed, rig.source.given_back), ([], [], []))
        self.assertEqual([len(client.take()) > 0 for client in waiting], [True, False])

    def test_asked_again(self) -> None:
        """Who waits is told to the next acceptor, who has granted nothing yet."""
        rig = self.make_rig()
        rig.slot()
        rig.client(GET)
        rig.client(GET)
        rig.pass_time(1.0)
        asks(rig)
        rig.proxy.acceptor_lost()
        rig.client(GET)
        rig.pass_time(1.0)
        self.assertEqual(asks(rig), [])
        rig.proxy.acceptor_found()
        self.assertEqual(asks(rig), [(2, 0)])

    def test_closed_when_another_is_found(self) -> None:
        """Free ones at once, the others when they are free; their numbers mean nothing to the new one."""
        rig = self.make_rig()
        free, busy = rig.slot(), rig.slot()
        client = rig.client(GET)
        self.assertTrue(free.received)
        free, busy = busy, free
        rig.proxy.acceptor_lost()
        rig.source.forget()
        rig.source.board = bytearray(b"\x01" * 4)  # The new one's: all its leases are busy.
        rig.proxy.acceptor_found()
        rig.settle()
        self.assertEqual((free.over, busy.over), (True, False))
        rig.exchange(busy, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assertTrue(busy.over)
        self.assertEqual(rig.pool.slots, {})
        self.assertEqual((rig.source.closed, rig.source.given_back), ([], []))
        self.assertEqual(rig.source.board, bytearray(b"\x01" * 4))

    def test_recall_is_forgotten(self) -> None:
        """Those others waited at the old one."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.source.others_wait(999.0)
        rig.proxy.acceptor_lost()
        rig.exchange(service, OK)
        client.send(GET)
        rig.settle()
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200, 200])

    def test_retry_on_an_orphan(self) -> None:
        """A slot that dies meanwhile costs what it always costs."""
        rig = self.make_rig()
        first, second = rig.slot(), rig.slot()
        rig.proxy.acceptor_lost()
        client = rig.client(GET)
        first.close()
        rig.settle()
        rig.exchange(second, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assertEqual(rig.source.closed, [])


class GrantTests(RigCase):
    """What is granted may be anything."""

    def test_no_socket(self) -> None:
        """A descriptor that is no connected stream is closed, and said to be over."""
        rig = self.make_rig()
        before = descriptors()
        listening = socket.socket()
        self.addCleanup(listening.close)
        reading, writing = os.pipe()
        os.close(writing)
        rig.source.register()
        rig.source.leases[5] = rig.source.ring.pop()
        rig.proxy.lease_granted("default", 5, reading, "nobody")
        self.assertEqual(rig.source.closed, [5])
        self.assertEqual((rig.pool.slots, status_of(rig.pool)["services"]["nobody"]["held"]), ({}, 0))
        self.assertEqual(rig.gateway.counts.connections["slot"], 0)
        self.assertEqual(descriptors() - before, 1)
        self.assert_at_rest(rig)

    def test_dead_already(self) -> None:
        """One that ended on its way is found out, and the request goes elsewhere."""
        rig = self.make_rig()
        client = rig.client(post(b"x"))
        dead = rig.source.register()
        dead.close()
        rig.source.grant()
        rig.settle()
        self.assertEqual(rig.source.closed, [0])
        rig.exchange(rig.slot(), OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_said_what_nobody_asked_for(self) -> None:
        """What comes on the way from the acceptor to here becomes nobody's answer."""
        rig = self.make_rig()
        client = rig.client(GET)
        rig.source.register().send(OK)
        rig.source.grant()
        rig.settle()
        self.assertEqual((client.received, rig.source.spoken), (b"", [(0, OK)]))
        rig.exchange(rig.slot(), OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assert_at_rest(rig)

    def test_nobody_waits_any_more(self) -> None:
        """It is kept."""
        rig = self.make_rig()
        client = rig.client(GET)
        client.reset()
        rig.settle()
        rig.slot()
        self.assertEqual(len(rig.pool.line.free), 1)
        self.assert_at_rest(rig)

    def test_while_recalled(self) -> None:
        """It goes back soon."""
        rig = self.make_rig()
        rig.source.others_wait(999.0)
        rig.slot()
        looks(rig)
        self.assertEqual((rig.source.given_back, rig.pool.slots), ([0], {}))
        self.assert_at_rest(rig)


class StatusTests(RigCase):
    """What ``/status`` is told."""

    def test_numbers(self) -> None:
        """Of the pool, and of each service as long as it has slots here, and for a while after."""
        rig = self.make_rig()
        first, _ = rig.slot(name="a"), rig.slot(name="a")
        rig.slot(name="b")
        clients = [rig.client(GET) for _ in range(4)]
        self.assertEqual(
            rig.proxy.status(),
            {
                "default": {
                    "in_flight": 3,
                    "most_in_flight": 3,
                    "queue_length": 1,
                    "served": 0,
                    "held": 3,
                    "services": {
                        "a": {"held": 2, "in_flight": 2, "most_in_flight": 2, "served": 0},
                        "b": {"held": 1, "in_flight": 1, "most_in_flight": 1, "served": 0},
                    },
                }
            },
        )
        for peer in rig.reactor.peers[:3]:
            rig.exchange(peer, OK)
        rig.exchange(first, OK)
        self.assertEqual([statuses(client.take()) for client in clients], [[200]] * 4)
        for peer in rig.reactor.peers[:2]:
            peer.close()
        rig.settle()
        status = rig.proxy.status()["default"]
        self.assertEqual((status["held"], status["served"], status["in_flight"], status["queue_length"]), (1, 4, 0, 0))
        gone = {"held": 0, "in_flight": 0, "most_in_flight": 2, "served": 3}
        self.assertEqual(status["services"], {"a": gone, "b": {"held": 1, "in_flight": 0, "most_in_flight": 1, "served": 1}})
        rig.pass_time(GONE_S + 1)
        self.assertEqual(list(rig.proxy.status()["default"]["services"]), ["b"])


class SlowStartTests(RigCase):
    """A service that is new is used less than its part of the free leases."""

    def used(self, rig: Rig, services: List[Peer], requests: int = 40) -> List[int]:
        """How many requests each of the services gets, one after the other."""
        counts = [0] * len(services)
        client = rig.client()
        for _ in range(requests):
            client.send(GET)
            rig.settle()
            (number,) = [number for number, service in enumerate(services) if rig.exchange(service, b"")]
            counts[number] += 1
            rig.exchange(services[number], OK)
        self.assertEqual(statuses(client.take()), [200] * requests)
        return counts

    def test_of_a_pool_that_has_it(self) -> None:
        rig = self.make_rig(pool={"slow_start": 10.0})
        old = rig.slot(name="old")
        rig.pass_time(10.0)
        new = rig.slot(name="new")
        self.assertEqual(self.used(rig, [old, new]), [40, 0])
        rig.pass_time(5.0)
        self.assertEqual(self.used(rig, [old, new]), [30, 10])
        rig.pass_time(5.0)
        self.assertEqual(self.used(rig, [old, new]), [20, 20])
        self.assert_at_rest(rig)

    def test_nobody_waits(self) -> None:
        rig = self.make_rig(pool={"slow_start": 10.0})
        rig.slot(name="old")
        rig.pass_time(10.0)
        rig.slot(name="new")
        rig.client(GET)
        rig.client(GET)
        self.assertEqual((rig.pool.counts.in_flight, len(rig.pool.line)), (2, 0))

    def test_it_is_no_news_after_its_acceptor_was_away(self) -> None:
        """Every service is heard of anew then."""
        rig = self.make_rig(pool={"slow_start": 10.0})
        rig.pass_time(60.0)
        rig.proxy.acceptor_lost()
        rig.proxy.acceptor_found()
        services = [rig.slot(name="a"), rig.slot(name="b")]
        self.assertEqual(self.used(rig, services), [20, 20])

    def test_switched_on_and_off(self) -> None:
        """What is free stays free."""
        rig = self.make_rig()
        pool = rig.pool
        rig.slot(name="old")
        for seconds in (10.0, 0.0):
            pool.reconfigure(attr.evolve(pool.config, slow_start=seconds), pool.limits)
            self.assertEqual((isinstance(pool.line.free, SlowStart), len(pool.line.free)), (seconds > 0, 1))
            rig.pass_time(10.0)


class StopTests(RigCase):
    """The end of a pool."""

    def test_idle_leases_go_back(self) -> None:
        """And the others are closed."""
        rig = self.make_rig()
        rig.slot()
        busy = rig.slot()
        rig.client(GET)
        rig.client(GET)
        rig.client(GET)
        self.assertEqual(rig.pool.counts.in_flight, 2)
        rig.exchange(busy, OK)
        rig.client(GET)
        rig.proxy.stopService()
        rig.settle()
        self.assertEqual(rig.pool.slots, {})
        self.assertEqual(len(rig.source.closed) + len(rig.source.given_back), 2)
        self.assertEqual(rig.pool.counts.in_flight, 0)
        self.assertEqual(set(rig.source.board), {0})
        self.assertEqual(rig.reactor.getDelayedCalls(), [])
