"""What a connection tells whoever it belongs to: the seam between the protocol and what is made of it."""

from __future__ import annotations

from typing import Optional, Protocol, TypeVar

from .fields import FieldLines
from .streams import OpenStream, StreamState

S = TypeVar("S", bound=OpenStream)
"""What the owner keeps of a stream."""

R = TypeVar("R")
"""What it understands of the fields of a request."""


class Owner(Protocol[S, R]):
    """Who is told what the client says. Every call may send, reset and close."""

    def read_request(self, fields: FieldLines, before: Optional[R], path: bytes) -> R:
        """What the fields of a request mean: a value, remembered for the same header block.

        :param before: what those of the request before meant, when nothing but the path is another one: ``path``.
        """

    def open_stream(self, stream_id: int, state: StreamState, send_window: int, receive_window: int, length: int) -> S:
        """A new stream, as ``OpenStream`` takes these."""

    def request_began(self, stream: S, request: R, whole: bool) -> None:
        """A request; ``whole``: nothing follows."""

    def body_received(self, stream: S, data: bytes, flow_bytes: int) -> None:
        """Some of the body, never empty. ``flow_bytes``: what is to be acknowledged for it once it was used."""

    def request_ended(self, stream: S, trailers: FieldLines) -> None:
        """The request is whole."""

    def stream_lost(self, stream: S) -> None:
        """The stream is reset, by the client or for what it did: it is gone from ``streams``."""

    def window_opened(self, stream: Optional[S]) -> None:
        """There is room again on a stream, or (None) on any of them."""

    def client_leaves(self, code: int) -> None:
        """GOAWAY."""
