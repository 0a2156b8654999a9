"""Another configuration takes the place of the one that runs: what becomes of slots that are idle, leased and lent."""

from __future__ import annotations

from typing import Any, Dict

from tests.acceptor.scene import SceneTestCase, config_of
from tests.doubles.handoff import HandoffTestCase, ended, readable, until
from xproxy.acceptor.acceptor import UnknownPool
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.config import AcceptorConfig, Config, PoolConfig
from xproxy.startup import StartupError

LOCAL = "tcp:0:interface=127.0.0.1"
OTHER = "tcp:00:interface=127.0.0.1"


class PoolTests(SceneTestCase):
    """Acceptor.configure. The scene has the pools default and other."""

    def configure(self, *pools: str) -> None:
        self.scene.config = config_of(*pools)
        self.acceptor.configure(self.scene.config)
        self.scene.turn()

    def test_idle_slots_of_a_pool_that_goes(self) -> None:
        """They are told why and closed; those of others stay."""
        gone, stays = self.scene.slot("default"), self.scene.slot("other")
        self.configure("other")
        said = gone.service.recv(4096)
        self.assertIn(b"403", said)
        self.assertIn(b"pool default is no longer served here", said)
        self.assertEqual(gone.service.recv(1), b"")
        self.assertEqual(self.scene.counts("other"), {"slots": 1, "idle": 1, "leased": 0, "lent": 0, "waiting": 0})
        self.assertFalse(readable(stays.service))
        self.assertEqual(self.acceptor.closings, {("default", "retired"): 1})
        self.assertRaises(UnknownPool, self.acceptor.book, "default")

    def test_leased_slots_of_a_pool_that_goes(self) -> None:
        """What runs ends; then the slot is closed, whether it is clean or not."""
        slots = [self.scene.slot() for _ in range(3)]
        proxy = self.scene.proxy()
        proxy.ask(1.0, 2.0, 3.0)
        self.configure("other")
        proxy.sockets[0].sendall(b"still")
        self.assertEqual(slots[0].service.recv(10), b"still")
        proxy.give_back(0)
        proxy.close_lease(1)
        self.scene.turn()
        self.assertEqual([ended(slot.service) for slot in slots], [True, True, False])
        self.assertEqual(len(self.acceptor.slots), 1)
        proxy.give_back(2)
        self.scene.turn()
        self.assertTrue(ended(slots[2].service))
        self.assertEqual(self.acceptor.slots, {})
        self.acceptor.look()
        self.assertEqual(self.acceptor._retired, [])

    def test_a_proxy_that_leaves_with_leases_of_a_pool_that_is_gone(self) -> None:
        slot, proxy = self.scene.slot(), self.scene.proxy()
        proxy.ask(1.0)
        self.configure("other")
        (holding,) = self.acceptor.holdings
        holding.leave()
        self.scene.turn()
        self.assertTrue(ended(slot.service))
        self.assertEqual(self.acceptor.slots, {})

    def test_lent_slots_of_a_pool_that_goes(self) -> None:
        """The exchange goes on to its end; who waits is sent away."""
        slot = self.scene.slot()
        borrower, waits = self.scene.borrower(), self.scene.borrower()
        self.scene.turn()
        self.assertEqual(self.scene.counts()["lent"], 1)
        borrower.sockets[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.scene.turn()
        self.assertIn(b"GET", slot.service.recv(100))
        self.configure("other")
        slot.service.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.scene.turn()
        self.assertTrue(borrower.sockets[0].recv(100).endswith(b"ok"))
        self.assertEqual(waits.sockets, [])
        borrower.sockets[0].close()
        self.scene.turn()
        self.assertTrue(ended(slot.service))
        self.assertEqual(self.acceptor.slots, {})

    def test_who_waits_in_a_pool_that_goes(self) -> None:
        """Their proxies are told that nobody is there, and their questions are answered."""
        proxy = self.scene.proxy()
        assert proxy.source is not None
        proxy.source.ask("default", 4, 0, 5)
        proxy.answers.clear()
        self.configure("other")
        proxy.source.ask("default", 4, 0, 6)
        self.assertEqual(proxy.answers, [("default", 6)])
        self.assertFalse(proxy.registered["default"])

    def test_a_new_pool(self) -> None:
        """A proxy that asked for it before it was there gets its slots as soon as they come."""
        proxy = self.scene.proxy()
        proxy.ask(1.0, pool="new")
        self.assertFalse(proxy.registered["new"])
        self.configure("default", "other", "new")
        self.scene.slot("new")
        self.assertEqual(proxy.grants, [("new", 0, "unix")])
        self.assertEqual(self.scene.counts("new")["leased"], 1)

    def test_a_pool_that_goes_and_comes_back(self) -> None:
        """It is another one: the proxy's count of grants goes on, and leases of the earlier one are closed in the end."""
        old, proxy = self.scene.slot(), self.scene.proxy()
        proxy.ask(1.0)
        proxy.ask()
        self.configure("other")
        self.configure("default", "other")
        new = self.scene.slot()
        proxy.ask(2.0)
        self.assertEqual(len(proxy.grants), 2)
        self.assertEqual(self.scene.counts(), {"slots": 1, "idle": 0, "leased": 1, "lent": 0, "waiting": 0})
        proxy.give_back(0)
        proxy.give_back(1)
        self.scene.turn()
        self.assertEqual((ended(old.service), ended(new.service)), (True, False))
        self.assertEqual(self.scene.counts()["idle"], 1)
        proxy.ask(3.0)
        self.assertEqual(len(proxy.grants), 3)

    def test_a_pool_that_changes(self) -> None:
        """Whatever has registered stays where it is."""
        slots, proxy = [self.scene.slot() for _ in range(3)], self.scene.proxy()
        proxy.ask(1.0)
        self.scene.borrower()
        self.scene.turn()
        before = self.scene.counts()
        self.assertEqual((before["idle"], before["leased"], before["lent"]), (1, 1, 1))
        changed = {name: PoolConfig(name, slots=("here",), registration="raw", queue_limit=7) for name in ("default", "other")}
        self.acceptor.configure(Config(pools=changed))
        self.scene.turn()
        self.assertEqual(self.scene.counts(), before)
        self.assertEqual([ended(slot.service) for slot in slots], [False] * 3)


class ServiceTests(HandoffTestCase):
    """AcceptorService.configure: endpoints come and go with their pools."""

    def config(self, pools: Dict[str, str], **changed: Any) -> Config:
        made = {name: PoolConfig(name, slots=(where,), registration="raw", **changed) for name, where in pools.items()}
        return Config(acceptor=AcceptorConfig(handoff=self.path), pools=made)

    def port(self, acceptor: AcceptorService, index: int) -> int:
        port: Any = acceptor.listeners[index].port
        number: int = port.getHost().port
        return number

    async def test_a_pool_is_added(self) -> None:
        """Its endpoint is listened on, and a proxy that asked for it is told when somebody registers."""
        acceptor = self.start_acceptor()
        (before,) = await self.slots(acceptor, 1)
        holder, _ = await self.proxy()
        holder.ask(1.0, pool="new")
        await holder.until(lambda: holder.registered.get("new") is False)
        await acceptor.configure(self.config({"default": LOCAL, "new": OTHER}))
        self.slot(acceptor, 1)
        await holder.until(lambda: holder.grants)
        self.assertEqual(holder.grants, [("new", 0, "127.0.0.1")])
        await holder.until(lambda: holder.registered["new"])
        self.assertFalse(readable(before))
        self.assertEqual(acceptor.acceptor.books["default"].idle, 1)

    async def test_a_pool_is_removed(self) -> None:
        """Nobody listens there any more; its idle slots are closed, and a leased one when it comes back."""
        acceptor = self.start_acceptor(
            PoolConfig("default", slots=(LOCAL,), registration="raw"), PoolConfig("other", slots=(OTHER,), registration="raw")
        )
        first, second = await self.slots(acceptor, 2)
        holder, _ = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: holder.grants)
        gone = self.port(acceptor, 0)
        await acceptor.configure(self.config({"other": OTHER}))
        self.assertEqual(len(acceptor.listeners), 1)
        self.assertNotEqual(self.port(acceptor, 0), gone)
        await until(lambda: ended(second) or ended(first))
        holder.sockets[0].sendall(b"on")
        leased = first if holder.sockets[0].getpeername() == first.getsockname() else second
        await until(lambda: readable(leased))
        holder.give_back(0)
        await until(lambda: ended(leased))
        self.assertEqual(acceptor.acceptor.slots, {})

    async def test_an_endpoint_changes(self) -> None:
        """The pool stays, with all that has registered at the old one."""
        acceptor = self.start_acceptor()
        (before,) = await self.slots(acceptor, 1)
        await acceptor.configure(self.config({"default": OTHER}))
        (after,) = await self.slots(acceptor, 1)
        self.assertEqual(acceptor.acceptor.books["default"].idle, 2)
        self.assertEqual((readable(before), readable(after)), (False, False))

    async def test_what_can_not_be_used_changes_nothing(self) -> None:
        acceptor = self.start_acceptor()
        (before,) = await self.slots(acceptor, 1)
        kept = acceptor.acceptor.config
        number = self.port(acceptor, 0)
        mixed = {
            "default": PoolConfig("default", slots=(LOCAL, OTHER), registration="raw"),
            "other": PoolConfig("other", slots=(OTHER,), registration="xproxy"),
        }
        secure = {"default": PoolConfig("default", slots=(LOCAL,), slots_tls=(OTHER,), registration="raw")}
        for pools in (mixed, secure):
            self.assertRaises(StartupError, acceptor.configure, Config(acceptor=kept.acceptor, pools=pools))
            self.assertIs(acceptor.acceptor.config, kept)
            self.assertEqual((len(acceptor.listeners), self.port(acceptor, 0)), (1, number))
        self.assertEqual(list(acceptor.acceptor.books), ["default"])
        self.assertFalse(readable(before))
        await self.slots(acceptor, 1)
