"""The frames of a connection that carry no request: their rules, and the allowances that all frames spend."""

from __future__ import annotations

from typing import Generic, Optional

from . import frames
from .allowance import (
    BYTES_PER_IDLE_FRAME,
    IDLE_FRAMES,
    IDLE_FRAMES_PER_S,
    RAPID_S,
    RESETS,
    RESETS_PER_ANSWER,
    RESETS_PER_S,
    Allowance,
)
from .errors import ConnectionFault, ErrorCode, Flood, StreamFault
from .frames import MOST_WINDOW
from .hpack_encoder import EMPTY_TABLE
from .owner import Owner, R, S
from .sending import LEAVING_PING, Sending
from .streams import TABLE, Input, Reaction, StreamState


class Control(Sending[S], Generic[S, R]):
    """A connection's answers to every frame but DATA, HEADERS and CONTINUATION.

    Each method named after a frame takes its flags, stream, payload and the time (monotonic seconds), and raises
    ConnectionFault or StreamFault.
    """

    __slots__ = ("_owner", "_idle", "_resets")

    def __init__(self, owner: Owner[S, R], now: float) -> None:
        super().__init__()
        self._owner = owner
        self._idle = Allowance(IDLE_FRAMES, IDLE_FRAMES_PER_S, now)
        self._resets = Allowance(RESETS, RESETS_PER_S, now)

    def _spend_idle(self, now: float) -> None:
        earned, self._sent_bytes = self._sent_bytes / BYTES_PER_IDLE_FRAME, 0
        if not self._idle.spend(now, earned):
            raise Flood("idle-frames")

    def _spend_reset(self, now: float) -> None:
        earned, self._whole_answers = self._whole_answers * RESETS_PER_ANSWER, 0
        if not self._resets.spend(now, earned):
            raise Flood("rapid-reset")

    def _state_of(self, stream_id: int) -> StreamState:
        """The state of a stream that is not open. Streams with even numbers would be ours to open, and never are."""
        if stream_id > self.last_stream_id or not stream_id & 1:
            return StreamState.IDLE
        return StreamState.RESET if stream_id in self._reset_here else StreamState.CLOSED

    def _react(self, stream_id: int, stream: Optional[S], given: Input) -> None:
        """Move a stream on by the table; raises the fault that the table has for the input."""
        from_state = stream.state if stream is not None else self._state_of(stream_id)
        to_state, reaction = TABLE[from_state, given]
        if reaction is Reaction.CONNECTION_PROTOCOL:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "idle-stream")
        if reaction is Reaction.CONNECTION_STREAM_CLOSED:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "stream-closed")
        if reaction is Reaction.STREAM_CLOSED:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "half-closed")
        if stream is not None:
            stream.state = to_state
        elif reaction is Reaction.DROP and given is Input.RST_STREAM:
            self._reset_here.pop(stream_id, None)
            self._owed_resets.pop(stream_id, None)

    def _priority(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.3: of no use any more, but checked."""
        self._spend_idle(now)
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "priority-of-the-connection")
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "priority-size")
        if frames.depends_on(payload) == stream_id:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "depends-on-itself")

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.4."""
        if stream_id not in self._owed_resets:  # Else the client only says it first.
            self._spend_idle(now)
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "rst-stream-size")
        stream = self.streams.get(stream_id)
        self._react(stream_id, stream, Input.RST_STREAM)
        if stream is not None:
            del self.streams[stream_id]
            self._owner.stream_lost(stream)
            if now - stream.opened_at < RAPID_S:
                self._spend_reset(now)

    def _client_settings(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.5."""
        self._spend_idle(now)
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings-of-a-stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings-size")
            return
        settings = self._settings
        had_small_table = settings.small_table
        change = settings.update(payload)
        if settings.small_table and not had_small_table:
            self._table_update = EMPTY_TABLE
        if change:
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > MOST_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "initial-window")
        self._put(frames.SETTINGS_ACK)
        if change > 0:
            self._owner.window_opened(None)

    def _push_promise(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 8.4: a client can't push."""
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "push-promise")

    def _ping(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.7."""
        self._spend_idle(now)
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ping-of-a-stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "ping-size")
        if not flags & frames.ACK:
            self._put(frames.ping_ack(payload))
        elif self.going and payload == LEAVING_PING:
            self.refuse_streams()

    def _goaway(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.8."""
        self._spend_idle(now)
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "goaway-of-a-stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "goaway-size")
        self._owner.client_leaves(frames.read_number(payload, 4)[0])

    def _window_update(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.9."""
        self._spend_idle(now)
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "window-update-size")
        increment = frames.read_number(payload)[0] & MOST_WINDOW
        if not stream_id:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "window-update-of-nothing")
            before = self._send_window
            self._send_window = after = before + increment
            if after > MOST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection-window")
            if before <= 0 < after:
                self._owner.window_opened(None)
            return
        stream = self.streams.get(stream_id)
        self._react(stream_id, stream, Input.WINDOW_UPDATE)
        if stream is None:
            return
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "window-update-of-nothing")
        before = stream.send_window
        stream.send_window = after = before + increment
        if after > MOST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "stream-window")
        if before <= 0 < after:
            self._owner.window_opened(stream)

    def _unknown(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 5.5: nothing to us."""
        self._spend_idle(now)
