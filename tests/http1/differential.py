"""The rule that makes smuggling impossible: what we forward, every parser reads as one request, with the body that we read.

And what reached us through another parser, it has read as we do.
"""

from __future__ import annotations

from typing import Callable, List, Optional

from tests.http1 import peers
from tests.http1.messages import read
from tests.http1.peers import Seen
from xproxy.http1.body import encode_chunk, last_chunk
from xproxy.http1.errors import BadMessage
from xproxy.http1.forward import Marks, forwarding_block, request_head
from xproxy.http1.request import RequestHead
from xproxy.http1.upgrade import offer_with

LLHTTP_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE OPTIONS PATCH PURGE TRACE CONNECT PROPFIND MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH".split()
)
"""llhttp knows a closed list of methods; a request with another cannot be compared by it."""


def forwarded(pieces: List[bytes], chunk: bool = False) -> Optional[List[bytes]]:
    """What goes to the service for a request that arrived in these pieces, and what we read.

    :param chunk: the body goes on chunked, else with its length.
    :returns: None when it was refused or is incomplete, else [stream, method, path, content].
    """
    try:
        reading = read(pieces)
    except BadMessage:
        return None
    head = reading.head
    if reading.rest is None or not isinstance(head, RequestHead) or head.method in (b"CONNECT", b"TRACE"):
        return None
    block = forwarding_block(head.fields, b"192.0.2.1", b"http", head.host or b"a", head.minor, False, Marks(style="both"))
    if chunk:
        stream = request_head(head.method, head.path, block, chunked=True, request_id=b"7", upgrade=head.upgrade)
        stream += encode_chunk(reading.content) + last_chunk(reading.trailers)
    else:
        length = len(reading.content) if reading.content or head.fields.content_length >= 0 else -1
        offer = offer_with(head.upgrade, reading.content) if reading.content else head.upgrade
        stream = request_head(head.method, head.path, block, length, request_id=b"7", upgrade=offer) + reading.content
    return [stream, head.method, head.path, reading.content]


def _readers(method: bytes) -> List[Callable[[bytes], List[Seen]]]:
    if peers.httptools is None or method not in LLHTTP_METHODS:
        return [peers.h11_requests]
    return [peers.h11_requests, peers.llhttp_requests]


def behind_us(pieces: List[bytes], chunk: bool = False) -> str:
    """Why a parser behind us would read what we forward differently; empty: none would, or nothing is forwarded."""
    sent = forwarded(pieces, chunk)
    if sent is None:
        return ""
    stream, method, path, content = sent
    for reader in _readers(method):
        try:
            seen = reader(stream)
        except peers.Leaves as leaves:
            if _begins_a_request(leaves.rest):
                return f"{leaves!r}, as {leaves.rest!r} could be one, in {stream!r}"
            continue
        except peers.Disagrees as refusal:
            return f"{refusal!r} of {stream!r}"
        if seen != [Seen(method, path, content)]:
            return f"{reader.__name__} sees {seen!r} in {stream!r}"
    again = read([stream])
    if again.rest != b"" or again.content != content:
        return f"we ourselves see something else in {stream!r}"
    return ""


def _begins_a_request(rest: bytes) -> bool:
    """Whether a parser that goes on with these bytes, after a switch of protocols that came to nothing, may find a request."""
    for reader in _readers(b"GET"):
        try:
            return bool(reader(rest))
        except peers.Waits:
            return True
        except peers.Disagrees:
            continue
    return False


def before_us(pieces: List[bytes]) -> str:
    """Why a parser before us, which let this through, would have read it differently; one that refuses it is of our mind."""
    try:
        reading = read(pieces)
    except BadMessage:
        return ""
    head = reading.head
    if reading.rest is None or not isinstance(head, RequestHead) or head.method == b"CONNECT":
        return ""
    stream = b"".join(pieces)
    message = stream[: len(stream) - len(reading.rest)]
    for reader in _readers(head.method):
        try:
            seen = reader(message)
        except peers.Waits as waits:
            return f"{waits!r} for more of {message!r}"
        except peers.Disagrees:
            continue
        if seen != [Seen(head.method, head.target, reading.content)]:
            return f"{reader.__name__} sees {seen!r} in {message!r}"
    return ""


def disagreement(pieces: List[bytes], chunk: bool = False) -> str:
    """Both comparisons."""
    return behind_us(pieces, chunk) or before_us(pieces)
