"""A file that lines are appended to without waiting for it: a thread of its own writes.

The access log and the program's own log write here. A write can take as long as it likes: standard output may be a pipe that
nobody reads, a terminal that was stopped with Ctrl-S, a disk that is slow or a file on a host that is gone. O_NONBLOCK does
nothing for files, and on a standard output that is shared with others it would not be ours alone. So the thread may stand
still, and what the reactor's thread does is to put bytes into a queue, which is bounded: what does not fit is lost and counted.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import stat
import sys
import threading
from collections import deque
from typing import Deque, Dict, List, Optional, Tuple

from .startup import os_reason

STANDARD_OUTPUT = "-"

MAX_HELD_BYTES = 1024 * 1024
"""What may wait to be written: some 10,000 lines. Past it lines are lost."""

BATCH_BYTES = 64 * 1024
"""What is taken out of the queue at a time: a reader that is slow makes room as it reads."""

END_WAIT_S = 2.0
"""How long the end of the program is put off for what is still to be written."""

NOT_TAKEN = "nobody takes them"
"""Why lines are lost that did not fit into MAX_HELD_BYTES."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""O_APPEND: several processes may append to one file. O_NONBLOCK: a FIFO that nobody has opened for reading is an error now and
not a wait (fifo(7)); for files it means nothing."""

_TURNS: Dict[Tuple[int, int], threading.Lock] = {}
"""By device and inode: held while something is written to a file that two may write to, such as standard output."""


class LogFile:
    """One file of lines. All methods but ``drain`` return at once, in any thread.

    Nothing is written before ``begin``, so that a daemon may fork in between: the thread would stay behind.

    :param path: of a file, made when there is none, or STANDARD_OUTPUT, which is not closed by ``close``.
    :raises OSError: it can't be opened.
    :ivar lost: lines that could not be written so far.
    :ivar reason: why the last of them were.
    :ivar not_opened: why the path could not be opened again; empty: it was, or whoever says it has taken note.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lost = 0
        self.reason = ""
        self.not_opened = ""
        self._waiting: Deque[bytes] = deque()
        self._held = 0
        self._begun = self._reopen = self._closed = False
        self._torn = False
        """The file ends in the middle of a line."""
        self._thread: Optional[threading.Thread] = None
        self._news = threading.Condition()
        self._descriptor = _standard_output() if path == STANDARD_OUTPUT else os.open(path, _FLAGS, 0o666)
        self._look_at_file()
        atexit.register(self.drain)

    def _look_at_file(self) -> None:
        """What is written to a pipe is whole lines of at most PIPE_BUF bytes, which are not mixed with others' (pipe(7)).

        Longer ones are not mixed with those of this process: who has begun a line there ends it before another one writes.
        """
        status = os.fstat(self._descriptor) if self._descriptor >= 0 else None
        mode = status.st_mode if status is not None else 0
        self._piece_bytes = select.PIPE_BUF if stat.S_ISFIFO(mode) else MAX_HELD_BYTES
        self._never_waits = stat.S_ISREG(mode)
        self._turn = threading.Lock()
        if status is not None and not self._never_waits:
            self._turn = _TURNS.setdefault((status.st_dev, status.st_ino), self._turn)

    # -- what its user calls

    def begin(self) -> None:
        """Write from now on: no fork comes any more."""
        with self._news:
            self._begun = True
            self._wake()

    def write(self, lines: bytes) -> None:
        """Append whole lines as soon as the file takes them."""
        with self._news:
            if self._held + len(lines) > MAX_HELD_BYTES or self._closed:
                self.lost += lines.count(b"\n")
                self.reason = NOT_TAKEN
                return
            self._held += len(lines)
            self._waiting.append(lines)
            if self._begun:
                self._wake()

    def reopen(self) -> None:
        """Open the path again, since the file was moved away; where that fails, the old one is written on."""
        with self._news:
            self._reopen = self.path != STANDARD_OUTPUT
            self._wake()

    def drain(self, timeout_s: float = END_WAIT_S) -> bool:
        """Wait until everything is written, and give whether it is. Called by itself when the interpreter ends."""
        with self._news:
            if self._begun and not (self._held and self._thread is None):
                return self._news.wait_for(lambda: not self._held, timeout_s)
        if self._never_waits:  # No thread was begun yet, and none can be when the interpreter ends.
            while self._held:
                self._work()
        return not self._held

    def close(self) -> None:
        """End when everything is written."""
        atexit.unregister(self.drain)
        with self._news:
            self._closed = self._begun = True
            self._wake()

    # -- the thread

    def _wake(self) -> None:
        if self._thread is not None:
            self._news.notify_all()
            return
        self._thread = threading.Thread(target=self._run, name=f"log {self.path}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # The interpreter ends.
            self._thread = None

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._reopen or self._closed)
                if self._closed and not self._waiting:
                    break
            self._work()
        if self.path != STANDARD_OUTPUT:
            os.close(self._descriptor)

    def _work(self) -> None:
        """Write some of what waits."""
        with self._news:
            batch = self._next_batch()
            reopen, self._reopen = self._reopen, False
        if reopen:
            self._open_again()
        written = self._append(batch)
        with self._news:
            self._held -= len(batch)
            self.lost += batch.count(b"\n", written)
            self._news.notify_all()

    def _next_batch(self) -> bytes:
        parts: List[bytes] = []
        size = 0
        while self._waiting and size < BATCH_BYTES:
            parts.append(self._waiting.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    def _open_again(self) -> None:
        try:
            descriptor = os.open(self.path, _FLAGS, 0o666)
        except OSError as error:
            self.not_opened = os_reason(error)
            return
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._torn = False
        self._look_at_file()

    def _append(self, batch: bytes) -> int:
        """Write; gives how much was written before an error."""
        with self._turn:
            return self._append_in_turn(batch)

    def _append_in_turn(self, batch: bytes) -> int:
        at = 0
        try:
            if self._torn and batch:
                self._write(b"\n", 0, 1)
                self._torn = False
            while at < len(batch):
                end = len(batch)
                if end - at > self._piece_bytes:
                    end = batch.rfind(b"\n", at, at + self._piece_bytes) + 1 or at + self._piece_bytes
                at += self._write(batch, at, end)
        except OSError as error:
            self.reason = os_reason(error)
            self._torn = self._torn or batch[at - 1 : at] not in (b"", b"\n")
        return at

    def _write(self, batch: bytes, at: int, end: int) -> int:
        """Write some of it, as soon as that can be done. Raises OSError."""
        while True:
            try:
                return os.write(self._descriptor, memoryview(batch)[at:end])
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()


def check_path(path: str) -> None:
    """Whether ``LogFile(path)`` would do; a file that is not there is not made. Raises OSError."""
    if path == STANDARD_OUTPUT:
        return
    try:
        os.close(os.open(path, _FLAGS & ~os.O_CREAT))
    except FileNotFoundError:
        directory = os.path.dirname(path) or "."
        if not os.path.isdir(directory):
            raise
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from None


def _standard_output() -> int:
    """Its descriptor; -1, to which nothing can be written, where there is none: the number may be something else's then."""
    return -1 if sys.__stdout__ is None else 1
