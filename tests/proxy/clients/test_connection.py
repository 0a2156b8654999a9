"""A client's connection, state by state: what each input does, and what ends it."""

from __future__ import annotations

import os
from typing import Any

from tests.world.rig import GET, OK, RigCase, post, request_head, responses, statuses
from tests.world.sockets import KERNEL
from xproxy import config as cfg
from xproxy.net.sweep import NEVER
from xproxy.proxy.clients.connection import LAST_REQUEST_S, LINGER_S, LONGEST_LINGER_S, LOOK_INTERVAL_S
from xproxy.proxy.clients.intake import PIPELINE_BYTES
from xproxy.proxy.clients.states import State

ONE_READ = 256 * 1024
"""No read is longer."""

HEAD = b"HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n"


class FrontMixin:
    """The tests that hold over both kinds of sockets."""

    def test_one_request(self: Any) -> None:
        """There and back, with the marks of a proxy on both."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET /a?b HTTP/1.1\r\nHost: example.com\r\nX-Own: 1\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        self.assertIs(rig.connections[0].state, State.EXCHANGE)
        head = request_head(service)
        self.assertEqual((head.method, head.target, head.host), (b"GET", b"/a?b", b"example.com"))
        self.assertEqual(head.fields.get(b"x-own"), b"1")
        self.assertEqual(head.fields.get(b"x-forwarded-for"), b"192.0.2.1")
        self.assertEqual(head.fields.get(b"via"), b"1.1 xproxy")
        self.assertRegex(head.fields.get(b"x-request-id"), rb"^[0-9a-f]{24}$")
        self.assertEqual(head.fields.get(b"te"), b"trailers")
        rig.exchange(service, b"HTTP/1.1 200 Fine\r\nX-Its-Own: 2\r\nKeep-Alive: 1\r\nContent-Length: 5\r\n\r\nhello")
        status, fields, content = responses(client.take())[0]
        self.assertEqual((status, content), (200, b"hello"))
        self.assertEqual((fields[b"x-its-own"], fields[b"via"]), (b"2", b"1.1 xproxy"))
        self.assertTrue(fields[b"date"].endswith(b" GMT"))
        self.assertNotIn(b"keep-alive", fields)
        self.assertNotIn(b"connection", fields)
        self.assertIs(rig.connections[0].state, State.IDLE)
        self.assert_at_rest(rig)

    def test_keep_alive(self: Any) -> None:
        """One connection on both sides for many requests."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client()
        for number in range(5):
            client.send(b"GET /%d HTTP/1.1\r\nHost: example.com\r\n\r\n" % number)
            rig.settle()
            self.assertEqual(request_head(rig.exchange(service, OK)).path, b"/%d" % number)
            self.assertEqual(statuses(client.take()), [200])
        self.assertEqual(rig.pool.counts.served, 5)
        self.assertEqual(rig.gateway.counts.connections_total["client"], 1)

    def test_close_is_asked_for(self: Any) -> None:
        """Each side may end its own connection, and only its own."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertFalse(request_head(service).fields.close)
        rig.exchange(service, OK)
        self.assertEqual(responses(client.take())[0][1][b"connection"], b"close")
        self.assertTrue(client.ended)
        self.assertFalse(service.over)
        self.assert_at_rest(rig)

    def test_http_1_0(self: Any) -> None:
        """RFC 9112 section 9.3: it ends unless keep-alive is asked for, and then it is said."""
        for fields, kept in ((b"", False), (b"Connection: keep-alive\r\n", True), (b"Connection: close\r\n", False)):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(b"GET / HTTP/1.0\r\n" + fields + b"\r\n")
            request = rig.exchange(service, OK)
            self.assertTrue(request.startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"))  # Where it came in.
            self.assertIn(b"Via: 1.0 xproxy\r\n", request)
            found = responses(client.take())[0][1]
            self.assertEqual(found[b"connection"], b"keep-alive" if kept else b"close")
            self.assertEqual(client.ended, not kept)
            self.assert_at_rest(rig)

    def test_versions_on_one_connection(self: Any) -> None:
        """Via tells the version of each request, also of two with the same fields (RFC 9110 section 7.6.3)."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client()
        for version in (b"1.1", b"1.0", b"1.1"):
            client.send(b"GET / HTTP/" + version + b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            rig.settle()
            self.assertEqual(request_head(rig.exchange(service, OK)).fields.get(b"via"), version + b" xproxy")
        self.assertEqual(statuses(client.take()), [200] * 3)

    def test_no_content(self: Any) -> None:
        """RFC 9112 section 6.3: HEAD, 204 and 304 have no body, whatever their fields say, and the slot goes on."""
        for request, response, length in (
            (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"1000"),
            (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            (HEAD, b"HTTP/1.1 200 OK\r\n\r\n", None),
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n", None),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", b"1000"),
            (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n", None),
            (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"0"),
            (GET, b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", b"0"),
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(request + GET)
            method = request.partition(b" ")[0]
            rig.exchange(service, response)
            rig.exchange(service, OK)
            found = responses(client.take(), method, b"GET")
            self.assertEqual([content for _, _, content in found], [b"", b"ok"], response)
            self.assertEqual(found[0][1].get(b"content-length"), length, response)
            self.assertNotIn(b"transfer-encoding", found[0][1])
            self.assertFalse(service.over)
            self.assert_at_rest(rig)

    def test_pipelining(self: Any) -> None:
        """One at a time, answered in the order of asking."""
        rig = self.make_rig()
        services = [rig.slot(), rig.slot()]
        client = rig.client(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(4)))
        for number in range(4):
            service = services[number % 2]
            self.assertEqual(request_head(service).path, b"/%d" % number)
            self.assertEqual(services[1 - number % 2].received, b"")
            rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        self.assertEqual([content for _, _, content in responses(client.take())], [b"0", b"1", b"2", b"3"])

    def test_pipelined_behind_a_body(self: Any) -> None:
        """What follows a body is the next request."""
        for body in (
            post(b"hello"),
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(body + GET + body)
            self.assertTrue(rig.exchange(service, OK).endswith(b"\r\n\r\nhello"))
            self.assertTrue(rig.exchange(service, OK).startswith(b"GET "))
            self.assertTrue(rig.exchange(service, OK).endswith(b"\r\n\r\nhello"))
            self.assertEqual(statuses(client.take()), [200] * 3)

    def test_many_pipelined_do_not_recurse(self: Any) -> None:
        """However many are answered at once."""
        rig = self.make_rig(routes=[cfg.RouteConfig(respond=cfg.RespondConfig(204))])
        client = rig.client()
        client.send(GET * 3000)
        rig.settle()
        self.assertEqual(statuses(client.take()), [204] * 3000)

    def test_pipelining_is_bounded(self: Any) -> None:
        """A client that sends on without waiting for answers is read no further ahead, however many it gets."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client()
        client.send(GET * 40_000)
        rig.settle()
        connection = rig.connections[0]
        self.assertNotIn(connection.transport, rig.reactor.readers)
        longest = 0
        for _ in range(3000):
            rig.exchange(service, OK)
            longest = max(longest, len(connection.intake.buffer))
        self.assertLess(longest, PIPELINE_BYTES + ONE_READ)
        self.assertEqual(statuses(client.take()), [200] * 3000)

    def test_long_head_behind_pipelined_ones(self: Any) -> None:
        """What is one head is read to its end, even when heads may be longer than what is read ahead."""
        big = 3 * PIPELINE_BYTES
        rig = self.make_rig(limits={"head": big, "header": big})
        service = rig.slot()
        client = rig.client(GET * 3000 + GET[:-2] + b"X: " + b"x" * (2 * PIPELINE_BYTES) + b"\r\n\r\n" + GET)
        for _ in range(3002):
            rig.exchange(service, OK)
        self.assertEqual(len(statuses(client.take())), 3002)

    def test_bad_request(self: Any) -> None:
        """Refused and closed, in two steps, so that the answer is read before the end is met."""
        rig = self.make_rig()
        rig.slot()
        client = rig.client(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + GET)
        status, fields, content = responses(client.take())[0]
        self.assertEqual((status, fields[b"connection"]), (400, b"close"))
        self.assertIn(b"space-before-colon", content)
        self.assertTrue(client.ended)
        self.assertFalse(client.was_reset)
        client.send(b"more of it" * 1000)
        rig.settle()
        self.assertFalse(client.was_reset)
        self.assertEqual(len(rig.proxy.front.clients), 1)
        client.close()
        rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.pool.counts.served_waits.count, 0)
        self.assertEqual(rig.gateway.counts.routeless, {400: 1})

    def test_lingering_is_bounded(self: Any) -> None:
        """A client that never notices is cut off."""
        rig = self.make_rig()
        client = rig.client(b"\x00")
        self.assertEqual(statuses(client.take()), [400])
        rig.pass_time(LINGER_S - 0.5)
        self.assertEqual(len(rig.proxy.front.clients), 1)
        rig.pass_time(1.0)
        self.assertEqual(rig.proxy.front.clients, {})

    def test_a_client_that_sends_on_is_read_on(self: Any) -> None:
        """As long as it does not pause for too long, and for a time in all: a long upload sees why it was refused."""
        for body in (b"", b"x" * 1000):
            rig = self.make_rig(limits={"body": 10})
            client = rig.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + body)
            self.assertEqual(statuses(client.take()), [413])
            passed_s = 0.0
            while rig.proxy.front.clients and passed_s < 60.0:
                rig.pass_time(LINGER_S - 1.0)
                passed_s += LINGER_S - 1.0
                if rig.proxy.front.clients:
                    self.assertFalse(client.was_reset)
                    client.send(b"more of it" * 100)
                    rig.settle()
            self.assertGreater(passed_s, LONGEST_LINGER_S - LINGER_S)
            self.assertLess(passed_s, LONGEST_LINGER_S + LINGER_S)
            self.assertTrue(client.was_reset or client.ended)

    def test_empty_line_behind_a_body(self: Any) -> None:
        """It belongs to nothing: no head has begun, so nobody is late, and nothing holds a drain."""
        for tail in (b"\r\n", b"\r\n\r\n", b"\r\n" * 9, b"\r", b"\r\n\r\n\r"):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(post(b"hello") + tail)
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
            self.assertIs(rig.connections[0].state, State.IDLE)
            if tail[-1:] == b"\n":
                client.send(GET)
                rig.settle()
                rig.exchange(service, OK)
                self.assertEqual(statuses(client.take()), [200])
                client.send(tail)
                rig.settle()
                rig.pass_time(76.0)
            else:
                rig.proxy.drain()
                rig.pass_time(LAST_REQUEST_S + 0.5)
            self.assertEqual((client.take(), client.ended), (b"", True))
            self.assertEqual(rig.gateway.counts.timeouts, {"keep_alive": 1} if tail[-1:] == b"\n" else {})

    def test_answer_before_the_bad_one(self: Any) -> None:
        """What came before a bad request is answered."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET + b"garbage\r\n\r\n")
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200, 400])

    def test_limits_of_the_head(self: Any) -> None:
        """Each limit has its status; the size that is just allowed goes through."""
        limits = {"request_line": 100, "header": 200, "head": 500, "header_count": 5}
        line = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
        fits = 100 - len(b"GET / HTTP/1.1\r\n")
        for data, expected in (
            (line % (b"x" * fits), 200),
            (line % (b"x" * (fits + 1)), 414),
            (b"GET /" + b"x" * 101, 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * 195), 200),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * 196), 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 201, 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 4 + b"\r\n", 200),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 5 + b"\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"x" * 150 + b"\r\n") * 4 + b"\r\n", 431),
        ):
            rig = self.make_rig(limits=limits)
            service = rig.slot()
            client = rig.client(data)
            if service.received:
                rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [expected], data)

    def test_refused_methods(self: Any) -> None:
        """RFC 9110 sections 9.3.6 and 9.3.8: no tunnel to elsewhere, and no mirror."""
        for request in (
            b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
            b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(request)
            status, fields, _ = responses(client.take())[0]
            self.assertEqual(status, 405)
            self.assertIn(b"GET", fields[b"allow"])
            self.assertEqual(service.received, b"")

    def test_max_forwards(self: Any) -> None:
        """RFC 9110 section 7.6.2: the last hop answers, every other counts down; other methods are not concerned."""
        request = b"%s %s HTTP/1.1\r\nHost: a\r\nMax-Forwards: %s\r\n\r\n"
        for method, target, received, sent in (
            (b"OPTIONS", b"*", b"0", None),
            (b"OPTIONS", b"/", b"00", None),
            (b"OPTIONS", b"*", b"1", b"0"),
            (b"OPTIONS", b"/", b"10", b"9"),
            (b"OPTIONS", b"/", b"none", b"none"),
            (b"GET", b"/", b"0", b"0"),
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(request % (method, target, received) * 2)
            if sent is None:
                self.assertEqual(statuses(client.take()), [200, 200])
                self.assertEqual(service.received, b"")
            else:
                for _ in range(2):
                    self.assertEqual(request_head(rig.exchange(service, OK)).fields.get(b"max-forwards"), sent)

    def test_target_forms(self: Any) -> None:
        """RFC 9112 section 3.2: absolute-form overrules Host, asterisk-form goes on."""
        for line, host, target, sent_host in (
            (b"GET http://example.com/a?b HTTP/1.1", b"other", b"/a?b", b"example.com"),
            (b"GET http://example.com HTTP/1.1", b"example.com", b"/", b"example.com"),
            (b"OPTIONS * HTTP/1.1", b"example.com", b"*", b"example.com"),
        ):
            rig = self.make_rig()
            service = rig.slot()
            rig.client(line + b"\r\nHost: " + host + b"\r\n\r\n")
            head = request_head(service)
            self.assertEqual((head.target, head.host), (target, sent_host))

    def test_routes(self: Any) -> None:
        """Pools, hosts, prefixes, answers of our own, and 404 for what no route takes."""
        rig = self.make_rig(
            pools=["other"],
            routes=[
                cfg.RouteConfig(host="www.example.com", path="/api", pool="other", strip_prefix="/api", set_host="inner.test"),
                cfg.RouteConfig(
                    host="www.example.com", path="/old", redirect=cfg.RedirectConfig("https://{host}{target}", 308)
                ),
                cfg.RouteConfig(host="www.example.com", path="/teapot", respond=cfg.RespondConfig(418, b"short and stout")),
            ],
        )
        service = rig.slot("other")
        request = b"GET %s HTTP/1.1\r\nHost: www.example.com:8080\r\n\r\n"
        client = rig.client(b"".join(request % path for path in (b"/api/x?y", b"/old/z?q", b"/teapot", b"/nowhere")))
        head = request_head(rig.exchange(service, OK))
        self.assertEqual((head.target, head.host), (b"/x?y", b"inner.test"))
        self.assertEqual(head.fields.get(b"x-forwarded-host"), b"www.example.com:8080")
        found = responses(client.take())
        self.assertEqual([status for status, _, _ in found], [200, 308, 418, 404])
        self.assertEqual(found[1][1][b"location"], b"https://www.example.com/old/z?q")
        self.assertEqual(found[2][2], b"short and stout")
        self.assertEqual(rig.gateway.counts.pools["other"].codes, {200: 1})
        self.assertEqual(rig.gateway.counts.routeless, {308: 1, 418: 1, 404: 1})
        self.assertFalse(client.over)

    def test_own_answers_to_head(self: Any) -> None:
        """The length that the content would have, and no content."""
        rig = self.make_rig(routes=[cfg.RouteConfig(path="/x", respond=cfg.RespondConfig(200, b"four"))])
        client = rig.client(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + HEAD)
        found = responses(client.take(), b"HEAD", b"HEAD")
        self.assertEqual(
            [(status, fields[b"content-length"] != b"0") for status, fields, _ in found], [(200, True), (404, True)]
        )

    def test_own_answer_with_a_body_on_the_way(self: Any) -> None:
        """What is left of the body can't be told from the next request: the connection ends, and the client reads why."""
        rig = self.make_rig(routes=[cfg.RouteConfig(respond=cfg.RespondConfig(200, b"no need"))])
        client = rig.client(post(b"x" * 100)[:-50])
        status, fields, _ = responses(client.take())[0]
        self.assertEqual((status, fields[b"connection"]), (200, b"close"))
        client.send(b"x" * 50 + GET)
        rig.settle()
        self.assertFalse(client.was_reset)
        self.assertEqual(client.take(), b"")

    def test_fixed_answer_without_content(self: Any) -> None:
        """The connection goes on behind each of them."""
        for status in (204, 205, 304):
            rig = self.make_rig(routes=[cfg.RouteConfig(respond=cfg.RespondConfig(status, b"dropped"))])
            client = rig.client(GET + GET)
            self.assertEqual([(found, content) for found, _, content in responses(client.take())], [(status, b"")] * 2)

    def test_pages_as_accepted(self: Any) -> None:
        """An error is in the form that the client reads."""
        rig = self.make_rig(routes=())
        for accept, kind in ((b"text/html", b"text/html"), (b"application/json", b"application/json"), (b"*/*", b"text/plain")):
            client = rig.client(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: " + accept + b"\r\n\r\n")
            self.assertTrue(responses(client.take())[0][1][b"content-type"].startswith(kind))

    def test_own_pages(self: Any) -> None:
        """From the directory that the configuration names."""
        path = self.mktemp()
        os.makedirs(path)
        with open(os.path.join(path, "404.html"), "wb") as file:
            file.write(b"<p>gone fishing")
        rig = self.make_rig(routes=(), proxy={"error_pages": path})
        client = rig.client(GET)
        self.assertEqual(responses(client.take())[0][2], b"<p>gone fishing")

    def test_head_timeout(self: Any) -> None:
        """A head must be whole in time, however steadily its bytes come."""
        rig = self.make_rig(timeouts={"head": 10.0, "keep_alive": 100.0})
        client = rig.client()
        for byte in b"GET / HTT":
            client.send(bytes([byte]))
            rig.pass_time(1.0)
        self.assertEqual(client.take(), b"")
        rig.pass_time(2.0)
        status, fields, _ = responses(client.take())[0]
        self.assertEqual((status, fields[b"connection"]), (408, b"close"))
        self.assertTrue(client.ended)

    def test_nothing_at_all(self: Any) -> None:
        """A client that connects and says nothing is closed without a word."""
        rig = self.make_rig(timeouts={"head": 10.0})
        client = rig.client()
        rig.pass_time(9.0)
        self.assertFalse(client.over)
        rig.pass_time(2.0)
        self.assertEqual((client.take(), client.ended), (b"", True))

    def test_keep_alive_timeout(self: Any) -> None:
        """Idle between requests: closed without a word; the head's time begins with its first byte."""
        rig = self.make_rig(timeouts={"head": 10.0, "keep_alive": 20.0})
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, OK)
        client.take()
        rig.pass_time(19.0)
        client.send(GET[:5])
        rig.pass_time(8.0)
        self.assertFalse(client.over)
        client.send(GET[5:])
        rig.settle()
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])
        rig.pass_time(21.0)
        self.assertEqual((client.take(), client.ended), (b"", True))

    def test_no_deadline_for_who_waits(self: Any) -> None:
        """While a service works, the client is not late."""
        rig = self.make_rig(timeouts={"head": 1.0, "keep_alive": 1.0, "body": 1.0, "write": 1.0})
        service = rig.slot()
        client = rig.client(post(b"x"))
        rig.pass_time(20.0)
        self.assertEqual(rig.connections[0].deadline, NEVER)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_client_leaves_before_its_request(self: Any) -> None:
        """Closed, whether something of a head came or not."""
        for data in (b"", b"GET / HT"):
            rig = self.make_rig()
            client = rig.client(data)
            client.end()
            rig.settle()
            self.assertEqual((client.take(), client.ended, rig.proxy.front.clients), (b"", True, {}))

    def test_client_leaves_the_line(self: Any) -> None:
        """Whoever waits and leaves is not served; the acceptor hears of it."""
        for ended in (False, True):
            rig = self.make_rig()
            client = rig.client(GET)
            self.assertEqual(rig.source.asks[-1], ("default", 1, 0))
            if ended:
                client.end()
                rig.settle()
            client.reset()
            rig.pass_time(2 * LOOK_INTERVAL_S)
            self.assertEqual(len(rig.pool.line), 0)
            self.assertEqual(rig.source.asks[-1], ("default", 0, 0))
            service = rig.slot()
            self.assertEqual(service.received, b"")
            self.assert_at_rest(rig)

    def test_half_close_in_line(self: Any) -> None:
        """A client that has ended its direction waits like any other, as long as any other."""
        for waited_s in (0.0, 2.0, 29.0):
            rig = self.make_rig()
            client = rig.client(GET)
            client.end()
            rig.pass_time(waited_s)
            self.assertFalse(client.over)
            service = rig.slot()
            rig.pass_time(2.0)
            rig.exchange(service, OK)
            self.assertEqual(statuses(client.take()), [200])
            self.assertEqual((client.ended, client.was_reset), (True, False))
            self.assert_at_rest(rig)
        rig = self.make_rig()
        client = rig.client(GET)
        client.end()
        rig.pass_time(31.0)
        self.assertEqual(statuses(client.take()), [503])
        self.assertTrue(client.ended)
        self.assert_at_rest(rig)

    def test_half_close_and_a_slow_answer(self: Any) -> None:
        """How long it may wait in line says nothing about how long the answer may take, or the taking of it."""
        rig = self.make_rig()
        client = rig.client(GET, capacity=4608)
        client.end()
        rig.settle()
        service = rig.slot()
        client.reading = False
        service.take()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        rig.pass_time(10.0)
        service.send(b"x" * 50_000)
        rig.pass_time(10.0)
        client.reading = True
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], b"x" * 100_000)
        self.assert_at_rest(rig)

    def test_half_close_during_the_exchange(self: Any) -> None:
        """The answer is sent, then the connection ends."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        client.end()
        rig.settle()
        self.assertFalse(client.over)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assertEqual((client.ended, client.was_reset), (True, False))
        self.assert_at_rest(rig)

    def test_half_close_while_the_answer_waits(self: Any) -> None:
        """A client that ended its direction still gets all of it."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET, capacity=4608)
        client.reading = False
        content = b"x" * 500_000
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + content)
        self.assertIs(rig.connections[0].state, State.DRAINING)
        client.end()
        rig.settle()
        client.reading = True
        rig.settle()
        self.assertEqual(responses(client.take())[0][2], content)
        self.assertEqual((client.ended, client.was_reset), (True, False))

    def test_too_many_connections(self: Any) -> None:
        """One more than the limit is closed at once, and counted."""
        rig = self.make_rig(limits={"connections": 2})
        clients = [rig.client() for _ in range(3)]
        self.assertEqual([client.over for client in clients], [False, False, True])
        self.assertEqual(rig.gateway.counts.refused, {"too-many-connections": 1})
        clients[0].close()
        rig.settle()
        self.assertFalse(rig.client().over)

    def test_counts(self: Any) -> None:
        """Open connections are counted, and what was opened so far."""
        rig = self.make_rig()
        clients = [rig.client() for _ in range(3)]
        self.assertEqual(rig.gateway.counts.connections["client"], 3)
        for client in clients:
            client.close()
        rig.settle()
        self.assertEqual(rig.gateway.counts.connections["client"], 0)
        self.assertEqual(rig.gateway.counts.connections_total["client"], 3)

    def test_access_log(self: Any) -> None:
        """One line for each answer, with what it was."""
        rig = self.make_rig(routes=[cfg.RouteConfig(path="/p"), cfg.RouteConfig(path="/r", redirect=cfg.RedirectConfig("/"))])
        file = rig.log_to()
        service = rig.slot()
        rig.client(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in (b"/p", b"/r", b"/n")) + b"bad\r\n\r\n")
        rig.pass_time(1.5)
        rig.exchange(service, OK)
        lines = rig.logged(file)
        self.assertEqual(
            [(line["target"], line["status"], line["pool"]) for line in lines[:2]], [("/p", 200, "default"), ("/r", 302, "")]
        )
        self.assertEqual([(line["target"], line["status"]) for line in lines[2:]], [("/n", 404), ("", 400)])
        self.assertEqual((lines[0]["bytes"], lines[0]["seconds"], lines[0]["peer"]), (2, 1.5, "192.0.2.1"))
        self.assertEqual(len(lines[0]["request_id"]), 24)

    def test_trusted(self: Any) -> None:
        """What a client says about where it is from is replaced, unless it is one of ours; its X-Request-ID is its own."""
        request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\nX-Request-ID: mine\r\n\r\n"
        for host, forwarded in (("192.0.2.1", b"192.0.2.1"), ("10.1.2.3", b"198.51.100.7, 10.1.2.3"), ("", b"unknown")):
            rig = self.make_rig(proxy={"trusted_proxies": cfg.networks("10.0.0.0/8")})
            service = rig.slot()
            rig.client(request, host)
            fields = request_head(service).fields
            self.assertEqual(fields.get(b"x-forwarded-for"), forwarded)
            self.assertEqual(fields.get(b"x-request-id"), b"mine")


class MemoryFrontTests(FrontMixin, RigCase):
    """Over memory."""

    def test_reset_during_the_exchange(self) -> None:
        """The response is read and thrown away; the slot stays good."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        client.reset()
        rig.settle()
        self.assertEqual(rig.proxy.front.clients, {})
        self.assertEqual(rig.pool.counts.in_flight, 1)
        rig.exchange(service, OK)
        self.assertFalse(service.over)
        self.assert_at_rest(rig)


class KernelFrontTests(FrontMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL
