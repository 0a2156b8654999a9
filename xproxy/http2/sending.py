"""The half of a connection that sends: frames collect in order until the owner takes them.

The caller asks how much may be sent on a stream (``room``); the stream's state and windows change here.
"""

from __future__ import annotations

from typing import Dict, Generic, List, TypeVar

from . import frames
from .errors import ErrorCode
from .frames import END_HEADERS, FRAME_BYTES
from .settings import ClientSettings
from .streams import TABLE, Input, OpenStream, Reaction, StreamState
from .windows import FIRST_WINDOW_BYTES, MAX_STREAMS, STREAM_STEP_BYTES

S = TypeVar("S", bound=OpenStream)

MOST_STREAM = 2**31 - 1
"""The highest identifier of a stream (RFC 9113 section 5.1.1): GOAWAY with it lets all streams through (section 6.8)."""

LEAVING_PING = b"leaving!"
"""What the PING behind the first GOAWAY carries (RFC 9113 section 6.7: eight bytes)."""

RESET_STREAMS = 2 * MAX_STREAMS
"""How many streams are remembered that we have reset and on which frames may still be under way: twice as many as a client may
have open. A frame on an older one is the client's mistake."""


class Sending(Generic[S]):
    """See the module's docstring.

    :ivar streams: those that are open, by identifier.
    :ivar last_stream_id: the highest that the client has used, 0 before the first.
    :ivar pending: bytes that wait to be taken.
    :ivar going: the client was told that the end is near; streams that it has opened before it knew are taken.
    :ivar leaving: the last GOAWAY but one for errors was sent, or the client's has come; new streams are refused.
    :ivar closed: GOAWAY was sent for good, or the owner is gone: nothing is read or written any more.
    """

    __slots__ = (
        "streams", "last_stream_id", "pending", "going", "leaving", "closed", "_out", "_settings", "_send_window",
        "_sent_bytes", "_whole_answers", "_table_update", "_reset_here", "_owed_resets",
    )  # fmt: skip

    def __init__(self) -> None:
        self.streams: Dict[int, S] = {}
        self.last_stream_id = 0
        self.pending = 0
        self.going = self.leaving = self.closed = False
        self._out: List[bytes] = []
        self._settings = ClientSettings()
        self._send_window = FIRST_WINDOW_BYTES
        self._sent_bytes = 0
        """Bytes of content that were sent since the last look at this number."""
        self._whole_answers = 0
        """Streams that we have ended since the last look at this number."""
        self._table_update = b""
        """The table size update that has to go before the next header block; empty: none."""
        self._reset_here: Dict[int, None] = {}
        self._owed_resets: Dict[int, None] = {}
        """Those of them that the client was not told of yet; see ``owes_resets``."""

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self.pending += len(data)

    def take_output(self) -> bytes:
        """Take the bytes that are to be sent, in order."""
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        self._out = []
        self.pending = 0
        return data

    # -- answers

    def room(self, stream: S) -> int:
        """How much content may be sent on a stream now: of both windows, and of one frame."""
        return min(stream.send_window, self._send_window, FRAME_BYTES)

    def send_head(self, stream: S, block: bytes, ended: bool = False) -> None:
        """Send a head, an interim one, or (``ended``) trailers or a head without content.

        :param block: from ``heads``.
        """
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        self._put(frames.head(stream.stream_id, block, ended))
        if ended:
            self._answered(stream)

    def send_data(self, stream: S, content: bytes, ended: bool) -> None:
        """Send content for which there is room; empty content only to end the stream."""
        self._count(stream, len(content))
        self._put(frames.data(stream.stream_id, content, ended))
        if ended:
            self._answered(stream)

    def send_answer(self, stream: S, block: bytes, content: bytes) -> None:
        """Send a whole answer whose content has room: the common case, in one piece."""
        stream_id = stream.stream_id
        if self._table_update or len(block) > FRAME_BYTES:
            self.send_head(stream, block)
            self.send_data(stream, content, True)
            return
        size = len(content)
        self._count(stream, size)
        header = frames.header
        self._put(
            b"%b%b%b%b" % (header(len(block) << 8 | 1, END_HEADERS, stream_id), block, header(size << 8, 1, stream_id), content)
        )
        self._answered(stream)

    def _count(self, stream: S, size: int) -> None:
        stream.send_window -= size
        self._send_window -= size
        self._sent_bytes += size

    def _answered(self, stream: S) -> None:
        """We have ended a stream. The rest of the request has no use any more (RFC 9113 section 8.1)."""
        self._whole_answers += 1
        stream.state, reaction = TABLE[stream.state, Input.ANSWERED]
        del self.streams[stream.stream_id]
        if reaction is Reaction.RESET:
            self._forget(stream.stream_id)
            self._owed_resets[stream.stream_id] = None
            if len(self._owed_resets) > MAX_STREAMS:
                oldest = next(iter(self._owed_resets))
                del self._owed_resets[oldest]
                self._put(frames.rst_stream(oldest, ErrorCode.NO_ERROR))

    # -- streams and windows

    def acknowledge(self, stream: S, flow_bytes: int) -> None:
        """``flow_bytes`` of a stream were used. The client's window is opened again when that is worth a frame."""
        stream.taken += flow_bytes
        if stream.taken >= STREAM_STEP_BYTES and stream.state is StreamState.OPEN and not self.closed:
            self._put(frames.window_update(stream.stream_id, stream.taken))
            stream.receive_window += stream.taken
            stream.taken = 0

    def cancel(self, stream: S, code: ErrorCode) -> None:
        """Reset a stream that is open."""
        stream.state, _ = TABLE[stream.state, Input.CANCEL]
        del self.streams[stream.stream_id]
        self._reset(stream.stream_id, code)

    @property
    def owes_resets(self) -> bool:
        """Whether ``send_resets`` is to be called, after a while.

        A client whose request is answered before it is whole may be told to stop sending it (RFC 9113 section 8.1). One that
        finds RST_STREAM right behind the answer may throw the answer away, though it must not: libcurl up to 8.1 fails. So the
        client first has time to see the answer and to end the stream; what it sends meanwhile is dropped, no more than its
        window, which is not opened again.
        """
        return bool(self._owed_resets)

    def send_resets(self) -> None:
        """Tell the client of the streams that were answered, and which it has not ended."""
        owed, self._owed_resets = self._owed_resets, {}
        for stream_id in owed:
            self._put(frames.rst_stream(stream_id, ErrorCode.NO_ERROR))

    def _reset(self, stream_id: int, code: ErrorCode) -> None:
        self._forget(stream_id)
        self._put(frames.rst_stream(stream_id, code))

    def _forget(self, stream_id: int) -> None:
        """What comes on a stream from here on is dropped."""
        reset_here = self._reset_here
        reset_here[stream_id] = None
        if len(reset_here) > RESET_STREAMS:
            del reset_here[next(iter(reset_here))]

    # -- the end

    def go_away(self) -> None:
        """Tell the client to open no more streams (RFC 9113 section 6.8); those that it opens before it knows are served.

        The answer to the PING behind the GOAWAY says that the client knows: then streams are refused. When no answer comes, the
        owner calls ``refuse_streams``.
        """
        if not self.going and not self.leaving:
            self.going = True
            self._put(frames.goaway(MOST_STREAM, ErrorCode.NO_ERROR) + frames.ping(LEAVING_PING))

    def refuse_streams(self) -> None:
        """Say which stream was the last that is taken; those that are open go on."""
        if not self.leaving:
            self.leaving = True
            self._put(frames.goaway(self.last_stream_id, ErrorCode.NO_ERROR))

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, reason: str = "") -> None:
        """Send the GOAWAY behind which nothing is taken or sent."""
        if not self.closed:
            self.closed = True
            self._put(frames.goaway(self.last_stream_id, code, reason.encode("ascii")))
