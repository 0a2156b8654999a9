"""The acceptor's book and the proxies' lines together, with messages that take any time: nobody starves, the order holds.

The proxies here do what ``exchanges.pool`` does, without sockets: an exchange runs until the test ends it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, List, Sequence, Tuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import TestCase

from tests.slots.waiting_book import WaitingBook
from xproxy.slots.actions import Action, Ending, Grant, Recall
from xproxy.slots.line import IDLE_AGE_S, LOOK_INTERVAL_S, MOVE_INTERVAL_S, ORDER_BOUND_S, TRIP_S, Fate, Line

Message = Tuple[str, Any]
PROXIES = st.sampled_from([0, 1, 2])
IDLE_BOUND_S = IDLE_AGE_S + MOVE_INTERVAL_S + TRIP_S + 2 * LOOK_INTERVAL_S
"""No slot is idle longer than that while somebody waits elsewhere."""


class Proxy:
    """A proxy: requests are named by their arrival. ``sent`` and ``inbox`` are the two directions of its connection."""

    def __init__(self, host: Host, number: int) -> None:
        self.line: Line[float, int] = Line(10_000)
        self.line.share(host.book.tide(number))
        self.running: Dict[int, float] = {}
        self.sent: Deque[Message] = deque()
        self.inbox: Deque[Message] = deque()
        self.seen = 0
        self.news = False
        self._host = host

    def request(self, arrival: float) -> None:
        if self.line.free:
            self.begin(self.line.free.popleft(), arrival)
        else:
            self.line.join(arrival, arrival)
            self.news = True

    def begin(self, slot: int, arrival: float) -> None:
        self.running[slot] = arrival
        self._host.begun(arrival)

    def end(self, slot: int, good: bool) -> None:
        del self.running[slot]
        if good:
            self.dispose(slot, self.line.freed(slot, self._host.now))
        else:
            self.sent.append(("closed", slot))

    def dispose(self, slot: int, fate: Any) -> None:
        if fate is Fate.GIVE_BACK:
            self.sent.append(("back", slot))
        elif not isinstance(fate, Fate):
            self.begin(slot, fate)
            self.news = True

    def receive(self) -> None:
        kind, value = self.inbox.popleft()
        if kind == "grant":
            self.seen += 1
            self.news = True
            self.dispose(value, self.line.granted(value))
        else:
            self.give(self.line.recalled(value))

    def give(self, slots: Sequence[int]) -> None:
        self.sent.extend(("back", slot) for slot in slots)

    def say(self) -> None:
        if self.news:
            self.sent.append(("ask", (len(self.line), self.seen)))
            self.news = False

    def waiting(self) -> List[float]:
        return self.line.arrived_by(self._host.now)

    def slots(self) -> List[int]:
        """Every slot that is here, or on its way to or from here."""
        coming = [value for kind, value in self.inbox if kind == "grant"]
        going = [value for kind, value in self.sent if kind != "ask"]
        return [*self.running, *self.line.free, *coming, *going]


class Host:
    """An acceptor and three proxies.

    :ivar late: by how much the worst request was overtaken that waited while another one began.
    :ivar idle_since: each slot that is idle while somebody waits, and since when that is so.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.book = WaitingBook()
        self.proxies: List[Proxy] = []
        self.late = 0.0
        self.idle_since: Dict[int, float] = {}
        self.proxies.extend(Proxy(self, number) for number in range(3))
        self.slots = 0

    def tick(self, seconds: float = LOOK_INTERVAL_S) -> float:
        """Time passes, and whoever has something to look at looks."""
        self.now += seconds
        for proxy in self.proxies:
            proxy.give(proxy.line.look(self.now))
        self.watch()
        return self.now

    def watch(self) -> None:
        """Note which slots are idle while somebody waits."""
        idle = [slot for proxy in self.proxies for slot in proxy.line.free] if self.waiting() else []
        self.idle_since = {slot: self.idle_since.get(slot, self.now) for slot in idle}

    def begun(self, arrival: float) -> None:
        self.late = max([self.late, *(arrival - waiting for waiting in self.waiting())])

    def register(self) -> None:
        self.slots += 1
        self.carry_out(self.book.register(self.slots))

    def deliver(self, number: int) -> None:
        """The oldest message of this proxy reaches the acceptor."""
        kind, value = self.proxies[number].sent.popleft()
        if kind == "ask":
            self.carry_out(self.book.ask(number, *value))
        elif kind == "back":
            self.carry_out(self.book.end_lease(number, value, Ending.CLEAN))
        else:
            self.carry_out(self.book.end_lease(number, value, Ending.CLOSED)[1:])

    def carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            assert isinstance(action, (Grant, Recall))
            message = ("grant", action.slot) if isinstance(action, Grant) else ("recall", action.waiting)
            self.proxies[action.holder].inbox.append(message)  # type: ignore[call-overload]

    def settle(self) -> None:
        """Let every message arrive."""
        for _ in range(1000):
            for number, proxy in enumerate(self.proxies):
                proxy.say()
                while proxy.sent:
                    self.deliver(number)
                while proxy.inbox:
                    proxy.receive()
            if not any(proxy.sent or proxy.inbox or proxy.news for proxy in self.proxies):
                return
        raise AssertionError("the messages never end")

    def wait(self, seconds: float) -> None:
        """Time passes, and messages take none."""
        until = self.now + seconds
        while self.now < until:
            self.settle()
            self.tick()
        self.settle()

    def waiting(self) -> List[float]:
        return sorted(arrival for proxy in self.proxies for arrival in proxy.waiting())


class SlowMessages(RuleBasedStateMachine):
    """Messages arrive whenever; in the end all do, and then everybody must be served, one exchange after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host()
        self.host.register()

    @rule()
    def slot_registers(self) -> None:
        if self.host.slots < 5:
            self.host.register()

    @rule(number=PROXIES, burst=st.integers(1, 3))
    def requests_come(self, number: int, burst: int) -> None:
        for _ in range(burst):
            self.host.proxies[number].request(self.host.tick(0.0001))

    @rule(seconds=st.sampled_from([0.0005, 0.001, 0.005, 0.02]))
    def time_passes(self, seconds: float) -> None:
        self.host.tick(seconds)

    @rule(number=PROXIES)
    def proxy_asks(self, number: int) -> None:
        self.host.proxies[number].say()

    @precondition(lambda self: any(proxy.sent or proxy.inbox for proxy in self.host.proxies))
    @rule(data=st.data())
    def message_arrives(self, data: st.DataObject) -> None:
        ways = [(number, True) for number, proxy in enumerate(self.host.proxies) if proxy.sent]
        ways += [(number, False) for number, proxy in enumerate(self.host.proxies) if proxy.inbox]
        number, to_acceptor = data.draw(st.sampled_from(ways))
        if to_acceptor:
            self.host.deliver(number)
        else:
            self.host.proxies[number].receive()

    @precondition(lambda self: any(proxy.running for proxy in self.host.proxies))
    @rule(data=st.data())
    def exchange_ends(self, data: st.DataObject) -> None:
        running = [(number, slot) for number, proxy in enumerate(self.host.proxies) for slot in proxy.running]
        number, slot = data.draw(st.sampled_from(running))
        good = data.draw(st.sampled_from([True, True, True, False]))
        self.host.proxies[number].end(slot, good or self.host.book.registered == 1)

    @invariant()
    def each_slot_is_in_one_place(self) -> None:
        places = [slot for proxy in self.host.proxies for slot in proxy.slots()]
        assert len(places) == len(set(places)) == self.host.book.leased

    def teardown(self) -> None:
        """Nobody starves: while somebody waits, something runs; and so all are served."""
        host = self.host
        host.wait(IDLE_BOUND_S)
        while any(proxy.running for proxy in host.proxies):
            number, slot = next((number, slot) for number, proxy in enumerate(host.proxies) for slot in proxy.running)
            host.proxies[number].end(slot, good=True)
            host.wait(IDLE_BOUND_S)
        assert host.waiting() == [] or host.book.registered == 0, "requests wait, and nothing runs"
        assert host.book.waiting == 0 or host.book.registered == 0
        for number, proxy in enumerate(host.proxies):
            assert sorted(proxy.line.free) == sorted(host.book.leases_of(number))


class FastMessages(RuleBasedStateMachine):
    """Messages take no time: then the order of arrival holds within its bound, and no slot is idle past its own."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host()
        for _ in range(2):
            self.host.register()

    @rule(number=PROXIES, seconds=st.sampled_from([0.0, 0.002, 0.015, 0.1]))
    def request_comes(self, number: int, seconds: float) -> None:
        self.host.wait(seconds)
        self.host.tick(0.0001)
        self.host.proxies[number].request(self.host.now)
        self.host.settle()

    @precondition(lambda self: any(proxy.running for proxy in self.host.proxies))
    @rule(data=st.data())
    def exchange_ends(self, data: st.DataObject) -> None:
        running = [(number, slot) for number, proxy in enumerate(self.host.proxies) for slot in proxy.running]
        number, slot = data.draw(st.sampled_from(running))
        self.host.tick(0.0001)
        self.host.proxies[number].end(slot, good=True)
        self.host.settle()

    @invariant()
    def nobody_is_overtaken_by_more_than_the_bound(self) -> None:
        assert self.host.late < ORDER_BOUND_S, self.host.late

    @invariant()
    def nothing_idles_while_somebody_waits(self) -> None:
        host = self.host
        host.watch()
        assert not host.book.idle or not host.waiting()
        assert all(host.now - since < IDLE_BOUND_S for since in host.idle_since.values()), host.idle_since


class SystemTests(TestCase):
    settings = settings(
        max_examples=60,
        stateful_step_count=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )

    def test_slow_messages(self) -> None:
        run_state_machine_as_test(SlowMessages, settings=self.settings)

    def test_fast_messages(self) -> None:
        run_state_machine_as_test(FastMessages, settings=self.settings)
