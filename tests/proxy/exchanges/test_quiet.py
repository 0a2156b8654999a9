"""What a service sends unasked becomes nobody's answer: whatever it follows, whenever it comes, whoever has the first turn."""

from __future__ import annotations

import socket
from itertools import product
from types import SimpleNamespace
from typing import Any, List, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.world.peers import Peer
from tests.world.rig import OK, Rig, RigCase, post, responses, statuses
from tests.world.sockets import KERNEL
from xproxy.net.polling import Readiness
from xproxy.proxy.exchanges.slot_connection import READ_BYTES, SlotConnection

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = {b"GET": GET, b"HEAD": HEAD, b"PUT": post(b"x", method=b"PUT"), b"POST": post(b"x")}

ANSWERS = {
    "whole": (GET, OK),
    "empty": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "chunked": (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    "head": (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n"),
    "204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 43\r\n\r\n"),
}
"""A request and its answer, after which the service sends what nobody asked for."""

BODILESS = ("head", "204", "304")


def clients_first(rig: Rig, peers: List[Peer]) -> None:
    """In the next turns the clients are served before the slots."""
    of_clients = [connection.transport for connection in rig.connections]
    readers = rig.reactor.readers
    order = [transport for transport in of_clients if transport in readers]
    order += [transport for transport in list(readers) if transport not in order]
    entries = dict.fromkeys(order)
    readers.clear()
    readers.update(entries)


class QuietMixin:
    """Over both kinds of sockets."""

    def answered(self: Any, name: str) -> Any:
        """A rig with a slot that has just served the request of that name, its service, and the client."""
        rig = self.make_rig(limits={"max_attempts": 1})
        service = rig.slot()
        request, answer = ANSWERS[name]
        client = rig.client(request)
        rig.exchange(service, answer)
        self.assertEqual(len(rig.pool.line.free), 1)
        client.take()
        return rig, service, client

    def assert_served_elsewhere(self: Any, rig: Rig, service: Peer, client: Peer, method: bytes, what: Any) -> None:
        """The slot is closed, the request is served by another one, and nothing of what came unasked was seen."""
        rig.settle()
        self.assertTrue(service.over, what)
        self.assertEqual(client.received, b"", what)
        rig.exchange(rig.slot(), OK if method != b"HEAD" else OK[:-2])
        self.assertEqual(statuses(client.received, method), [200], what)
        self.assertNotIn(b"evil", client.take(), what)
        self.assert_at_rest(rig)

    def test_while_idle(self: Any) -> None:
        """It is there when the turn begins in which the next request is sent, for every order of the turn."""
        for name, method, first in product(ANSWERS, REQUESTS, (True, False)):
            rig, service, client = self.answered(name)
            service.send(EVIL)
            client.send(REQUESTS[method])
            if first:
                clients_first(rig, [client])
            self.assert_served_elsewhere(rig, service, client, method, (name, method, first))

    def test_after_the_poll(self: Any) -> None:
        """It comes after the reactor has polled: behind what has no body it is found all the same."""
        for name, method in product(BODILESS, REQUESTS):
            rig, service, client = self.answered(name)
            service.send(EVIL)
            client.send(REQUESTS[method])
            rig.connections[0].transport.doRead()
            self.assert_served_elsewhere(rig, service, client, method, (name, method))

    def test_while_others_wait(self: Any) -> None:
        """The slot is used again in the very turn in which the response ended: what is there by then is found."""
        for name, method in product(ANSWERS, REQUESTS):
            rig = self.make_rig(limits={"max_attempts": 1})
            service = rig.slot()
            request, answer = ANSWERS[name]
            rig.client(request)
            waiting = rig.client(REQUESTS[method])
            service.take()
            service.send(answer + EVIL)
            self.assert_served_elsewhere(rig, service, waiting, method, (name, method))

    def test_a_read_that_was_full(self: Any) -> None:
        """The response ends with what one read can bring: what follows may be there already, and is."""
        for used_again in (True, False):
            rig = self.make_rig()
            service = rig.slot()
            client = rig.client(GET)
            waiting = rig.client(GET) if used_again else client
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
            head %= READ_BYTES - len(head % READ_BYTES)
            service.take()
            service.send(head + b"x" * (READ_BYTES - len(head)) + EVIL)
            rig.settle()
            if not used_again:
                self.assertEqual(len(client.take()) > READ_BYTES, True)
                client.send(GET)
                rig.settle()
            self.assertTrue(service.over)
            self.assertEqual(waiting.take(), b"")
            rig.exchange(rig.slot(), OK)
            self.assertEqual([content for _, _, content in responses(waiting.take())], [b"ok"])

    def test_reactor_that_does_not_tell(self: Any) -> None:
        """Every slot is looked at."""
        for name, method in product(ANSWERS, REQUESTS):
            rig = self.make_rig(limits={"max_attempts": 1})
            rig.pool.readiness = Readiness()
            service = rig.slot()
            request, answer = ANSWERS[name]
            client = rig.client(request)
            rig.exchange(service, answer)
            client.take()
            service.send(EVIL)
            client.send(REQUESTS[method])
            rig.connections[0].transport.doRead()
            self.assert_served_elsewhere(rig, service, client, method, (name, method))

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_interleavings(self: Any, data: st.DataObject) -> None:
        """Slots and clients at random: whatever comes before a request is sent answers none."""
        rig = self.make_rig(limits={"max_attempts": 1})
        services = [rig.slot() for _ in range(data.draw(st.integers(1, 3)))]
        clients = [rig.client() for _ in range(2)]
        for _ in range(data.draw(st.integers(1, 12))):
            step = data.draw(st.sampled_from(["ask", "ask", "answer", "stray", "turn", "order"]))
            if step == "ask":
                data.draw(st.sampled_from(clients)).send(data.draw(st.sampled_from([GET, HEAD, REQUESTS[b"POST"]])))
            elif step == "order":
                clients_first(rig, clients)
            elif step == "turn":
                rig.settle()
            else:
                service = data.draw(st.sampled_from(services))
                service.pump()
                if step == "stray" and not service.received:
                    service.send(EVIL)
                elif step == "answer" and service.received.startswith(b"HEAD"):
                    service.take()
                    service.send(OK[:-2])
                elif step == "answer" and service.received:
                    service.take()
                    service.send(OK)
            rig.reactor._turn()
        rig.settle()
        for client in clients:
            self.assertNotIn(b"evil", client.received)
        rig.stop()


class KeptBackTests(SynchronousTestCase):
    """What the service's kernel keeps back until we acknowledge what came before it."""

    def test_acknowledged(self) -> None:
        """It is there at once, before another request could seem to be what it answers."""
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as service:
            near, _ = server.accept()
            self.addCleanup(near.close)
            near.setblocking(False)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            connection = SlotConnection(cast(Any, None), 0)
            connection.transport = cast(Any, SimpleNamespace(getHandle=lambda: near))
            for _ in range(3):
                service.send(b"head")
                near.recv(100)
                service.send(b"body")
                connection.acknowledge()
                self.assertTrue(connection.holds_something())
                near.recv(100)

    def test_no_tcp(self) -> None:
        """Then nothing is kept back."""
        near, far = socket.socketpair()
        with near, far:
            connection = SlotConnection(cast(Any, None), 0)
            connection.transport = cast(Any, SimpleNamespace(getHandle=lambda: near))
            connection.acknowledge()
            self.assertFalse(connection.holds_something())


class MemoryQuietTests(QuietMixin, RigCase):
    """Over memory."""


class KernelQuietTests(QuietMixin, RigCase):
    """Over real socket pairs."""

    kind = KERNEL
