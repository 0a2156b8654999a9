"""Slow clients cost no slot: requests are read whole first, responses wait in memory and files. And streaming.

The service has one slot, so whoever holds it is in everybody's way.
"""

from __future__ import annotations

import os
import resource
import tempfile
import threading
from functools import partial
from typing import List

from tests.e2e.clients import PATIENCE_S
from tests.e2e.played import Play, ProxyCase, Recorder, get, post, wait_for
from tests.e2e.services import respond
from tests.e2e.wire import Message, Wire

MEBIBYTE = 1024 * 1024
FILES = "[limits]\nbodies_memory = 0"
"""Long request bodies go to files at once."""

LARGE = 12 * MEBIBYTE

ENDLESS = 48 * MEBIBYTE
"""More than all that the kernel's buffers hold on the way from a service to a client."""
"""More than the kernel holds for a client that does not read."""


class BufferingCase(ProxyCase):
    """What the tests here look at."""

    def has_files(self, count: int) -> bool:
        """Whether the proxy has so many of them open."""
        return len(self.temporary_files()) == count

    def temporary_files(self) -> List[int]:
        """The sizes of the unlinked files that the proxy has open."""
        directory = f"/proc/{self.proxy.process.pid}/fd"
        sizes = []
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            try:
                target = os.readlink(path)
                if target.endswith(" (deleted)") and target.startswith(tempfile.gettempdir() + os.sep):
                    sizes.append(os.stat(path).st_size)
            except FileNotFoundError:
                pass  # It was closed meanwhile.
        return sizes

    def assert_slot_is_free(self) -> None:
        """Nothing runs, and the one slot serves somebody else."""
        self.proxy.has(in_flight=0, slots=1)
        self.assertEqual(200, self.ask(get("/quick")).status)


class SlowRequestTests(BufferingCase):
    """A request is read whole before it asks for a slot."""

    def test_slow_upload(self) -> None:
        """In memory, then in a file that has no name; it reaches the service in one go, and the file is gone."""
        self.start(more=FILES)
        recorder = Recorder()
        self.serve(recorder)
        client = self.connect()
        size = 3 * MEBIBYTE
        client.send(get("/slow", f"Content-Length: {size}", method="POST") + b"m" * 60_000)
        self.assert_slot_is_free()
        self.assertEqual([], self.temporary_files())
        client.send(b"m" * (2 * MEBIBYTE))
        wait_for(lambda: sum(self.temporary_files()) >= 2 * MEBIBYTE, "a temporary file")
        self.assert_slot_is_free()
        self.assertEqual({"/quick"}, set(recorder.targets))
        client.send(b"m" * (size - 60_000 - 2 * MEBIBYTE))
        self.assertEqual(200, client.response().status)
        self.assertEqual(("/slow", b"m" * size), (recorder.last.target, recorder.last.body))
        self.assertEqual([], self.temporary_files())

    def test_memory_that_uploads_share(self) -> None:
        """As long as there is some, no file is needed; what comes past one upload's share of it goes to one."""
        self.start()
        recorder = Recorder()
        self.serve(recorder)
        for size, files in ((3 * MEBIBYTE, 0), (20 * MEBIBYTE, 1)):
            body = os.urandom(1000) * (size // 1000)
            client = self.connect()
            client.send(post(body, target="/slow")[:-1])
            self.assert_slot_is_free()
            wait_for(partial(self.has_files, files), "the file")
            client.send(body[-1:])
            self.assertEqual(200, client.response().status)
            self.assertEqual(body, recorder.last.body)
            self.assertEqual([], self.temporary_files())

    def test_leaves_in_the_middle(self) -> None:
        """A client that gives up leaves nothing behind, and the service never hears of it."""
        self.start(more=FILES)
        recorder = Recorder()
        self.serve(recorder)
        for leave in (Wire.close, Wire.reset):
            client = self.connect()
            client.send(get("/gone", "Content-Length: 3000000", method="POST") + b"m" * 1_000_000)
            wait_for(self.temporary_files, "a temporary file")
            leave(client)
            wait_for(lambda: not self.temporary_files(), "the end of the temporary file")
        self.assertEqual([], recorder.seen)


class SlowResponseTests(BufferingCase):
    """A response is read at the service's speed."""

    def begin(self, *limits: str) -> None:
        """A proxy, and a service whose answers but for /quick are large."""
        self.start(more="\n".join(["[limits]", *limits]))
        self.large = os.urandom(1000) * (LARGE // 1000)
        self.recorder = Recorder(lambda request: respond(b"quick" if request.target == "/quick" else self.large))
        self.service = self.serve(self.recorder)

    def test_slot_is_free(self) -> None:
        """The slot serves others while the client has not read a byte; then it gets all of it."""
        self.begin()
        client = self.connect(receive_bytes=4096)
        client.send(get("/large"))
        wait_for(self.temporary_files, "a temporary file")
        self.assert_slot_is_free()
        self.assertEqual(self.large, client.response().body)
        client.send(get("/quick"))
        self.assertEqual(b"quick", client.response().body)
        self.assertEqual([], self.temporary_files())
        self.assertEqual(1, self.service.dialled)

    def test_chunked(self) -> None:
        """The same where the length is not known."""
        self.begin()
        pieces = b"".join(b"%x\r\n%b\r\n" % (MEBIBYTE, b"c" * MEBIBYTE) for _ in range(12))
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\nX-Sum: 1\r\n\r\n"
        self.recorder.answer = lambda request: respond() if request.target == "/quick" else chunked
        client = self.connect(receive_bytes=4096)
        client.send(get("/large"))
        wait_for(self.temporary_files, "a temporary file")
        self.assert_slot_is_free()
        response = client.response()
        self.assertEqual((b"c" * (12 * MEBIBYTE), [("x-sum", "1")]), (response.body, response.trailers))

    def test_past_the_limits(self) -> None:
        """What neither memory nor file may hold waits at the service: it is read at the client's speed."""
        self.begin("response_memory = 65536", "response_file = 1048576")
        client = self.connect(receive_bytes=4096)
        client.send(get("/large"))
        self.proxy.has(in_flight=1)
        wait_for(self.temporary_files, "a temporary file")
        self.assertLess(self.stalled(lambda: sum(self.temporary_files())), 2 * MEBIBYTE)
        self.proxy.has(in_flight=1)
        other = self.connect()
        other.send(get("/quick"))
        self.proxy.has(queue_length=1)
        self.assertEqual(self.large, client.response().body)
        self.assertEqual(b"quick", other.response().body)
        self.assertEqual([], self.temporary_files())

    def test_leaves_afterwards(self) -> None:
        """A client that leaves while its answer waits for it takes the file with it."""
        self.begin()
        client = self.connect(receive_bytes=4096)
        client.send(get("/large"))
        wait_for(self.temporary_files, "a temporary file")
        self.assert_slot_is_free()
        client.close()
        wait_for(lambda: not self.temporary_files(), "the end of the temporary file")
        self.assertEqual(1, self.service.dialled)


class LeavingTests(BufferingCase):
    """A client that leaves during its exchange."""

    def begin(self, play: Play) -> None:
        """A proxy that throws away 100,000 bytes at most for somebody who is gone."""
        self.start(more="[limits]\ndiscard = 100000")
        self.service = self.serve(play)

    def test_below_the_limit(self) -> None:
        """The rest of the response is read and thrown away: the slot stays good."""
        go_on = threading.Semaphore(0)

        def play(wire: Wire) -> None:
            request = wire.request()
            if request.target == "/quick":
                wire.send(respond())
                return
            head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"d" * 90000
            wire.send(head + body[:100])
            go_on.acquire()
            wire.send(body[100:])

        self.begin(play)
        client = self.connect()
        client.send(get("/large"))
        client.read(100)
        client.reset()
        self.proxy.eventually(lambda: self.proxy.status()["connections"]["client"] == 0, "the end of the client")
        self.proxy.has(in_flight=1)
        go_on.release()
        self.assert_slot_is_free()
        self.assertEqual(1, self.service.dialled)

    def test_before_the_head(self) -> None:
        """The same when nothing of the response is there yet."""
        arrived, go_on = threading.Semaphore(0), threading.Semaphore(0)

        def play(wire: Wire) -> None:
            request = wire.request()
            if request.target == "/slow":
                arrived.release()
                go_on.acquire()
            wire.send(respond(b"e" * 1000))

        self.begin(play)
        client = self.connect()
        client.send(post(b"x", target="/slow"))
        self.assertTrue(arrived.acquire(timeout=PATIENCE_S))
        client.reset()
        self.proxy.eventually(lambda: self.proxy.status()["connections"]["client"] == 0, "the end of the client")
        go_on.release()
        self.assert_slot_is_free()
        self.assertEqual(1, self.service.dialled)

    def test_above_the_limit(self) -> None:
        """Too much is missing, or it never ends: the slot is closed, and another one serves."""
        for head in (b"Content-Length: 200000", b"Transfer-Encoding: chunked"):
            gone = threading.Semaphore(0)

            def play(wire: Wire, head: bytes = head, gone: threading.Semaphore = gone) -> None:
                request = wire.request()
                if request.target == "/quick":
                    wire.send(respond())
                    return
                wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
                gone.acquire()
                while True:
                    wire.send(b"64\r\n" + b"f" * 100 + b"\r\n" if b"chunked" in head else b"f")

            self.begin(play)
            client = self.connect()
            client.send(get("/large"))
            client.head()
            client.reset()
            self.proxy.eventually(lambda: self.proxy.status()["connections"]["client"] == 0, "the end of the client")
            gone.release()
            wait_for(lambda: self.service.dialled == 2, "another slot")
            self.assert_slot_is_free()


ROUTES = """
[[routes]]
[[routes]]
path = "/streamed"
buffering = "off"
"""


class StreamingTests(BufferingCase):
    """Pieces pass when they come, and the slot is held as long."""

    def test_events(self) -> None:
        """Each piece arrives before the next is sent: of text/event-stream, with X-Accel-Buffering: no, and on any route."""
        self.start(more=ROUTES)
        got_it = threading.Semaphore(0)
        kinds = {
            "/events": "Content-Type: text/event-stream; charset=utf-8",
            "/accel": "X-Accel-Buffering: no",
            "/streamed": "X-Plain: yes",
            "/plain": "X-Plain: yes",
        }

        def play(wire: Wire) -> None:
            request = wire.request()
            wire.send(f"HTTP/1.1 200 OK\r\n{kinds[request.target]}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for number in range(5):
                wire.send(b"8\r\nevent %d\n\r\n" % number)
                assert got_it.acquire(timeout=PATIENCE_S)
            wire.send(b"0\r\n\r\n")

        self.serve(play)
        for target in kinds:
            client = self.connect()
            client.send(get(target))
            head = client.head()
            self.assertNotIn("x-accel-buffering", head.headers)
            for number in range(5):
                self.assertEqual(b"event %d\n" % number, client.chunk())
                self.proxy.has(in_flight=1)
                got_it.release()
            self.assertEqual(b"", client.chunk())
            self.at_rest(slots=1)

    def test_backpressure(self) -> None:
        """A streamed response that the client does not take is not read either, and goes to no file."""
        self.start(more=ROUTES)
        sent: List[int] = []

        def play(wire: Wire) -> None:
            wire.request()
            wire.send(b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: %d\r\n\r\n" % ENDLESS)
            while sum(sent) < ENDLESS:
                sent.append(wire.connection.send(b"s" * min(MEBIBYTE, ENDLESS - sum(sent))))

        self.serve(play)
        client = self.connect(receive_bytes=4096)
        client.send(get())
        self.proxy.has(in_flight=1)
        head = client.head()
        self.assertLess(self.stalled(lambda: sum(sent)), ENDLESS)
        self.assertLess(sum(self.temporary_files()), MEBIBYTE)
        self.proxy.has(in_flight=1)
        self.assertEqual(b"s" * ENDLESS, client.read(int(head.headers["content-length"])))
        self.at_rest(slots=1)

    def test_upload(self) -> None:
        """A streamed request reaches the service piece by piece; its coding stays as it was."""
        self.start(more=ROUTES)
        pieces: List[bytes] = []
        heads: List[Message] = []

        def play(wire: Wire) -> None:
            heads.append(wire.head())
            if "content-length" in heads[-1].headers:
                while sum(map(len, pieces)) < 10:
                    pieces.append(wire.some())
            else:
                pieces.extend(iter(wire.chunk, b""))
                assert [wire.line(), wire.line()] == ["X-Sum: 1", ""]
            wire.send(respond())

        self.serve(play)
        client = self.connect()
        client.send(get("/streamed", "Content-Length: 10", method="POST") + b"12345")
        wait_for(lambda: pieces == [b"12345"], "the first piece")
        self.proxy.has(in_flight=1)
        client.send(b"67890")
        self.assertEqual(200, client.response().status)
        self.assertEqual([b"12345", b"67890"], pieces)
        pieces.clear()
        client.send(get("/streamed", "Transfer-Encoding: chunked", method="POST"))
        for piece in (b"abc", b"de"):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            wait_for(partial(pieces.__contains__, piece), "a piece")
        client.send(b"0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual(200, client.response().status)
        self.assertEqual("chunked", heads[-1].headers["transfer-encoding"])
        self.at_rest(slots=1)

    def test_large_upload_that_waited(self) -> None:
        """More than may wait was there when the slot came: all of it arrives."""
        self.start(more=ROUTES)
        client = self.connect()
        body = os.urandom(1000) * 3000
        sender = threading.Thread(target=client.send, args=(post(body, target="/streamed"),))
        sender.start()
        self.proxy.has(queue_length=1)
        recorder = Recorder()
        self.serve(recorder)
        self.assertEqual(200, client.response().status)
        sender.join()
        self.assertEqual(body, recorder.last.body)

    def test_leaves_in_the_middle_of_an_upload(self) -> None:
        """The service has half a request: its slot is closed."""
        self.start(more=ROUTES)
        service = self.serve()
        client = self.connect()
        client.send(get("/streamed", "Content-Length: 10", method="POST") + b"12345")
        self.proxy.has(in_flight=1)
        client.close()
        wait_for(lambda: service.dialled == 2, "another slot")
        self.at_rest(slots=1)

    def test_early_answer(self) -> None:
        """A service may answer before it has read everything: the client gets that, the slot is closed."""

        def play(wire: Wire) -> None:
            wire.head()
            wire.send(respond(b"no thanks", "403 Forbidden"))
            wire.rest()
            wire.close()

        self.start(more=ROUTES)
        service = self.serve(play)
        client = self.connect()
        client.send(get("/streamed", "Content-Length: 3000000", method="POST") + b"x" * 1000)
        response = client.response()
        self.assertEqual((403, "close"), (response.status, response.headers["connection"]))
        wait_for(lambda: service.dialled == 2, "another slot")
        self.at_rest(slots=1)


class NoSpaceTests(BufferingCase):
    """No file may grow any more."""

    def begin(self) -> None:
        """A proxy whose files may have 200,000 bytes."""
        self.start(more=FILES, fresh=True)
        large = respond(b"n" * LARGE)
        self.recorder = Recorder(lambda request: respond() if request.target == "/quick" else large)
        self.service = self.serve(self.recorder)
        resource.prlimit(self.proxy.process.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))

    def test_request(self) -> None:
        """507, and the end of this connection; others go on."""
        self.begin()
        client = self.connect()
        client.send(get("/", "Content-Length: 1000000", method="POST") + b"n" * 500_000)
        response = client.response()
        self.assertEqual((507, "close"), (response.status, response.headers["connection"]))
        wait_for(lambda: not self.temporary_files(), "the end of the temporary file")
        self.assert_slot_is_free()
        self.assertEqual(["/quick"], self.recorder.targets)

    def test_response(self) -> None:
        """A client for whom it can't be kept is cut off; others go on."""
        self.begin()
        client = self.connect(receive_bytes=4096)
        client.send(get("/large"))
        wait_for(lambda: self.proxy.status()["connections"]["client"] == 0, "the end of the connection")
        self.assertLess(len(client.rest()), LARGE)
        wait_for(lambda: not self.temporary_files(), "the end of the temporary file")
        self.proxy.has(slots=1)
        self.assert_slot_is_free()
