"""The access log: what a line says, what can't be smuggled into one, and when lines are written."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from typing import Any, Dict, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.logged import Logged
from xproxy.http1.limits import DEFAULT_LIMITS
from xproxy.http1.request import RequestHead, parse_request_head
from xproxy.proxy.requests.access_log import MAX_HELD_LINES, AccessLog


def head(*fields: bytes, target: bytes = b"/a?b", version: bytes = b"1.1") -> RequestHead:
    """A request head with these fields."""
    lines = [b"GET " + target + b" HTTP/" + version, b"Host: example.com", *fields]
    return parse_request_head(b"\r\n".join(lines) + b"\r\n\r\n", DEFAULT_LIMITS)


class Disk(io.StringIO):
    """A file on a disk that may be full."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


class LineTests(SynchronousTestCase):
    """One line for each answer."""

    def line(self, form: str, request: Optional[RequestHead], **changes: Any) -> str:
        """The line that an answer makes."""
        values: Dict[str, Any] = {"status": 200, "sent_bytes": 12, "seconds": 0.25, "pool": "default", "request_id": b"id-1"}
        values.update(changes)
        file = io.StringIO()
        log = AccessLog(file, form, owned=False)
        log.add("192.0.2.1", request, **values)
        log.flush()
        return file.getvalue()

    def test_combined(self) -> None:
        """As Apache's and nginx's ``combined``."""
        line = self.line("combined", head(b"User-Agent: curl/8", b"Referer: http://a/", version=b"1.0"))
        self.assertRegex(
            line,
            r"^192\.0\.2\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
            r'"GET /a\?b HTTP/1\.0" 200 12 "http://a/" "curl/8"\n$',
        )

    def test_absent(self) -> None:
        """What is not there is a dash."""
        self.assertTrue(self.line("combined", head()).endswith('"GET /a?b HTTP/1.1" 200 12 "-" "-"\n'))
        self.assertTrue(self.line("combined", None, status=400).endswith('] "-" 400 12 "-" "-"\n'))

    def test_nothing_ends_the_quotes(self) -> None:
        """Quotes, backslashes and everything beyond printable ASCII are escaped as nginx does."""
        line = self.line("combined", head(b'User-Agent: a"b\\c\td\xe9" 200', b"Referer: \xff"))
        self.assertTrue(line.endswith(' "\\xFF" "a\\x22b\\x5Cc\\x09d\\xE9\\x22 200"\n'), line)
        self.assertTrue(line.isascii())
        self.assertEqual(len(re.findall('"', line)), 6)

    def test_quote_in_a_target(self) -> None:
        """The target is a client's text as well."""
        log = self.line("combined", RequestHead(b"GET", b'/"x\\', 1, head().fields, b"example.com", b"/"))
        self.assertIn('"GET /\\x22x\\x5C HTTP/1.1"', log)

    def test_json(self) -> None:
        """One object a line, with what the numbers need."""
        line = self.line("json", head(b'User-Agent: a"b\\c\xe9', b"Referer: r"), seconds=0.123456789)
        self.assertTrue(line.endswith("}\n"))
        self.assertTrue(line.isascii())
        found = json.loads(line)
        self.assertRegex(found.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$")
        self.assertEqual(
            found,
            {
                "peer": "192.0.2.1",
                "method": "GET",
                "target": "/a?b",
                "version": "HTTP/1.1",
                "status": 200,
                "bytes": 12,
                "seconds": 0.123457,
                "referer": "r",
                "agent": 'a"b\\c\xe9',
                "pool": "default",
                "request_id": "id-1",
            },
        )

    def test_json_without_a_request(self) -> None:
        """What was no request has no method."""
        found = json.loads(self.line("json", None, status=400, pool="", request_id=b""))
        self.assertEqual((found["method"], found["target"], found["version"], found["status"]), ("", "", "", 400))


class WritingTests(SynchronousTestCase):
    """When lines reach the file."""

    def setUp(self) -> None:
        self.file = Disk()
        self.log = AccessLog(self.file, "combined", owned=True)

    def add(self, count: int) -> None:
        """Log so many answers."""
        for _ in range(count):
            self.log.add("192.0.2.1", None, 400, 0, 0.0, "", b"")

    def lines(self) -> int:
        """How many lines are in the file."""
        return self.file.getvalue().count("\n")

    def test_held_until_flushed(self) -> None:
        """One write for many lines."""
        self.add(3)
        self.assertEqual(self.lines(), 0)
        self.log.flush()
        self.assertEqual(self.lines(), 3)
        self.log.flush()
        self.assertEqual(self.lines(), 3)

    def test_never_too_many_held(self) -> None:
        """Memory is bounded, whatever comes between two sweeps."""
        self.add(MAX_HELD_LINES - 1)
        self.assertEqual(self.lines(), 0)
        self.add(1)
        self.assertEqual(self.lines(), MAX_HELD_LINES)

    def test_lost_lines_are_told(self) -> None:
        """A full disk costs lines, not requests; the log says how many."""
        events = Logged(self).events
        self.file.full = True
        self.add(2)
        self.log.flush()
        lost = [event for event in events if "are lost" in event["log_format"]]
        self.assertEqual([event["count"] for event in lost], [2])
        self.file.full = False
        self.add(1)
        self.log.flush()
        self.assertEqual(self.lines(), 1)

    def test_close(self) -> None:
        """The rest is written, and a file of ours is closed."""
        path = self.mktemp()
        log = AccessLog(open(path, "a", encoding="utf-8"), "combined", owned=True)  # noqa: SIM115  # The log closes it.
        log.add("192.0.2.1", None, 400, 0, 0.0, "", b"")
        log.close()
        self.assertGreater(os.stat(path).st_size, 0)
        self.add(1)
        self.log.close()
        self.assertTrue(self.file.closed)

    def test_late_lines(self) -> None:
        """What is logged after the end (a client that was cut off) does no harm."""
        self.log.close()
        self.add(MAX_HELD_LINES)
        self.log.close()

    def test_standard_output_stays_open(self) -> None:
        """It is not ours."""
        log = AccessLog(self.file, "combined", owned=False)
        log.close()
        self.assertFalse(self.file.closed)
