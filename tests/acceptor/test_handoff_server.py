"""The listening handoff socket: its file, and what strangers say to it."""

from __future__ import annotations

import os
import random
import socket
import stat
from typing import Any, List

import attr

from tests.acceptor.scene import config_of
from tests.doubles.handoff import HandoffTestCase, ended, reactor, readable, soon, until
from tests.doubles.holders import descriptors
from xproxy.acceptor import handoff_server as server_module
from xproxy.acceptor import remote_holder
from xproxy.acceptor.acceptor import Acceptor
from xproxy.acceptor.handoff_server import HandoffFactory, HandoffServer
from xproxy.config import AcceptorConfig
from xproxy.handoff import outbox
from xproxy.handoff import path as path_module
from xproxy.handoff.board import make_board
from xproxy.handoff.boxes import encode_box
from xproxy.handoff.messages import VERSION, Ask, Census, GiveBack, Hello, LeaseClosed, LeaseGranted, LeasesRecalled, encode
from xproxy.handoff.path import MAX_PATH_BYTES, check_acceptor
from xproxy.startup import StartupError

HELLO = encode_box(encode(Hello(VERSION, 0), b"1"))
CENSUS = encode_box(encode(Census(), b"2"))


class FileTests(HandoffTestCase):
    """What is at the path before, while and after somebody listens."""

    config = AcceptorConfig()

    def server(self, path: str = "") -> HandoffServer:
        acceptor = Acceptor(config_of("default"), reactor.seconds, reactor)
        config = attr.evolve(self.config, handoff=path or self.path)
        return HandoffServer(reactor, config, HandoffFactory(acceptor, reactor, reactor.seconds))

    def start(self, path: str = "") -> HandoffServer:
        server = self.server(path)
        server.startService()
        self.services.append(server)
        return server

    def refused(self, path: str, *parts: str) -> None:
        error = self.assertRaises(StartupError, self.server(path).privilegedStartService)
        for part in parts:
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))

    def stale(self) -> None:
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(self.path)
        dead.listen()
        dead.close()

    def put_another(self) -> None:
        """Another acceptor puts its socket at the path."""
        other = socket.socket(socket.AF_UNIX)
        self.sockets.append(other)
        other.bind(self.path + "2")
        os.rename(self.path + "2", self.path)

    async def test_only_the_owner_may_connect(self) -> None:
        self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    async def test_nobody_else_may_before_either(self) -> None:
        """The file has its mode from the moment it is there, and nobody can connect before it listens."""
        seen: List[Any] = []
        chmod = os.chmod

        def look(path: Any, mode: int) -> None:
            seen.append(stat.S_IMODE(os.stat(path).st_mode))
            with socket.socket(socket.AF_UNIX) as client:
                seen.append(client.connect_ex(path))
            chmod(path, mode)

        self.patch(os, "chmod", look)
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        self.start()
        self.assertEqual(seen, [0o600, 111])
        self.assertEqual(os.umask(0), 0)

    async def test_it_is_removed_at_the_end(self) -> None:
        server = self.start()
        await self.stop(server)
        self.assertFalse(os.path.exists(self.path))

    async def test_that_of_a_successor_is_not(self) -> None:
        server = self.start()
        self.put_another()
        await self.stop(server)
        self.assertTrue(stat.S_ISSOCK(os.stat(self.path).st_mode))

    async def test_it_may_be_gone_already(self) -> None:
        server = self.start()
        os.unlink(self.path)
        await self.stop(server)

    async def test_a_relative_path_is_removed_from_elsewhere(self) -> None:
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.directory)
        server = self.start("handoff.sock")
        os.chdir("/")
        await self.stop(server)
        self.assertFalse(os.path.exists(self.path))

    async def test_that_of_a_dead_acceptor_is_replaced(self) -> None:
        self.stale()
        self.start()
        self.plain()

    async def test_that_of_a_live_acceptor_is_not(self) -> None:
        self.start()
        self.refused(self.path, "is in use by a running acceptor")
        self.plain()

    async def test_one_that_was_replaced_while_we_looked_is_not(self) -> None:
        self.stale()
        look_at = path_module.look_at

        def meanwhile(path: str) -> Any:
            found = look_at(path)
            self.put_another()
            return found

        self.patch(path_module, "look_at", meanwhile)
        self.refused(self.path, "address already in use")
        self.assertTrue(os.path.exists(self.path))

    async def test_something_else_is_there(self) -> None:
        with open(self.path, "w"):
            pass
        self.refused(self.path, "is not a socket")
        self.refused(self.directory, "is not a socket")
        self.assertRaises(StartupError, check_acceptor, self.path)

    async def test_no_directory(self) -> None:
        self.refused(os.path.join(self.directory, "no", "x.sock"), "there is no directory")

    async def test_below_a_file(self) -> None:
        with open(self.path, "w"):
            pass
        self.refused(self.path + "/x", "not a directory")

    async def test_too_long(self) -> None:
        longest = self.path + "x" * (MAX_PATH_BYTES - len(self.path))
        self.start(longest)
        self.refused(longest + "x", "108 bytes long", "107 at most")
        self.assertRaises(StartupError, check_acceptor, longest + "x")
        check_acceptor(longest)

    async def test_where_a_proxy_dials(self) -> None:
        error = self.assertRaises(StartupError, check_acceptor, self.path)
        self.assertIn("does not exist", str(error))
        self.stale()
        error = self.assertRaises(StartupError, check_acceptor, self.path)
        self.assertIn("its acceptor is not running", str(error))
        self.start()
        check_acceptor(self.path)


class StrangerTests(HandoffTestCase):
    """Whatever comes, only the connection it comes on ends, and nothing is logged as an error."""

    async def start(self) -> Any:
        self.acceptor = self.start_acceptor()
        (self.service,) = await self.slots(self.acceptor, 1)
        holder, _ = await self.proxy()
        holder.ask(1.0)
        await holder.until(lambda: len(holder.grants) == 1)
        return holder

    async def check(self, holder: Any) -> None:
        """Nobody else was touched: the proxy has its slot and can give it back, and no error was logged."""
        holder.sockets[0].sendall(b"alive")
        await until(lambda: self._received(b"alive"))
        holder.give_back(0)
        await until(lambda: self.acceptor.acceptor.books["default"].idle == 1)
        self.assertEqual(holder.events, ["found"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def _received(self, data: bytes) -> bool:
        try:
            return self.service.recv(100) == data
        except BlockingIOError:
            return False

    def hello(self, *later: bytes) -> socket.socket:
        """A stranger that said Hello as it should, and then something else."""
        stranger = self.plain()
        descriptor, board = make_board()
        board.close()
        socket.send_fds(stranger, [HELLO + b"".join(later)], [descriptor])
        os.close(descriptor)
        return stranger

    async def test_wrong_first_bytes(self) -> None:
        holder = await self.start()
        for data in (b"G", b"\x02", b"\xff" * 70000, b"\x7f\x80", b"*"):
            stranger = self.plain()
            stranger.sendall(data)
            await until(lambda: ended(stranger))  # noqa: B023
        await self.check(holder)

    async def test_amp_that_is_none_of_ours(self) -> None:
        holder = await self.start()
        lines = 0
        for data in (
            b"\0\x01\xff\xffx",  # a value without end
            b"\0\0",  # an empty box
            b"\0\x01a\0\x01b" * 3000,
            encode_box({b"a": b"b"}),
            encode_box({b"_answer": b"1"}),
            encode_box({b"_error": b"1"}),
            encode_box({b"_error": b"1", b"_error_code": b"x", b"_error_description": b"\xff"}),
            encode_box({b"_command": b"StartTLS", b"_ask": b"1"}),
            encode_box({b"_command": b"\xff", b"_ask": b"1"}),
            HELLO,  # without a board
            encode_box({b"_command": b"Hello", b"_ask": b"1", b"version": b"x", b"board": b"0"}),
            CENSUS,  # before Hello
            b"\0" + bytes(random.Random(1).randrange(256) for _ in range(5000)),
        ):
            stranger = self.plain()
            stranger.sendall(data)
            await until(lambda: ended(stranger))  # noqa: B023
            lines += 1
        self.assertGreaterEqual(lines, len([line for line in self.lines if "was cut" in line]))
        await self.check(holder)

    async def test_after_hello(self) -> None:
        holder = await self.start()
        for message in (
            encode_box(encode(GiveBack(0))),
            encode_box(encode(LeaseClosed(65535))),
            encode_box(encode(Ask("default", 1, 7))),
            encode_box(encode(LeaseGranted("default", 0, "x", 0))),
            encode_box(encode(LeasesRecalled("default", 0))),
            encode_box({b"_answer": b"1"}),
            encode_box({b"_command": b"Ask", b"pool": b"default", b"waiting": b"nan", b"seen": b"0", b"question": b"0"}),
            encode_box({b"_command": b"GiveBack", b"lease": b"9" * 60000}),
            HELLO,
        ):
            stranger = self.hello(message)
            await until(lambda: ended(stranger))  # noqa: B023
        await self.check(holder)

    async def test_hello_byte_by_byte(self) -> None:
        holder = await self.start()
        stranger = self.plain()
        descriptor, board = make_board()
        board.close()
        socket.send_fds(stranger, [HELLO[:1]], [descriptor])
        os.close(descriptor)
        for byte in HELLO[1:] + CENSUS:
            await soon()
            stranger.sendall(bytes((byte,)))
        received = b""
        while b"in_flight" not in received:
            await until(lambda: readable(stranger))
            received += stranger.recv(65536)
        await self.check(holder)

    async def test_another_version(self) -> None:
        holder = await self.start()
        stranger = self.plain()
        descriptor, board = make_board()
        board.close()
        socket.send_fds(stranger, [encode_box(encode(Hello(VERSION + 1, 0), b"1"))], [descriptor])
        os.close(descriptor)
        await until(lambda: readable(stranger))
        self.assertIn(f"speaks version {VERSION}, not {VERSION + 1}".encode(), stranger.recv(65536))
        await until(lambda: ended(stranger))
        await self.check(holder)

    async def test_descriptors_that_nobody_asked_for(self) -> None:
        holder = await self.start()
        before = descriptors()
        one, many = [0], [0] * 200
        for first, fds, then, more in (
            (b"\x80", one, b"", []),
            (b"\x80", [], b"\x80", one),
            (b"G", one, b"", []),
            (HELLO, many, b"", []),
            (HELLO, one, b"", []),  # Standard input is no board.
            (HELLO[:5], one, HELLO[5:], one),
            (HELLO[:1], many, b"", []),
        ):
            stranger = self.plain()
            socket.send_fds(stranger, [first], fds)
            if then:
                await soon()
                await soon()
                try:
                    socket.send_fds(stranger, [then], more)
                except OSError:
                    pass  # It was cut before.
            await until(lambda: ended(stranger))  # noqa: B023
            stranger.close()
        stranger = self.hello()
        await until(lambda: readable(stranger))
        socket.send_fds(stranger, [CENSUS], [0])
        await until(lambda: ended(stranger))
        stranger.close()
        await soon()
        self.assertEqual(descriptors(), before)
        await self.check(holder)

    async def test_it_hangs_up_anywhere(self) -> None:
        holder = await self.start()
        connections = self._factory().connections
        for size in (0, 1, 5, len(HELLO)):
            stranger = self.plain()
            await until(lambda: len(connections) == 2)
            if size:
                socket.send_fds(stranger, [HELLO[:size]], [0])
            stranger.close()
            await until(lambda: len(connections) == 1)
        await self.check(holder)

    def _factory(self) -> HandoffFactory:
        return self.acceptor._handoff[0].factory

    async def test_silence(self) -> None:
        holder = await self.start()
        factory = self._factory()
        self.patch(server_module, "FIRST_BYTE_S", 0.01)
        stranger = self.plain()
        await until(lambda: ended(stranger))
        self.assertEqual(len(factory.connections), 1)
        await self.check(holder)

    async def test_a_hello_that_does_not_end(self) -> None:
        """Its first byte came in time, and so does each of the others; the whole does not."""
        holder = await self.start()
        factory = self._factory()
        self.patch(remote_holder, "HELLO_DUE_S", 0.05)
        for data in (HELLO[:1], HELLO[:-1]):
            stranger = self.plain()
            stranger.sendall(data)
            await until(lambda: ended(stranger))  # noqa: B023
            self.assertIn("it did not say Hello in time", self.lines[-1])
            self.assertEqual(len(factory.connections), 1)
        await self.check(holder)

    async def test_too_many(self) -> None:
        holder = await self.start()
        self.patch(server_module, "MAX_CONNECTIONS", 3)
        strangers = [self.plain() for _ in range(3)]
        await until(lambda: ended(strangers[2]))
        self.assertFalse(ended(strangers[0]))
        await self.check(holder)

    async def test_one_that_does_not_read(self) -> None:
        """It is cut off when its answers have piled up; its memory is bounded."""
        holder = await self.start()
        self.patch(outbox, "MAX_UNWRITTEN_BYTES", 100000)
        stranger = self.hello()
        connections = self._factory().connections
        await until(lambda: len(connections) == 2)
        while len(connections) == 2:
            try:
                stranger.send(CENSUS * 100)
            except (BlockingIOError, BrokenPipeError):
                pass
            await soon()
        self.assertIn("it does not read what it is sent", self.lines[-1])
        await self.check(holder)

    async def test_random_conversations(self) -> None:
        """Whole messages of every kind, and pieces of them, in any order, many times."""
        holder = await self.start()
        dice = random.Random(7)
        messages = [
            HELLO,
            CENSUS,
            *(
                encode_box(encode(message))
                for message in (
                    Ask("default", 2, 0),
                    Ask("default", 0, 0),
                    GiveBack(0),
                    LeaseClosed(0),
                    LeaseGranted("default", 0, "x", 0),
                    LeasesRecalled("default", 0),
                )
            ),
        ]
        for _ in range(60):
            stranger = self.hello() if dice.random() < 0.6 else self.plain()
            for _ in range(dice.randrange(6)):
                data = dice.choice(messages)
                if dice.random() < 0.3:
                    data = data[: dice.randrange(len(data))] + bytes(dice.randrange(256) for _ in range(dice.randrange(5)))
                try:
                    socket.send_fds(stranger, [data or b"\0"], [0] * dice.choice((0, 0, 0, 1, 3)))
                except OSError:
                    break
                await soon()
            stranger.close()
        await until(lambda: len(self._factory().connections) == 1)
        await self.check(holder)
