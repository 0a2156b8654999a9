"""The boxes of AMP, as bytes: what is on the wire between a proxy and its acceptor.

A box is a list of keys and values, each behind its length in two bytes, big-endian (a key has 1 to 255 bytes, a value 0 to
65,535), and ends with two zero bytes. That is all of AMP's framing (``twisted.protocols.amp``, "Protocol details").

Twisted's own AMP classes are not used here: they raise and log at what a hostile peer sends (answers to questions nobody asked,
unknown commands, malformed arguments), start TLS when they are told to, put no bound on a box, and make several Deferreds for
a message that has no answer. The tests talk to this module with Twisted's classes, so that it stays AMP.

Pure.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Tuple

MAX_KEY_BYTES = 255
MAX_VALUE_BYTES = 65535

Box = Dict[bytes, bytes]


class BadBox(ValueError):
    """These bytes are no box, or one larger than what is taken here."""


def encode_box(box: Mapping[bytes, bytes]) -> bytes:
    """One box as bytes. Raises ValueError for what does not fit the format: a mistake of ours."""
    parts: List[bytes] = []
    for key, value in box.items():
        if not 1 <= len(key) <= MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
            raise ValueError(f"no key or value of a box: {key[:32]!r}, {len(value)} bytes")
        parts += (b"\0", bytes((len(key),)), key, len(value).to_bytes(2, "big"), value)
    parts.append(b"\0\0")
    return b"".join(parts)


class BoxReader:
    """Finds the boxes in a stream.

    :param max_box_bytes: the longest box that is taken, its framing included. No more than that, and the last read, is kept.
    """

    def __init__(self, max_box_bytes: int) -> None:
        self._max_box_bytes = max_box_bytes
        self._buffer = b""
        self._box: Box = {}
        self._used = 0

    def feed(self, data: bytes) -> List[Box]:
        """The boxes that are complete now. Raises BadBox; what came before it is lost, and nothing may be fed any more."""
        buffer = self._buffer + data if self._buffer else data
        boxes: List[Box] = []
        offset = 0
        size = len(buffer)
        while size - offset >= 2:
            key_end = offset + 2 + buffer[offset + 1]
            if buffer[offset]:
                raise BadBox("a key is longer than 255 bytes")
            if key_end == offset + 2:
                boxes.append(self._box)
                self._box = {}
                self._used = 0
                offset = key_end
                continue
            if size < key_end + 2:
                break
            value_end = key_end + 2 + int.from_bytes(buffer[key_end : key_end + 2], "big")
            if self._used + value_end - offset > self._max_box_bytes:
                raise BadBox(f"a box is longer than {self._max_box_bytes} bytes")
            if size < value_end:
                break
            key = buffer[offset + 2 : key_end]
            if key in self._box:
                raise BadBox("a key comes twice")
            self._box[key] = buffer[key_end + 2 : value_end]
            self._used += value_end - offset
            offset = value_end
        self._buffer = buffer[offset:]
        return boxes

    @property
    def unfinished(self) -> Tuple[int, int]:
        """How many bytes and keys of an unfinished box are kept."""
        return len(self._buffer), len(self._box)
