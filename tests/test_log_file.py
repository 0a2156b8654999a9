"""Tests for the file of a log: nothing waits for it, what it does not take is lost and counted, and it is found again."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import threading
from typing import Any, Callable, List

from twisted.trial.unittest import SynchronousTestCase

from xproxy.log_file import MAX_HELD_BYTES, NOT_TAKEN, LogFile

PATIENCE_S = 30.0
"""How long a test waits for a thread."""
CHANCE_S = 0.1
"""How long a thread has for what it must not do."""


class LogFileTestCase(SynchronousTestCase):
    """A log and its file."""

    def setUp(self) -> None:
        self.path = self.mktemp()

    def log(self, path: str = "", begin: bool = True) -> LogFile:
        """A log, closed at the end."""
        log = LogFile(path or self.path)
        self.addCleanup(log.close)
        if begin:
            log.begin()
        return log

    def content(self, path: str = "") -> bytes:
        """What is in the file."""
        with open(path or self.path, "rb") as file:
            return file.read()

    def written(self, log: LogFile, *lines: bytes) -> None:
        """Write, and wait until that is done."""
        for line in lines:
            log.write(line)
        self.assertTrue(log.drain(PATIENCE_S))


class PlainFileTests(LogFileTestCase):
    """A file."""

    def test_appended(self) -> None:
        """To what is there, in the order written."""
        with open(self.path, "wb") as file:
            file.write(b"before\n")
        self.written(self.log(), b"one\n", b"two\nthree\n")
        self.assertEqual(self.content(), b"before\none\ntwo\nthree\n")

    def test_nothing_before_the_beginning(self) -> None:
        """A daemon forks in between: no thread may have been begun, and nothing is written twice."""
        before = threading.active_count()
        log = self.log(begin=False)
        log.write(b"one\n")
        self.assertEqual((self.content(), threading.active_count()), (b"", before))
        log.begin()
        self.written(log, b"two\n")
        self.assertEqual(self.content(), b"one\ntwo\n")

    def test_an_end_before_the_beginning(self) -> None:
        """A start that has failed says so in the log."""
        log = self.log(begin=False)
        log.write(b"one\n")
        self.assertTrue(log.drain())
        self.assertEqual(self.content(), b"one\n")

    def test_the_interpreter_ends(self) -> None:
        """What was written last is in the file."""
        program = (
            "import sys; from xproxy.log_file import LogFile; log = LogFile(sys.argv[1]); "
            "log.begin() if len(sys.argv) > 2 else None; log.write(b'last\\n'); raise SystemExit(3)"
        )
        for more in ([], ["begin"]):
            self.path = os.path.abspath(self.mktemp())
            ended = subprocess.run([sys.executable, "-c", program, self.path, *more], capture_output=True, check=False)
            self.assertEqual((ended.returncode, ended.stderr, self.content()), (3, b"", b"last\n"))

    def test_reopened(self) -> None:
        """After the file was moved away."""
        log = self.log()
        self.written(log, b"one\n")
        os.rename(self.path, self.path + ".1")
        self.written(log, b"two\n")
        log.reopen()
        self.written(log, b"three\n")
        self.assertEqual((self.content(self.path + ".1"), self.content()), (b"one\ntwo\n", b"three\n"))

    def test_not_reopened(self) -> None:
        """The old file is written on, and why is known."""
        log = self.log()
        self.written(log, b"one\n")
        os.rename(self.path, self.path + ".1")
        os.mkdir(self.path)
        log.reopen()
        self.written(log, b"two\n")
        self.assertEqual((self.content(self.path + ".1"), log.not_opened), (b"one\ntwo\n", "is a directory"))

    def test_closed(self) -> None:
        """When everything is written; what comes later is lost."""
        log = self.log()
        log.write(b"one\n")
        log.close()
        thread = log._thread
        assert thread is not None
        thread.join(PATIENCE_S)
        self.assertFalse(thread.is_alive())
        log.write(b"two\n")
        self.assertEqual((self.content(), log.lost), (b"one\n", 1))

    def test_not_there(self) -> None:
        """Opening fails at once, for a FIFO too that nobody reads."""
        os.mkfifo(self.path)
        self.assertEqual(errno.ENXIO, self.assertRaises(OSError, LogFile, self.path).errno)
        self.assertEqual(errno.ENOENT, self.assertRaises(OSError, LogFile, "/nowhere/log").errno)


class FullTests(LogFileTestCase):
    """A file that takes nothing."""

    def test_a_full_disk(self) -> None:
        """Lines are lost, each is counted, and the reason is known."""
        log = self.log("/dev/full")
        self.written(log, b"one\ntwo\n", b"three\n")
        self.assertEqual((log.lost, log.reason), (3, "no space left on device"))

    def test_the_middle_of_a_line(self) -> None:
        """A line that was cut when the disk was full is ended before the next one."""
        log = self.log()
        room = [5]

        def write(descriptor: int, data: Any) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            size = real(descriptor, data[: room[0]])
            room[0] -= size
            return size

        real: Callable[[int, Any], int] = os.write
        self.patch(os, "write", write)
        self.written(log, b"1234\n1234\n1234\n")
        self.assertEqual((self.content(), log.lost), (b"1234\n", 2))
        room[0] = 2
        self.written(log, b"1234\n1234\n")
        self.assertEqual((self.content(), log.lost), (b"1234\n12", 4))
        self.written(log, b"1234\n")
        self.assertEqual(log.lost, 5)
        room[0] = 1000
        self.written(log, b"5678\n")
        self.assertEqual((self.content(), log.lost), (b"1234\n12\n5678\n", 5))


class PipeTests(LogFileTestCase):
    """A pipe that is read late, or never."""

    def setUp(self) -> None:
        super().setUp()
        os.mkfifo(self.path)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.opened = True
        self.addCleanup(self.leave)

    def leave(self) -> None:
        """Read no more."""
        if self.opened:
            os.close(self.reader)
            self.opened = False

    def read(self, size: int) -> bytes:
        """So many bytes."""
        got = b""
        while len(got) < size:
            self.assertTrue(select.select([self.reader], [], [], PATIENCE_S)[0], got[-100:])
            got += os.read(self.reader, 65536)
        return got

    def test_nobody_reads(self) -> None:
        """Nothing waits; what does not fit is lost; when somebody reads again, whole lines come, and it goes on."""
        log = self.log()
        line = b"x" * 99 + b"\n"
        sent = 3 * MAX_HELD_BYTES // len(line)
        for _ in range(sent):
            log.write(line)
        self.assertFalse(log.drain(0.0))
        self.assertGreater(log.lost, sent // 3)
        self.assertEqual(log.reason, NOT_TAKEN)
        taken = sent - log.lost
        self.assertEqual(self.read(taken * len(line)), line * taken)
        self.written(log, b"on\n")
        self.assertEqual(self.read(3), b"on\n")

    def test_pieces_are_whole_lines(self) -> None:
        """Several processes may write to one pipe: what is written at a time is not mixed with what others write."""
        pieces: List[bytes] = []
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            pieces.append(bytes(data))
            return real(descriptor, data)

        self.patch(os, "write", write)
        log = self.log(begin=False)
        for size in (3000, 1000, 2000, 10, 9000, 10):
            log.write(b"x" * (size - 1) + b"\n")
        log.begin()
        self.read(15020)
        self.assertTrue(log.drain(PATIENCE_S))
        self.assertEqual([len(piece) for piece in pieces], [4000, 2010, 4096, 4096, 818])

    def test_two_logs_of_a_process(self) -> None:
        """Lines longer than a pipe takes whole are not mixed: who has begun one ends it before the other writes."""
        lines = [b"%d" % number * 6999 + b"\n" for number in range(2)]
        logs = [self.log(begin=False) for _ in lines]
        mixed = threading.Event()
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if data[0] == ord("1"):
                mixed.set()
            written = real(descriptor, data)
            if data[0] == ord("0") and data[-1] != ord("\n"):
                logs[1].begin()
                self.assertFalse(mixed.wait(CHANCE_S), "the other one writes in the middle of a line")
            return written

        self.patch(os, "write", write)
        for log, line in zip(logs, lines):
            log.write(line)
        logs[0].begin()
        got = self.read(2 * 7000)
        self.assertEqual(got, lines[0] + lines[1])

    def test_the_reader_is_gone(self) -> None:
        """Lines are lost; nobody is killed by a signal."""
        log = self.log()
        self.leave()
        self.written(log, b"one\n")
        self.assertEqual((log.lost, log.reason), (1, "broken pipe"))


class StandardOutputTests(SynchronousTestCase):
    """``-``."""

    def test_closed(self) -> None:
        """A program without standard output must not write into what has its number by now."""
        self.patch(sys, "__stdout__", None)
        log = LogFile("-")
        log.begin()
        log.write(b"one\n")
        self.assertTrue(log.drain(PATIENCE_S))
        self.assertEqual(log.lost, 1)
        log.close()

    def test_written(self) -> None:
        """It is not opened again, and not closed."""
        program = (
            "import os; from xproxy.log_file import LogFile; log = LogFile('-'); log.begin(); log.write(b'one\\n'); "
            "log.reopen(); log.write(b'two\\n'); log.close(); log._thread.join(); os.write(1, b'three\\n')"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        self.assertEqual(ended.stdout, b"one\ntwo\nthree\n")
