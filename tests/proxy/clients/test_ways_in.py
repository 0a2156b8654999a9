"""What is decided of a request, what goes on and what comes back is the same on every way in."""

from __future__ import annotations

import errno
import os
from typing import Any, Dict, Iterator, Optional, Tuple, Type

import attr
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.memory_log import MemoryLog
from tests.world.rig import OK, RigCase, request_head
from tests.world.ways import WAYS, Ask, HTTP2Way, PlainWay, SecureWay, SiteWay, Way
from xproxy import config as cfg
from xproxy.net.bodies.blocks import BLOCK_BYTES

HSTS = "max-age=31536000"
TRUSTED = {"trusted_proxies": cfg.networks("192.0.2.0/24")}
SECURE_FORWARDED = ((b"X-Forwarded-Proto", b"https"),)


@attr.frozen
class Row:
    """A request, and what has to become of it.

    :ivar parts: of the configuration.
    :ivar answer: the service's; None: it must not be asked.
    :ivar seen: what the service finds in its request: ``method``, ``target``, or fields; None: no such field.
    :ivar status: what the client gets, with the fields ``gets`` (None: none of that name) and ``content``.
    :ivar ways: on which ways this can be asked.
    """

    ask: Ask
    parts: Dict[str, Any] = attr.Factory(dict)
    answer: Optional[bytes] = OK
    seen: Dict[str, Optional[bytes]] = attr.Factory(dict)
    status: int = 200
    gets: Dict[bytes, Optional[bytes]] = attr.Factory(dict)
    content: Optional[bytes] = None
    ways: Tuple[Type[Way], ...] = WAYS
    secure: Optional[bool] = None
    """Only the ways with TLS, or only those without."""


def response(status: bytes, *fields: bytes, content: bytes = b"") -> bytes:
    """A service's."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields]) + b"\r\n\r\n" + content


ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
LONG = bytes(70_000)
HTTPS_ONLY = {"routes": (cfg.RouteConfig(redirect_https=443),), "proxy": TRUSTED}
WITH_HSTS = {"routes": (cfg.RouteConfig(hsts=HSTS),)}
OWN_ANSWERS = {"routes": (cfg.RouteConfig(hsts=HSTS, respond=cfg.RespondConfig(200, b"fixed")),)}

ROWS: Dict[str, Row] = {
    "a GET": Row(
        Ask(path=b"/a?b=c", fields=((b"X-Own", b"1"),)),
        seen={"method": b"GET", "target": b"/a?b=c", "x-own": b"1", "content-length": None, "x-forwarded-for": b"192.0.2.1"},
        content=b"ok",
        gets={b"content-length": b"2", b"via": b"1.1 xproxy"},
    ),
    "OPTIONS counts its hops": Row(Ask(b"OPTIONS", fields=((b"Max-Forwards", b"3"),)), seen={"max-forwards": b"2"}),
    "OPTIONS ends here": Row(
        Ask(b"OPTIONS", fields=((b"Max-Forwards", b"0"),)), answer=None, gets={b"allow": ALLOW}, content=b""
    ),
    "another method has no hops": Row(Ask(fields=((b"Max-Forwards", b"3"),)), seen={"max-forwards": b"3"}),
    "TRACE": Row(Ask(b"TRACE"), answer=None, status=405, gets={b"allow": ALLOW}),
    "CONNECT": Row(
        Ask(b"CONNECT", b"example.com:443"), answer=None, status=405, gets={b"allow": ALLOW}, ways=(PlainWay, SiteWay)
    ),
    "no route": Row(Ask(), {"routes": (cfg.RouteConfig(host="other.test"),)}, answer=None, status=404),
    "a prefix is stripped": Row(
        Ask(path=b"/api/x?y"),
        {"routes": (cfg.RouteConfig(path="/api", strip_prefix="/api", set_host="inner.test"),)},
        seen={"target": b"/x?y", "host": b"inner.test", "x-forwarded-host": b"example.com"},
    ),
    "the prefix that was stripped": Row(
        Ask(path=b"/api/x", fields=((b"X-Forwarded-Prefix", b"/forged"),)),
        {"routes": (cfg.RouteConfig(path="/api", strip_prefix="/api"),)},
        seen={"target": b"/x", "x-forwarded-prefix": b"/api"},
    ),
    "the prefixes of a trusted proxy and ours": Row(
        Ask(path=b"/api/x", fields=((b"X-Forwarded-Prefix", b"/outer/"),)),
        {"routes": (cfg.RouteConfig(path="/api", strip_prefix="/api"),), "proxy": TRUSTED},
        seen={"target": b"/x", "x-forwarded-prefix": b"/outer/api"},
    ),
    "no prefix where nothing is said": Row(
        Ask(path=b"/api/x"),
        {"routes": (cfg.RouteConfig(path="/api", strip_prefix="/api"),), "proxy": {"forwarded": "forwarded"}},
        seen={"target": b"/x", "x-forwarded-prefix": None},
    ),
    "HSTS over TLS": Row(Ask(), WITH_HSTS, gets={b"strict-transport-security": HSTS.encode()}, secure=True),
    "HSTS without TLS": Row(Ask(), WITH_HSTS, gets={b"strict-transport-security": None}, secure=False),
    "HSTS behind TLS": Row(
        Ask(fields=SECURE_FORWARDED), {**WITH_HSTS, "proxy": TRUSTED}, gets={b"strict-transport-security": HSTS.encode()}
    ),
    "HSTS, said by a stranger": Row(
        Ask(fields=SECURE_FORWARDED), WITH_HSTS, gets={b"strict-transport-security": None}, secure=False
    ),
    "HSTS of the service": Row(
        Ask(fields=SECURE_FORWARDED),
        {**WITH_HSTS, "proxy": TRUSTED},
        answer=response(b"200 OK", b"strict-transport-security: max-age=1", b"Content-Length: 0"),
        gets={b"strict-transport-security": b"max-age=1"},
    ),
    "HSTS of our own answers": Row(
        Ask(fields=SECURE_FORWARDED),
        {**OWN_ANSWERS, "proxy": TRUSTED},
        answer=None,
        content=b"fixed",
        gets={b"strict-transport-security": HSTS.encode(), b"content-length": b"5"},
    ),
    "HSTS of our own answers without TLS": Row(
        Ask(), OWN_ANSWERS, answer=None, gets={b"strict-transport-security": None}, secure=False
    ),
    "https only, without": Row(
        Ask(path=b"/a"), HTTPS_ONLY, answer=None, status=301, gets={b"location": b"https://example.com/a"}, secure=False
    ),
    "https only, with": Row(Ask(), HTTPS_ONLY, secure=True),
    "https only, behind TLS": Row(Ask(fields=SECURE_FORWARDED), HTTPS_ONLY, seen={"x-forwarded-proto": b"https"}),
    "the length of a 304": Row(
        Ask(),
        answer=response(b"304 Not Modified", b"Content-Length: 1000"),
        status=304,
        gets={b"content-length": b"1000"},
        content=b"",
    ),
    "a 304 without": Row(Ask(), answer=response(b"304 Not Modified"), status=304, gets={b"content-length": None}, content=b""),
    "the length of a HEAD": Row(
        Ask(b"HEAD"), answer=response(b"200 OK", b"Content-Length: 1000"), gets={b"content-length": b"1000"}, content=b""
    ),
    "a HEAD without": Row(Ask(b"HEAD"), answer=response(b"200 OK"), gets={b"content-length": None}, content=b""),
    "a 204": Row(Ask(), answer=response(b"204 No Content"), status=204, gets={b"content-length": None}, content=b""),
    "a length of 0": Row(Ask(), answer=response(b"200 OK", b"Content-Length: 0"), gets={b"content-length": b"0"}, content=b""),
    "chunks that are whole": Row(
        Ask(),
        answer=response(b"200 OK", b"Transfer-Encoding: chunked", content=b"2\r\nok\r\n0\r\n\r\n"),
        gets={b"content-length": b"2"},
        content=b"ok",
    ),
    "a small body": Row(Ask(b"POST", body=b"hello"), seen={"content-length": b"5", "body": b"hello"}),
    "an empty body": Row(Ask(b"POST", body=b""), seen={"content-length": b"0"}),
    "a long body": Row(Ask(b"POST", body=LONG), seen={"content-length": b"70000", "body": LONG}),
    "chunks": Row(
        Ask(b"POST", body=b"hello", length=False),
        seen={"content-length": b"5", "transfer-encoding": None, "body": b"hello"},
    ),
    "trailers": Row(
        Ask(b"POST", body=b"hello", trailers=((b"X-Sum", b"1"), (b"X-Client-Subject", b"CN=root"))),
        {"proxy": {"client_ca": "ca.pem"}},
        seen={"content-length": None, "transfer-encoding": b"chunked", "body": b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"},
        ways=tuple(way for way in WAYS if way.trailers),
    ),
    "trailers of a long body": Row(
        Ask(b"POST", body=LONG, trailers=((b"X-Sum", b"1"),)),
        seen={"transfer-encoding": b"chunked", "body": b"11170\r\n" + LONG + b"\r\n0\r\nx-sum: 1\r\n\r\n"},
        ways=tuple(way for way in WAYS if way.trailers),
    ),
    "who a client is, is ours to say": Row(
        Ask(fields=((b"X-Client-Subject", b"CN=root"),)),
        {"proxy": {"client_ca": "ca.pem"}},
        seen={"x-client-subject": None},
    ),
    "a body of the limit": Row(Ask(b"POST", body=b"1234"), {"limits": {"body": 4}}, seen={"body": b"1234"}),
    "a body past the limit": Row(Ask(b"POST", body=b"12345"), {"limits": {"body": 4}}, answer=None, status=413),
    "chunks past the limit": Row(Ask(b"POST", body=b"12345", length=False), {"limits": {"body": 4}}, answer=None, status=413),
    "a route's own limit": Row(
        Ask(b"POST", body=b"12345"), {"routes": (cfg.RouteConfig(body_limit=4),)}, answer=None, status=413
    ),
    "a request's own id": Row(Ask(fields=((b"X-Request-ID", b"mine-1"),)), seen={"x-request-id": b"mine-1"}),
    "100-continue": Row(
        Ask(b"POST", fields=((b"Expect", b"100-continue"),), body=b"hello"), seen={"expect": None, "body": b"hello"}
    ),
    "an error is said as the client likes it": Row(
        Ask(fields=((b"Accept", b"application/json"),)),
        {"routes": (cfg.RouteConfig(host="other.test"),)},
        answer=None,
        status=404,
        gets={b"content-type": b"application/json"},
    ),
}


class Tables(SynchronousTestCase):
    """Each row on each way."""

    def test_plain(self) -> None:
        self._play_all(PlainWay)

    def test_secure(self) -> None:
        self._play_all(SecureWay)

    def test_http2(self) -> None:
        self._play_all(HTTP2Way)

    def test_site(self) -> None:
        self._play_all(SiteWay)

    def _play_all(self, kind: Type[Way]) -> None:
        wrong = []
        for name, row in ROWS.items():
            if kind in row.ways and (row.secure is None or row.secure == kind.secure):
                try:
                    self._play(row, kind)
                except AssertionError as error:
                    wrong.append(f"{name}: {error}")
        self.assertEqual(wrong, [])

    def _play(self, row: Row, kind: Type[Way]) -> None:
        way = kind(**row.parts)
        self.addCleanup(way.rig.stop)
        service = way.rig.slot()
        way.ask(row.ask)
        request = service.take()
        if row.answer is None:
            self.assertEqual(request, b"")
        else:
            self._saw(row, request)
            service.send(row.answer)
        got = way.got()
        self.assertEqual((got.status, got.whole), (row.status, True))
        for field, value in row.gets.items():
            self.assertEqual(got.fields.get(field), value, field)
        if row.content is not None:
            self.assertEqual(got.content, row.content)
        self.assertIn(b"date", got.fields)
        counts = way.rig.gateway.counts
        counted = {**way.rig.pool.counts.codes, **counts.routeless}
        self.assertEqual(counted, {row.status: 1})
        RigCase.assert_at_rest(self, way.rig)  # type: ignore[arg-type]

    def _saw(self, row: Row, request: bytes) -> None:
        head = request_head(request)
        for what, value in row.seen.items():
            if what in ("method", "target", "host"):
                self.assertEqual(getattr(head, what), value)
            elif what == "body":
                self.assertEqual(request.partition(b"\r\n\r\n")[2].replace(b"X-Sum", b"x-sum"), value)
            else:
                self.assertEqual(head.fields.get(what.encode()), value, what)


class EveryWay(SynchronousTestCase):
    """What no row can say."""

    def ways(self, **parts: Any) -> Iterator[Tuple[Way, MemoryLog]]:
        """Each way, and what it logs."""
        for kind in WAYS:
            way = kind(**parts)
            self.addCleanup(way.rig.stop)
            yield way, way.rig.log_to()

    def test_request_ids(self) -> None:
        """An unsound one is replaced, and each one is another one."""
        for way, _ in self.ways():
            service = way.rig.slot()
            ids = set()
            for fields in ((), ((b"X-Request-ID", b"two words"),), ((b"X-Request-ID", bytes(200).replace(b"\0", b"x")),)):
                way.ask(Ask(fields=fields))
                found = request_head(way.rig.exchange(service, OK)).fields.get(b"x-request-id")
                assert found is not None
                self.assertRegex(found, rb"^[0-9a-f]{24}$")
                ids.add(found)
                self.assertEqual(way.got().status, 200)
            self.assertEqual(len(ids), 3)

    def test_continue(self) -> None:
        """A client that waits for a word before it sends its body gets one."""
        for way, _ in self.ways():
            way.ask(Ask(b"POST", fields=((b"Expect", b"100-continue"),), body=b"", whole=False))
            self.assertEqual(way.got().hints, [100])

    def test_log(self) -> None:
        """Served, refused, and answered by us: each with its status and its pool."""
        routes = (cfg.RouteConfig(), cfg.RouteConfig(path="/own", respond=cfg.RespondConfig(200, b"own")))
        for way, file in self.ways(routes=routes, limits={"body": 4}):
            service = way.rig.slot()
            way.ask(Ask())
            way.rig.exchange(service, OK)
            way.ask(Ask(path=b"/own"))
            way.ask(Ask(b"POST", body=b"12345"))
            way.got()
            lines = [(line["method"], line["status"], line["pool"], line["bytes"]) for line in way.rig.logged(file)]
            self.assertEqual(lines[:2], [("GET", 200, "default", 2), ("GET", 200, "", 3)])
            self.assertEqual(lines[2][:3], ("POST", 413, "default"))
            self.assertEqual(way.rig.pool.counts.codes, {200: 1, 413: 1})
            self.assertEqual(way.rig.gateway.counts.routeless, {200: 1})

    def test_cut_off(self) -> None:
        """The client sees that something is missing; it is logged and counted."""
        for head in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
            for way, file in self.ways():
                service = way.rig.slot()
                way.ask(Ask())
                way.rig.exchange(service, response(b"200 OK", head, content=b"5\r\nhello\r\n"[: 7 if head[:1] == b"C" else 99]))
                service.close()
                way.rig.settle()
                got = way.got()
                self.assertFalse(got.whole)
                self.assertEqual([line["status"] for line in way.rig.logged(file)], [200])
                self.assertEqual(way.rig.pool.counts.codes, {200: 1})

    def test_the_log_names_the_service_that_failed(self) -> None:
        """With the reason: in place of an answer, and behind the beginning of one; for a refused request the reason alone."""
        garbage, half = b"no response\r\n\r\n", response(b"200 OK", b"Content-Length: 10", content=b"hello")
        for said, status, reason in ((garbage, 502, "status-line"), (b"", 502, "slot-lost"), (half, 200, "slot-lost")):
            for way, file in self.ways():
                service = way.rig.slot(name="web:1")
                way.ask(Ask(b"POST", body=b"x"))
                way.rig.exchange(service, said)
                service.close()
                way.rig.settle()
                (line,) = way.rig.logged(file)
                self.assertEqual((line["status"], line["reason"], line["service"]), (status, reason, "web:1"), way.name)
        for way, file in self.ways(limits={"body": 4}):
            way.ask(Ask(b"POST", body=b"12345"))
            (line,) = way.rig.logged(file)
            self.assertEqual((line["status"], line["reason"], line.get("service")), (413, "body-too-large", None), way.name)

    def test_silent_streams(self) -> None:
        """A stream may be silent for as long as streams may; a body that is none as long as a service may be."""
        events = b"Content-Type: text/event-stream"
        for field, silent_s, whole in (
            (events, 15.0, True),
            (events, 25.0, False),
            (b"X-A: 1", 3.0, True),
            (b"X-A: 1", 7.0, False),
        ):
            for way, _ in self.ways(pool={"response_timeout": 5.0, "stream_timeout": 20.0}):
                service = way.rig.slot()
                way.ask(Ask())
                way.rig.exchange(service, response(b"200 OK", field, b"Transfer-Encoding: chunked", content=b"3\r\none\r\n"))
                way.rig.pass_time(silent_s)
                service.send(b"3\r\ntwo\r\n0\r\n\r\n")
                way.rig.settle()
                got = way.got()
                self.assertEqual((got.whole, got.content), (whole, b"onetwo" if whole else b"one"), (way.name, field))

    def test_client_leaves(self) -> None:
        """In line, and on a slot: logged and counted, as nginx does, as 499."""
        for has_slot in (False, True):
            for way, file in self.ways():
                if has_slot:
                    way.rig.slot()
                way.ask(Ask())
                way.leave()
                self.assertEqual([line["status"] for line in way.rig.logged(file)], [499])
                self.assertEqual(way.rig.pool.counts.codes, {499: 1})
                self.assertEqual(len(way.rig.pool.line), 0)

    def test_shared_blocks(self) -> None:
        """A long body waits in them and not in a file."""
        for way, _ in self.ways(limits={"request_memory": 16384}):
            blocks = way.rig.gateway.blocks
            before = blocks.free
            way.ask(Ask(b"POST", body=LONG))
            self.assertEqual(blocks.free, before - 1)
            service = way.rig.slot()
            self.assertTrue(way.rig.exchange(service, OK).endswith(LONG))
            self.assertEqual(way.got().status, 200)
            self.assertEqual(blocks.free, before)

    def full_disk(self) -> None:
        """From here on."""

        def pwrite(*arguments: Any) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

        self.patch(os, "pwrite", pwrite)

    def test_full_disk(self) -> None:
        """507 for the one request; the next one, whose body fits into memory, is served: over HTTP/2 on the same connection."""
        self.full_disk()
        parts = {"limits": {"request_memory": 1024, "bodies_memory": BLOCK_BYTES}}  # A quarter of which is no block.
        asks = [Ask(b"POST", body=bytes(5000)), Ask(b"POST", body=bytes(5000), length=False)]
        for ask in asks:
            for way, file in self.ways(**parts):
                service = way.rig.slot()
                way.ask(ask)
                got = way.got()
                self.assertEqual((got.status, got.whole), (507, True))
                self.assertEqual(got.over, way.name in ("http1", "https"))
                way.ask(Ask(b"POST", body=bytes(500)))
                way.rig.exchange(service, OK)
                self.assertEqual(way.got().status, 200)
                self.assertEqual([line["status"] for line in way.rig.logged(file)], [507, 200])

    def test_full_spools(self) -> None:
        """507 past the totals of files, for the one request; what was in files is given back, so the next one finds room."""
        some = {"request_memory": 1024, "bodies_memory": BLOCK_BYTES}
        for limits, size, reason in (
            ({"spool_bytes": 4000}, 5000, "spools-full"),
            ({"spool_files": 0}, 2000, "spools-full"),
            ({"client_spool_bytes": 4000}, 5000, "client-spools-full"),
            ({"client_spool_files": 0}, 2000, "client-spools-full"),
        ):
            for way, _ in self.ways(limits={**some, **limits}):
                space, service = way.rig.gateway.space, way.rig.slot()
                way.ask(Ask(b"POST", body=bytes(size), fields=((b"Accept", b"application/json"),)))
                got = way.got()
                self.assertEqual((got.status, got.whole), (507, True))
                self.assertIn(reason.encode(), got.content)
                self.assertEqual((space.bytes, space.files), (0, 0))
                small = 1000 if limits.get("spool_files") == 0 or limits.get("client_spool_files") == 0 else 3000
                way.ask(Ask(b"POST", body=bytes(small)))
                self.assertEqual(space.files, 0 if small == 1000 else 1)
                way.rig.exchange(service, OK)
                self.assertEqual(way.got().status, 200)
                self.assertEqual((space.bytes, space.files), (0, 0))

    def test_full_disk_at_the_trailers(self) -> None:
        """The body fits into memory, its trailers do not."""
        self.full_disk()
        for way, _ in self.ways(limits={"request_memory": 40_001, "bodies_memory": BLOCK_BYTES}):
            if not way.trailers:
                continue
            service = way.rig.slot()
            way.ask(Ask(b"POST", body=bytes(40_000), trailers=((b"X-Sum", b"1"),)))
            self.assertEqual(way.got().status, 507)
            way.ask(Ask())
            way.rig.exchange(service, OK)
            self.assertEqual(way.got().status, 200)

    def test_policy_of_a_request(self) -> None:
        """A request ends under the policy that it began with; the next one has the new one."""
        for way, _ in self.ways(proxy={"name": "first"}):
            gateway = way.rig.gateway
            way.ask(Ask())
            old = gateway.policy
            gateway.policy = attr.evolve(old, marks=attr.evolve(old.marks, via=b"second"))
            service = way.rig.slot()
            way.rig.exchange(service, OK)
            self.assertEqual(way.got().fields[b"via"], b"1.1 first")
            way.ask(Ask())
            head = request_head(way.rig.exchange(service, OK))
            self.assertRegex(head.fields.get(b"via") or b"", rb"^[12].[01] second$")
            self.assertEqual(way.got().fields[b"via"], b"1.1 second")
