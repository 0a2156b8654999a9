"""Every mistake at the start ends with exit status 1 and one clear line on standard error, without a traceback."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import List, Sequence, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import ask, connect_unix
from tests.e2e.processes import Program, Xacceptor, Xproxy, configuration, short_path, twistd
from tests.e2e.services import SlotService

ANYWHERE = ("--http", "tcp:0:interface=127.0.0.1", "--slots", "tcp:0:interface=127.0.0.1", "--admin", "none")
"""An xproxy that would start."""

AT_ONCE = 4
"""Programs started together: more would only wait for the processor."""

Mistake = Tuple[Sequence[str], str]
"""A command line, and what the line on standard error has in it."""


class Refusing(SynchronousTestCase):
    """How a refusal looks."""

    def assert_refused(self, *mistakes: Mistake) -> None:
        """Start each, and see how it ends."""
        for first in range(0, len(mistakes), AT_ONCE):
            some = mistakes[first : first + AT_ONCE]
            started: List[Program] = [twistd(self, *words) for words, _ in some]
            for program, (words, expected) in zip(started, some):
                self.assertEqual(1, program.exit_status(), program.story())
                self.assertEqual(1, len(program.errors), program.story())
                self.assertTrue(program.errors[0].startswith(f"{words[0]}: "), program.story())
                self.assertIn(expected, program.errors[0])
                self.assertNotIn("Usage", program.story())


class MistakeTests(Refusing):
    """One mistake each."""

    def test_options(self) -> None:
        """Unknown, incomplete, superfluous, contradictory."""
        self.assert_refused(
            (["xproxy", "--htpt", "tcp:0"], "--htpt"),
            (["xproxy", "surplus"], "surplus"),
            (["xproxy", "--acceptor", "/run/nothing", "--slots", "tcp:0"], "--acceptor and --slots exclude each other"),
            (["xacceptor", "--handoffs", "x"], "--handoffs"),
            (["xacceptor"], "--handoff is missing"),
            (["xacceptor", "--handoff", "/tmp/x", "--allow", "10.0.0.0/33"], "10.0.0.0/33"),
            (["xrelay"], "--backend is missing"),
        )

    def test_endpoints(self) -> None:
        """Descriptions that no endpoint has, or that cannot be used."""
        self.assert_refused(
            (["xproxy", "--http", "tpc:8080"], "tpc:8080"),
            (["xproxy", "--slots", "tcp:0:interfac=127.0.0.1"], "interfac"),
            (
                ["xproxy", "--http", "tcp:0:interface=203.0.113.1", *ANYWHERE[2:]],
                "cannot listen on tcp:0:interface=203.0.113.1",
            ),
            (["xacceptor", "--handoff", short_path(self), "--slots", "udp:1"], "udp:1"),
            (["xrelay", "--backend", "tcp", "--slots", "slots:tcp:127.0.0.1:1:count=1"], "--backend"),
            (["xrelay", "--backend", "tcp:127.0.0.1:1", "--slots", "tcp:127.0.0.1:1"], "slots:"),
            (["xrelay", "--backend", "tcp:127.0.0.1:1", "--slots", "slots:tcp:127.0.0.1:1:count=none"], "count"),
        )

    def test_in_use(self) -> None:
        """Whatever listens, somebody else was first; and what listened already is not left behind."""
        busy = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(busy.close)
        taken = f"tcp:{busy.getsockname()[1]}:interface=127.0.0.1"
        handoff = short_path(self)
        self.assert_refused(
            (["xproxy", "--http", taken, *ANYWHERE[2:]], f"cannot listen on {taken}: address already in use"),
            (["xproxy", *ANYWHERE[:2], "--slots", taken, *ANYWHERE[4:]], f"cannot listen on {taken}: address already in use"),
            (["xproxy", *ANYWHERE[:4], "--admin", taken], f"cannot listen on {taken}: address already in use"),
            (["xacceptor", "--handoff", handoff, "--slots", taken], f"cannot listen on {taken}: address already in use"),
        )
        self.assertFalse(os.path.exists(handoff))

    def test_exposed(self) -> None:
        """Slots that the world can reach, and nobody said who may come. The line says what to add."""
        everywhere = "tcp:0:interface=0.0.0.0"
        advice = "allow"
        self.assert_refused(
            (["xproxy", *ANYWHERE[:2], "--slots", everywhere, *ANYWHERE[4:]], advice),
            (["xacceptor", "--handoff", short_path(self), "--slots", everywhere], advice),
        )
        for more in (["--allow", "192.0.2.0/24"], ["--config", configuration(self, '[pools.default]\ntoken = "secret"\n')]):
            proxy = twistd(self, "xproxy", *ANYWHERE[:2], "--slots", everywhere, *ANYWHERE[4:], *more)
            proxy.said("slots at")

    def test_configuration(self) -> None:
        """Files that are not there, not readable, not TOML, or say what is not understood or cannot be done."""
        latin = configuration(self, "")
        Path(latin).write_bytes(b'[proxy]\nname = "\xe4"\n')
        texts = {
            "[proxy]\nhtpt = []\n": "htpt",
            "[proxy\n": "line 1",
            '[proxy]\nhttp = "tcp:0"\n': "proxy.http",
            '[proxy]\naccess_log = "/nonexistent/access.log"\n': "/nonexistent/access.log",
        }
        files = [(configuration(self, text), part) for text, part in texts.items()]
        self.assert_refused(
            (["xproxy", "--config", "/nonexistent/xproxy.toml"], "/nonexistent/xproxy.toml"),
            (["xproxy", "--config", "/"], "directory"),
            (["xproxy", "--config", latin], latin),
            *((["xproxy", *ANYWHERE, "--config", file], part) for file, part in files),
            (["xacceptor", "--handoff", short_path(self), "--config", files[0][0]], "htpt"),
        )


class HandoffPathTests(Refusing):
    """What can be at the path of the handoff socket."""

    def behind(self, path: str) -> Sequence[str]:
        """A proxy whose acceptor should be there."""
        return ["xproxy", *ANYWHERE[:2], "--admin", "none", "--acceptor", path]

    def before(self, path: str) -> Sequence[str]:
        """An acceptor that is to listen there."""
        return ["xacceptor", "--slots", "tcp:0:interface=127.0.0.1", "--handoff", path]

    def test_paths(self) -> None:
        """Nothing there, no directory, no socket, too long."""
        missing = short_path(self)
        file = short_path(self)
        Path(file).write_text("precious", encoding="utf-8")
        long = "/tmp/" + "x" * 120
        self.assert_refused(
            (self.behind(missing), f"{missing} does not exist"),
            (self.behind(file), "not a socket"),
            (self.behind(long), "107"),
            (self.before("/nonexistent/handoff.sock"), "/nonexistent"),
            (self.before(file), "not a socket"),
            (self.before(long), "107"),
        )
        self.assertEqual("precious", Path(file).read_text(encoding="utf-8"))

    def test_stale(self) -> None:
        """The socket of an acceptor that was killed: a proxy says so, a new acceptor replaces it."""
        dead = Xacceptor(self).ready()
        dead.kill()
        self.assertTrue(os.path.exists(dead.handoff))
        self.assert_refused((self.behind(dead.handoff), "stale"))
        acceptor = Xacceptor(self, handoff=dead.handoff).ready()
        SlotService(self, acceptor.slots, 1)
        proxy = Xproxy(self, "--acceptor", dead.handoff).ready()
        self.assertEqual(200, ask(proxy.http).status)

    def test_live(self) -> None:
        """The socket of an acceptor that runs is not replaced, and that acceptor does not notice."""
        acceptor = Xacceptor(self).ready()
        proxy = Xproxy(self, "--acceptor", acceptor.handoff).ready()
        SlotService(self, acceptor.slots, 1)
        inode = os.stat(acceptor.handoff).st_ino
        self.assert_refused((self.before(acceptor.handoff), "in use"))
        self.assertEqual(inode, os.stat(acceptor.handoff).st_ino)
        self.assertEqual(0o600, os.stat(acceptor.handoff).st_mode & 0o777)
        self.assertEqual(200, ask(proxy.http).status)
        connect_unix(acceptor.handoff).close()
        self.assertNotIn("is lost", proxy.story())
