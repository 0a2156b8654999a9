"""A slot, state by state: what each input does, and whether the slot is good for the next request."""

from __future__ import annotations

from typing import Any, List, Tuple

from tests.world.rig import GET, OK, RigCase, post, request_head, responses, statuses
from tests.world.sockets import KERNEL
from xproxy.net.descriptors import unread
from xproxy.proxy.exchanges.incoming_response import MAX_INTERIM
from xproxy.proxy.exchanges.slot_states import LeasedSlotState
from xproxy.slots.preambles.registration import build_registration

CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def pieces(data: bytes) -> List[Tuple[bytes, bytes]]:
    """Every way to cut ``data`` in two."""
    return [(data[:at], data[at:]) for at in range(1, len(data))]


class SlotMixin:
    """The tests that hold over both kinds of sockets."""

    def test_good_for_the_next(self: Any) -> None:
        """After a whole response, and nothing more, the slot is idle."""
        for response in (
            OK,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET)
            (slot,) = rig.pool.slots
            self.assertEqual((slot.state, rig.source.board[0]), (LeasedSlotState.HEAD, 1))
            rig.exchange(service, response)
            self.assertEqual(len(statuses(client.take())), 1, response)
            self.assertEqual((slot.state, rig.source.board[0]), (LeasedSlotState.IDLE, 0), response)
            self.assertEqual(rig.source.closed, [])
            self.assertEqual(rig.pool.counts.served, 1)
            self.assert_at_rest(rig)

    def test_a_preamble_in_place_of_a_response(self: Any) -> None:
        """The slot was taken for raw too early; nobody gets the preamble: a GET goes elsewhere, a POST may have been read."""
        preamble = build_registration("default", "web:1", None)
        for request, expected in ((GET, [200]), (post(b"x"), [502])):
            rig = self.make_rig()
            late, other = rig.slot(), rig.slot()
            client = rig.client(request)
            served, spare = (late, other) if late.received else (other, late)
            rig.exchange(served, preamble)
            if expected == [200]:
                rig.exchange(spare, OK)
                self.assertEqual(rig.pool.counts.retries, {"late-preamble": 1})
            self.assertEqual(statuses(client.take()), expected)
            self.assertEqual(len(rig.source.closed), 1)

    def test_not_good_for_the_next(self: Any) -> None:
        """The response is delivered, but the slot is closed."""
        for response in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            OK + b"x",
            OK + OK,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + OK,
            b"HTTP/1.1 204 No Content\r\n\r\nok",
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET)
            rig.exchange(service, response)
            self.assertEqual(len(statuses(client.take())), 1, response)
            self.assertTrue(service.over, response)
            self.assertEqual((rig.source.closed, rig.source.given_back), ([0], []))
            self.assertEqual(rig.pool.slots, {})
            self.assertEqual(rig.gateway.counts.connections["slot"], 0)
            self.assert_at_rest(rig)

    def test_content_of_a_head(self: Any) -> None:
        """A service that answers HEAD with content has lost the thread."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take(), b"HEAD"), [200])
        self.assertTrue(service.over)
        self.assertEqual(len(rig.pool.line), 1)

    def test_what_comes_unasked(self: Any) -> None:
        """Bytes or an end on an idle slot close it, and nobody ever sees them."""
        for unasked in (
            b"H",
            OK,
            b"",
            b"HTTP/1.1 503 Busy\r\nConnection: close\r\nXproxy-Slot: closing\r\nContent-Length: 0\r\n\r\n",
        ):
            rig = self.make_rig()
            service = rig.slot()
            (slot,) = rig.pool.slots
            if unasked:
                service.send(unasked)
            else:
                service.end()
            rig.settle()
            self.assertIs(slot.state, LeasedSlotState.CLOSED)
            self.assertTrue(service.over)
            self.assertEqual((rig.source.closed, rig.source.spoken), ([], [(0, unasked)]) if unasked else ([0], []))
            other = rig.slot()
            client = rig.client(GET)
            rig.exchange(other, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
            self.assertEqual(responses(client.take())[0][2], b"mine")
            self.assert_at_rest(rig)

    def test_a_preamble_on_a_free_lease(self: Any) -> None:
        """The acceptor gets what has come of it, and the open connection with the rest: it registers anew."""
        preamble = build_registration("other", "web:1", None)
        for first, second in [(preamble, b""), *pieces(preamble)]:
            rig = self.make_rig()
            service = rig.slot()
            service.send(first)
            rig.settle()
            service.send(second)
            rig.settle()
            self.assertEqual((rig.source.spoken, rig.source.closed, rig.pool.slots), ([(0, first)], [], {}))
            self.assertFalse(service.over)
            (parked,) = rig.source.anew
            self.assertEqual(unread(parked.copy, 4096) or b"", second)
            self.assertEqual(rig.gateway.counts.connections["slot"], 0)

    def test_a_preamble_that_waits_when_the_slot_is_used(self: Any) -> None:
        """Nobody has read it yet: the request goes elsewhere, and the acceptor finds it."""
        rig = self.make_rig()
        late, other = rig.slot(), rig.slot()
        preamble = build_registration("other", "web:1", None)
        client = rig.client()
        late.send(preamble)
        client.send(post(b"x"))
        rig.connections[0].transport.doRead()  # Before the reactor has polled again.
        rig.settle()
        rig.exchange(other, OK)
        self.assertEqual(statuses(client.take()), [200])
        self.assertEqual((rig.source.spoken, late.over), ([(0, preamble)], False))

    def test_after_a_request_it_is_no_preamble(self: Any) -> None:
        """But perhaps the content of an answer, which a stranger may choose: it would choose the slot's pool."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.exchange(service, OK[:-2])
        self.assertEqual(statuses(client.take(), b"HEAD"), [200])
        service.send(build_registration("other", "web:1", None))
        rig.settle()
        self.assertEqual((rig.source.spoken, rig.source.closed, service.over), ([], [0], True))

    def test_a_goodbye_on_a_free_lease(self: Any) -> None:
        """Whether it was used or not: the acceptor counts it as what it is."""
        goodbye = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nXproxy-Slot: closing\r\nContent-Length: 0\r\n\r\n"
        for used in (False, True):
            rig = self.make_rig()
            service = rig.slot()
            if used:
                client = rig.client(GET)
                rig.exchange(service, OK)
                self.assertEqual(statuses(client.take()), [200])
            service.send(goodbye)
            rig.settle()
            self.assertEqual((rig.source.spoken, rig.source.closed, rig.pool.slots), ([(0, goodbye)], [], {}))
            self.assertTrue(service.over)

    def test_a_preamble_when_the_acceptor_is_away(self: Any) -> None:
        """Nobody is there to judge it."""
        rig = self.make_rig()
        service = rig.slot()
        rig.proxy.acceptor_lost()
        service.send(build_registration("other", "web:1", None))
        rig.settle()
        self.assertEqual((rig.source.spoken, service.over), ([], True))

    def test_second_response_reaches_nobody(self: Any) -> None:
        """However it is cut: the next request gets its own answer, from another slot."""
        smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        for first, second in pieces(smuggled)[:3] + pieces(OK + smuggled)[-len(smuggled) + 1 :: 5]:
            rig = self.make_rig()
            service, other = rig.slot(), rig.slot()
            client = rig.client(GET)
            whole = first if first.startswith(OK) else OK + first
            rig.exchange(service, whole)
            service.send(second)
            rig.settle()
            client.send(GET)
            rig.settle()
            rig.exchange(other, OK)
            self.assertEqual([content for _, _, content in responses(client.take())], [b"ok", b"ok"])
            self.assertTrue(service.over)

    def test_interim(self: Any) -> None:
        """RFC 9110 section 15.2: 100 is ours to send, the others are relayed, in order, however they arrive."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: 1\r\n\r\n"
        response = b"HTTP/1.1 100 Continue\r\n\r\n" + hints + b"HTTP/1.1 102 Processing\r\n\r\n" + OK
        for first, second in [(response, b""), *pieces(response)[::7]]:
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET)
            rig.exchange(service, first)
            rig.exchange(service, second)
            found = responses(client.take())
            self.assertEqual([status for status, _, _ in found], [103, 102, 200])
            self.assertEqual(found[0][1], {b"link": b"</a.css>"})
            self.assert_at_rest(rig)

    def test_interim_to_http_1_0(self: Any) -> None:
        """It knows none."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        rig.exchange(service, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_too_many_interim(self: Any) -> None:
        """A service that never comes to the point."""
        hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, hint * MAX_INTERIM + OK)
        self.assertEqual(statuses(client.take()), [103] * MAX_INTERIM + [200])
        client.send(GET)
        rig.settle()
        rig.exchange(service, hint * (MAX_INTERIM + 1) + OK)
        self.assertEqual(statuses(client.take()), [103] * MAX_INTERIM + [502])
        self.assertTrue(service.over)

    def test_garbage(self: Any) -> None:
        """What is no response is a 502, never tried again, and the end of the slot."""
        for garbage in (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"\x00\x00\x12\x04\x00",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        ):
            rig = self.make_rig()
            service, other = rig.slot(), rig.slot()
            client = rig.client(GET)
            rig.exchange(service, garbage)
            self.assertEqual(statuses(client.take()), [502], garbage)
            self.assertTrue(service.over)
            self.assertEqual(other.received, b"")
            self.assert_at_rest(rig)

    def test_garbage_in_the_body(self: Any) -> None:
        """After the head has gone out: the answer is cut off, so that the client can see it."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        rig.exchange(service, b"zz\r\n")
        self.assertTrue(client.over)
        self.assertRaises(AssertionError, responses, client.take())
        self.assertTrue(service.over)
        self.assert_at_rest(rig)

    def test_body_breaks_off(self: Any) -> None:
        """The same for an end before its time, in either framing."""
        for head in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET + GET)
            rig.exchange(service, head + b"he")
            service.end()
            rig.settle()
            self.assertTrue(client.over)
            self.assertRaises(AssertionError, responses, client.take())
            self.assertEqual(rig.pool.counts.retries, {})
            self.assertEqual(rig.pool.counts.served, 0)
            self.assert_at_rest(rig)

    def test_ended_by_close(self: Any) -> None:
        """RFC 9112 section 6.3: a response of no length ends with the connection, and is chunked for the client."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(GET + GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\n\r\n")
        rig.exchange(service, b"some")
        rig.exchange(service, b"thing")
        service.end()
        rig.settle()
        status, fields, content = responses(client.take())[0]
        self.assertEqual((status, content, fields[b"transfer-encoding"]), (200, b"something", b"chunked"))
        self.assertTrue(service.over)
        self.assertFalse(client.over)
        self.assertEqual((rig.pool.counts.served, len(rig.pool.line)), (1, 1))

    def test_ended_by_close_for_http_1_0(self: Any) -> None:
        """It ends by close on both sides."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        rig.exchange(service, b"HTTP/1.1 200 OK\r\n\r\nsome")
        rig.exchange(service, b"thing")
        self.assertFalse(client.over)
        service.end()
        rig.settle()
        _, fields, content = responses(client.take())[0]
        self.assertEqual((content, fields[b"connection"]), (b"something", b"close"))
        self.assertNotIn(b"transfer-encoding", fields)
        self.assertEqual((client.ended, client.was_reset), (True, False))

    def test_no_head_in_time(self: Any) -> None:
        """504, never tried again: the service may have acted."""
        rig = self.make_rig(pool={"response_timeout": 5.0})
        service, other = rig.slot(), rig.slot()
        client = rig.client(GET)
        rig.pass_time(4.5)
        self.assertEqual(client.take(), b"")
        rig.pass_time(1.0)
        self.assertEqual(statuses(client.take()), [504])
        self.assertTrue(service.over)
        self.assertEqual((other.received, rig.source.closed), (b"", [0]))
        self.assert_at_rest(rig)

    def test_interim_does_not_put_it_off(self: Any) -> None:
        """A head means the final one."""
        rig = self.make_rig(pool={"response_timeout": 5.0})
        service = rig.slot()
        client = rig.client(GET)
        for _ in range(3):
            rig.pass_time(2.0)
            service.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        rig.settle()
        self.assertEqual(statuses(client.take())[-1], 504)

    def test_timeout_of_the_route(self: Any) -> None:
        """Instead of the pool's."""
        from xproxy import config as cfg

        rig = self.make_rig(pool={"response_timeout": 50.0}, routes=[cfg.RouteConfig(response_timeout=1.0)])
        rig.slot()
        client = rig.client(GET)
        rig.pass_time(1.5)
        self.assertEqual(statuses(client.take()), [504])

    def test_silence_in_the_body(self: Any) -> None:
        """Each piece of the body must come in time."""
        rig = self.make_rig(pool={"response_timeout": 5.0})
        service = rig.slot()
        client = rig.client(GET)
        rig.exchange(service, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
        for _ in range(3):
            rig.pass_time(4.0)
            service.send(b"2")
            rig.settle()
        self.assertFalse(client.over)
        rig.pass_time(5.5)
        self.assertTrue(client.over)
        self.assertRaises(AssertionError, responses, client.take())
        self.assertTrue(service.over)
        self.assert_at_rest(rig)

    def test_dead_slot_and_a_request_that_may_not_be_sent_twice(self: Any) -> None:
        """An end that is there but was not read yet: nothing is sent there."""
        for method, first in ((b"POST", False), (b"GET", True)):
            rig = self.make_rig()
            dead, alive = rig.slot(), rig.slot()
            client = rig.client()
            dead.close()  # In the kernel already, but no turn of the loop has passed.
            client.send(post(b"x", method=method))
            rig.connections[0].transport.doRead()
            self.assertEqual(bool(rig.pool.counts.in_flight), True)
            rig.settle()
            rig.exchange(alive, OK)
            self.assertEqual(statuses(client.take()), [200])
            self.assertEqual(rig.pool.counts.retries, {"slot-lost": 1} if first else {})
            self.assertEqual(rig.source.closed, [0])
            self.assert_at_rest(rig)

    def test_early_answer_to_a_long_request(self: Any) -> None:
        """A response while the request is still on its way is delivered; the slot can't be used again."""
        rig = self.make_rig()
        service = rig.slot(capacity=4608)
        service.reading = False
        client = rig.client(post(b"x" * 1_000_000) + GET)
        rig.exchange(service, b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(statuses(client.take()), [413])
        self.assertFalse(client.over)
        service.reading = True
        rig.settle()
        self.assertTrue(service.over)
        self.assertEqual((rig.source.closed, len(rig.pool.line)), ([0], 1))

    def test_slow_service_is_not_silent(self: Any) -> None:
        """A service that takes a long request, however slowly, has its time begin when it has all of it."""
        rig = self.make_rig(pool={"response_timeout": 5.0})
        service = rig.slot(capacity=4608)
        service.reading = False
        client = rig.client(post(b"x" * 1_000_000))
        for _ in range(6):
            rig.pass_time(3.0)
            service.reading = True
            for _ in range(3):
                service.pump()
                rig.reactor._turn()
            service.reading = False
            self.assertTrue(0 < len(service.take()) < 100_000)
        self.assertEqual(client.take(), b"")
        service.reading = True
        rig.settle()
        rig.pass_time(4.0)
        rig.exchange(service, OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_service_that_takes_nothing(self: Any) -> None:
        """504 as well."""
        rig = self.make_rig(pool={"response_timeout": 5.0})
        service = rig.slot(capacity=4608)
        service.reading = False
        client = rig.client(post(b"x" * 1_000_000))
        rig.pass_time(5.5)
        self.assertEqual(statuses(client.take()), [504])
        self.assert_at_rest(rig)

    def test_long_request_whole(self: Any) -> None:
        """Memory, file and a small kernel buffer: the service reads what the client sent."""
        body = b"".join(b"%08d" % number for number in range(60_000))
        rig = self.make_rig(limits={"request_memory": 10_000, "bodies_memory": 0})
        service = rig.slot(capacity=4608)
        rig.client(post(body))
        self.assertEqual(request_head(service).fields.content_length, len(body))
        self.assertTrue(rig.exchange(service, OK).endswith(b"\r\n\r\n" + body))
        self.assert_at_rest(rig)

    def test_split_responses(self: Any) -> None:
        """Byte by byte and at every split, for each framing."""
        for response, content in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello", b"hello"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n", b"hello"),
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client()
            for first, second in [*pieces(response), (b"", b"")]:
                client.send(GET)
                rig.settle()
                for piece in (first, second) if first else (response[at : at + 1] for at in range(len(response))):
                    service.send(piece)
                    rig.settle()
                found = responses(client.take())
                self.assertEqual([(status, body) for status, _, body in found], [(200, content)])
                if b"chunked" in response:
                    self.assertEqual(found[0][1].get(b"trailer x-t"), b"1")
            self.assertFalse(service.over)
            self.assert_at_rest(rig)


class MemorySlotTests(SlotMixin, RigCase):
    """Over memory, where there are many descriptors, and a reset without unread bytes."""

    def test_many_dead_slots(self) -> None:
        """However many died at once: the request waits for a good one."""
        rig = self.make_rig()
        rig.source.board = bytearray(600)
        services = [rig.slot() for _ in range(600)]
        client = rig.client()
        for service in services:
            service.close()
        client.send(post(b"x"))
        rig.connections[0].transport.doRead()
        rig.settle()
        self.assertEqual((len(rig.pool.slots), len(rig.pool.line)), (0, 1))
        rig.exchange(rig.slot(), OK)
        self.assertEqual(statuses(client.take()), [200])

    def test_reset(self) -> None:
        """A reset while idle, before the head, in the body, and where a close would be the end."""
        for response, expected in (
            (None, None),
            (b"", 502),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", None),
            (b"HTTP/1.1 200 OK\r\n\r\nhe", None),
        ):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(b"" if response is None else post(b""))
            rig.exchange(service, response or b"")
            service.reset()
            rig.settle()
            if expected:
                self.assertEqual(statuses(client.take()), [expected])
            elif response:
                self.assertTrue(client.over)
                self.assertRaises(AssertionError, responses, client.take())
            self.assertEqual(rig.source.closed, [0])
            self.assert_at_rest(rig)

    def test_ended_by_reset_for_http_1_0(self) -> None:
        """Where a close means the end, a broken response is ended by a reset."""
        rig = self.make_rig()
        service = rig.slot()
        client = rig.client(b"GET / HTTP/1.0\r\n\r\n")
        rig.exchange(service, b"HTTP/1.1 200 OK\r\n\r\nhe")
        service.reset()
        rig.settle()
        self.assertTrue(client.was_reset)


class KernelSlotTests(SlotMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL
