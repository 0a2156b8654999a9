"""A client's header blocks: decoded (RFC 7541), checked, understood, and remembered while they mean the same."""

from __future__ import annotations

from typing import Callable, Dict, Generic, Optional, Tuple

from .errors import Flood, StreamFault
from .fields import FieldLines, check_request, other_path
from .hpack_decoder import Decoder
from .owner import R

KNOWN_BLOCKS = 8
"""How many header blocks each connection remembers, with their meaning. With KNOWN_BLOCK_BYTES they take 16 kB at most."""

KNOWN_BLOCK_BYTES = 1024


class Blocks(Generic[R]):
    """The header blocks of one connection.

    :param max_head_bytes: how much the fields of a block may count (RFC 9113 section 6.5.2): twice that is a flood.
    :param understand: ``Owner.read_request``.
    :ivar known: blocks that mean the same as long as the dynamic table stays as it is: Content-Length and request of each.
    """

    __slots__ = ("known", "_most_bytes", "_understand", "_decoder", "_last", "_changes")

    def __init__(self, max_head_bytes: int, understand: Callable[[FieldLines, Optional[R], bytes], R]) -> None:
        self.known: Dict[bytes, Tuple[int, R]] = {}
        self._most_bytes = 2 * max_head_bytes
        self._understand = understand
        self._decoder = Decoder(self._most_bytes)
        self._last: Optional[Tuple[FieldLines, int, R]] = None
        """The request that was read last: its fields, their Content-Length and meaning."""
        self._changes = 0
        """Of the dynamic table, when ``known`` was last looked after."""

    def bound(self, size: int) -> None:
        """Raises Flood when a block of so many bytes, whole or not, is too long."""
        if size > self._most_bytes:
            raise Flood("header-block")

    def decode(self, block: bytes) -> FieldLines:
        """The fields of a whole block; a block of a refused request has to be decoded too (RFC 9113 section 4.3).

        Raises ConnectionFault.
        """
        self.bound(len(block))
        fields = self._decoder.decode(block)
        if self._decoder.changes != self._changes:
            self._changes = self._decoder.changes
            self.known.clear()
        return fields

    def read(self, block: bytes) -> Tuple[int, R]:
        """The request that a block which is not among the ``known`` ones means, and its Content-Length, -1 when it has none.

        Raises StreamFault and ConnectionFault.
        """
        changes = self._changes
        fields = self.decode(block)
        last = self._last
        try:
            path = other_path(fields, last[0]) if last is not None else b""
            length = last[1] if path and last is not None else check_request(fields)
        except StreamFault as fault:
            fault.fields = fields
            raise
        meaning = length, self._understand(fields, last[2] if path and last is not None else None, path)
        self._last = (fields, *meaning)
        if self._changes == changes and len(block) <= KNOWN_BLOCK_BYTES:
            if len(self.known) >= KNOWN_BLOCKS:
                self.known.clear()
            self.known[block] = meaning
        return meaning
