"""Fields of an answer to a header block (RFC 7541), without a dynamic table, as nginx does.

So a field is the same bytes for every client: whole blocks can be remembered, there is no state that a client could make us
keep, and none that could be attacked. A field of the static table goes as an index, others as literals, in the Huffman code
where ``heads`` remembers them and the code is shorter.
"""

from __future__ import annotations

from typing import Dict

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from ..http1.names import RESPONSE, SECRET
from .hpack_decoder import STATIC

EMPTY_TABLE = b"\x20"
"""A dynamic table size update to 0 (RFC 7541 section 6.3): a client that wants a smaller table has to be told so once."""

_INDEXED, _NEVER_INDEXED, _NOT_INDEXED, _HUFFMAN = 0x80, 0x10, 0x00, 0x80

_NAMES: Dict[bytes, int] = {}
for _index in range(len(STATIC) - 1, 0, -1):
    _NAMES[STATIC[_index][0]] = _index
_FIELDS = {field: index for index, field in enumerate(STATIC) if index}

_BITS = [f"{code:0{length}b}" for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH)]


def huffman(data: bytes) -> bytes:
    """``data`` in the Huffman code (RFC 7541 section 5.2), the last byte filled up with ones."""
    bits = "".join([_BITS[octet] for octet in data])
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def _integer(number: int, full: int, flags: int) -> bytes:
    """RFC 7541 section 5.1. ``full``: the greatest number of the prefix; ``flags``: the bits before it."""
    if number < full:
        return b"%c" % (flags | number)
    encoded = bytearray((flags | full,))
    number -= full
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _string(data: bytes, shortest: bool) -> bytes:
    if shortest:
        coded = huffman(data)
        if len(coded) < len(data):
            return _integer(len(coded), 0x7F, _HUFFMAN) + coded
    return _integer(len(data), 0x7F, 0) + data


def encode_field(name: bytes, value: bytes, shortest: bool = False) -> bytes:
    """One field.

    :param name: in lower case.
    :param shortest: try the Huffman code, which takes time.
    """
    index = _FIELDS.get((name, value))
    if index is not None:
        return _integer(index, 0x7F, _INDEXED)
    known = _NAMES.get(name, 0)
    # Nobody between us and the client may keep what could be a credential in a table (RFC 7541 section 7.1.3).
    flags = _NEVER_INDEXED if RESPONSE.look_up(name) == SECRET else _NOT_INDEXED
    encoded = _integer(known, 0x0F, flags)
    if not known:
        encoded += _string(name, shortest)
    return encoded + _string(value, shortest)
