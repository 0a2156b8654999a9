"""Dispatch: the one that comes with us, and one that a plugin brings, in the real acceptor and the real proxy's line."""

from __future__ import annotations

from collections import deque
from typing import Any, List

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.world.rig import OK, RigCase, statuses
from xproxy import dispatch
from xproxy.config import ConfigError
from xproxy.config.reading import from_toml
from xproxy.dispatch import RING, RingDispatch, find_dispatch
from xproxy.interfaces import IDispatch, IIdleSlots, IWaiting
from xproxy.slots.actions import Grant
from xproxy.slots.book import PoolBook
from xproxy.slots.ring import Ring
from xproxy.slots.waiting import Waiting

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class LastSlots(Ring[int]):
    """The slot that became idle last is used next, as a pool of caches would like it."""

    def take(self) -> int:
        slot = max(self)
        for service in list(self._services):
            if self.has(slot, service):
                self.remove(slot, service)
        return slot

    def take_for(self, held: Any) -> int:
        return self.take()


class LastCome(Waiting[Any]):
    """Last come, first served."""

    def take(self) -> Any:
        last = max(self.arrived_by(float("inf")), key=self.arrival_of, default=None)
        if last is not None:
            self.remove(last)
        return last


class LastDeque(deque):  # type: ignore[type-arg]
    """Last freed, first used."""

    def popleft(self) -> Any:
        return self.pop()


@implementer(IDispatch)
class LastDispatch:
    """What a plugin could be."""

    name = "last"

    def idle_slots(self) -> LastSlots:
        return LastSlots()

    def free_leases(self) -> LastDeque:
        return LastDeque()

    def waiting(self) -> LastCome:
        return LastCome()


class FindingTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        for made in (RingDispatch(), LastDispatch()):
            verifyObject(IDispatch, made)
            verifyObject(IIdleSlots, made.idle_slots())
            verifyObject(IWaiting, made.waiting())

    def test_by_name(self) -> None:
        last = LastDispatch()
        self.assertIs(find_dispatch("last", [last]), last)
        self.assertEqual(find_dispatch(RING, []).name, RING)
        error = self.assertRaises(LookupError, find_dispatch, "lats", [last])
        self.assertIn("there are last, ring", str(error))

    def test_in_the_configuration(self) -> None:
        """A name that no plugin has is a mistake, with its line."""
        error = self.assertRaises(ConfigError, from_toml, '[pools.default]\ndispatch = "lats"\n', "x.toml")
        self.assertIn("x.toml:2: pools.default.dispatch: there is no dispatch called 'lats'; there are ring", str(error))


class DispatchingTests(RigCase):
    """What another dispatch changes."""

    def test_at_the_acceptor(self) -> None:
        """Which idle slot is granted."""
        for made, granted in ((RingDispatch(), 1), (LastDispatch(), 3)):
            book = PoolBook("default", made.idle_slots)
            for slot in (1, 2, 3):
                book.register(slot, "service")
            grants = [action.slot for action in book.ask("proxy", 1, 0) if isinstance(action, Grant)]
            self.assertEqual(grants, [granted])

    def test_in_the_proxy(self) -> None:
        """Who is served, and with which of the free leases."""
        self.patch(dispatch, "getPlugins", lambda interface: [LastDispatch()])
        rig = self.make_rig(pool={"dispatch": "last"})
        clients = []
        for _ in range(2):
            clients.append(rig.client(GET))
            rig.pass_time(1.0)
        first = rig.slot()
        rig.exchange(first, OK)
        self.assertEqual([statuses(client.take()) for client in clients], [[], [200]])
        rig.exchange(first, OK)
        self.assertEqual(statuses(clients[0].take()), [200])
        second = rig.slot()
        used: List[bytes] = []
        for _ in range(2):
            clients[0].send(GET)
            rig.settle()
            used.append(second.take())
            second.send(OK)
            rig.settle()
            self.assertEqual(statuses(clients[0].take()), [200])
        self.assertTrue(all(used))
        self.assert_at_rest(rig)
