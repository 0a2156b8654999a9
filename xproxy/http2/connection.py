"""The server's end of one HTTP/2 connection: bytes in, calls of its owner; what the owner says, bytes out.

``feed`` takes what the client sent, frame by frame, in one pass: sizes, order, states, windows and allowances are looked at
where the frame is taken. What is to be sent collects in order until the owner takes it (``take_output``). Every rule that is
broken ends in RST_STREAM where RFC 9113 says stream error, and in GOAWAY where it says connection error.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Generic, List, Optional, Tuple

from . import frames
from .allowance import BYTES_PER_IDLE_FRAME, IDLE_FRAMES, IDLE_FRAMES_PER_S, RESETS, RESETS_PER_S, Allowance
from .errors import ConnectionFault, ErrorCode, Flood, StreamFault, malformed
from .fields import FieldLines, check_request, check_trailers, other_path
from .frames import END_HEADERS, END_STREAM, FRAME_BYTES, HEADER_BYTES, MOST_WINDOW, PADDED, PREFACE, WITH_PRIORITY
from .hpack_decoder import Decoder
from .hpack_encoder import EMPTY_TABLE
from .owner import Owner, R, S
from .sending import Sending
from .streams import TABLE, Input, Reaction, StreamState
from .windows import CONNECTION_STEP_BYTES, CONNECTION_WINDOW_BYTES, FIRST_WINDOW_BYTES, MAX_STREAMS, STREAM_WINDOW_BYTES

KNOWN_BLOCKS = 8
"""Header blocks of which each connection remembers what they meant. With KNOWN_BLOCK_BYTES it takes 16 kB at most."""

KNOWN_BLOCK_BYTES = 1024

SKIPPED_RANGES = 8
"""Ranges of stream identifiers that a client has left out, remembered to tell it which of two mistakes it makes."""

_PREFACE, _SETTINGS, _FRAMES = "preface", "settings", "frames"
"""What a connection waits for."""


class Connection(Sending[S], Generic[S, R]):
    """See the module's docstring.

    :param max_head_bytes: what a header list may count: what is larger gets a 431 (see ``http1``), twice that the end.
    :ivar in_block: a header block has begun and not ended.
    """

    __slots__ = (
        "in_block", "_owner", "_max_head_bytes", "_buffer", "_needed", "_begun", "_decoder", "_known", "_last", "_changes",
        "_block", "_block_stream", "_block_flags", "_block_fault", "_receive_window", "_idle", "_resets", "_skipped",
    )  # fmt: skip

    def __init__(self, owner: Owner[S, R], max_head_bytes: int, now: float) -> None:
        super().__init__()
        self.in_block = False
        self._owner = owner
        self._max_head_bytes = max_head_bytes
        self._buffer = bytearray()
        """What has come of the preface or of a frame that is not complete."""
        self._needed = 0
        """With how much in the buffer it goes on."""
        self._begun = _PREFACE
        self._decoder = Decoder(2 * max_head_bytes)
        self._known: Dict[bytes, Tuple[int, R]] = {}
        self._last: Optional[Tuple[FieldLines, int, R]] = None
        """The request that was read last: its fields, their Content-Length and meaning."""
        self._changes = 0
        self._block = bytearray()
        self._block_stream = self._block_flags = 0
        self._block_fault: Optional[StreamFault] = None
        self._receive_window = CONNECTION_WINDOW_BYTES
        self._idle = Allowance(IDLE_FRAMES, IDLE_FRAMES_PER_S, now)
        self._resets = Allowance(RESETS, RESETS_PER_S, now)
        self._skipped: List[range] = []

    def begin(self) -> None:
        """Say what we allow the client: to be called once, before anything else."""
        ours = (
            (frames.ENABLE_PUSH, 0),
            (frames.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
            (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
            (frames.MAX_HEADER_LIST_SIZE, self._max_head_bytes),
        )
        self._put(frames.settings(ours) + frames.window_update(0, CONNECTION_WINDOW_BYTES - FIRST_WINDOW_BYTES))

    # -- reading

    def feed(self, data: bytes, now: float) -> None:
        """What the client sent. Raises ConnectionFault, which is said to the client too: the connection is closed then."""
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
        """RFC 9113 section 3.4; returns where the frames begin, the end of ``data`` when some of it is missing."""
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "preface")
        if len(data) < len(PREFACE):
            self._keep(data, 0, 0)
            return len(data)
        self._begun = _SETTINGS
        return len(PREFACE)

    def _spend_idle(self, now: float) -> None:
        earned, self._sent_bytes = self._sent_bytes / BYTES_PER_IDLE_FRAME, 0
        if not self._idle.spend(now, earned):
            raise Flood("idle-frames")

    def _spend_reset(self, now: float) -> None:
        if not self._resets.spend(now):
            raise Flood("rapid-reset")

    def _state_of(self, stream_id: int) -> StreamState:
        """Of a stream that is not open. Those with even numbers would be ours to open, and never are."""
        if stream_id > self.last_stream_id or not stream_id & 1:
            return StreamState.IDLE
        return StreamState.RESET if stream_id in self._reset_here else StreamState.CLOSED

    def _react(self, stream_id: int, stream: Optional[S], given: Input) -> None:
        """What an input means on this stream; raises what the table says is a fault."""
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

    def _stream_fault(self, stream_id: int, fault: StreamFault, now: float) -> None:
        """RFC 9113 section 5.4.2. On what is idle or over there is no stream to reset: then it is the connection's."""
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
        self._bound_block()

    def _continuation(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """RFC 9113 section 6.10."""
        if not self.in_block:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "continuation-of-nothing")
        self._spend_idle(now)
        self._block += payload
        self._bound_block()
        if flags & END_HEADERS:
            block, fault = bytes(self._block), self._block_fault
            self._block = bytearray()
            self.in_block = False
            self._head(stream_id, block, self._block_flags & END_STREAM != 0, fault, now)

    def _bound_block(self) -> None:
        if len(self._block) > 2 * self._max_head_bytes:
            raise Flood("header-block")

    def _head(self, stream_id: int, block: bytes, ended: bool, fault: Optional[StreamFault], now: float) -> None:
        """A whole header block: a request, trailers, or something that must be decoded all the same (section 4.3)."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, block, ended, fault, now)
            return
        state = self._state_of(stream_id)
        if state is not StreamState.IDLE:
            self._decode(block)
            self._spend_idle(now)
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
                self._decode(block)
                raise fault
            length, request = self._known.get(block) or self._read(block)
            if ended and length > 0:
                raise malformed("content-length")
            if self.leaving or len(self.streams) >= MAX_STREAMS:
                raise StreamFault(ErrorCode.REFUSED_STREAM, "refused")
        except StreamFault as refused:
            self._spend_reset(now)
            self._reset(stream_id, refused.code)
            return
        window = self._settings.initial_window
        opened = StreamState.HALF_CLOSED if ended else StreamState.OPEN
        stream = self.streams[stream_id] = self._owner.open_stream(stream_id, opened, window, STREAM_WINDOW_BYTES, length)
        self._owner.request_began(stream, request, ended)

    def _decode(self, block: bytes) -> FieldLines:
        if len(block) > 2 * self._max_head_bytes:
            raise Flood("header-block")
        fields = self._decoder.decode(block)
        if self._decoder.changes != self._changes:
            self._changes = self._decoder.changes
            self._known.clear()
        return fields

    def _read(self, block: bytes) -> Tuple[int, R]:
        """Understand a request. While the table does not change, the same block means the same. Raises StreamFault."""
        changes = self._changes
        fields = self._decode(block)
        last = self._last
        path = other_path(fields, last[0]) if last is not None else b""
        if path and last is not None:
            meaning = last[1], self._owner.read_request(fields, last[2], path)
        else:
            meaning = check_request(fields), self._owner.read_request(fields, None, b"")
        self._last = (fields, *meaning)
        if self._changes == changes and len(block) <= KNOWN_BLOCK_BYTES:
            if len(self._known) >= KNOWN_BLOCKS:
                self._known.clear()
            self._known[block] = meaning
        return meaning

    def _trailers(self, stream: S, block: bytes, ended: bool, fault: Optional[StreamFault], now: float) -> None:
        """RFC 9113 section 8.1: a second field section ends the request."""
        fields = self._decode(block)
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
        if stream is None:  # What was under way when we have reset the stream.
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
        if flags & END_STREAM and stream.state is StreamState.OPEN:  # Still: it may have been answered meanwhile.
            self._request_ended(stream, [])

    def _take_window(self, flow_bytes: int) -> None:
        """The window of the connection: given back at once, since those of the streams are what bounds a client."""
        self._receive_window -= flow_bytes
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection-window")
        if self._receive_window <= CONNECTION_STEP_BYTES:
            self._put(frames.window_update(0, CONNECTION_WINDOW_BYTES - self._receive_window))
            self._receive_window = CONNECTION_WINDOW_BYTES

    # -- everything else

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
        self._spend_idle(now)
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "rst-stream-size")
        stream = self.streams.get(stream_id)
        self._react(stream_id, stream, Input.RST_STREAM)
        if stream is not None:
            del self.streams[stream_id]
            self._owner.stream_lost(stream)
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
