"""Files that are read whole, up to a bound."""

from __future__ import annotations

PIECE_BYTES = 64 * 1024
"""What is read at a time. PyPy makes room for all that a read may give, and takes its time to give it back."""


def read_most(path: str, most_bytes: int) -> bytes:
    """What a file holds: no more of it than one byte past ``most_bytes``.

    :raises OSError: it can't be read.
    :raises ValueError: its name is none.
    """
    content = bytearray()
    with open(path, "rb") as file:
        while len(content) <= most_bytes:
            piece = file.read(min(PIECE_BYTES, most_bytes + 1 - len(content)))
            if not piece:
                break
            content += piece
    return bytes(content)
