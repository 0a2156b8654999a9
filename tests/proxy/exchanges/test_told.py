"""What services do wrong is told in the log, with the pool, the service and the reason, and not for each request."""

from __future__ import annotations

from tests.doubles.logged import Logged
from tests.world.rig import GET, RigCase, post


class ToldTests(RigCase):
    """One line for each kind of failure of each service."""

    def test_no_response(self) -> None:
        """Closed without a word, nonsense, silence."""
        logged = Logged(self)
        rig = self.make_rig(pool={"response_timeout": 5.0}, limits={"max_attempts": 1})
        for _ in "12":
            closing, talking, silent = (rig.slot(name=name) for name in ("closing", "talking", "silent"))
            for _ in (closing, talking, silent):
                rig.client(post(b"x"))
            closing.close()
            talking.send(b"nonsense\r\n\r\n")
            rig.settle()
            rig.pass_time(6.0)
        lines = sorted(line for line in logged.lines if line.startswith("pool default: no response"))
        self.assertEqual([line.partition(" of ")[2].partition(":")[0] for line in lines], ["closing", "silent", "talking"])
        self.assertEqual(rig.pool.counts.codes, {502: 4, 504: 2})

    def test_broken_off(self) -> None:
        """After its head."""
        logged = Logged(self)
        rig = self.make_rig()
        service = rig.slot(name="broken")
        rig.client(GET)
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
        rig.settle()
        service.close()
        rig.settle()
        self.assertEqual(len([line for line in logged.lines if "a response of broken broke off: " in line]), 1, logged.lines)
