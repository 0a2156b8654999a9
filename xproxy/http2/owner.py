"""The calls that a connection makes to its owner: the seam between the protocol and the proxy."""

from __future__ import annotations

from typing import Optional, Protocol, TypeVar

from .fields import FieldLines
from .streams import OpenStream, StreamState

S = TypeVar("S", bound=OpenStream)
"""The owner's object for a stream."""

R = TypeVar("R")
"""The owner's meaning of the fields of a request."""


class Owner(Protocol[S, R]):
    """The owner of a Connection. Every call may send, reset and close."""

    def read_request(self, fields: FieldLines, before: Optional[R], path: bytes) -> R:
        """The meaning of the fields of a request: a value, remembered for the same header block.

        :param before: the meaning of the request before, when this one has only another path: ``path``.
        """

    def open_stream(self, stream_id: int, state: StreamState, send_window: int, receive_window: int, length: int) -> S:
        """A new stream, as ``OpenStream`` takes these."""

    def request_began(self, stream: S, request: R, whole: bool) -> None:
        """A request; ``whole``: nothing follows."""

    def request_malformed(self, fields: FieldLines, reason: str) -> None:
        """What should have been a request is none (RFC 9113 section 8.1.1); its stream is reset.

        :param fields: of it, where they are known.
        """

    def body_received(self, stream: S, data: bytes, flow_bytes: int) -> None:
        """Some of the body, never empty. ``flow_bytes``: the bytes to be acknowledged once the data was used."""

    def request_ended(self, stream: S, trailers: FieldLines) -> None:
        """The request is whole."""

    def stream_lost(self, stream: S) -> None:
        """The stream is reset, by the client or for a fault of the client's, and gone from ``streams``."""

    def window_opened(self, stream: Optional[S]) -> None:
        """There is room again on a stream, or (None) on any of them."""

    def client_leaves(self, code: int) -> None:
        """GOAWAY."""
