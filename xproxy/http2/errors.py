"""Faults on an HTTP/2 connection: their codes, and their two scopes (RFC 9113 sections 5.4 and 7)."""

from __future__ import annotations

from enum import IntEnum
from typing import List, Tuple


class ErrorCode(IntEnum):
    """The codes in RST_STREAM and GOAWAY (RFC 9113 section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The connection can't go on: GOAWAY (RFC 9113 section 5.4.1). The only thing that ``Connection.feed`` raises.

    :ivar code: in the GOAWAY that the client gets.
    :ivar reason: a fixed few words; never a byte of the client's.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Flood(ConnectionFault):
    """The client has used up an allowance (RFC 9113 section 10.5)."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.ENHANCE_YOUR_CALM, reason)


class StreamFault(Exception):
    """One stream can't go on: RST_STREAM (RFC 9113 section 5.4.2). Never leaves this package.

    :ivar code: in the RST_STREAM that the client gets.
    :ivar reason: as ConnectionFault's.
    :ivar fields: of a request that is none, as far as they are known.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.fields: List[Tuple[bytes, bytes]] = []


def malformed(reason: str) -> StreamFault:
    """A request that is no request (RFC 9113 section 8.1.1)."""
    return StreamFault(ErrorCode.PROTOCOL_ERROR, reason)
