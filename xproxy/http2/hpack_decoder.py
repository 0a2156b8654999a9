"""Header blocks of a client to fields (RFC 7541): one decoder for each connection.

The static table and the Huffman code are those of the ``hpack`` package; the loop is our own because it has to say when the
dynamic table has changed, so that ``blocks`` can remember the meaning of a block, and because it is where a client can spend
our time: nothing is logged, copied or made that is not needed.
"""

from __future__ import annotations

from typing import List, Tuple

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from .errors import ConnectionFault, ErrorCode, Flood

Field = Tuple[bytes, bytes]

STATIC: Tuple[Field, ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
"""By index, which begins at 1 (RFC 7541 appendix A)."""

TABLE_BYTES = 4096
"""SETTINGS_HEADER_TABLE_SIZE, which we leave as HTTP/2 begins (RFC 9113 section 6.5.2)."""

ENTRY_BYTES = 32
"""The bytes that an entry counts beside name and value (RFC 7541 section 4.1)."""

_FIRST_DYNAMIC = len(STATIC)
_MOST_SHIFT = 28
"""An integer has five bytes at most: with the prefix they make more than 32 bits (RFC 7541 section 5.1 leaves the bound to
us)."""


def _fault(reason: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, reason)


class Decoder:
    """The decoding context of a connection.

    :param max_list_bytes: how much the fields of a block may count together (RFC 9113 section 6.5.2: with 32 for each).
    :ivar changes: how often the dynamic table has changed. Between two changes the same block means the same fields.
    """

    __slots__ = ("changes", "_max_list_bytes", "_entries", "_used", "_capacity")

    def __init__(self, max_list_bytes: int) -> None:
        self.changes = 0
        self._max_list_bytes = max_list_bytes
        self._entries: List[Field] = []
        """The newest last."""
        self._used = 0
        self._capacity = TABLE_BYTES

    def decode(self, block: bytes) -> List[Field]:
        """The fields of a whole header block. Raises ConnectionFault; Flood when there are too many."""
        fields: List[Field] = []
        left = self._max_list_bytes
        position, size = 0, len(block)
        try:
            while position < size:
                first = block[position]
                if first >= 0x80:
                    index = first & 0x7F
                    position += 1
                    if index == 0x7F:
                        index, position = self._integer(block, position, 0x7F)
                    field = self._field(index)
                elif first >= 0x40 or first < 0x20:
                    field, position = self._literal(block, position, first)
                elif fields:
                    raise _fault("late-table-size")
                else:
                    position = self._resize(block, position)
                    continue
                left -= len(field[0]) + len(field[1]) + ENTRY_BYTES
                if left < 0:
                    raise Flood("header-list")
                fields.append(field)
        except IndexError:
            raise _fault("header-block-cut-off") from None
        except HPACKDecodingError:
            raise _fault("huffman") from None
        return fields

    def _field(self, index: int) -> Field:
        if 0 < index < _FIRST_DYNAMIC:
            return STATIC[index]
        place = len(self._entries) + _FIRST_DYNAMIC - 1 - index
        if place < 0 or not index:
            raise _fault("table-index")
        return self._entries[place]

    @staticmethod
    def _integer(block: bytes, position: int, number: int) -> Tuple[int, int]:
        """The value of an integer whose prefix is full (RFC 7541 section 5.1), and the position behind it. Raises
        IndexError."""
        shift = 0
        while True:
            octet = block[position]
            position += 1
            number += (octet & 0x7F) << shift
            if octet < 0x80:
                return number, position
            shift += 7
            if shift > _MOST_SHIFT:
                raise _fault("integer")

    def _literal(self, block: bytes, position: int, first: int) -> Tuple[Field, int]:
        """A literal field (RFC 7541 section 6.2), and the position behind it."""
        full = 0x3F if first >= 0x40 else 0x0F
        index = first & full
        position += 1
        if index == full:
            index, position = self._integer(block, position, full)
        if index:
            name = self._field(index)[0]
        else:
            name, position = self._string(block, position)
        value, position = self._string(block, position)
        field = name, value
        if first >= 0x40:
            self._add(field)
        return field, position

    def _string(self, block: bytes, position: int) -> Tuple[bytes, int]:
        """A string literal (RFC 7541 section 5.2), and the position behind it."""
        first = block[position]
        position += 1
        length = first & 0x7F
        if length == 0x7F:
            length, position = self._integer(block, position, 0x7F)
        end = position + length
        if end > len(block):
            raise _fault("header-block-cut-off")
        string = block[position:end]
        return (bytes(decode_huffman(string)) if first >= 0x80 else string), end

    def _add(self, field: Field) -> None:
        """RFC 7541 section 4.4: an entry that is larger than the table empties the table."""
        self.changes += 1
        self._used += len(field[0]) + len(field[1]) + ENTRY_BYTES
        self._entries.append(field)
        self._evict()

    def _evict(self) -> None:
        count = 0
        while self._used > self._capacity:
            name, value = self._entries[count]
            self._used -= len(name) + len(value) + ENTRY_BYTES
            count += 1
        if count:
            del self._entries[:count]

    def _resize(self, block: bytes, position: int) -> int:
        """RFC 7541 section 6.3."""
        capacity = block[position] & 0x1F
        position += 1
        if capacity == 0x1F:
            capacity, position = self._integer(block, position, 0x1F)
        if capacity > TABLE_BYTES:
            raise _fault("table-size")
        self.changes += 1
        self._capacity = capacity
        self._evict()
        return position
