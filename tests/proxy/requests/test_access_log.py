"""The access log: what a line says, what can't be smuggled into one, and when lines are written."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.logged import Logged
from tests.doubles.memory_log import MemoryLog
from xproxy.http1.limits import DEFAULT_LIMITS
from xproxy.http1.request import RequestHead, parse_request_head
from xproxy.log_file import NOT_TAKEN
from xproxy.proxy.requests.access_log import MAX_FIRST_LINE_BYTES, MAX_HELD_CHARACTERS, MAX_HELD_LINES, AccessLog


def head(*fields: bytes, target: bytes = b"/a?b", version: bytes = b"1.1") -> RequestHead:
    """A request head with these fields."""
    lines = [b"GET " + target + b" HTTP/" + version, b"Host: example.com", *fields]
    return parse_request_head(b"\r\n".join(lines) + b"\r\n\r\n", DEFAULT_LIMITS)


class LineTests(SynchronousTestCase):
    """One line for each answer."""

    def line(self, form: str, request: Optional[RequestHead], **changes: Any) -> str:
        """The line that an answer makes."""
        values: Dict[str, Any] = {"status": 200, "sent_bytes": 12, "seconds": 0.25, "pool": "default", "request_id": b"id-1"}
        values.update(changes)
        file = MemoryLog()
        log = AccessLog(file, form, lambda: 1700000000.0625)
        log.add("192.0.2.1", request, **values)
        log.flush()
        return file.text

    def test_combined(self) -> None:
        """As Apache's and nginx's ``combined``."""
        line = self.line("combined", head(b"User-Agent: curl/8", b"Referer: http://a/", version=b"1.0"))
        self.assertRegex(
            line,
            r"^192\.0\.2\.1 - - \[14/Nov/2023:22:13:20 \+0000\] "
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
        line = self.line("json", head(b'User-Agent: a"b\\c\xe9', b"Referer: r"), seconds=0.1234567)
        self.assertTrue(line.endswith("}\n"))
        self.assertTrue(line.isascii())
        found = json.loads(line)
        self.assertEqual(found.pop("time"), "2023-11-14T22:13:20.062+00:00")
        self.assertEqual(
            found,
            {
                "peer": "192.0.2.1",
                "method": "GET",
                "target": "/a?b",
                "version": "HTTP/1.1",
                "status": 200,
                "bytes": 12,
                "seconds": 0.123456,
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

    def test_no_address(self) -> None:
        """A client on a UNIX socket."""
        file = MemoryLog()
        log = AccessLog(file, "combined")
        log.add("", None, 400, 0, 0.0, "", b"")
        log.flush()
        self.assertTrue(file.text.startswith("- - - ["), file.text)

    def test_the_time_goes_on(self) -> None:
        """The second is written out once, and anew when it is over."""
        now = [1700000000.0]
        file = MemoryLog()
        log = AccessLog(file, "combined", lambda: now[0])
        for seconds in (0.0, 0.9, 1.0, 61.0):
            now[0] = 1700000000.0 + seconds
            log.add("192.0.2.1", None, 400, 0, 0.0, "", b"")
        log.flush()
        self.assertEqual(re.findall(r":(\d\d:\d\d) ", file.text), ["13:20", "13:20", "13:21", "14:21"])

    def test_fields_that_clients_repeat(self) -> None:
        """They are quoted once, for each block of its own."""
        first, second = head(b"User-Agent: a"), head(b"User-Agent: b")
        for _ in range(2):
            self.assertTrue(self.line("combined", first).endswith('"-" "a"\n'))
            self.assertTrue(self.line("combined", second).endswith('"-" "b"\n'))

    def test_reason(self) -> None:
        """Why an answer is an error of ours."""
        self.assertEqual(json.loads(self.line("json", head(), status=503, reason="queue-full"))["reason"], "queue-full")
        self.assertTrue(self.line("combined", head(), status=503, reason="queue-full").endswith(' "-" "-" "queue-full"\n'))

    def test_service(self) -> None:
        """Whose slot it went wrong on; its name is its own to choose, but for spaces and quotes."""
        found = json.loads(self.line("json", head(), status=502, reason="slot-lost", service="w\xe9b\\1"))
        self.assertEqual((found["reason"], found["service"]), ("slot-lost", "w\xe9b\\1"))
        line = self.line("combined", head(), status=502, reason="slot-lost", service="w\xe9b\\1")
        self.assertTrue(line.endswith(' "-" "-" "slot-lost w\\xC3\\xA9b\\x5C1"\n'), line)


class RefusedTests(SynchronousTestCase):
    """What was no request is logged as far as it can be told."""

    def line(self, received: bytes, form: str = "combined") -> str:
        """The line of a refusal."""
        file = MemoryLog()
        log = AccessLog(file, form)
        log.add_refused("192.0.2.1", received, 400, 157, "request-line")
        log.flush()
        self.assertEqual(file.text.count("\n"), 1)
        self.assertTrue(file.text.isascii())
        return file.text

    def test_combined(self) -> None:
        """The first line, and the reason behind what the format has."""
        self.assertTrue(
            self.line(b"GET /a b HTTP/1.1\r\nHost: x\r\n").endswith('"GET /a b HTTP/1.1" 400 157 "-" "-" "request-line"\n')
        )

    def test_escaped_and_cut(self) -> None:
        """Whatever it was: TLS, a quote, megabytes."""
        self.assertIn('] "\\x16\\x03\\x01\\x22\\x5C" 400', self.line(b'\x16\x03\x01"\\'))
        self.assertIn(f'] "{"a" * MAX_FIRST_LINE_BYTES}" 400', self.line(b"a" * 100000))
        self.assertIn('] "-" 400', self.line(b""))
        self.assertIn('] "x" 400', self.line(b"\r\n\r\nx\r\ny"))

    def test_json(self) -> None:
        """With a key of its own."""
        found = json.loads(self.line(b'GET "\x00\r\n', "json"))
        self.assertEqual(
            (found["line"], found["reason"], found["status"], found["bytes"]), ('GET "\x00', "request-line", 400, 157)
        )
        self.assertEqual((found["method"], found["target"]), ("", ""))


class WritingTests(SynchronousTestCase):
    """When lines reach the file."""

    def setUp(self) -> None:
        self.file = MemoryLog()
        self.log = AccessLog(self.file, "combined")
        self.events = Logged(self).events

    def add(self, count: int) -> None:
        """Log so many answers."""
        for _ in range(count):
            self.log.add("192.0.2.1", None, 400, 0, 0.0, "", b"")

    def lines(self) -> int:
        """How many lines are in the file."""
        return self.file.text.count("\n")

    def told(self) -> List[Tuple[int, int]]:
        """How many lines the program's log says are lost: since it said so last, and in all."""
        return [(event["count"], event["total"]) for event in self.events if "are lost" in event["log_format"]]

    def test_held_until_the_sweep(self) -> None:
        """One write for many lines."""
        self.add(3)
        self.assertEqual(self.lines(), 0)
        self.log.look(0.0)
        self.assertEqual(self.lines(), 3)
        self.log.look(0.25)
        self.assertEqual(self.lines(), 3)

    def test_never_too_many_held(self) -> None:
        """Memory is bounded, whatever comes between two sweeps."""
        self.add(MAX_HELD_LINES - 1)
        self.assertEqual(self.lines(), 0)
        self.add(1)
        self.assertEqual(self.lines(), MAX_HELD_LINES)

    def test_never_too_long_held(self) -> None:
        """Lines may be long."""
        request = head(target=b"/" + b"a" * 8000)
        for _ in range(MAX_HELD_CHARACTERS // 8000 + 1):
            self.log.add("192.0.2.1", request, 200, 0, 0.0, "", b"")
        self.assertGreater(self.lines(), 0)

    def test_lost_lines_are_told(self) -> None:
        """They cost no request; the log says how many, at once and then seldom, and at the end."""
        self.file.losing = True
        for now in (0.0, 0.25, 59.0):
            self.add(2)
            self.log.look(now)
        self.assertEqual(self.told(), [(2, 2)])
        self.log.look(60.0)
        self.assertEqual(self.told(), [(2, 2), (4, 6)])
        self.log.look(120.0)
        self.assertEqual(len(self.told()), 2)
        self.add(1)
        self.log.close()
        self.assertEqual(self.told()[2:], [(1, 7)])
        self.assertEqual({event["reason"] for event in self.events if "reason" in event}, {NOT_TAKEN})

    def test_reopened(self) -> None:
        """What is there goes before; a path that can't be opened again is told once."""
        self.add(1)
        self.log.reopen()
        self.assertEqual((self.lines(), self.file.calls), (1, ["reopen"]))
        self.file.not_opened = "permission denied"
        self.log.look(0.0)
        self.log.look(0.25)
        (event,) = [event for event in self.events if "written on" in event["log_format"]]
        self.assertEqual((event["path"], event["reason"]), ("access.log", "permission denied"))

    def test_late_lines(self) -> None:
        """What is logged after the end, of a client that was cut off, is written at once: no sweep comes any more."""
        self.add(1)
        self.log.close()
        self.assertEqual(self.lines(), 1)
        self.add(1)
        self.assertEqual(self.lines(), 2)
