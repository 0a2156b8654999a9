"""Several processes, the network between them, and one clock, all in this process and all from one seed.

Nothing happens outside of ``settle``, ``pass_time`` and ``until``. Which process has its turn next, in what order it sees what
has happened, and how long bytes are under way is drawn from the seed: the same seed makes the same run, byte by byte, and
``digest`` says so. A seed of 0 draws nothing: turns in order, and no time on the way.
"""

from __future__ import annotations

import hashlib
import random
import socket
from collections import deque
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from tests.world.descriptors import OWN
from tests.world.peers import Peer
from tests.world.process import FIRST_PORT, Listening, Place, Process
from tests.world.sockets import CAPACITY, Carry, End, MemorySocket, at_once, connected_ends

LONGEST_WAY_S = 0.002
"""How long bytes of a TCP connection are under way at most: a busy network of one site."""

REMEMBERED = 200
"""What happened last, for a person who wants to know what went wrong."""


class Way:
    """Lets things arrive at one end of a connection: in order, and after some time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last = 0.0

    def __call__(self, call: Callable[[], None]) -> None:
        world = self._world
        self._last = max(self._last, world.now + world.random.uniform(0.0, LONGEST_WAY_S))
        world.at(self._last, call)


class World:
    """See the module.

    :ivar now: monotonic seconds, the same for everybody.
    :ivar ports: what listens, by place.
    :ivar peers: connections in the hands of the test.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.now = 1000.0
        self.random = random.Random(seed)
        self.processes: List[Process] = []
        self.ports: Dict[Place, Listening] = {}
        self.peers: List[Peer] = []
        self.most_turns = 100_000
        self._places = count(2)
        self._free_ports = count(FIRST_PORT)
        self._arrivals: List[Tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._digest = hashlib.blake2b(digest_size=8)
        self._noted: Deque[str] = deque(maxlen=REMEMBERED)

    # -- processes and connections

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(self, name, next(self._places))
        process.rightNow = self.now
        self.processes.append(process)
        return process

    def free_port(self) -> int:
        """A TCP port that nobody listens on."""
        return next(port for port in self._free_ports if port not in self.ports)

    def connect(self, place: Place, done: Callable[[Optional[End], Place], None]) -> None:
        """Dial; ``done`` is given our end of the connection, None when nobody listens, and our own place."""
        own: Place = self.free_port() if isinstance(place, int) else ""
        self.at(self.now + self._delay(place), partial(self._arrived, place, own, done))

    def _delay(self, place: Place) -> float:
        return self.random.uniform(0.0, LONGEST_WAY_S) if self.seed and isinstance(place, int) else 0.0

    def _arrived(self, place: Place, own: Place, done: Callable[[Optional[End], Place], None]) -> None:
        port = self.ports.get(place)
        if port is None:
            self.at(self.now + self._delay(place), partial(done, None, own))
            return
        near, far = self.ends(isinstance(place, int))
        for end in (near, far):
            end.hold()
        port.waiting.append((far, own))
        self.at(self.now + self._delay(place), partial(done, near, own))

    def ends(self, over_network: bool, capacity: int = CAPACITY) -> Tuple[End, End]:
        """Two ends of a connection, over the network or within this host."""
        family = socket.AF_INET if over_network else socket.AF_UNIX
        carry: Callable[[], Carry] = (lambda: Way(self)) if over_network and self.seed else (lambda: at_once)
        return connected_ends(capacity, carry(), family, carry())

    def dial(self, place: Place, data: bytes = b"", capacity: int = CAPACITY) -> Peer:
        """A connection in the hands of the test, which sends ``data``. Raises ConnectionRefusedError."""
        port = self.ports.get(place)
        if port is None:
            raise ConnectionRefusedError(place)
        near, far = self.ends(isinstance(place, int), capacity)
        far.hold()
        port.waiting.append((far, self.free_port() if isinstance(place, int) else ""))
        peer = Peer(MemorySocket(OWN, near))
        self.peers.append(peer)
        if data:
            peer.send(data)
        return peer

    # -- time

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Make a call then: something arrives."""
        heappush(self._arrivals, (time, next(self._number), call))

    def random_bytes(self, count: int) -> bytes:
        """As ``os.urandom``."""
        return bytes(self.random.randrange(256) for _ in range(count))

    def shuffle(self, things: List[Any]) -> None:
        """Bring what happens at once into some order."""
        if self.seed:
            self.random.shuffle(things)

    def step(self) -> bool:
        """Let one thing happen that can happen now; False: nothing can."""
        if self._arrivals and self._arrivals[0][0] <= self.now:
            heappop(self._arrivals)[2]()
            return True
        moved = False
        for peer in self.peers:
            moved |= peer.pump()
        able = [process for process in self.processes if process.turns and (process.due() or process.ready())]
        if able:
            process = self.random.choice(able) if self.seed else able[0]
            process.turn()
        return moved or bool(able)

    def settle(self) -> None:
        """Go on until nothing moves at this moment."""
        for _ in range(self.most_turns):
            if not self.step():
                return
        raise AssertionError("the world does not come to rest\n" + self.story())

    def _next_time(self) -> Optional[float]:
        times = [process.next_time() for process in self.processes if process.turns]
        if self._arrivals:
            times.append(self._arrivals[0][0])
        return min((time for time in times if time is not None), default=None)

    def _go_to(self, time: float) -> None:
        self.now = max(self.now, time)
        for process in self.processes:
            process.rightNow = self.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass, from one event to the next."""
        end = self.now + seconds
        while True:
            self.settle()
            following = self._next_time()
            if following is None or following > end:
                break
            self._go_to(following)
        self._go_to(end)
        self.settle()

    def until(self, holds: Callable[[], object], what: str = "it", limit_s: float = 60.0) -> None:
        """Let time pass until something is so."""
        end = self.now + limit_s
        for _ in range(self.most_turns):
            if holds():
                return
            if not self.step():
                following = self._next_time()
                if following is None or following > end:
                    break
                self._go_to(following)
        raise AssertionError(f"waited in vain for {what}, seed {self.seed}\n{self.story()}")

    # -- what happened

    def note(self, name: str, does: str, what: object) -> None:
        """Something happened."""
        line = f"{self.now:.6f} {name} {does} {type(getattr(what, 'protocol', what)).__name__}"
        self._noted.append(line)
        self._digest.update(line.encode() + b"\n")

    @property
    def digest(self) -> str:
        """What happened so far, in a word."""
        return self._digest.hexdigest()

    def story(self) -> str:
        """What happened last."""
        return "\n".join(self._noted)

    def close(self) -> None:
        """End every process and every connection of the test's."""
        for process in self.processes:
            process.kill()
        for peer in self.peers:
            peer.close()
