"""No test waits for a fixed time: it waits for the event, or drives the clock.

A fixed wait is too short on a busy machine and too long on an idle one; and where it waits for something that should not come,
it passes whatever the code does.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

HERE = Path(__file__).parent


def fixed_waits(module: ast.Module) -> Iterator[int]:
    """The lines that wait for so many seconds, whatever happens."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and is_fixed_wait(node):
            yield node.lineno


def is_fixed_wait(call: ast.Call) -> bool:
    """``sleep(…)``, ``event.wait(0.2)``, ``reactor.callLater(0.2, waiting.callback, …)``, ``deferLater(reactor, 0.2)``."""
    function = call.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    if name == "sleep":
        return True
    seconds = call.args[{"wait": 0, "callLater": 0, "deferLater": 1}.get(name, 99) :][:1]
    number = getattr(seconds[0], "value", None) if seconds else None
    if not isinstance(number, (int, float)) or not number:
        return False
    if name == "callLater":
        return len(call.args) > 1 and getattr(call.args[1], "attr", "") == "callback"
    return True


class WaitTests(SynchronousTestCase):
    """What the tests say."""

    def test_no_fixed_waits(self) -> None:
        """But for the look at what only a thread of the test's own tells, again and again."""
        found = [
            f"{path.relative_to(HERE)}:{line}"
            for path in sorted(HERE.rglob("*.py"))
            for line in fixed_waits(ast.parse(path.read_text("utf-8")))
        ]
        self.assertEqual([place for place in found if not place.startswith("e2e/played.py:")], [])

    def test_what_is_looked_for_is_found(self) -> None:
        """The look sees what it should."""
        seen = ast.parse(
            "time.sleep(1)\npause.wait(0.2)\nreactor.callLater(0.1, waiting.callback, None)\ndeferLater(reactor, 0.1)\n"
            "thread.wait(LIMIT_S)\nreactor.callLater(0, waiting.callback, None)\nclock.callLater(5, send)\n"
            "await asyncio.sleep(pause)\nprocess.wait()\nbook.wait('a', [0.0], 0)\n"
        )
        self.assertEqual(sorted(fixed_waits(seen)), [1, 2, 3, 4, 8])
