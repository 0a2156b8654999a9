"""Slots, proxies and one-byte clients come and go in any order: the counts and the descriptors stay right."""

from __future__ import annotations

from typing import List

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.acceptor.scene import POLITE, Scene
from tests.doubles.holders import RecordingSharer, descriptors
from xproxy.acceptor.local import LocalSource
from xproxy.acceptor.parked import SlotState


class ChurnMachine(RuleBasedStateMachine):
    """Slots, proxies and one-byte clients come and go in any order: the counts and the descriptors stay right."""

    def __init__(self) -> None:
        super().__init__()
        self.before = descriptors()
        self.scene = Scene()
        self.proxies = [self.scene.proxy() for _ in range(3)]
        self.sharers: List[RecordingSharer] = []
        self.now = 0.0

    @rule()
    def register(self) -> None:
        self.scene.slot()

    @precondition(lambda self: self.scene.transports)
    @rule(number=st.integers(0, 99), how=st.sampled_from(("close", "speak", "polite")))
    def end(self, number: int, how: str) -> None:
        transport = self.scene.transports[number % len(self.scene.transports)]
        if transport.service.fileno() >= 0 and not transport.lost:
            if how == "close":
                transport.service.close()
            else:
                transport.service.send(POLITE if how == "polite" else b"x")
            transport.pump()

    @rule(proxy=st.integers(0, 2), wanted=st.integers(0, 4))
    def ask(self, proxy: int, wanted: int) -> None:
        self.now += 1.0
        self.proxies[proxy].ask(*[self.now] * wanted)

    @rule(proxy=st.integers(0, 2), clean=st.booleans())
    def return_lease(self, proxy: int, clean: bool) -> None:
        holder = self.proxies[proxy]
        for lease in list(holder.sockets)[:1]:
            if clean:
                holder.give_back(lease)
            else:
                holder.close_lease(lease)

    @rule(proxy=st.integers(0, 2), busy=st.booleans())
    def restart(self, proxy: int, busy: bool) -> None:
        holder = self.proxies[proxy]
        source = holder.source
        assert isinstance(source, LocalSource)
        for lease in holder.sockets:
            source.board[lease] = busy
        source.leave()
        holder.close()
        self.proxies[proxy] = self.scene.proxy()

    @rule()
    def share(self) -> None:
        sharer = RecordingSharer()
        self.sharers.append(sharer)
        self.scene.acceptor.share("default", sharer)

    @precondition(lambda self: self.sharers)
    @rule()
    def unshare(self) -> None:
        sharer = self.sharers.pop()
        self.scene.acceptor.unshare(sharer)
        sharer.close()

    @rule()
    def turn(self) -> None:
        for transport in self.scene.transports:
            transport.pump()
        self.scene.acceptor.lose_ended_shared()

    @invariant()
    def counts_agree(self) -> None:
        census = self.scene.acceptor.census()["default"]
        assert census["idle"] + census["leased"] + census["shared"] == census["slots"]
        assert census["leased"] == sum(len(holder.sockets) for holder in self.proxies)
        rows = census["services"]
        for key in ("slots", "idle", "leased", "shared"):
            assert sum(row[key] for row in rows) == census[key]
        open_here = [transport for transport in self.scene.transports if not transport.lost]
        assert len(open_here) == census["slots"]
        assert sum(transport.reading for transport in open_here) == census["idle"]
        slots = self.scene.acceptor._slots.values()
        assert all(slot.state is not SlotState.CLOSED for slot in slots)

    def teardown(self) -> None:
        for sharer in self.sharers:
            sharer.close()
        for transport in self.scene.transports:
            transport.service.close()
        self.scene.close()
        assert descriptors() == self.before


ChurnTests = ChurnMachine.TestCase
ChurnTests.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
