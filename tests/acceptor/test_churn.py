"""Slots, proxies and one-byte clients come and go in any order: the counts and the descriptors stay right."""

from __future__ import annotations

import contextlib
from typing import List

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.acceptor.scene import POLITE, Scene
from tests.doubles.holders import RecordingBorrower, descriptors
from xproxy.acceptor.local import LocalSource
from xproxy.slots.parked_states import SlotState


class ChurnMachine(RuleBasedStateMachine):
    """Slots, proxies and one-byte clients come and go in any order: the counts and the descriptors stay right."""

    def __init__(self) -> None:
        super().__init__()
        self.before = descriptors()
        self.scene = Scene()
        self.proxies = [self.scene.proxy() for _ in range(3)]
        self.borrowers: List[RecordingBorrower] = []
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
    def borrow(self) -> None:
        self.borrowers.append(self.scene.borrower())

    @precondition(lambda self: self.borrowers)
    @rule(data=st.sampled_from((b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"junk")))
    def borrower_ends(self, data: bytes) -> None:
        borrower = self.borrowers.pop(0)
        self.scene.acceptor.lending.borrow_no_more(borrower)
        for end in borrower.sockets:
            if data:
                with contextlib.suppress(OSError):
                    end.send(data)
        borrower.close()

    @rule()
    def turn(self) -> None:
        self.scene.turn()
        self.scene.acceptor.look()

    @invariant()
    def counts_agree(self) -> None:
        counts, census = self.scene.counts(), self.scene.acceptor.census()["default"]
        assert counts["idle"] + counts["leased"] + counts["lent"] == counts["slots"] == census["slots"]
        assert census["idle"] + census["leased"] == census["slots"]
        assert counts["leased"] == sum(len(holder.sockets) for holder in self.proxies)
        rows = census["services"]
        for key in ("slots", "idle", "leased"):
            assert sum(row[key] for row in rows) == census[key]
        open_here = [transport for transport in self.scene.transports if not transport.lost]
        assert len(open_here) == counts["slots"]
        assert sum(transport.reading for transport in open_here) == counts["idle"] + counts["lent"]
        slots = self.scene.acceptor.slots.values()
        assert all(slot.state is not SlotState.CLOSED for slot in slots)
        assert len(self.scene.acceptor.lending.loans) == counts["lent"]

    def teardown(self) -> None:
        for transport in self.scene.transports:
            transport.service.close()
        self.scene.close()
        assert descriptors() == self.before


ChurnTests = ChurnMachine.TestCase
ChurnTests.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
