"""Tests for ``http2_connection`` and ``http2_stream``: a real HTTP/2 client, by hyper-h2, over a real handshake."""

from __future__ import annotations

import errno
from typing import Any, List, Tuple
from unittest import mock

import attr
import h2.events
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.logged import Logged
from tests.world.peers import Peer
from tests.world.rig import OK
from tests.world.secure import HTTP2Client, SecureCase, SecureRig
from tests.world.sockets import KERNEL, MEMORY
from xproxy import config as cfg
from xproxy.http2.allowance import IDLE_FRAMES, RESETS
from xproxy.http2.windows import MAX_STREAMS
from xproxy.proxy.clients.connection import LINGER_S
from xproxy.proxy.clients.http2_connection import LEAVE_S, RESET_S, HTTP2Connection
from xproxy.proxy.clients.http2_outlet import HELD_BYTES
from xproxy.proxy.exchanges.pool import status_of

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n"


def body_of(request: bytes) -> bytes:
    """The body of a request as a service got it."""
    return request.partition(b"\r\n\r\n")[2]


def answer_of(size: int, fields: bytes = b"") -> bytes:
    """A response with a body of this size."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (size, fields) + b"z" * size


class HTTP2Case(SecureCase):
    """A test case with HTTP/2 clients."""

    def connection(self, rig: SecureRig) -> HTTP2Connection:
        """The proxy's end of the only client."""
        (connection,) = rig.proxy.front.clients
        assert isinstance(connection, HTTP2Connection)
        return connection

    def assert_clean(self, rig: SecureRig) -> None:
        """Nobody is there, nothing waits, nothing runs."""
        rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.gateway.counts.connections["client"], 0)
        self.assertEqual(status_of(rig.pool)["queue_length"], 0)


class ExchangeMixin:
    """Requests and answers, over both kinds of sockets."""

    def test_one_request(self: Any) -> None:
        rig = self.make_secure_rig()
        log = rig.log_to()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(b"/a?b=c", fields=[(b"x-one", b"1")])
        request = rig.exchange(service, OK)
        self.assertEqual(request.split(b"\r\n")[0], b"GET /a?b=c HTTP/1.1")
        for line in (
            b"Host: example.com",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-For: 192.0.2.1",
            b"x-one: 1",
            b"Via: 2.0 xproxy",
        ):
            self.assertIn(b"\r\n" + line + b"\r\n", request)
        self.assertNotIn(b"content-length", request.lower())
        answer = client.answer(stream)
        self.assertEqual((answer.status, answer.content, answer.ended), (200, b"ok", True))
        self.assertEqual((answer.fields[b"content-length"], answer.fields[b"via"]), (b"2", b"1.1 xproxy"))
        self.assertIn(b"date", answer.fields)
        (line,) = rig.logged(log)
        self.assertEqual((line["version"], line["status"], line["bytes"], line["pool"]), ("HTTP/2.0", 200, 2, "default"))
        self.assertEqual(rig.pool.counts.codes, {200: 1})
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)

    def test_streams_run_on_different_slots_at_once(self: Any) -> None:
        rig = self.make_secure_rig()
        services = [rig.slot() for _ in range(3)]
        client = rig.http2_client()
        streams = [client.ask(b"/%d" % number) for number in range(3)]
        paths = [service.take().split(b" ")[1] for service in services]
        self.assertEqual(sorted(paths), [b"/0", b"/1", b"/2"])
        for service, path in reversed(list(zip(services, paths))):
            service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + path)
        rig.settle()
        self.assertEqual([client.answer(stream).content for stream in streams], [b"/0", b"/1", b"/2"])

    def test_they_wait_in_the_same_line_as_everybody(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        two, one = rig.http2_client(), rig.secure_client()
        two.ask(b"/first")
        one.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        two.ask(b"/third")
        self.assertEqual(status_of(rig.pool)["queue_length"], 2)
        served = [rig.exchange(service, OK).split(b" ")[1] for _ in range(3)]
        self.assertEqual(served, [b"/first", b"/second", b"/third"])

    def test_bodies(self: Any) -> None:
        rig = self.make_secure_rig(limits={"request_memory": 5000})
        service = rig.slot()
        client = rig.http2_client()
        for size in (0, 1, 5000, 5001, 60_000):
            client.ask(method=b"POST", body=b"b" * min(size, 16384), end=size <= 16384)
            for start in range(16384, size, 16384):
                client.h2.send_data(
                    client.h2.highest_outbound_stream_id, b"b" * min(16384, size - start), start + 16384 >= size
                )
                client.push()
            request = rig.exchange(service, OK)
            self.assertIn(b"\r\nContent-Length: %d\r\n" % size, request)
            self.assertEqual(body_of(request), b"b" * size)
            self.assertEqual(client.answer(client.h2.highest_outbound_stream_id).status, 200)

    def test_a_body_larger_than_every_window(self: Any) -> None:
        """What was read is acknowledged: both windows open again and again."""
        size = 3_000_000
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(method=b"PUT", body=b"", end=False)
        left = size
        while left:
            room = min(client.h2.local_flow_control_window(stream), 16384, left)
            self.assertGreater(room, 0)
            client.h2.send_data(stream, b"u" * room, end_stream=left == room)
            left -= room
            client.push()
        self.assertEqual(len(body_of(rig.exchange(service, OK))), size)
        self.assertEqual(client.answer(stream).status, 200)

    def test_a_large_answer(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        rig.exchange(service, answer_of(1_000_000))
        answer = client.answer(stream)
        self.assertEqual((len(answer.content), answer.ended), (1_000_000, True))

    def test_a_slow_client_costs_no_slot(self: Any) -> None:
        """The answer waits in memory and file; the window of the client decides when it goes."""
        size = 400_000
        rig = self.make_secure_rig(limits={"response_memory": 10_000})
        service = rig.slot()
        client = rig.http2_client(acknowledges=False)
        stream = client.ask()
        rig.exchange(service, answer_of(size))
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)
        self.assertEqual(len(client.answer(stream).content), 65535)
        while not client.answer(stream).ended:
            before = len(client.answer(stream).content)
            client.h2.acknowledge_received_data(65535 if before % 65535 == 0 else before % 65535, stream)
            client.push()
            self.assertGreater(len(client.answer(stream).content), before)
        self.assertEqual(len(client.answer(stream).content), size)

    def test_a_transport_that_is_full(self: Any) -> None:
        size = 500_000
        rig = self.make_secure_rig()
        services = [rig.slot() for _ in range(2)]
        client = rig.http2_client(capacity=10_000)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**20})
        client.h2.increment_flow_control_window(2**24)
        client.push()
        client.peer.reading = False
        streams = [client.ask(), client.ask()]
        for service in services:
            rig.exchange(service, answer_of(size))
        connection = self.connection(rig)
        self.assertTrue(connection.outlet.blocked)
        tcp = connection.transport
        self.assertLess(len(tcp.dataBuffer) + tcp._tempDataLen, 200_000)
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)
        client.peer.reading = True
        answers = [client.answer(stream) for stream in streams]
        self.assertEqual([(len(answer.content), answer.ended) for answer in answers], [(size, True)] * 2)
        self.assertFalse(connection.outlet.blocked)

    def test_shut_window_fills_the_share_of_its_client_only(self: Any) -> None:
        """Past it slots wait, whose answers come whole when the window opens; all files are gone when the client is."""
        rig = self.make_secure_rig(limits={"response_memory": 1000, "client_spool_files": 2})
        client = rig.http2_client(acknowledges=False)
        client.h2.update_settings({4: 0})
        client.push()
        services = [rig.slot(capacity=20_000) for _ in range(5)]
        streams = [client.ask() for _ in services]
        for service in services:
            service.take()
            service.send(answer_of(300_000))
        rig.settle()
        space = rig.gateway.space
        self.assertEqual(space.files, 2)
        self.assertEqual(status_of(rig.pool)["in_flight"], 3)
        client.h2.increment_flow_control_window(2**22)
        for stream in streams:
            client.h2.increment_flow_control_window(2**20, stream)
        client.push()
        self.assertEqual([len(client.answer(stream).content) for stream in streams], [300_000] * 5)
        self.assertEqual((space.bytes, space.files), (0, 0))

    def test_backpressure_when_nothing_more_can_be_kept(self: Any) -> None:
        rig = self.make_secure_rig(limits={"response_memory": 10_000, "response_file": 50_000})
        service = rig.slot(capacity=20_000)
        client = rig.http2_client(acknowledges=False)
        stream = client.ask()
        service.take()
        service.send(answer_of(2_000_000))
        rig.settle()
        self.assertGreater(len(service._unsent), 1_000_000)
        self.assertEqual(status_of(rig.pool)["in_flight"], 1)
        client.h2.increment_flow_control_window(2**22)
        client.h2.increment_flow_control_window(2**22, stream)
        client.push()
        self.assertEqual(len(client.answer(stream).content), 2_000_000)

    def test_reset_while_waiting_leaves_the_line(self: Any) -> None:
        rig = self.make_secure_rig()
        log = rig.log_to()
        client = rig.http2_client()
        stream = client.ask()
        self.assertEqual(status_of(rig.pool)["queue_length"], 1)
        client.h2.reset_stream(stream)
        client.push()
        self.assertEqual(status_of(rig.pool)["queue_length"], 0)
        self.assertEqual(self.connection(rig).streams, {})
        self.assertEqual([line["status"] for line in rig.logged(log)], [499])

    def test_reset_during_the_exchange(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        client.h2.reset_stream(stream)
        client.push()
        rig.exchange(service, OK)
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)
        self.assertEqual(client.answer(client.ask()).status, 0)
        rig.exchange(service, OK)
        self.assertEqual(client.answer(3).status, 200)

    def test_a_client_that_vanishes(self: Any) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        client.ask()
        client.ask()
        client.ask(method=b"POST", body=b"some", end=False)
        client.peer.reset()
        self.assert_clean(rig)
        rig.exchange(service, OK)
        self.assertEqual(status_of(rig.pool)["in_flight"], 0)


class MemoryExchangeTests(ExchangeMixin, HTTP2Case):
    """In memory."""

    kind = MEMORY


class KernelExchangeTests(ExchangeMixin, HTTP2Case):
    """Over real sockets."""

    kind = KERNEL


class MeaningTests(HTTP2Case):
    """What becomes of the parts of a request and of an answer."""

    def ask(self, rig: SecureRig, response: bytes, **request: Any) -> Tuple[bytes, Any]:
        """One request through one slot: what the service got, what the client got."""
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(**request)
        got = rig.exchange(service, response)
        return got, client.answer(stream)

    def test_trailers_both_ways(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        for body in (b"", b"five!"):
            stream = client.ask(method=b"POST", body=body, end=False)
            client.h2.send_headers(stream, [(b"x-sum", b"1"), (b"authorization", b"no")], end_stream=True)
            client.push()
            content = b"5\r\nfive!\r\n" if body else b""
            request = rig.exchange(service, CHUNKED + b"3\r\nabc\r\n0\r\ngrpc-status: 0\r\nX-Sum: 2\r\n\r\n")
            self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", request)
            self.assertEqual(body_of(request), content + b"0\r\nx-sum: 1\r\n\r\n")
            answer = client.answer(stream)
            self.assertEqual((answer.content, answer.ended), (b"abc", True))
            self.assertEqual(answer.trailers, {b"grpc-status": b"0", b"x-sum": b"2"})
            self.assertNotIn(b"transfer-encoding", answer.fields)

    def test_trailers_after_a_large_body(self) -> None:
        rig = self.make_secure_rig(limits={"request_memory": 100})
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"x" * 1000, end=False)
        client.h2.send_headers(stream, [(b"x-sum", b"1")], end_stream=True)
        client.push()
        request = rig.exchange(service, OK)
        self.assertEqual(body_of(request), b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\nx-sum: 1\r\n\r\n")

    def test_nobody_is_named_by_a_trailer(self) -> None:
        """Who a client is, by its certificate, is ours to say."""
        rig = self.make_secure_rig()
        rig.gateway.policy = attr.evolve(
            rig.gateway.policy, marks=attr.evolve(rig.gateway.policy.marks, subject_field=b"X-Client-Subject")
        )
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", fields=[(b"x-client-subject", b"root")], body=b"x", end=False)
        client.h2.send_headers(stream, [(b"x_client-subject", b"root"), (b"x-sum", b"1")], end_stream=True)
        client.push()
        request = service.take()
        self.assertNotIn(b"root", request)
        self.assertIn(b"x-sum: 1", request)

    def test_only_trailers(self) -> None:
        _, answer = self.ask(self.make_secure_rig(), CHUNKED + b"0\r\ngrpc-status: 12\r\n\r\n")
        self.assertEqual(
            (answer.status, answer.content, answer.trailers, answer.ended), (200, b"", {b"grpc-status": b"12"}, True)
        )

    def test_bad_trailers(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"x", end=False)
        client.h2.send_headers(stream, [(b"x", b"y" * 9000)], end_stream=True)
        client.push()
        self.assertEqual(client.answer(stream).status, 431)

    def test_chunked_answers_come_as_they_come(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        service.take()
        service.send(CHUNKED)
        rig.settle()
        self.assertEqual((client.answer(stream).status, client.answer(stream).content), (200, b""))
        for number in range(3):
            service.send(b"4\r\nbit%d\r\n" % number)
            rig.settle()
            self.assertEqual(client.answer(stream).content, b"".join(b"bit%d" % one for one in range(number + 1)))
        self.assertFalse(client.answer(stream).ended)
        service.send(b"0\r\n\r\n")
        rig.settle()
        self.assertTrue(client.answer(stream).ended)

    def test_an_answer_that_ends_with_its_connection(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        service.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        service.end()
        rig.settle()
        answer = client.answer(stream)
        self.assertEqual((answer.content, answer.ended), (b"all of it", True))

    def test_no_content(self) -> None:
        for method, response, length in (
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"99"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b"99"),
            (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"0"),
        ):
            _, answer = self.ask(self.make_secure_rig(), response, method=method)
            self.assertEqual((answer.fields.get(b"content-length"), answer.content, answer.ended), (length, b"", True))

    def test_hints_and_continue(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", fields=[(b"expect", b"100-continue")], body=b"", end=False)
        self.assertEqual(client.answer(stream).hints, [100])
        client.h2.send_data(stream, b"x", end_stream=True)
        client.push()
        request = service.take()
        self.assertNotIn(b"expect", request.lower())
        service.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        rig.settle()
        self.assertEqual(client.answer(stream).hints, [100, 103])
        service.send(OK)
        rig.settle()
        self.assertEqual(client.answer(stream).status, 200)

    def test_upgrade_is_not_for_http_2(self) -> None:
        request, answer = self.ask(
            self.make_secure_rig(),
            b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        )
        self.assertNotIn(b"upgrade", request.lower())
        self.assertEqual(answer.status, 426)
        self.assertFalse({b"connection", b"upgrade"} & set(answer.fields))

    def test_repeated_fields(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        client.ask(fields=[(b"cookie", b"a=1"), (b"accept", b"x"), (b"cookie", b"b=2")])
        self.assertIn(b"\r\nCookie: a=1; b=2\r\n".lower(), service.take().lower())
        service.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n")
        client.exchange()
        (event,) = [event for event in client.events if isinstance(event, h2.events.ResponseReceived)]
        self.assertEqual([value for name, value in event.headers or () if name == b"set-cookie"], [b"a", b"b"])

    def test_routes(self) -> None:
        rig = self.make_secure_rig(
            routes=[
                cfg.RouteConfig(path="/a", strip_prefix="/a", set_host="inside", hsts="max-age=5"),
                cfg.RouteConfig(path="/r", redirect=cfg.RedirectConfig("https://{host}/new{target}", 308)),
                cfg.RouteConfig(path="/o", respond=cfg.RespondConfig(200, b"own"), hsts="max-age=6"),
                cfg.RouteConfig(path="/t", redirect_https=443),
            ]
        )
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(b"/a/b")
        request = rig.exchange(service, OK)
        self.assertTrue(request.startswith(b"GET /b HTTP/1.1\r\nHost: inside\r\n"))
        self.assertIn(b"\r\nX-Forwarded-Host: example.com\r\n", request)
        self.assertEqual(client.answer(stream).fields[b"strict-transport-security"], b"max-age=5")
        answer = client.answer(client.ask(b"/r?x"))
        self.assertEqual((answer.status, answer.fields[b"location"]), (308, b"https://example.com/new/r?x"))
        answer = client.answer(client.ask(b"/o"))
        self.assertEqual((answer.content, answer.fields[b"strict-transport-security"]), (b"own", b"max-age=6"))
        answer = client.answer(client.ask(b"/o", method=b"HEAD"))
        self.assertEqual((answer.content, answer.fields[b"content-length"], answer.ended), (b"", b"3", True))
        self.assertEqual(client.answer(client.ask(b"/none")).status, 404)
        client.ask(b"/t")
        self.assertTrue(rig.exchange(service, OK).startswith(b"GET /t"))

    def test_max_forwards(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        self.assertEqual(client.answer(client.ask(method=b"OPTIONS", fields=[(b"max-forwards", b"0")])).status, 200)
        service = rig.slot()
        client.ask(method=b"OPTIONS", path=b"*", fields=[(b"max-forwards", b"5")])
        self.assertIn(b"\r\nMax-Forwards: 4\r\n", service.take())

    def test_errors(self) -> None:
        rig = self.make_secure_rig(pool={"queue_limit": 0})
        client = rig.http2_client()
        answer = client.answer(client.ask(fields=[(b"accept", b"application/json")]))
        self.assertEqual((answer.status, answer.fields[b"content-type"]), (503, b"application/json"))
        self.assertIn(b"retry-after", answer.fields)
        for status, request in (
            (405, {"method": b"TRACE"}),
            (400, {"path": b"/a b"}),
            (431, {"fields": [(b"x", b"y" * 9000)]}),
            (414, {"path": b"/" + b"x" * 9000}),
        ):
            answer = client.answer(client.ask(**request))
            self.assertEqual((answer.status, answer.ended), (status, True), request)
        self.assertEqual(rig.gateway.counts.routeless[400], 1)
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(b":method", b"CONNECT"), (b":authority", b"a:443")], end_stream=True)
        client.push()
        self.assertEqual(client.answer(stream).status, 405)

    def test_a_service_that_fails(self) -> None:
        rig = self.make_secure_rig(limits={"max_attempts": 1})
        client = rig.http2_client()
        for response, status in ((b"nonsense\r\n\r\n", 502), (b"", 502)):
            service = rig.slot()
            stream = client.ask(method=b"POST", body=b"x")
            service.send(response)
            service.end()
            rig.settle()
            self.assertEqual(client.answer(stream).status, status)

    def test_an_answer_that_breaks_off(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        rig.settle()
        service.end()
        rig.settle()
        answer = client.answer(stream)
        self.assertEqual((answer.content, answer.ended, answer.reset), (b"half", False, ErrorCodes.INTERNAL_ERROR))
        self.assertEqual(self.connection(rig).streams, {})

    def test_a_body_that_is_too_large(self) -> None:
        """Said as soon as it is known; what still comes of it is taken and dropped, and the connection goes on."""
        rig = self.make_secure_rig(limits={"body": 1000})
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", fields=[(b"content-length", b"2000")], body=b"", end=False)
        self.told_to_stop(rig, client, stream, 413)
        stream = client.ask(method=b"POST", body=b"x" * 1001, end=False)
        self.told_to_stop(rig, client, stream, 413)
        client.raw(DataFrame(stream, data=b"x" * 5000).serialize() * 20)
        client.ask()
        rig.exchange(service, OK)
        self.assertEqual(client.answer(5).status, 200)

    def told_to_stop(self, rig: SecureRig, client: HTTP2Client, stream: int, status: int) -> None:
        """The answer is there, and a while later a word that the rest of the request is of no use."""
        answer = client.answer(stream)
        self.assertEqual((answer.status, answer.ended, answer.reset), (status, True, None))
        rig.pass_time(RESET_S + 0.5)
        self.assertEqual(client.answer(stream).reset, ErrorCodes.NO_ERROR)

    def test_who_has_seen_its_answer_is_not_told(self) -> None:
        """It ends the stream itself: there is nothing to stop, and nobody waits for anything."""
        rig = self.make_secure_rig(limits={"body": 1000}, timeouts={"keep_alive": 3.0})
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"x" * 1001, end=False)
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.push()
        rig.pass_time(RESET_S + 0.5)
        self.assertEqual((client.answer(stream).status, client.answer(stream).reset), (413, None))
        rig.pass_time(3.0 + LEAVE_S + LINGER_S)
        self.assert_clean(rig)

    def test_an_answer_before_the_body_is_whole(self) -> None:
        rig = self.make_secure_rig(routes=[cfg.RouteConfig(buffering=False)])
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"one", end=False)
        self.assertEqual(body_of(service.take()), b"3\r\none\r\n")
        service.send(OK)
        rig.settle()
        self.told_to_stop(rig, client, stream, 200)
        self.assertEqual(client.answer(stream).content, b"ok")

    def test_streaming_both_ways(self) -> None:
        rig = self.make_secure_rig(routes=[cfg.RouteConfig(buffering=False)])
        service = rig.slot()
        client = rig.http2_client()
        for fields, first, second in (
            ((), b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"),
            ([(b"content-length", b"6")], b"one", b"two"),
        ):
            stream = client.ask(method=b"POST", fields=fields, body=b"one", end=False)
            self.assertEqual(body_of(service.take()), first)
            client.h2.send_data(stream, b"two", end_stream=True)
            client.push()
            self.assertEqual(service.take(), second)
            service.send(CHUNKED + b"1\r\nx\r\n0\r\n\r\n")
            rig.settle()
            self.assertEqual((client.answer(stream).content, client.answer(stream).ended), (b"x", True))

    def test_a_streamed_body_waits_for_the_service(self) -> None:
        """What the service has not taken is not acknowledged, so a client stops at its window."""
        rig = self.make_secure_rig(routes=[cfg.RouteConfig(buffering=False)], limits={"request_memory": 1000})
        client = rig.http2_client()
        stream = client.ask(method=b"PUT", body=b"", end=False)
        sent = 0
        while client.h2.local_flow_control_window(stream):
            piece = min(16384, client.h2.local_flow_control_window(stream))
            client.h2.send_data(stream, b"s" * piece)
            client.push()
            sent += piece
        self.assertLess(sent, 300_000)
        other = client.ask(b"/other", body=b"x" * 10_000)
        service = rig.slot()
        rig.settle()
        client.exchange()
        self.assertGreater(client.h2.local_flow_control_window(stream), 200_000)
        client.h2.end_stream(stream)
        client.push()
        request = service.take()
        self.assertEqual(body_of(request).count(b"s"), sent)
        service.send(OK)
        rig.settle()
        rig.exchange(service, OK)
        self.assertEqual((client.answer(stream).status, client.answer(other).status), (200, 200))

    def test_answers_of_one_turn_are_sent_together(self) -> None:
        rig = self.make_secure_rig()
        services = [rig.slot() for _ in range(8)]
        client = rig.http2_client()
        streams = [client.ask() for _ in services]
        writes: List[int] = []
        transport = self.connection(rig).transport
        write_now = transport.write_now

        def counted(data: bytes) -> bool:
            writes.append(len(data))
            return bool(write_now(data))

        self.patch(transport, "write_now", counted)
        for service in services:
            service.send(OK)
        rig.settle()
        self.assertEqual([client.answer(stream).content for stream in streams], [b"ok"] * 8)
        self.assertEqual(len(writes), 1)
        client.ask()
        del writes[:]
        services[0].send(OK)
        rig.reactor._turn()
        self.assertEqual(len(writes), 1, "an answer that is the only one goes at once")
        for _ in range(4):
            client.ask()
        for service in services[1:5]:
            service.send(answer_of(15_000))
        rig.settle()
        self.assertGreater(len(writes), 2)
        self.assertTrue(all(size < 48_000 for size in writes))

    def test_streams_take_turns(self) -> None:
        rig = self.make_secure_rig()
        services = [rig.slot() for _ in range(2)]
        client = rig.http2_client(capacity=30_000)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**20})
        client.h2.increment_flow_control_window(2**24)
        client.push()
        client.peer.reading = False
        large, small = client.ask(), client.ask()
        rig.exchange(services[0], answer_of(600_000))
        rig.exchange(services[1], answer_of(100_000))
        client.peer.reading = True
        client.exchange()
        ends = [event.stream_id for event in client.events if isinstance(event, h2.events.StreamEnded)]
        self.assertEqual(ends, [small, large])


class LimitTests(HTTP2Case):
    """What a client may not do, and what becomes of it when it does."""

    def told_to_calm_down(self, rig: SecureRig, client: HTTP2Client, reason: str) -> None:
        """It was, and everything of it is gone."""
        client.exchange()
        goaway = client.goaway
        assert goaway is not None
        self.assertEqual(goaway.error_code, ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertEqual(goaway.additional_data, reason.encode())
        self.assertEqual(rig.gateway.counts.refused, {"http2-" + reason: 1})
        rig.pass_time(LINGER_S + 1)
        self.assert_clean(rig)

    def test_streams(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        self.assertEqual(client.h2.remote_settings.max_concurrent_streams, MAX_STREAMS)
        for _ in range(MAX_STREAMS):
            client.ask()
        self.assertEqual(status_of(rig.pool)["queue_length"], MAX_STREAMS)
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        for _ in range(3):
            self.assertEqual(client.answer(client.ask()).reset, ErrorCodes.REFUSED_STREAM)
        service = rig.slot()
        rig.exchange(service, OK)
        self.assertEqual(client.answer(1).status, 200)
        self.assertIsNone(client.answer(client.ask()).reset)
        for _ in range(RESETS):
            client.ask()
        self.told_to_calm_down(rig, client, "rapid-reset")

    def test_a_header_list_that_is_much_too_large(self) -> None:
        rig = self.make_secure_rig(limits={"head": 4000})
        client = rig.http2_client()
        self.assertEqual(client.h2.remote_settings.max_header_list_size, 4000)
        client.ask(fields=[(b"x%d" % number, b"y" * 200) for number in range(40)])
        self.assertEqual(client.goaway and client.goaway.error_code, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_a_compressed_bomb(self) -> None:
        """One byte of HPACK stands for a field of four kilobytes, again and again."""
        rig = self.make_secure_rig(limits={"head": 8000})
        client = rig.http2_client()
        block = client.h2.encoder.encode(
            [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a")]
        )
        block += client.h2.encoder.encode([(b"bomb", b"x" * 4000)]) + b"\xbe" * 4000
        client.raw(HeadersFrame(1, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize())
        self.assertEqual(client.goaway and client.goaway.error_code, ErrorCodes.ENHANCE_YOUR_CALM)

    def test_rapid_reset(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        for _ in range(RESETS + 1):
            stream = client.ask()
            client.h2.reset_stream(stream)
            client.push()
        self.told_to_calm_down(rig, client, "rapid-reset")

    def test_resets_of_what_was_answered_are_free(self) -> None:
        rig = self.make_secure_rig(routes=[cfg.RouteConfig(respond=cfg.RespondConfig(200, b"x"))])
        client = rig.http2_client()
        for _ in range(RESETS + 50):
            stream = client.ask(method=b"POST", body=b"", end=False)
            if client.answer(stream).reset is None:
                client.h2.reset_stream(stream)
                client.push()
        self.assertIsNone(client.goaway)

    def test_we_made_you_reset(self) -> None:
        """CVE-2025-8671: frames that make us reset our own streams."""
        rig = self.make_secure_rig()
        client = rig.http2_client()
        for _ in range(RESETS + 1):
            stream = client.ask()
            client.raw(WindowUpdateFrame(stream, window_increment=2**31 - 1).serialize())
            if client.goaway or client.peer.over:
                break
        self.assertIsNotNone(client.goaway)
        self.assertEqual(status_of(rig.pool)["queue_length"], 0)

    def test_floods(self) -> None:
        for frame in (
            PingFrame(0, opaque_data=b"12345678"),
            SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: 65535}),
            WindowUpdateFrame(0, window_increment=1),
        ):
            rig = self.make_secure_rig()
            client = rig.http2_client()
            client.raw(frame.serialize() * (IDLE_FRAMES + 10))
            self.told_to_calm_down(rig, client, "idle-frames")

    def test_empty_data(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"x", end=False)
        client.raw(DataFrame(stream, data=b"").serialize() * (IDLE_FRAMES + 10))
        self.told_to_calm_down(rig, client, "idle-frames")

    def test_padding_alone(self) -> None:
        """It counts against the window, which is opened again: nothing is kept of it, and it times out as no body at all."""
        rig = self.make_secure_rig(timeouts={"body": 5.0})
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"x", end=False)
        for _ in range(24):
            client.raw(DataFrame(stream, data=b"", pad_length=255, flags=["PADDED"]).serialize() * 20)
            rig.pass_time(0.25)
        self.assertIsNone(client.goaway)
        self.assertEqual(client.answer(stream).status, 408)

    def test_a_table_of_four_gigabytes(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 2**32 - 1})
        client.push()
        for number in range(20):
            stream = client.ask()
            rig.exchange(service, b"HTTP/1.1 200 OK\r\nX: %d%b\r\nContent-Length: 0\r\n\r\n" % (number, b"x" * 1000))
            self.assertEqual(client.answer(stream).fields[b"x"], b"%d" % number + b"x" * 1000)
        self.assertEqual(len(client.h2.decoder.header_table.dynamic_entries), 0)  # We keep nothing, so it need not either.

    def test_begun_and_reset_at_once(self) -> None:
        """All of it in one piece: what the stream would be told finds it closed."""
        rig = self.make_secure_rig(
            routes=[cfg.RouteConfig(buffering=False), cfg.RouteConfig(path="/own", respond=cfg.RespondConfig())]
        )
        client = rig.http2_client()
        for path in (b"/", b"/own", b"/a b"):
            for fields in ((), ((b"expect", b"100-continue"),)):
                for _ in range(3):
                    stream = client.h2.get_next_available_stream_id()
                    head = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", path), *fields]
                    client.h2.send_headers(stream, head)
                    client.h2.send_data(stream, b"some")
                    client.h2.reset_stream(stream)
                client.push()
        self.assertIsNone(client.goaway)
        service = rig.slot()
        stream = client.ask()
        rig.exchange(service, OK)
        self.assertEqual(client.answer(stream).status, 200)

    def test_continuation(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.raw(HeadersFrame(1, data=b"\0").serialize())
        client.raw(ContinuationFrame(1, data=b"x" * 16000).serialize() * 10)
        self.told_to_calm_down(rig, client, "header-block")

    def test_empty_continuations(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.raw(HeadersFrame(1, data=b"\0").serialize() + ContinuationFrame(1, data=b"").serialize() * (IDLE_FRAMES + 10))
        self.assertIsNotNone(client.goaway)
        rig.pass_time(LINGER_S + 1)
        self.assert_clean(rig)

    def test_acknowledgements_that_nobody_reads(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client(capacity=500)
        client.peer.reading = False
        connection = self.connection(rig)
        connection.h2._idle._burst = connection.h2._idle._tokens = float("inf")
        for _ in range(10):
            client.raw(PingFrame(0, opaque_data=b"12345678").serialize() * 600)
        self.assertLessEqual(len(connection.outlet._held), HELD_BYTES + 20_000)
        self.assertEqual(rig.gateway.counts.refused, {"http2-not-reading": 1})
        self.assert_clean(rig)

    def test_windows_of_one_byte(self) -> None:
        """Each byte that is asked for by itself costs the client as much as it costs us: until it is told to stop."""
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client(acknowledges=False)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.push()
        stream = client.ask()
        rig.exchange(service, answer_of(100_000))
        self.assertEqual(client.answer(stream).content, b"")
        client.h2.increment_flow_control_window(1, stream)
        client.push()
        self.assertEqual(client.answer(stream).content, b"z")
        for _ in range(IDLE_FRAMES + 10):
            client.h2.increment_flow_control_window(1, stream)
        client.push()
        self.told_to_calm_down(rig, client, "idle-frames")

    def test_a_client_that_never_opens_its_window(self) -> None:
        rig = self.make_secure_rig(timeouts={"write": 4.0})
        service = rig.slot()
        client = rig.http2_client(acknowledges=False)
        stream = client.ask()
        rig.exchange(service, answer_of(100_000))
        rig.pass_time(5.0)
        self.assertEqual(client.answer(stream).reset, ErrorCodes.CANCEL)
        self.assertEqual(self.connection(rig).streams, {})
        self.assertEqual(rig.gateway.counts.timeouts, {"write": 1})

    def test_a_client_that_reads_nothing(self) -> None:
        rig = self.make_secure_rig(timeouts={"write": 4.0})
        service = rig.slot()
        client = rig.http2_client(capacity=1000)
        client.peer.reading = False
        client.ask()
        rig.exchange(service, answer_of(100_000))
        rig.pass_time(3.0)
        self.assertEqual(len(rig.proxy.front.clients), 1)
        rig.pass_time(2.0)
        self.assert_clean(rig)
        self.assertEqual(rig.gateway.counts.timeouts, {"write": 1})

    def test_a_client_that_reads_slowly(self) -> None:
        """It is not cut off while it takes a record in the time of a write."""
        rig = self.make_secure_rig(timeouts={"write": 4.0})
        service = rig.slot()
        client = rig.http2_client(capacity=1000)
        client.peer.reading = False
        stream = client.ask()
        rig.exchange(service, answer_of(60_000))
        for step in range(3):
            rig.pass_time(3.0)
            for _ in range(4):
                client.peer.received += client.peer.socket.recv(5000)
                rig.settle()
            self.assertEqual(len(rig.proxy.front.clients), 1, step)
        client.peer.reading = True
        data, client.peer.received = client.peer.received, b""
        client.tls.bio_write(data)
        client._read()
        self.assertEqual(len(client.answer(stream).content), 60_000)

    def test_a_client_that_reads_too_slowly(self) -> None:
        """It takes something now and then, and less than the rate: the whole connection ends."""
        rig = self.make_secure_rig(timeouts={"write": 4.0}, limits={"write_rate": 50_000})
        service = rig.slot()
        client = rig.http2_client(capacity=1000)
        client.peer.reading = False
        client.ask()
        rig.exchange(service, answer_of(60_000))
        for _ in range(3):
            rig.pass_time(3.0)
            if rig.proxy.front.clients:
                client.peer.received += client.peer.socket.recv(5000)
            rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.gateway.counts.timeouts, {"write": 1})

    def test_a_window_that_opens_by_a_byte(self) -> None:
        """A byte each second is not what keeps an answer; the rate is. Time while others are served does not count."""
        for size, late in ((1, True), (1000, False)):
            rig = self.make_secure_rig(timeouts={"write": 5.0}, limits={"response_memory": 1000, "write_rate": 900})
            client = rig.http2_client(acknowledges=False)
            client.h2.update_settings({4: 0})
            client.push()
            service = rig.slot()
            stream = client.ask()
            rig.exchange(service, answer_of(100_000))
            self.assertEqual(rig.gateway.space.files, 1)
            for _ in range(20):
                rig.pass_time(1.0)
                if client.answer(stream).reset is None:
                    client.h2.increment_flow_control_window(size, stream)
                    client.push()
            self.assertEqual(client.answer(stream).reset, ErrorCodes.CANCEL if late else None)
            self.assertEqual(rig.gateway.space.files, 0 if late else 1)

    def test_a_body_that_trickles(self) -> None:
        """The same with what a client sends."""
        for size, status in ((1, 408), (1000, 0)):
            rig = self.make_secure_rig(timeouts={"body": 5.0}, limits={"body_rate": 900})
            client = rig.http2_client()
            stream = client.ask(method=b"POST", body=b"x", end=False)
            for _ in range(20):
                rig.pass_time(1.0)
                if not client.answer(stream).ended:
                    client.h2.send_data(stream, bytes(size))
                    client.push()
            self.assertEqual(client.answer(stream).status, status)

    def test_a_body_that_stalls(self) -> None:
        rig = self.make_secure_rig(timeouts={"body": 4.0}, limits={"body_rate": 0})
        client = rig.http2_client()
        stream = client.ask(method=b"POST", body=b"x", end=False)
        rig.pass_time(3.0)
        client.h2.send_data(stream, b"y")
        client.push()
        rig.pass_time(3.0)
        self.assertEqual(client.answer(stream).status, 0)
        rig.pass_time(2.0)
        self.assertEqual(client.answer(stream).status, 408)
        self.assertEqual(rig.gateway.counts.timeouts, {"body": 1})

    def test_a_header_block_that_stalls(self) -> None:
        rig = self.make_secure_rig(timeouts={"head": 4.0, "keep_alive": 100.0})
        service = rig.slot()
        client = rig.http2_client()
        client.ask()
        rig.exchange(service, OK)
        client.raw(HeadersFrame(3, data=b"\0").serialize())
        for _ in range(6):
            rig.pass_time(1.0)
            client.raw(ContinuationFrame(3, data=b"").serialize())
        rig.pass_time(LINGER_S + 1)
        self.assert_clean(rig)
        self.assertEqual(rig.gateway.counts.timeouts, {"head": 1})

    def test_a_client_that_says_nothing(self) -> None:
        rig = self.make_secure_rig(timeouts={"head": 4.0})
        client = HTTP2Client(rig, rig.secure_peer())
        client.handshake()
        rig.pass_time(5.0)
        client.exchange()
        self.assertEqual(client.goaway and client.goaway.error_code, ErrorCodes.NO_ERROR)
        rig.pass_time(LINGER_S + 1)
        self.assert_clean(rig)

    def test_keep_alive_is_not_kept_by_pings(self) -> None:
        rig = self.make_secure_rig(timeouts={"keep_alive": 4.0})
        service = rig.slot()
        client = rig.http2_client()
        rig.pass_time(10.0)
        client.ask()
        rig.pass_time(10.0)
        rig.exchange(service, OK)
        self.assertEqual(client.answer(1).status, 200)
        for _ in range(5):
            rig.pass_time(1.0)
            client.h2.ping(b"12345678")
            client.push()
        self.assertEqual(client.goaway and client.goaway.error_code, ErrorCodes.NO_ERROR)
        self.assertEqual(rig.gateway.counts.timeouts, {"keep_alive": 1})

    def test_answers_of_our_own_keep_a_connection(self) -> None:
        rig = self.make_secure_rig(
            routes=[cfg.RouteConfig(path="/own", respond=cfg.RespondConfig(200, b"x"))], timeouts={"keep_alive": 4.0}
        )
        client = rig.http2_client()
        for _ in range(5):
            rig.pass_time(3.0)
            self.assertEqual(client.answer(client.ask(b"/own")).status, 200)
        rig.pass_time(5.0)
        client.exchange()
        self.assertEqual(client.goaway and client.goaway.error_code, ErrorCodes.NO_ERROR)

    def test_no_space(self) -> None:
        rig = self.make_secure_rig(limits={"response_memory": 10})
        service = rig.slot()
        client = rig.http2_client(acknowledges=False)
        self.patch(__import__("tempfile"), "TemporaryFile", self._no_space)
        stream = client.ask()
        rig.exchange(service, answer_of(200_000))
        self.assertEqual(client.answer(stream).reset, ErrorCodes.INTERNAL_ERROR)
        self.assertEqual(self.connection(rig).streams, {})

    @staticmethod
    def _no_space(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "no space left on device")


class BadBytesTests(HTTP2Case):
    """What is no HTTP/2."""

    def test_no_preface(self) -> None:
        rig = self.make_secure_rig()
        client = rig.secure_client(protocols=(b"h2",))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.exchange()
        self.assertTrue(client.ended)
        self.assertEqual(rig.gateway.counts.refused, {"http2-protocol-error": 1})

    def test_broken_frames(self) -> None:
        for frames in (
            b"\xff\xff\xff\0\0\0\0\0\1",  # larger than allowed
            b"\0\0\5\6\0\0\0\0\0hello",  # a PING of five bytes
            b"\0\0\0\0\1\0\0\0\0",  # DATA on no stream
            b"\0\0\1\0\x08\0\0\0\1\xff",  # more padding than frame
            HeadersFrame(2, data=b"\x82", flags=["END_HEADERS"]).serialize(),  # a stream that is ours to open
            HeadersFrame(1, data=b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]).serialize(),  # no HPACK
            ContinuationFrame(1, data=b"").serialize(),
            WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2,
            SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: 2**31}).serialize(),
        ):
            rig = self.make_secure_rig()
            client = rig.http2_client()
            client.raw(frames)
            client.exchange()
            self.assertIsNotNone(client.goaway, frames)
            rig.pass_time(LINGER_S + 1)
            self.assert_clean(rig)

    def test_malformed_heads(self) -> None:
        good = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a")]
        for bad in (
            [*good, (b":method", b"GET")],
            [*good, (b"Upper", b"x")],
            [*good, (b"connection", b"close")],
            [*good, (b"te", b"gzip")],
            [*good, (b"host", b"other")],
            good[1:],
            [(b"x", b"y"), *good],
            [*good, (b"x", b"a\r\nb: c")],
        ):
            rig = self.make_secure_rig()
            service = rig.slot()
            client = rig.http2_client()
            client.h2.send_headers(1, bad, end_stream=True)
            client.push()
            self.assertEqual(client.answer(1).reset, ErrorCodes.PROTOCOL_ERROR, bad)
            self.assertEqual(service.take(), b"")
            stream = client.ask()
            rig.exchange(service, OK)
            self.assertEqual((client.goaway, client.answer(stream).status), (None, 200))

    def test_what_is_refused_is_logged(self) -> None:
        """With the first line that HTTP/1.1 would have had, cut and escaped, reason and bytes sent; and it is counted."""
        good = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a")]
        for fields, status, line, reason in (
            ([*good, (b":path", b'/a"b ' + b"x" * 300)], 400, "GET /a\\x22b " + "x" * 247, "request-line"),
            ([*good, (b":path", b"http://b/")], 400, "GET http://b/ HTTP/2.0", "target"),
            ([*good, (b":path", b"/"), (b"Upper", b"x")], 400, "GET / HTTP/2.0", "field-name"),
            ([*good, (b":path", b"/"), (b":method", b"PUT")], 400, "GET / HTTP/2.0", "pseudo-field"),
            (good, 400, "GET - HTTP/2.0", "pseudo-field"),
            ([(b"x", b"y")], 400, "-", "pseudo-field"),
        ):
            rig = self.make_secure_rig()
            log = rig.log_to("combined")
            client = rig.http2_client()
            client.h2.send_headers(1, fields, end_stream=True)
            client.push()
            assert rig.gateway.access_log is not None
            rig.gateway.access_log.flush()
            answer = client.answer(1)
            self.assertEqual(answer.status in (0, status), True)
            end = f'"{line}" {status} {len(answer.content)} "-" "-" "{reason}"\n'
            self.assertTrue(log.text.endswith(end), (log.text, end))
            self.assertEqual(log.text.count("\n"), 1)
            self.assertEqual(rig.gateway.counts.bad_requests, {reason: 1})

    def test_a_full_disk_is_told(self) -> None:
        """Once a minute, however many answers can't be kept; those alone end."""
        rig = self.make_secure_rig(limits={"response_memory": 10_000})
        logged = Logged(self)
        client = rig.http2_client()
        services = [rig.slot() for _ in range(3)]
        with mock.patch("xproxy.net.bodies.spool.tempfile.TemporaryFile", side_effect=OSError(errno.ENOSPC, "no space")):
            streams = [client.ask() for _ in services]
            for service in services:
                rig.exchange(service, answer_of(300_000))
        self.assertEqual([client.answer(stream).reset for stream in streams], [ErrorCodes.INTERNAL_ERROR] * 3)
        self.assertEqual(logged.lines, ["an answer that its client does not take can't be kept: no space"])
        self.assertIsNone(client.goaway)

    def test_a_length_that_is_not_the_bodys(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        for body, end in ((b"four", True), (b"sixsix", False)):
            stream = client.ask(method=b"POST", fields=[(b"content-length", b"5")], body=body, end=end)
            self.assertEqual(client.answer(stream).reset, ErrorCodes.PROTOCOL_ERROR)
        self.assertEqual(service.take(), b"")
        self.assertEqual(self.connection(rig).streams, {})

    def test_frames_after_the_end(self) -> None:
        """Late frames on streams that are over harm nobody else."""
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        rig.exchange(service, OK)
        client.raw(WindowUpdateFrame(stream, window_increment=5).serialize())
        client.ask()
        rig.exchange(service, OK)
        self.assertEqual(client.answer(3).status, 200)

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(st.binary(max_size=300), st.booleans())
    def test_any_bytes(self, data: bytes, preface: bool) -> None:
        rig = SecureRig()
        client = rig.secure_client(protocols=(b"h2",))
        start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize() if preface else b""
        client.send(start + data)
        self._ends_well(rig, client)

    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 10),
                st.integers(0, 255),
                st.sampled_from([0, 1, 1, 3, 3, 5, 2, 2**31 - 1]),
                st.binary(max_size=40),
            ),
            max_size=12,
        )
    )
    def test_any_frames(self, frames: List[Tuple[int, int, int, bytes]]) -> None:
        rig = SecureRig()
        services = [rig.slot() for _ in range(2)]
        client = rig.http2_client()
        block = client.h2.encoder.encode(
            [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a")]
        )
        self.patch(client.h2, "receive_data", lambda frame: [])  # hyper-h2 does not know of what it did not send itself.
        client.raw(HeadersFrame(1, data=block, flags=["END_HEADERS"]).serialize())
        for number, (kind, flags, stream, body) in enumerate(frames):
            client.raw(len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body)
            if number % 3 == 2:
                for service in services:
                    if service.take():
                        service.send(OK)
                rig.settle()
        self._ends_well(rig, client)

    def _ends_well(self, rig: SecureRig, client: Any) -> None:
        """Whatever was said: the client can leave, and leaves nothing."""
        client.peer.close()
        rig.pass_time(LINGER_S + 1)
        self.assert_clean(rig)
        rig.stop()


class EndTests(HTTP2Case):
    """How connections end."""

    def close(self, *clients: HTTP2Client) -> None:
        for client in clients:
            client.tls.shutdown()
            client.exchange()
            client.peer.close()

    def test_drain(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        idle, busy = rig.http2_client(), rig.http2_client()
        stream = busy.ask()
        drained = rig.proxy.drain()
        idle.exchange()
        busy.exchange()
        self.assertTrue(idle.ended)
        self.assertEqual([client.goaway and client.goaway.error_code for client in (idle, busy)], [0, 0])
        self.assertEqual([client.goaway and client.goaway.last_stream_id for client in (idle, busy)], [0, stream])
        rig.exchange(service, OK)
        self.assertEqual(busy.answer(stream).content, b"ok")
        self.assertTrue(busy.ended)
        self.close(idle, busy)
        rig.settle()
        self.assertTrue(drained.called)

    def test_a_request_that_crosses_the_goaway(self) -> None:
        """RFC 9113 section 6.8: it is served; one that is sent by a client that knew is refused, and can be sent again."""
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        first = client.ask()
        rig.exchange(service, OK)
        rig.proxy.drain()
        crossing = client.ask()
        rig.exchange(service, OK)
        self.assertEqual([client.answer(stream).content for stream in (first, crossing)], [b"ok", b"ok"])
        self.assertEqual(client.goaway and client.goaway.last_stream_id, crossing)
        self.assertTrue(client.ended)

    def test_a_request_of_a_client_that_knew(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        first = client.ask()
        rig.proxy.drain()
        client.exchange()
        late = client.ask()
        self.assertEqual(client.answer(late).reset, ErrorCodes.REFUSED_STREAM)
        rig.exchange(service, OK)
        self.assertEqual(client.answer(first).content, b"ok")
        self.assertTrue(client.ended)

    def test_a_client_that_never_says_that_it_knows(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        first = client.ask()
        rig.proxy.drain()
        rig.pass_time(LEAVE_S + 1)
        late = client.ask()
        rig.exchange(service, OK)
        self.assertEqual([client.answer(stream).reset for stream in (first, late)], [None, ErrorCodes.REFUSED_STREAM])
        self.assertEqual(client.goaway and client.goaway.last_stream_id, first)
        self.assertTrue(client.ended)

    def test_an_idle_client_that_never_says_that_it_knows(self) -> None:
        """Nor sends anything at all."""
        rig = self.make_secure_rig()
        client = rig.http2_client()
        rig.proxy.drain()
        rig.pass_time(LEAVE_S + 1)
        client.exchange()
        self.assertTrue(client.ended)
        self.assertEqual(rig.gateway.counts.timeouts, {})

    def test_a_request_that_crosses_the_end_of_the_idle_time(self) -> None:
        rig = self.make_secure_rig(timeouts={"keep_alive": 4.0})
        service = rig.slot()
        client = rig.http2_client()
        first = client.ask()
        rig.exchange(service, OK)
        self.assertEqual(client.answer(first).content, b"ok")
        rig.pass_time(5.0)
        crossing = client.ask()
        rig.exchange(service, OK)
        self.assertEqual(client.answer(crossing).content, b"ok")
        self.assertTrue(client.ended)

    def test_a_client_that_says_goodbye(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client()
        stream = client.ask()
        client.raw(GoAwayFrame(0).serialize())
        rig.exchange(service, OK)
        answer = client.answer(stream)
        self.assertEqual((answer.content, answer.ended, client.ended), (b"ok", True, True))
        self.close(client)
        self.assert_clean(rig)

    def test_a_client_that_says_what_is_wrong(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.ask()
        client.h2.close_connection(ErrorCodes.INTERNAL_ERROR)
        client.push()
        self.assertEqual(status_of(rig.pool)["queue_length"], 0)
        self.close(client)
        self.assert_clean(rig)

    def test_a_client_that_does_not_close(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.h2.close_connection()
        client.push()
        rig.pass_time(LINGER_S + 1)
        self.assertTrue(client.peer.over)
        self.assert_clean(rig)

    def test_a_drain_while_the_transport_is_full(self) -> None:
        rig = self.make_secure_rig()
        service = rig.slot()
        client = rig.http2_client(capacity=1000)
        client.peer.reading = False
        stream = client.ask()
        rig.exchange(service, answer_of(60_000))
        rig.proxy.drain()
        client.peer.reading = True
        self.assertEqual(len(client.answer(stream).content), 60_000)
        self.assertEqual(client.goaway and client.goaway.last_stream_id, stream)
        self.assertTrue(client.ended)

    def test_a_flood_while_the_transport_is_full(self) -> None:
        rig = self.make_secure_rig(timeouts={"write": 5.0})
        service = rig.slot()
        client = rig.http2_client(capacity=1000)
        client.peer.reading = False
        client.ask()
        rig.exchange(service, answer_of(60_000))
        client.raw(WindowUpdateFrame(0, window_increment=1).serialize() * 2000)
        self.assertEqual(self.connection(rig).streams, {})
        rig.pass_time(6.0)
        self.assert_clean(rig)

    def test_stop(self) -> None:
        rig = self.make_secure_rig()
        client = rig.http2_client()
        client.ask()
        rig.proxy.stopService()
        rig.settle()
        self.assertTrue(client.peer.over)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_nothing_is_left_behind(self) -> None:
        rig = self.make_secure_rig()
        services: List[Peer] = [rig.slot() for _ in range(3)]
        for ending in range(8):
            client = rig.http2_client()
            for _ in range(5):
                client.ask(method=b"POST", body=b"x" * 100, end=bool(ending % 2))
            for service in services:
                if service.take() and ending % 3:
                    service.send(OK)
            rig.settle()
            client.peer.reset() if ending % 2 else client.peer.close()
            for service in services:
                service.take()
                service.send(OK)
            rig.settle()
            services = [rig.slot() for _ in range(3)]
        self.assert_clean(rig)
        self.assertFalse(
            [member for member in rig.gateway.sweep._members if type(member).__name__ in ("Stream", "HTTP2Connection")]
        )
