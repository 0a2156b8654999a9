"""One arrangement endures its events, and is as it was afterwards."""

from __future__ import annotations

from typing import Callable, Dict, List

import attr

from tests.endure.arrangement import PYPY, RATE, Arrangement, Use
from tests.endure.load import KEPT, SINGLE, STREAMS, TUNNELS, Load
from tests.endure.tally import Tally

CLIENTS = KEPT + SINGLE + STREAMS + TUNNELS

WARM = 300
"""Requests before anything is measured: caches, pools of buffers and, on PyPy, what is compiled."""

BETWEEN = 30
"""Requests between one event and the next."""

GROWTH_KILOBYTES = (128 if PYPY else 32) * 1024
"""By which the memory of a process may have grown at the end; PyPy goes on compiling for a long time."""


@attr.frozen
class Row:
    """What one event cost.

    :ivar tally: of all its times, and of the requests between them.
    """

    arrangement: str
    event: str
    times: int
    tally: Tally

    @property
    def wrong(self) -> List[str]:
        """What may not be."""
        found = [failure.text for failure in self.tally.failures]
        if len(self.tally.lost) > self.times * CLIENTS:
            found.append(f"{len(self.tally.lost)} lost with {self.times} processes, which had at most {CLIENTS} each")
        return found


class Run:
    """One arrangement.

    :param tell: called with each row as soon as it is known.
    :ivar wrong: all that may not be.
    """

    def __init__(self, arrangement: Arrangement, times: int, tell: Callable[[Row], None]) -> None:
        self.wrong: List[str] = []
        self._arrangement = arrangement
        self._times = times
        self._tell = tell
        self._posts = self._lost = 0

    def run(self) -> List[str]:
        """Everything that happens, so many times in a row; gives what is ``wrong``."""
        arrangement = self._arrangement
        arrangement.start()
        arrangement.start_services()
        self._begin()
        self._go_on(WARM)
        self._row("nothing", 0)
        self._end()
        before = arrangement.use()
        self._begin()
        for name, happen in arrangement.events:
            for number in range(self._times):
                self._go_on()
                happen(arrangement, number)
            self._go_on()
            self._row(name, self._times)
        arrangement.as_at_first()
        self._end()
        self._compare(before)
        arrangement.stop()
        self._count()
        return self.wrong

    def _begin(self) -> None:
        self._arrangement.load = Load(self._arrangement.test, self._arrangement.places, RATE)

    def _go_on(self, count: int = BETWEEN) -> None:
        self._arrangement.load.go_on(self._arrangement.registrar, count)

    def _row(self, event: str, times: int) -> None:
        row = Row(self._arrangement.title, event, times, self._arrangement.load.outcomes.take())
        self._lost += len(row.tally.lost)
        self.wrong.extend(f"{event}: {each}" for each in row.wrong)
        self._tell(row)

    def _end(self) -> None:
        load = self._arrangement.load
        load.stop()
        self.wrong.extend(f"at the end: {failure.text}" for failure in load.outcomes.take().failures)
        self._posts += load.outcomes.posts
        self._arrangement.at_rest()

    def _compare(self, before: Dict[str, Use]) -> None:
        """No more descriptors than before, and not much more memory."""
        after: Dict[str, Use] = {}

        def as_few() -> bool:
            after.update(self._arrangement.use())
            return all(after[name].descriptors <= use.descriptors for name, use in before.items())

        try:
            self._arrangement.eventually(as_few, "as few descriptors as before")
        except AssertionError as error:
            raise AssertionError(f"{error}\nbefore: {before}\nnow: {after}\n{self._arrangement.open_files()}") from None
        for name, use in before.items():
            grown = after[name].kilobytes - use.kilobytes
            print(
                f"  {name}: descriptors {use.descriptors} -> {after[name].descriptors}, memory {use.kilobytes} kB + {grown} kB"
            )
            if grown > GROWTH_KILOBYTES:
                self.wrong.append(f"{name} has grown by {grown} kB from {use.kilobytes} kB")

    def _count(self) -> None:
        """What the services saw is what the clients know of."""
        counts = self._arrangement.counts
        if counts.overlaps:
            self.wrong.append(f"{counts.overlaps} times something came on a slot on which a request ran")
        if not self._posts - self._lost <= counts.posts <= self._posts:
            self.wrong.append(f"{counts.posts} POSTs came of {self._posts}, {self._lost} requests were lost")
        if counts.cut > self._lost:
            self.wrong.append(f"{counts.cut} requests were cut at the services, {self._lost} were lost")
        self.wrong.extend(f"still there: {each}" for each in self._arrangement.left_over())
