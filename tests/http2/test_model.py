"""hyper-h2 as the client of a Connection: whatever the two do, each has at the end what the other has sent."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, Optional, Set

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.exceptions import StreamClosedError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from twisted.trial.unittest import SynchronousTestCase

from tests.http2.peers import GET, POST
from xproxy.http2.connection import Connection
from xproxy.http2.errors import ErrorCode
from xproxy.http2.fields import FieldLines
from xproxy.http2.hpack_encoder import encode_field
from xproxy.http2.streams import OpenStream
from xproxy.http2.windows import STREAM_STEP_BYTES

SEEN: Counter[str] = Counter()
"""What happened in all examples: a model in which nothing happens finds nothing."""


class Served(OpenStream):
    """A stream of the server: what came, what is still to be sent."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.request: FieldLines = []
        self.body = b""
        self.unread = 0
        self.whole = False
        self.trailers: FieldLines = []
        self.answer: Optional[bytes] = None


class Server:
    """The owner: keeps what comes, reads bodies and answers when it is told to."""

    def __init__(self) -> None:
        self.connection: Connection[Served, FieldLines] = Connection(self, 16000, 0.0)
        self.connection.begin()
        self.all: Dict[int, Served] = {}
        self.lost: Set[int] = set()

    def read_request(self, fields: FieldLines, before: Optional[FieldLines], path: bytes) -> FieldLines:
        if before is not None:
            return [(name, path if name == b":path" else value) for name, value in before]
        return fields

    def open_stream(self, *arguments: Any) -> Served:
        stream = Served(*arguments)
        self.all[stream.stream_id] = stream
        return stream

    def request_began(self, stream: Served, request: FieldLines, whole: bool) -> None:
        stream.request, stream.whole = request, whole

    def request_malformed(self, fields: FieldLines, reason: str) -> None:
        raise AssertionError("the client makes no malformed requests")

    def body_received(self, stream: Served, data: bytes, flow_bytes: int) -> None:
        stream.body += data
        stream.unread += flow_bytes

    def request_ended(self, stream: Served, trailers: FieldLines) -> None:
        stream.whole, stream.trailers = True, trailers

    def stream_lost(self, stream: Served) -> None:
        self.lost.add(stream.stream_id)

    def window_opened(self, stream: Optional[Served]) -> None:
        """``send`` tries all."""

    def client_leaves(self, code: int) -> None:
        raise AssertionError("it does not")

    def read(self, stream_id: int) -> None:
        stream = self.all[stream_id]
        unread, stream.unread = stream.unread, 0
        self.connection.acknowledge(stream, unread)

    def send(self) -> None:
        """As much as the windows let through of every answer, frame by frame."""
        moved = True
        while moved:
            moved = False
            for stream in list(self.connection.streams.values()):
                room = self.connection.room(stream)
                if stream.answer is not None and (room > 0 or not stream.answer):
                    piece, stream.answer = stream.answer[:room], stream.answer[max(room, 0) :]
                    self.connection.send_data(stream, piece, not stream.answer)
                    moved = True


SELDOM = st.integers(0, 4).map(lambda number: number == 0)
FIELDS = st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"cookie"]), st.sampled_from([b"", b"1", b"2" * 50])), max_size=4)


class TwoEnds(RuleBasedStateMachine):
    """The client does what hyper-h2 lets it do; the server answers, or resets."""

    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.client = h2.connection.H2Connection(config)
        self.client.initiate_connection()
        self.asked: Dict[int, FieldLines] = {}
        self.sent: Dict[int, bytes] = {}
        self.ended: Dict[int, FieldLines] = {}
        self.answers: Dict[int, bytes] = {}
        self.got: Dict[int, bytes] = {}
        self.heads: Dict[int, FieldLines] = {}
        self.complete: Set[int] = set()
        self.reset: Set[int] = set()
        self.unacknowledged: Dict[int, int] = {}
        self.cut = 0

    # -- the client

    @rule(target=streams, fields=FIELDS, whole=st.booleans(), paths=st.lists(st.integers(0, 3), min_size=1, max_size=4))
    def ask(self, fields: FieldLines, whole: bool, paths: List[int]) -> Any:
        return multiple(*[self._ask([(b":path", b"/%d" % path), *fields], whole) for path in paths])

    def _ask(self, fields: FieldLines, whole: bool) -> int:
        stream_id = self.client.get_next_available_stream_id()
        self.asked[stream_id] = [field for field in (GET if whole else POST) if field[0] != b":path"] + fields
        self.client.send_headers(stream_id, self.asked[stream_id], end_stream=whole)
        self.sent[stream_id] = b""
        if whole:
            self.ended[stream_id] = []
        return stream_id

    def _may_send(self, stream_id: int) -> bool:
        return stream_id not in self.ended and stream_id not in self.reset

    @rule(stream_id=streams, size=st.integers(0, 40_000), padding=st.sampled_from([None, None, 0, 200]), end=st.booleans())
    def send_body(self, stream_id: int, size: int, padding: Optional[int], end: bool) -> None:
        if not self._may_send(stream_id):
            return
        room = min(self.client.local_flow_control_window(stream_id), 16384) - (padding or 0) - 1
        data = b"%04d" % (size % 10_000) * (min(size, max(room, 0)) // 4)
        if room < 0:
            return
        self.client.send_data(stream_id, data, end_stream=end, pad_length=padding)
        self.sent[stream_id] += data
        if end:
            self.ended[stream_id] = []

    @rule(stream_id=streams)
    def send_trailers(self, stream_id: int) -> None:
        if self._may_send(stream_id):
            self.ended[stream_id] = [(b"x-sum", b"1")]
            self.client.send_headers(stream_id, self.ended[stream_id], end_stream=True)

    @rule(stream_id=consumes(streams), really=SELDOM)
    def give_up(self, stream_id: int, really: bool) -> None:
        if really and stream_id not in self.reset and stream_id not in self.complete:
            self.client.reset_stream(stream_id)
            self.reset.add(stream_id)

    @rule(stream_id=streams, other=streams)
    def prioritize(self, stream_id: int, other: int) -> None:
        if stream_id != other:
            self.client.prioritize(stream_id, weight=5, depends_on=other)

    @rule(size=st.sampled_from([0, 1, 1000, 65535, 200_000]))
    def change_windows(self, size: int) -> None:
        self.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: size})

    @rule(size=st.sampled_from([0, 100, 4096]))
    def change_table(self, size: int) -> None:
        self.client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})

    @rule()
    def ping(self) -> None:
        self.client.ping(b"12345678")

    @rule()
    def acknowledge(self) -> None:
        """Open the windows again for all that was read."""
        for stream_id, size in self.unacknowledged.items():
            try:
                self.client.acknowledge_received_data(size, stream_id)
            except StreamClosedError:
                pass
        self.unacknowledged = {}

    # -- the server

    @rule(sizes=st.lists(st.one_of(st.integers(0, 100_000), st.integers(0, 300)), min_size=1, max_size=4))
    def answer(self, sizes: List[int]) -> None:
        self.move()
        waiting = [stream for stream in self.server.connection.streams.values() if stream.answer is None]
        for stream, size in zip(waiting, sizes):
            self._answer(stream, size)

    def _answer(self, stream: Served, size: int) -> None:
        told, stream_id = self.server.connection, stream.stream_id
        block = encode_field(b":status", b"200") + encode_field(b"x-size", b"%d" % size, size % 2 == 1)
        self.answers[stream_id] = content = b"a" * size
        if size <= told.room(stream):
            told.send_answer(stream, block, content)
        else:
            told.send_head(stream, block)
            stream.answer = content

    @rule()
    def let_time_pass(self) -> None:
        """Until the client is told of streams that were answered early."""
        self.server.connection.send_resets()
        assert not self.server.connection.owes_resets

    @rule(stream_id=streams)
    def read(self, stream_id: int) -> None:
        self.move()
        if stream_id in self.server.connection.streams:
            self.server.read(stream_id)

    @rule(stream_id=streams, really=SELDOM)
    def refuse(self, stream_id: int, really: bool) -> None:
        self.move()
        stream = self.server.connection.streams.get(stream_id)
        if really and stream is not None:
            self.server.connection.cancel(stream, ErrorCode.INTERNAL_ERROR)

    # -- both

    @rule(cut=st.integers(0, 100))
    def cut_next(self, cut: int) -> None:
        """Let what moves next arrive in two pieces."""
        self.cut = cut

    @rule()
    def move(self) -> None:
        """Let all that was said arrive."""
        while True:
            data = self.client.data_to_send()
            for piece in (data[: self.cut], data[self.cut :]):
                self.server.connection.feed(piece, 0.0)
            self.server.send()
            back = self.server.connection.take_output()
            for event in self.client.receive_data(back):
                self._happened(event)
            if not data and not back:
                break
        self._windows_agree()

    def _windows_agree(self) -> None:
        """What each may send is what the other lets it; what is kept back of a window is less than a step."""
        told = self.server.connection
        for stream_id, stream in told.streams.items():
            window = min(stream.send_window, told._send_window)
            assert window == self.client.remote_flow_control_window(stream_id)
            if stream_id not in self.ended:
                window = min(stream.receive_window, told._receive_window)
                assert window == self.client.local_flow_control_window(stream_id)
                assert stream.taken < STREAM_STEP_BYTES

    def _happened(self, event: Any) -> None:
        stream_id = getattr(event, "stream_id", 0)
        if isinstance(event, h2.events.ResponseReceived):
            self.heads[stream_id] = [(name, value) for name, value in event.headers or ()]
            self.got[stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self.got[stream_id] += event.data
            self.unacknowledged[stream_id] = self.unacknowledged.get(stream_id, 0) + event.flow_controlled_length
        elif isinstance(event, h2.events.StreamEnded):
            self.complete.add(stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.reset.add(stream_id)
        assert not isinstance(event, h2.events.ConnectionTerminated), event

    @invariant()
    def nothing_is_invented(self) -> None:
        """What arrived so far is the beginning of what was sent."""
        for stream_id, stream in self.server.all.items():
            assert stream.request == self.asked[stream_id]
            assert self.sent[stream_id].startswith(stream.body)
        for stream_id, content in self.got.items():
            assert self.answers[stream_id].startswith(content)

    def teardown(self) -> None:
        """Let everything end: then both have everything."""
        self.change_windows(200_000)
        self.answer([50, 70_000, 3, 9000, 0, 17_000])
        for _ in range(40):
            self.move()
            self.acknowledge()
        self.let_time_pass()
        self.move()
        told = self.server.connection
        SEEN["asked"] += len(self.asked)
        SEEN["complete"] += len(self.complete)
        for stream_id, stream in self.server.all.items():
            if stream_id in told.streams:
                assert stream.body == self.sent[stream_id]
                assert stream.whole == (stream_id in self.ended)
                assert stream.trailers == self.ended.get(stream_id, [])
        for stream_id, content in self.answers.items():
            if stream_id not in self.reset:
                assert self.got[stream_id] == content
                assert self.heads[stream_id] == [(b":status", b"200"), (b"x-size", b"%d" % len(content))]
                assert stream_id in self.complete and stream_id not in told.streams
        open_here: List[int] = [stream_id for stream_id in self.asked if stream_id not in self.reset | self.complete]
        assert sorted(told.streams) == sorted(open_here)


class ModelTests(SynchronousTestCase):
    """Both ends."""

    def test_both_ends_agree(self) -> None:
        SEEN.clear()
        TwoEnds.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
        case = TwoEnds.TestCase("runTest")
        case.runTest()
        self.assertGreater(SEEN["complete"], 100)
        self.assertGreater(SEEN["asked"], SEEN["complete"])
