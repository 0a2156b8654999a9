"""The server's end of one HTTP/2 connection: bytes in, calls of its owner; calls of the owner, bytes out.

``feed`` takes the client's bytes, frame by frame, in one pass: sizes, order, states, windows and allowances are looked at where
the frame is taken. Frames to be sent collect in order until the owner takes them (``take_output``). A broken rule ends in
RST_STREAM where RFC 9113 says stream error, and in GOAWAY where the RFC says connection error.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, List, Optional, Tuple

from . import frames
from .blocks import Blocks
from .control import Control
from .errors import ConnectionFault, ErrorCode, StreamFault, malformed
from .fields import FieldLines, check_trailers
from .frames import END_HEADERS, END_STREAM, FRAME_BYTES, HEADER_BYTES, MOST_WINDOW, PADDED, PREFACE, WITH_PRIORITY
from .owner import Owner, R, S
from .streams import Input, StreamState
from .windows import CONNECTION_STEP_BYTES, CONNECTION_WINDOW_BYTES, FIRST_WINDOW_BYTES, MAX_STREAMS, STREAM_WINDOW_BYTES

SKIPPED_RANGES = 8
"""Ranges of stream identifiers that a client has left out, remembered to tell the client which of two mistakes was made."""

_PREFACE, _SETTINGS, _FRAMES = "preface", "settings", "frames"
"""The next thing that a connection waits for."""


class Connection(Control[S, R], Generic[S, R]):
    """See the module's docstring.

    :param max_head_bytes: how much a header list may count: a larger one gets a 431 (see ``http1``), one of twice that the end.
    :ivar in_block: a header block has begun and not ended.
    """

    __slots__ = (
        "in_block", "_max_head_bytes", "_buffer", "_needed", "_begun", "_blocks", "_known", "_block", "_block_stream",
        "_block_flags", "_block_fault", "_receive_window", "_skipped",
    )  # fmt: skip

    def __init__(self, owner: Owner[S, R], max_head_bytes: int, now: float) -> None:
        super().__init__(owner, now)
        self.in_block = False
        self._max_head_bytes = max_head_bytes
        self._buffer = bytearray()
        """The beginning of the preface, or of a frame that is not complete."""
        self._needed = 0
        """How many bytes the buffer must have before reading goes on."""
        self._begun = _PREFACE
        self._blocks: Blocks[R] = Blocks(max_head_bytes, owner.read_request)
        self._known = self._blocks.known
        self._block = bytearray()
        """The beginning of a header block of several frames."""
        self._block_stream = self._block_flags = 0
        self._block_fault: Optional[StreamFault] = None
        self._receive_window = CONNECTION_WINDOW_BYTES
        self._skipped: List[range] = []

    def begin(self) -> None:
        """Tell the client our settings: to be called once, before anything else."""
        ours = (
            (frames.ENABLE_PUSH, 0),
            (frames.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
            (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
            (frames.MAX_HEADER_LIST_SIZE, self._max_head_bytes),
        )
        self._put(frames.settings(ours) + frames.window_update(0, CONNECTION_WINDOW_BYTES - FIRST_WINDOW_BYTES))

    # -- reading

    def feed(self, data: bytes, now: float) -> None:
        """Take the client's bytes. Raises ConnectionFault, which the client is told too: the connection is closed then."""
        if self.closed:
            return
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return
            data = bytes(buffer)
            buffer.clear()
        try:
            self._take_frames(data, now)
        except ConnectionFault as fault:
            self.close(fault.code, fault.reason)
            raise

    def _take_frames(self, data: bytes, now: float) -> None:
        position, size = 0, len(data)
        if self._begun is _PREFACE:
            position = self._preface(data)
        read_header = frames.read_header
        while not self.closed and position < size:
            begin = position + HEADER_BYTES
            if begin > size:
                self._keep(data, position, HEADER_BYTES)
                return
            high, low, kind, flags, stream_id = read_header(data, position)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame-size")
            position = begin + length
            if position > size:
                self._keep(data, begin - HEADER_BYTES, HEADER_BYTES + length)
                return
            stream_id &= MOST_WINDOW  # The reserved bit is nobody's.
            if self.in_block and (kind != frames.CONTINUATION or stream_id != self._block_stream):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "header-block-interrupted")
            if self._begun is _SETTINGS:
                if kind != frames.SETTINGS or flags & frames.ACK:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no-settings")
                self._begun = _FRAMES
            take = _TAKES[kind] if kind < len(_TAKES) else Connection._unknown
            try:
                take(self, flags, stream_id, data[begin:position], now)
            except StreamFault as fault:
                self._stream_fault(stream_id, fault, now)

    def _keep(self, data: bytes, position: int, needed: int) -> None:
        self._buffer += data[position:]
        self._needed = needed

    def _preface(self, data: bytes) -> int:
        """RFC 9113 section 3.4; returns where the frames begin, or the end of ``data`` when some of the preface is missing."""
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "preface")
        if len(data) < len(PREFACE):
            self._keep(data, 0, 0)
            return len(data)
        self._begun = _SETTINGS
        return len(PREFACE)

    def _stream_fault(self, stream_id: int, fault: StreamFault, now: float) -> None:
        """RFC 9113 section 5.4.2. Where the stream is idle or over there is none to reset: then the fault is the
        connection's."""
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._state_of(stream_id) is not StreamState.RESET:
                raise ConnectionFault(fault.code, fault.reason)
            return
        self._spend_reset(now)
        self.cancel(stream, fault.code)
        self._owner.stream_lost(stream)

    # -- heads

    def _headers(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.2."""
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers-on-the-connection")
        fault: Optional[StreamFault] = None
        if flags & (PADDED | WITH_PRIORITY):
            if flags & PADDED:
                payload = frames.unpadded(payload)
            if flags & WITH_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "headers-size")
                if frames.depends_on(payload) == stream_id:
                    fault = malformed("depends-on-itself")
                payload = payload[5:]
        if flags & END_HEADERS:
            self._head(stream_id, payload, flags & END_STREAM != 0, fault, now)
            return
        self._spend_idle(now)
        self.in_block = True
        self._block_stream, self._block_flags, self._block_fault = stream_id, flags, fault
        self._block += payload
        self._blocks.bound(len(self._block))

    def _continuation(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.10."""
        if not self.in_block:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "continuation-of-nothing")
        self._spend_idle(now)
        self._block += payload
        self._blocks.bound(len(self._block))
        if flags & END_HEADERS:
            block, fault = bytes(self._block), self._block_fault
            self._block = bytearray()
            self.in_block = False
            self._head(stream_id, block, self._block_flags & END_STREAM != 0, fault, now)

    def _head(self, stream_id: int, block: bytes, ended: bool, fault: Optional[StreamFault], now: float) -> None:
        """A whole header block: a request, trailers, or something that must be decoded all the same (section 4.3)."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, block, ended, fault, now)
            return
        state = self._state_of(stream_id)
        if state is not StreamState.IDLE:
            self._blocks.decode(block)
            self._spend_idle(now)
            if ended:
                self._owed_resets.pop(stream_id, None)
            if any(stream_id in skipped for skipped in self._skipped):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream-identifier")
            self._react(stream_id, None, Input.HEADERS)
            return
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream-identifier")
        if stream_id - self.last_stream_id > 2:
            self._skipped = [*self._skipped[1 - SKIPPED_RANGES :], range(self.last_stream_id + 1 | 1, stream_id, 2)]
        self.last_stream_id = stream_id
        try:
            if fault is not None:
                self._blocks.decode(block)
                raise fault
            length, request = self._known.get(block) or self._blocks.read(block)
            if ended and length > 0:
                raise malformed("content-length")
            if self.leaving or len(self.streams) >= MAX_STREAMS:
                raise StreamFault(ErrorCode.REFUSED_STREAM, "refused")
        except StreamFault as refused:
            self._spend_reset(now)
            self._reset(stream_id, refused.code)
            if refused.code is ErrorCode.PROTOCOL_ERROR:
                self._owner.request_malformed(refused.fields, refused.reason)
            return
        window = self._settings.initial_window
        opened = StreamState.HALF_CLOSED if ended else StreamState.OPEN
        stream = self.streams[stream_id] = self._owner.open_stream(stream_id, opened, window, STREAM_WINDOW_BYTES, length)
        stream.opened_at = now
        self._owner.request_began(stream, request, ended)

    def _trailers(self, stream: S, block: bytes, ended: bool, fault: Optional[StreamFault], now: float) -> None:
        """RFC 9113 section 8.1: a second field section ends the request."""
        fields = self._blocks.decode(block)
        self._react(stream.stream_id, stream, Input.HEADERS)
        if fault is not None:
            raise fault
        if not ended:
            raise malformed("head-after-head")
        check_trailers(fields)
        self._request_ended(stream, fields)

    def _request_ended(self, stream: S, trailers: FieldLines) -> None:
        if stream.length_left > 0:
            raise malformed("content-length")
        self._react(stream.stream_id, stream, Input.END)
        self._owner.request_ended(stream, trailers)

    # -- bodies

    def _data(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.1."""
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "data-on-the-connection")
        flow_bytes = len(payload)
        if flow_bytes < HEADER_BYTES and not flags & END_STREAM:
            self._spend_idle(now)
        self._take_window(flow_bytes)
        if flags & PADDED:
            payload = frames.unpadded(payload)
        stream = self.streams.get(stream_id)
        self._react(stream_id, stream, Input.DATA)
        if stream is None:  # DATA that was under way when we have reset the stream.
            if flags & END_STREAM:
                self._owed_resets.pop(stream_id, None)
            return
        stream.receive_window -= flow_bytes
        if stream.receive_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "stream-window")
        if stream.length_left >= 0:
            stream.length_left -= len(payload)
            if stream.length_left < 0:
                raise malformed("content-length")
        if payload:
            self._owner.body_received(stream, payload, flow_bytes)
        elif flow_bytes:
            self.acknowledge(stream, flow_bytes)
        if flags & END_STREAM and stream.state is StreamState.OPEN:  # Still: the stream may have been answered meanwhile.
            self._request_ended(stream, [])

    def _take_window(self, flow_bytes: int) -> None:
        """The window of the connection: given back at once, since the windows of the streams bound the client."""
        self._receive_window -= flow_bytes
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection-window")
        if self._receive_window <= CONNECTION_STEP_BYTES:
            self._put(frames.window_update(0, CONNECTION_WINDOW_BYTES - self._receive_window))
            self._receive_window = CONNECTION_WINDOW_BYTES


_Take = Callable[[Any, int, int, bytes, float], None]

_TAKES: Tuple[_Take, ...] = (
    Connection._data,
    Connection._headers,
    Connection._priority,
    Connection._rst_stream,
    Connection._client_settings,
    Connection._push_promise,
    Connection._ping,
    Connection._goaway,
    Connection._window_update,
    Connection._continuation,
)
"""By type (RFC 9113 section 6)."""
