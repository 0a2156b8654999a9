"""What a proxy offers over real sockets: when the acceptor has no descriptor left, and what no proxy of ours does."""

from __future__ import annotations

import os
import socket
from typing import List, Tuple

from tests.doubles.handoff import HandoffTestCase, ended, no_descriptor_left, until
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.handoff.board import make_board
from xproxy.handoff.boxes import Box, BoxReader, encode_box
from xproxy.handoff.messages import COMMAND, VERSION, Ask, GiveBack, Hello, LeaseClosed, Offer, encode


def said(proxy: socket.socket, reader: BoxReader) -> List[Box]:
    """What the acceptor has said since the last call. Descriptors are left to the kernel to close."""
    try:
        return reader.feed(proxy.recv(65536))
    except BlockingIOError:
        return []


class OfferTests(HandoffTestCase):
    """A proxy in plain Python."""

    async def begin(self) -> Tuple[AcceptorService, socket.socket]:
        """It has said Hello."""
        acceptor = self.start_acceptor()
        proxy = self.plain()
        board, _ = make_board()
        socket.send_fds(proxy, [encode_box(encode(Hello(VERSION, 0), b"1"))], [board])
        os.close(board)
        await until(lambda: acceptor.acceptor.holdings)
        self.reader = BoxReader(65536)
        await until(lambda: said(proxy, self.reader))
        return acceptor, proxy

    def offer(self, proxy: socket.socket, lease: int, ordinal: int, pool: str = "default") -> socket.socket:
        """Offer one end of a pair; gives the other."""
        near, far = socket.socketpair()
        self.sockets.append(far)
        far.setblocking(False)
        socket.send_fds(proxy, [encode_box(encode(Offer(pool, lease, "service", ordinal)))], [near.fileno()])
        near.close()
        return far

    async def refused(self, proxy: socket.socket, *leases: int) -> None:
        """Wait until these are."""
        found: List[Box] = []

        def all_of_them() -> bool:
            found.extend(box for box in said(proxy, self.reader) if box.get(COMMAND) == b"OfferRefused")
            return len(found) >= len(leases)

        await until(all_of_them)
        self.assertEqual([int(box[b"lease"]) for box in found], list(leases))

    async def test_one_by_one(self) -> None:
        """A good one is leased; another's pool, and what is no connection any more, are refused and closed; numbers go on."""
        acceptor, proxy = await self.begin()
        good = self.offer(proxy, 0, 1)
        unknown = self.offer(proxy, 1, 2, "unknown")
        await self.refused(proxy, 1)
        await until(lambda: ended(unknown))
        self.assertFalse(ended(good))
        self.assertEqual(acceptor.acceptor.books["default"].leased, 1)
        proxy.sendall(encode_box(encode(LeaseClosed(1))) + encode_box(encode(GiveBack(0))))
        await until(lambda: acceptor.acceptor.books["default"].idle == 1)
        self.assertFalse(ended(good))

    async def test_no_descriptor_is_left(self) -> None:
        """The one that was lost is refused, and the next is not taken for it."""
        acceptor, proxy = await self.begin()
        first = self.offer(proxy, 0, 1)
        with no_descriptor_left():
            await self.refused(proxy, 0)
        await until(lambda: ended(first))
        second = self.offer(proxy, 1, 2)
        await until(lambda: acceptor.acceptor.books["default"].leased == 1)
        second.sendall(b"second")
        (slot,) = acceptor.acceptor.slots.values()
        self.assertEqual((slot.lease, slot.unread()), (1, b"second"))

    async def test_what_is_cut_off(self) -> None:
        """A number that is not the next one, and an offer after a slot was granted."""
        for lease, asked in ((1, False), (0, True)):
            acceptor, proxy = await self.begin()
            if asked:
                await self.slots(acceptor, 1)
                proxy.sendall(encode_box(encode(Ask("default", 1, 0))))
                await until(lambda acceptor=acceptor: acceptor.acceptor.books["default"].leased == 1)  # type: ignore[misc]
            far = self.offer(proxy, lease, 1)
            await until(lambda far=far, proxy=proxy: ended(far) and ended(proxy))  # type: ignore[misc]
            await self.stop(acceptor)
