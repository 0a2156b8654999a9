"""A client's SETTINGS (RFC 9113 section 6.5), as far as they concern the frames that we send."""

from __future__ import annotations

from . import frames
from .errors import ConnectionFault, ErrorCode
from .frames import FRAME_BYTES, MOST_WINDOW
from .hpack_decoder import TABLE_BYTES

SETTING_BYTES = 6

MOST_FRAME_BYTES = 2**24 - 1


class ClientSettings:
    """The settings that a client has sent so far.

    How large a frame may be and how many streams we may open is checked and then of no interest: our frames have the size that
    every client takes, and we open none.

    :ivar initial_window: with which the send windows of streams begin.
    :ivar small_table: the client has asked for a smaller header table than HTTP/2 begins with.
    """

    __slots__ = ("initial_window", "small_table")

    def __init__(self) -> None:
        self.initial_window = 65535
        self.small_table = False

    def update(self, payload: bytes) -> int:
        """Take a frame's settings; returns by how much the windows change. Raises ConnectionFault."""
        if len(payload) % SETTING_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings-size")
        before = self.initial_window
        for identifier, value in frames.read_setting(payload):
            if identifier == frames.INITIAL_WINDOW_SIZE:
                if value > MOST_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "initial-window")
                self.initial_window = value
            elif identifier == frames.HEADER_TABLE_SIZE:
                self.small_table = self.small_table or value < TABLE_BYTES
            elif identifier == frames.ENABLE_PUSH:
                if value > 1:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "enable-push")
            elif identifier == frames.MAX_FRAME_SIZE and not FRAME_BYTES <= value <= MOST_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "max-frame-size")
        return self.initial_window - before
