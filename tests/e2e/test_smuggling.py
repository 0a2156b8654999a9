"""The corpus of messages that must not pass, through the running proxy: a recording service never sees what was refused."""

from __future__ import annotations

import socket
import threading
from typing import List, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import PATIENCE_S, ask, talk
from tests.e2e.processes import Xproxy
from tests.e2e.services import SlotService, mxproxy_preamble
from tests.http1 import corpus


class RefusedRequestTests(SynchronousTestCase):
    """Requests of hostile clients."""

    def test_corpus(self) -> None:
        """Each is answered with its status and nothing more, its connection is closed, and the service saw none of them."""
        proxy = Xproxy(self).ready()
        service = SlotService(self, proxy.slots, 2)
        proxy.has(slots=2)
        wrong: List[str] = []
        for case in corpus.REQUESTS:
            answer = talk(proxy.http, case.message, half_close=False)
            head = answer.partition(b"\r\n\r\n")[0]
            if answer.count(b"HTTP/1.1 ") != 1 or not head.startswith(b"HTTP/1.1 %d " % case.status):
                wrong.append(f"{case.name} ({case.source}): {answer[:120]!r}")
            elif b"\r\nConnection: close" not in head:
                wrong.append(f"{case.name}: the connection is not said to be closed")
        self.assertEqual([], wrong)
        self.assertEqual([], service.requests)
        # Nothing of all that is left anywhere: both slots serve, and see what was asked.
        self.assertEqual(200, ask(proxy.http, "/after").status)
        self.assertEqual(["/after"], [request.target for request in service.requests])
        proxy.has(slots=2, in_flight=0, queue_length=0)

    def test_after_a_good_request(self) -> None:
        """What follows a good request on its connection is judged as strictly as what comes first."""
        proxy = Xproxy(self).ready()
        service = SlotService(self, proxy.slots, 1)
        for case in corpus.REQUESTS[:12]:
            good = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
            answer = talk(proxy.http, good + case.message, half_close=False)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), (case.name, answer))
            self.assertIn(b"HTTP/1.1 %d " % case.status, answer, case.name)
        self.assertEqual({"/good"}, {request.target for request in service.requests})


class RefusedResponseTests(SynchronousTestCase):
    """Responses of broken or hostile services."""

    def test_corpus(self) -> None:
        """Each becomes a 502, its slot is closed, and no client ever gets a byte of it."""
        proxy = Xproxy(self).ready()
        answers = [case.message for case in corpus.RESPONSES]
        service = OneAnswerEach(self, proxy, answers)
        wrong: List[str] = []
        for case in corpus.RESPONSES:
            answer = talk(proxy.http, b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False)
            # What is wrong with a body shows when its head is out already: then the answer breaks off.
            cut = case.name in CUT_OFF and answer.startswith(b"HTTP/1.1 200 ")
            if not cut and not answer.startswith(b"HTTP/1.1 %d " % case.status):
                wrong.append(f"{case.name} ({case.source}): {answer[:120]!r}")
            if b"smuggled" in answer:
                wrong.append(f"{case.name}: a smuggled response came through")
        self.assertEqual([], wrong)
        service.join()
        proxy.has(slots=0, in_flight=0)

    def test_second_response(self) -> None:
        """A service can't answer twice: the slot is closed, and the next client gets its own answer."""
        proxy = Xproxy(self).ready()
        first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
        second = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
        OneAnswerEach(self, proxy, [first, second])
        self.assertEqual(b"ok", ask(proxy.http).body)
        self.assertEqual(b"own", ask(proxy.http).body)


CUT_OFF = frozenset(
    case.name for case in corpus.RESPONSES if b"chunked" in case.message.lower() and case.message.startswith(b"HTTP/1.1 200")
)
"""Those whose head may be right."""


class OneAnswerEach:
    """A service with one slot that gives one answer on each connection, and dials again once it was closed."""

    def __init__(self, test: SynchronousTestCase, proxy: Xproxy, answers: List[bytes]) -> None:
        self._proxy = proxy
        self._answers = answers
        self._connection: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        test.addCleanup(self.stop)
        self._thread.start()

    def stop(self) -> None:
        """Close the slot, if it is still good."""
        if self._connection is not None:
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It was closed already.
        self.join()

    def join(self) -> None:
        """Wait until all answers are given and all slots closed."""
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        for answer in self._answers:
            with socket.create_connection(self._proxy.slots, PATIENCE_S) as connection:
                self._connection = connection
                connection.sendall(mxproxy_preamble())  # Registers sooner than saying nothing.
                request = b""
                while b"\r\n\r\n" not in request:
                    data = connection.recv(65536)
                    if not data:
                        return
                    request += data
                connection.sendall(answer)
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionResetError:
                    pass  # Closed with our bytes unread, as it should be.
