"""No input makes the parsers slow: 16 times the bytes take about 16 times the time, not 256 times."""

from __future__ import annotations

import time
from functools import partial
from typing import Callable

from twisted.trial.unittest import TestCase

from tests.http1.messages import read
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.paths import resolved_path
from xproxy.http1.request import head_end

WIDE = HeadLimits(request_line=10**7, header=10**7, head=10**7, header_count=10**7, trailers=10**7, chunk_line=10**7)
SMALL, LARGE = 32_000, 512_000
"""The smaller one is what the default limits let in; below it the tracing of PyPy weighs more than the parsing."""
QUADRATIC = 64.0
"""Between the ratio of a linear parser (16) and that of a quadratic one (256)."""
NOTHING_S = 0.05
"""What is over in this time is not quadratic: the cheapest look at what follows, taken at every fourth byte, takes seconds."""


def _request(lines: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n"


def _chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


HOSTILE = {
    "token without colon": lambda size: _request(b"a" * size),
    "value of spaces": lambda size: _request(b"X: " + b" " * size + b"a"),
    "value of spaces, then NUL": lambda size: _request(b"X: " + b" " * size + b"\0"),
    "value of tabs, then CR": lambda size: _request(b"X:" + b"\t" * size + b"\r"),
    "short lines, the last bad": lambda size: _request(b"a:\r\n" * (size // 4) + b"b"),
    "short lines, the first bad": lambda size: _request(b"b\r\n" + b"a:\r\n" * (size // 4) + b"a:"),
    "bad lines": lambda size: _request(b"a\r\n" * (size // 3)),
    "colons": lambda size: _request(b":" * size),
    "CRs": lambda size: _request(b"X: " + b"\r" * size),
    "same field": lambda size: _request(b"X-Forwarded-For: a\r\n" * (size // 20) + b"a"),
    "Connection list": lambda size: _request(b"Connection: " + b"a," * (size // 2)),
    "Connection of commas": lambda size: _request(b"Connection: " + b", " * (size // 2) + b'"'),
    "Upgrade list": lambda size: _request(b"Connection: upgrade\r\nUpgrade: " + b"a/" * (size // 2)),
    "long host": lambda size: b"GET / HTTP/1.1\r\nHost: " + b"a." * (size // 2) + b",\r\n\r\n",
    "long length": lambda size: _request(b"Content-Length: " + b"9" * size),
    "long target": lambda size: b"GET /" + b"a?" * (size // 2) + b"# HTTP/1.1\r\n\r\n",
    "absolute target": lambda size: b"GET http://" + b"a:" * (size // 2) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many targets": lambda size: b"GET " + b"/ " * (size // 2) + b"HTTP/1.1\r\n\r\n",
    "long method": lambda size: b"A" * size + b"\r\n\r\n",
    "long length of zeros": lambda size: _request(b"Content-Length: " + b"0" * size + b"x"),
    "spaces around a target": lambda size: (
        b"GET" + b" " * (size // 2) + b"/" + b" " * (size // 2) + b"HTTP/1.x\r\nHost: a\r\n\r\n"
    ),
    "empty lines": lambda size: b"\r\n" * (size // 2) + b"\r",
    "controls, the last a NUL": lambda size: _request(b"X: " + b"\x01" * size + b"\0"),
    "lines with controls, the last bad": lambda size: _request(b"X: \x01\r\n" * (size // 6) + b"x"),
    "chunk size behind zeros": lambda size: _chunked(b"0" * size + b"1 x"),
    "chunk size of zeros": lambda size: _chunked(b"0" * size),
    "chunk extensions": lambda size: _chunked(b"1" + b";a=b" * (size // 4) + b" \r\n"),
    "chunk extension of tokens": lambda size: _chunked(b"1;" + b"a" * size + b" \r\n"),
    "chunk extension quoted": lambda size: _chunked(b'1;a="' + b"\\a" * (size // 2) + b"\r\n"),
    "chunk extension of quotes": lambda size: _chunked(b"1" + b';a=""' * (size // 5) + b"\n"),
    "tiny chunks": lambda size: _chunked(b"1\r\na\r\n" * (size // 6) + b"x"),
    "trailers": lambda size: _chunked(b"0\r\n" + b"a:\r\n" * (size // 4) + b"b\r\n\r\n"),
}
"""Each makes a message of about the given size that a backtracking parser would chew on."""


def seconds(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


class LinearTests(TestCase):
    def assert_linear(self, name: str, run: Callable[[int], Callable[[], object]]) -> None:
        """The best of a few calls of either size: what else the machine does makes a call longer, never shorter."""
        small, large = run(SMALL), run(LARGE)
        long_s = seconds(large)
        short_s = min(seconds(small) for _ in range(3))
        for _ in range(5):
            if long_s < max(QUADRATIC * short_s, NOTHING_S):
                return
            long_s, short_s = min(long_s, seconds(large)), min(short_s, seconds(small))
        self.fail(f"{name}: {long_s / short_s:.1f} times the time for {LARGE // SMALL} times the bytes")

    def test_hostile_messages(self) -> None:
        """Expressions that could backtrack get every chance to."""

        def attempt(message: bytes) -> None:
            try:
                read([message], HeadLimits(**_sizes(WIDE)))
            except BadMessage:
                return

        for name, make in HOSTILE.items():
            self.assert_linear(name, partial(_prepared, attempt, make))

    def test_resumed_search(self) -> None:
        """A head that arrives line by line is searched once, given what was searched before."""

        def drip(size: int) -> Callable[[], object]:
            def run() -> None:
                buffer = bytearray(b"GET / HTTP/1.1\r\n")
                for _ in range(size // 16):
                    searched = len(buffer)
                    buffer.extend(b"X: 3456789abcd\r\n")
                    self.assertEqual(head_end(buffer, WIDE, 0, searched), 0)

            return run

        self.assert_linear("drip", drip)

    def test_paths(self) -> None:
        """The same for paths full of dots and escapes."""
        for part in (b"/..", b"/.", b"%2e", b"%", b"//", b"/a/..", b";"):
            self.assert_linear(repr(part), partial(_prepared, resolved_path, partial(_repeated, part)))


def _prepared(run: Callable[[bytes], object], make: Callable[[int], bytes], size: int) -> Callable[[], object]:
    """A run over an input of this size, which is made beforehand."""
    return partial(run, make(size))


def _repeated(part: bytes, size: int) -> bytes:
    return b"/" + part * (size // len(part))


def _sizes(limits: HeadLimits) -> dict[str, int]:
    return {
        "request_line": limits.request_line, "header": limits.header, "head": limits.head,
        "header_count": limits.header_count, "trailers": limits.trailers, "chunk_line": limits.chunk_line,
    }  # fmt: skip
