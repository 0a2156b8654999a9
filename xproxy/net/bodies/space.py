"""How much all files of bytes that wait may take together: of the disk, and of the descriptors that a process may have.

Pure counting. A Spool asks before it writes to a file, and says when that is gone. A client is one address; who stands for many
(a trusted proxy, a UNIX socket) counts in all only.
"""

from __future__ import annotations

import sys
from typing import Dict, List, Optional

import attr

from .blocks import SHARE


class SpaceFull(OSError):
    """There is no room for more in a file.

    :ivar reason: "spools-full": all together have what they may; "client-spools-full": this client has its share.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attr.frozen
class Bounds:
    """What may be in files, of all together and of one client: bytes and files."""

    all_bytes: int
    all_files: int
    client_bytes: int
    client_files: int


class Space:
    """What is in files now. One for a process, owned by its gateway.

    :param held: where ``bytes`` and ``files`` of all are counted.
    :ivar bounds: may be assigned; what is there already stays.
    :ivar room_files: for how many there are descriptors; where that is less than the bounds have, one client gets a quarter.
    """

    def __init__(self, bounds: Bounds, held: Optional[Dict[str, int]] = None) -> None:
        self.bounds = bounds
        self.room_files = sys.maxsize
        self._held: Dict[str, int] = {} if held is None else held
        self._held.update(bytes=0, files=0)
        self._clients: Dict[str, List[int]] = {}
        """Bytes and files of those who have any."""

    @property
    def bytes(self) -> int:
        """In all files."""
        return self._held["bytes"]

    @property
    def files(self) -> int:
        """All that there are."""
        return self._held["files"]

    def of(self, client: str) -> int:
        """How many files a client has."""
        return self._clients.get(client, (0, 0))[1]

    def take(self, client: str, size: int, files: int) -> None:
        """``size`` bytes and so many files more, from here on. Raises SpaceFull, and then nothing was taken.

        :param client: empty: it counts in all only.
        """
        bounds = self.bounds
        all_files, client_files = bounds.all_files, bounds.client_files
        if self.room_files < all_files:
            all_files = self.room_files
            client_files = min(client_files, max(1, all_files // SHARE))
        if self.bytes + size > bounds.all_bytes or self.files + files > all_files:
            raise SpaceFull("spools-full")
        if client:
            held = self._clients.get(client, [0, 0])
            if held[0] + size > bounds.client_bytes or held[1] + files > client_files:
                raise SpaceFull("client-spools-full")
            self._clients[client] = [held[0] + size, held[1] + files]
        self._held["bytes"] += size
        self._held["files"] += files

    def give_back(self, client: str, size: int, files: int) -> None:
        """What was taken is gone."""
        self._held["bytes"] -= size
        self._held["files"] -= files
        if client:
            held = self._clients[client]
            held[0] -= size
            held[1] -= files
            if held == [0, 0]:
                del self._clients[client]
