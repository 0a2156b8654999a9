"""A worker as its parent has it: how it is started, and how it ends, in words."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, List

from twisted.internet import reactor
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.doubles.handoff import until
from xproxy.handoff.boxes import encode_box
from xproxy.workers import process
from xproxy.workers.messages import Drained, FromWorker, Hello, Tell, encode
from xproxy.workers.process import MAX_LINE_BYTES, IWorker, WorkerProcess, environment, how_ended


class WordTests(SynchronousTestCase):
    def test_how_it_ended(self) -> None:
        for reason, words in (
            (ProcessDone(0), "exit status 0"),
            (ProcessTerminated(1, None, 256), "exit status 1"),
            (ProcessTerminated(None, int(signal.SIGKILL), 9), "killed by SIGKILL"),
            (ProcessTerminated(None, 99, 99), "killed by signal 99"),
        ):
            self.assertEqual(words, how_ended(reason))

    def test_environment(self) -> None:
        """Modules are found as we find them; what a service manager says is said to the parent."""
        self.patch(
            os, "environ", {"LISTEN_FDS": "3", "LISTEN_PID": "1", "NOTIFY_SOCKET": "/x", "HOME": "/h", "WATCHDOG_USEC": "1"}
        )
        variables = environment()
        self.assertEqual({"HOME", "PYTHONPATH"}, set(variables))
        self.assertIn(
            os.path.dirname(os.path.dirname(os.path.dirname(process.__file__))), variables["PYTHONPATH"].split(os.pathsep)
        )


class Employer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: List[FromWorker] = []
        self.muttered: List[str] = []
        self.ended: List[str] = []

    def worker_heard(self, worker: Any, message: FromWorker) -> None:
        """See IEmployer."""
        self.heard.append(message)

    def worker_muttered(self, worker: Any, line: str) -> None:
        """See IEmployer."""
        self.muttered.append(line)

    def worker_ended(self, worker: Any, how: str) -> None:
        """See IEmployer."""
        self.ended.append(how)


class ProcessTests(TestCase):
    """Real ones, but with a program of the test's."""

    timeout = 60

    def start(self, program: str) -> WorkerProcess:
        """A worker that is this program."""
        self.employer = Employer()
        directory = self.mktemp()
        package = os.path.join(directory, "xproxy", "workers")
        os.makedirs(package)
        for name, text in (("../__init__.py", ""), ("__init__.py", ""), ("__main__.py", program)):
            with open(os.path.join(package, name), "w", encoding="utf-8") as file:
                file.write(text)
        worker = WorkerProcess(reactor, 7, self.employer, {"PYTHONPATH": os.path.abspath(directory)})
        self.assertTrue(verifyObject(IWorker, worker))
        return worker

    async def over(self, worker: WorkerProcess) -> None:
        """Wait for its end, and for that of what it has started."""
        await worker.ended
        await until(lambda: worker._process is None or not worker._process.pipes)

    async def test_what_it_is_started_with(self) -> None:
        """A number, a reactor, and the control connection alone of all sockets that are open here."""
        worker = self.start(
            "import os, stat, sys\n"
            "found = [n for n in range(256) if os.path.exists(f'/proc/self/fd/{n}') and stat.S_ISSOCK(os.fstat(n).st_mode)]\n"
            "print(sys.argv[1:], found, repr(sys.stdin.read()), file=sys.stderr)\n"
        )
        await self.over(worker)
        module = type(reactor).__module__
        self.assertEqual([f"['7', '{module}'] [3] ''"], self.employer.muttered)
        self.assertEqual((["exit status 0"], 0), (self.employer.ended, worker.pid))

    async def test_mutterings(self) -> None:
        """Lines are told one by one, and none is endless."""
        worker = self.start(
            f"import sys\nsys.stderr.write('one\\n\\ntwo\\n' + 'x' * {3 * MAX_LINE_BYTES} + '\\nend\\n')\nsys.exit(3)\n"
        )
        await self.over(worker)
        await until(lambda: self.employer.muttered[-1:] == ["end"])
        self.assertEqual(["one", "two"], self.employer.muttered[:2])
        self.assertLessEqual(max(map(len, self.employer.muttered)), MAX_LINE_BYTES)
        self.assertEqual(["exit status 3"], self.employer.ended)

    async def test_last_words(self) -> None:
        """What it says right before it ends is heard before its end is told."""
        said = encode_box(encode(Drained({"counts": {}})))
        worker = self.start(f"import os\nos.write(3, {said!r})\n")
        order: List[str] = []
        self.patch(self.employer, "worker_heard", lambda worker, message: order.append(type(message).__name__))
        self.patch(self.employer, "worker_ended", lambda worker, how: order.append(how))
        worker.processExited(Failure(ProcessDone(0)))  # Told before anything was read, as on a busy host.
        await self.over(worker)
        self.assertEqual(["Drained", "exit status 0"], order)

    async def test_it_leaves_somebody(self) -> None:
        """What it has started, and keeps the control connection, is not waited for, but for last words."""
        worker = self.start(
            "import os, time\nos.set_inheritable(3, True)\nif os.fork() == 0:\n    os.read(3, 1)\n    os._exit(0)\n"
        )
        await self.over(worker)
        self.assertEqual(["exit status 0"], self.employer.ended)

    async def test_speaks_nonsense(self) -> None:
        """What can't be understood costs a worker its life."""
        worker = self.start("import os, time\nos.write(3, b'GET / HTTP/1.1\\r\\n\\r\\n')\ntime.sleep(60)\n")
        await self.over(worker)
        self.assertEqual(["killed by SIGKILL (a key is longer than 255 bytes)"], self.employer.ended)

    async def test_killed(self) -> None:
        """It is gone when it is told so; killing it again does nothing, nor does speaking to it."""
        worker = self.start("import os\nos.read(3, 1)\nwhile True: os.read(3, 1)\n")
        worker.kill()
        worker.kill()
        await self.over(worker)
        worker.kill()
        worker.say(Tell(1))
        self.assertEqual((["killed by SIGKILL"], []), (self.employer.ended, self.employer.heard))

    async def test_cannot_be_started(self) -> None:
        """That is told as an end, and later, not while it is made."""
        self.patch(sys, "executable", "/nonexistent/python")
        worker = self.start("")
        self.assertEqual([], self.employer.ended)
        await self.over(worker)
        self.assertEqual(1, len(self.employer.ended))
        worker.say(Tell(1))

    async def test_the_real_one(self) -> None:
        """It says who it is, and ends with its parent's end of the connection."""
        self.employer = Employer()
        worker = WorkerProcess(reactor, 1, self.employer, environment())
        await until(lambda: self.employer.heard)
        self.assertIsInstance(self.employer.heard[0], Hello)
        transport: Any = worker._link.transport
        transport.loseConnection()
        await self.over(worker)
        self.assertEqual((["exit status 0"], []), (self.employer.ended, self.employer.muttered))
