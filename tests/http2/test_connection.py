"""Tests for ``connection`` and ``sending``: what an owner is told and what a client gets; the rules are in ``test_rules``."""

from __future__ import annotations

from functools import partial
from typing import Any, List, Tuple

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.http2.peers import (
    GET,
    MAX_HEAD_BYTES,
    POST,
    START,
    Recorder,
    begun,
    block,
    content,
    errors,
    frame,
    head,
    joined,
    split,
)
from tests.proxy.test_hot_path import Calls
from xproxy.http2 import blocks, frames, sending
from xproxy.http2.blocks import KNOWN_BLOCKS
from xproxy.http2.errors import ErrorCode
from xproxy.http2.frames import CONTINUATION, DATA, HEADERS, PING, SETTINGS, WINDOW_UPDATE, rst_stream, window_update
from xproxy.http2.hpack_encoder import EMPTY_TABLE
from xproxy.http2.streams import TABLE, Input, Reaction, StreamState
from xproxy.http2.windows import CONNECTION_WINDOW_BYTES, MAX_STREAMS, STREAM_STEP_BYTES, STREAM_WINDOW_BYTES

TALK = (
    START
    + head(1, POST, ended=False)
    + frame(PING, 0, 0, b"12345678")
    + frame(DATA, 8, 1, b"\4some padded body")
    + frame(HEADERS, 1, 3, block(GET)[:9])
    + frame(CONTINUATION, 0, 3)
    + frame(CONTINUATION, 4, 3, block(GET)[9:])
    + content(1, b"and the rest", True)
    + frame(0x77, 0, 0, b"unknown")
    + head(5, POST, ended=False)
    + head(5, [(b"x-sum", b"1")])
    + rst_stream(3, ErrorCode.CANCEL)
    + frames.settings([(4, 100_000)])
    + window_update(0, 5)
    + frame(frames.GOAWAY, 0, 0, bytes(8))
)
HEARD = [
    ("began", 1, tuple(POST), False),
    ("body", 1, b"some padded "),
    ("began", 3, tuple(GET), True),
    ("body", 1, b"and the rest"),
    ("ended", 1, ()),
    ("began", 5, tuple(POST), False),
    ("ended", 5, ((b"x-sum", b"1"),)),
    ("lost", 3),
    ("window", None),
    ("leaves", 0),
]


def played(pieces: List[bytes]) -> Tuple[List[Any], List[Any], Any]:
    """What comes of bytes that arrive in these pieces."""
    recorder = Recorder()
    sent: List[Any] = []
    for piece in pieces:
        sent += recorder.feed(piece)
    return recorder.said, sent, (recorder.fault and recorder.fault.reason)


class ReadingTests(SynchronousTestCase):
    """Bytes in, calls out."""

    def test_what_is_said_first(self) -> None:
        recorder = Recorder()
        recorder.connection.begin()
        first, second = recorder.take()
        values = dict(frames.read_setting(first.payload))
        self.assertEqual(values, {2: 0, 3: MAX_STREAMS, 4: STREAM_WINDOW_BYTES, 6: MAX_HEAD_BYTES})
        self.assertEqual((second.kind, second.stream_id), (WINDOW_UPDATE, 0))
        self.assertEqual(int.from_bytes(second.payload, "big"), CONNECTION_WINDOW_BYTES - 65535)

    def test_whole_and_at_every_split(self) -> None:
        said, sent, fault = played([TALK])
        self.assertEqual((said, fault), (HEARD, None))
        self.assertEqual([(one.kind, one.flags) for one in sent], [(SETTINGS, 1), (PING, 1), (SETTINGS, 1)])
        self.assertEqual(played([TALK[at : at + 1] for at in range(len(TALK))]), (said, sent, None))
        for at in range(len(TALK)):
            self.assertEqual(played([TALK[:at], TALK[at:]]), (said, sent, None))

    def test_the_state_of_streams(self) -> None:
        recorder = begun()
        recorder.feed(head(1, POST, ended=False) + head(3))
        streams = recorder.connection.streams
        self.assertEqual([streams[1].state, streams[3].state], [StreamState.OPEN, StreamState.HALF_CLOSED])
        recorder.feed(content(1, b"", True))
        self.assertEqual(streams[1].state, StreamState.HALF_CLOSED)

    def test_what_is_idle_is_as_the_table_says(self) -> None:
        """HEADERS there are taken, or refused, without a look at the table: the two agree."""
        recorder = begun()
        recorder.feed(head(1, POST, ended=False))
        self.assertEqual((recorder.connection.streams[1].state, Reaction.TAKE), TABLE[StreamState.IDLE, Input.HEADERS])
        recorder.connection.leaving = True
        sent = recorder.feed(head(3))
        self.assertEqual(errors(sent), [("reset", 3, ErrorCode.REFUSED_STREAM)])
        self.assertEqual((recorder.connection._state_of(3), Reaction.RESET), TABLE[StreamState.IDLE, Input.CANCEL])

    def test_nothing_is_read_after_the_end(self) -> None:
        recorder = begun()
        recorder.feed(frame(PING, 0, 1, b"12345678"))
        self.assertEqual(recorder.feed(head(1)), [])
        self.assertEqual(recorder.said, [])

    def test_an_owner_that_closes(self) -> None:
        recorder = begun()
        self.patch(recorder, "request_began", lambda *given: recorder.connection.close(ErrorCode.INTERNAL_ERROR, "x"))
        sent = recorder.feed(head(1) + head(3) + frame(PING, 0, 0, b"12345678"))
        self.assertEqual(errors(sent), [("goaway", ErrorCode.INTERNAL_ERROR)])
        self.assertEqual(recorder.connection.last_stream_id, 1)

    def test_an_owner_that_answers_at_once(self) -> None:
        """Before the request is whole: what is left of it is dropped."""
        recorder = begun()
        told = recorder.connection

        def body_received(stream: Any, data: bytes, flow_bytes: int) -> None:
            told.send_answer(stream, b"\x88", b"ok")

        self.patch(recorder, "body_received", body_received)
        sent = recorder.feed(head(1, POST, ended=False) + content(1, b"x" * 9, True) + content(1, b"y" * 9))
        self.assertEqual([one.kind for one in sent], [HEADERS, DATA])
        self.assertEqual((told.streams, recorder.fault), ({}, None))

    def early(self, recorder: Recorder, stream_id: int) -> None:
        """A request that is answered before it is whole."""
        recorder.feed(head(stream_id, POST, ended=False) + content(stream_id, b"x"))
        recorder.connection.send_answer(recorder.connection.streams[stream_id], b"\x88", b"ok")
        self.assertEqual([one.kind for one in recorder.take()], [HEADERS, DATA])

    def test_a_client_that_was_answered_early_is_told_later(self) -> None:
        """It could take RST_STREAM right behind the answer for a reason to throw that away."""
        recorder = begun()
        told = recorder.connection
        self.early(recorder, 1)
        self.assertTrue(told.owes_resets)
        self.assertEqual(recorder.feed(content(1, b"y" * 9) + head(1, [(b"x-sum", b"1")], ended=False)), [])
        told.send_resets()
        self.assertEqual([(one.kind, one.stream_id) for one in recorder.take()], [(frames.RST_STREAM, 1)])
        self.assertFalse(told.owes_resets)

    def test_nor_is_one_that_has_ended_the_stream(self) -> None:
        """There is nothing to stop any more."""
        for end in (content(1, b"y", True), head(1, [(b"x-sum", b"1")]), frame(frames.RST_STREAM, 0, 1, bytes(4))):
            recorder = begun()
            self.early(recorder, 1)
            recorder.feed(end)
            self.assertEqual((recorder.connection.owes_resets, recorder.fault), (False, None))

    def test_no_more_than_so_many_are_put_off(self) -> None:
        recorder = begun()
        for number in range(MAX_STREAMS):
            self.early(recorder, 2 * number + 1)
        last = 2 * MAX_STREAMS + 1
        recorder.feed(head(last, POST, ended=False) + content(last, b"x"))
        recorder.connection.send_answer(recorder.connection.streams[last], b"\x88", b"ok")
        self.assertEqual([(one.kind, one.stream_id) for one in recorder.take()][2:], [(frames.RST_STREAM, 1)])


class BlockTests(SynchronousTestCase):
    """What is remembered of header blocks."""

    def ask(self, recorder: Recorder, number: int, data: bytes) -> None:
        recorder.feed(frame(HEADERS, 5, 2 * number + 1, data))

    def test_the_same_block_is_read_once(self) -> None:
        recorder = begun()
        for number in range(5):
            self.ask(recorder, number, block(GET))
        self.assertEqual(recorder.reads, 1)
        self.assertEqual([said[2] for said in recorder.said], [tuple(GET)] * 5)

    def test_not_when_the_table_has_changed(self) -> None:
        """The same bytes then mean something else."""
        recorder = begun()
        base = block(GET)
        self.ask(recorder, 0, base + b"\x40\x01x\x011")
        self.ask(recorder, 1, base + b"\xbe")
        self.ask(recorder, 2, base + b"\xbe")
        self.ask(recorder, 3, base + b"\x40\x01x\x012")
        self.ask(recorder, 4, base + b"\xbe")
        self.assertEqual([said[2][4][1] for said in recorder.said], [b"1", b"1", b"1", b"2", b"2"])
        self.assertEqual(recorder.reads, 4)

    def test_not_when_trailers_have_changed_it(self) -> None:
        recorder = begun()
        self.ask(recorder, 0, block(GET) + b"\x40\x01x\x011")
        self.ask(recorder, 1, block(GET) + b"\xbe")
        recorder.feed(head(5, POST, ended=False) + frame(HEADERS, 5, 5, b"\x40\x01x\x012"))
        self.ask(recorder, 3, block(GET) + b"\xbe")
        self.assertEqual(recorder.said[-1][2][4][1], b"2")

    def test_only_so_many(self) -> None:
        recorder = begun()
        for number in range(60):
            self.ask(recorder, number, block([*GET, (b"n", b"%d" % number)]))
        self.assertLessEqual(len(recorder.connection._blocks.known), KNOWN_BLOCKS)
        self.ask(recorder, 60, block([*GET, *[(b"n", b"x" * 120)] * 10]))
        self.assertLessEqual(max(map(len, recorder.connection._blocks.known)), blocks.KNOWN_BLOCK_BYTES)

    def test_another_path(self) -> None:
        """Nothing but the path is looked at, but that is."""
        recorder = begun()
        for number, path in enumerate((b"/", b"/a", b"/b", b"/b")):
            self.ask(recorder, number, block([*GET[:2], (b":path", path), GET[3]]))
            self.assertEqual(recorder.said[-1][2][2], (b":path", path))
        for number, path in enumerate((b"", b" /", b"/a\r\nx: y", b"/\0"), 4):
            sent = recorder.feed(head(2 * number + 1, [*GET[:2], (b":path", path), GET[3]]))
            self.assertEqual(errors(sent), [("reset", 2 * number + 1, ErrorCode.PROTOCOL_ERROR)], path)
        sent = recorder.feed(head(31, [*GET[:2], (b":path", b"/c"), (b":path", b"/d")]))
        self.assertEqual(errors(sent), [("reset", 31, ErrorCode.PROTOCOL_ERROR)])

    def test_what_is_malformed_is_so_again(self) -> None:
        recorder = begun()
        for number in range(3):
            sent = recorder.feed(head(2 * number + 1, [*GET, (b"te", b"x")]))
            self.assertEqual(errors(sent), [("reset", 2 * number + 1, ErrorCode.PROTOCOL_ERROR)])
        self.assertEqual(recorder.said, [])

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.sampled_from([b"1", b"2", b"3"])), max_size=4)))
    def test_what_is_remembered_is_right(self, requests: List[Any]) -> None:
        recorder, encoder = begun(), hpack.Encoder()
        for number, more in enumerate(requests[:50]):
            self.ask(recorder, number, encoder.encode([*GET, *more]))
            self.assertEqual(recorder.said[-1][2], (*GET, *more))


class WindowTests(SynchronousTestCase):
    """Flow control."""

    def test_what_a_client_may_send(self) -> None:
        recorder = begun()
        self.patch(recorder, "body_received", lambda *given: None)
        recorder.feed(head(1, POST, ended=False))
        for _ in range(STREAM_WINDOW_BYTES // 16384):
            self.assertEqual(recorder.feed(content(1, b"x" * 16384)), [])
        sent = recorder.feed(content(1, b"x"))
        self.assertEqual(errors(sent), [("reset", 1, ErrorCode.FLOW_CONTROL_ERROR)])

    def test_what_it_may_send_in_all(self) -> None:
        recorder = begun()
        recorder.connection._receive_window = 10
        recorder.feed(head(1, POST, ended=False))
        self.assertEqual(errors(recorder.feed(content(1, b"x" * 11))), [("goaway", ErrorCode.FLOW_CONTROL_ERROR)])

    def test_windows_are_given_back_in_large_steps(self) -> None:
        recorder = begun()
        recorder.feed(head(1, POST, ended=False))
        sent = []
        for _ in range(64):
            sent += recorder.feed(content(1, b"x" * 16384))
        self.assertEqual({(one.kind, one.stream_id) for one in sent}, {(WINDOW_UPDATE, 1)})
        self.assertEqual([int.from_bytes(one.payload, "big") for one in sent], [STREAM_STEP_BYTES] * 8)

    def test_that_of_the_connection_too(self) -> None:
        recorder = begun()
        recorder.connection._receive_window = CONNECTION_WINDOW_BYTES // 2 + 100
        recorder.feed(head(1, POST, ended=False))
        (sent,) = recorder.feed(content(1, b"x" * 100))
        self.assertEqual((sent.kind, sent.stream_id), (WINDOW_UPDATE, 0))
        self.assertEqual(int.from_bytes(sent.payload, "big"), CONNECTION_WINDOW_BYTES // 2)

    def test_padding_counts(self) -> None:
        recorder = begun()
        recorder.feed(head(1, POST, ended=False))
        stream = recorder.connection.streams[1]
        recorder.feed(frame(DATA, 8, 1, b"\x63" + bytes(99)) + frame(DATA, 8, 1, b"\4body" + bytes(4)))
        self.assertEqual((stream.receive_window, stream.taken), (STREAM_WINDOW_BYTES - 109, 109))

    def test_room(self) -> None:
        recorder = begun()
        told = recorder.connection
        recorder.feed(head(1) + head(3))
        one, three = told.streams[1], told.streams[3]
        self.assertEqual(told.room(one), 16384)
        for size in (16384, 16384, 16384, 16383):
            told.send_data(one, bytes(size), False)
        self.assertEqual((told.room(one), told.room(three)), (0, 0))
        recorder.feed(window_update(1, 10))
        self.assertEqual(recorder.said[-1], ("window", 1))
        recorder.feed(window_update(0, 5))
        self.assertEqual(recorder.said[-1], ("window", None))
        self.assertEqual((told.room(one), told.room(three)), (5, 5))
        recorder.feed(window_update(0, 5))
        self.assertEqual(len(recorder.said), 4)

    def test_settings_change_the_windows_of_all_streams(self) -> None:
        recorder = begun()
        told = recorder.connection
        recorder.feed(head(1))
        told.send_data(told.streams[1], bytes(100), False)
        recorder.feed(frames.settings([(4, 50)]))
        self.assertEqual((told.streams[1].send_window, told.room(told.streams[1])), (-50, -50))
        recorder.feed(head(3))
        self.assertEqual(told.room(told.streams[3]), 50)
        recorder.feed(frames.settings([(4, 200)]))
        self.assertEqual(recorder.said[-1], ("window", None))
        self.assertEqual([told.room(told.streams[number]) for number in (1, 3)], [100, 200])


class SendingTests(SynchronousTestCase):
    """Calls in, bytes out."""

    def test_answers(self) -> None:
        recorder = begun()
        told = recorder.connection
        recorder.feed(head(1) + head(3) + head(5) + head(7, POST, ended=False))
        one, three, five, seven = told.streams.values()
        told.send_answer(one, b"\x88", b"content")
        told.send_head(three, b"\x08\x03103")
        told.send_head(three, b"\x88")
        told.send_data(three, b"a", False)
        told.send_head(three, b"\0\1x\1y", True)
        told.send_head(five, b"\x89", True)
        self.assertEqual(told.pending, sum(len(one.payload) + 9 for one in split(b"".join(told._out))))
        sent = recorder.take()
        self.assertEqual([(one.kind, one.flags, one.stream_id) for one in sent[:2]], [(HEADERS, 4, 1), (DATA, 1, 1)])
        self.assertEqual([(one.kind, one.flags) for one in sent[2:6]], [(HEADERS, 4), (HEADERS, 4), (DATA, 0), (HEADERS, 5)])
        self.assertEqual([(one.kind, one.flags, one.stream_id) for one in sent[6:]], [(HEADERS, 5, 5)])
        told.cancel(seven, ErrorCode.CANCEL)
        self.assertEqual(errors(recorder.take()), [("reset", 7, ErrorCode.CANCEL)])
        self.assertEqual((told.streams, told.pending), ({}, 0))

    def test_a_client_that_wants_a_small_table_is_told_once(self) -> None:
        recorder = begun()
        told = recorder.connection
        recorder.feed(frames.settings([(1, 100)]) + head(1) + head(3))
        for stream, expected in ((told.streams[1], EMPTY_TABLE + b"\x88"), (told.streams[3], b"\x88")):
            told.send_answer(stream, b"\x88", b"x")
            self.assertEqual(joined(recorder.take()), expected)
        recorder.feed(frames.settings([(1, 4096)]) + frames.settings([(1, 0)]) + head(5))
        told.send_answer(told.streams[5], b"\x88", b"x")
        self.assertEqual(joined(recorder.take()), b"\x88")

    def test_a_head_of_several_frames(self) -> None:
        recorder = begun()
        recorder.feed(head(1))
        recorder.connection.send_answer(recorder.connection.streams[1], b"h" * 20_000, b"content")
        sent = recorder.take()
        self.assertEqual([one.kind for one in sent], [HEADERS, CONTINUATION, DATA])
        self.assertEqual(joined(sent), b"h" * 20_000)

    def test_going_away(self) -> None:
        """RFC 9113 section 6.8: what the client sent before it knew is served, what it sends later is refused."""
        recorder = begun()
        recorder.feed(head(1))
        recorder.connection.go_away()
        recorder.connection.go_away()
        goaway, ping = recorder.take()
        self.assertEqual((goaway.kind, goaway.payload), (frames.GOAWAY, b"\x7f\xff\xff\xff" + bytes(4)))
        self.assertEqual((ping.kind, ping.flags), (PING, 0))
        self.assertEqual(recorder.feed(head(3) + frame(PING, 1, 0, b"somebody")), [])
        self.assertIn(3, recorder.connection.streams)
        (last,) = recorder.feed(frame(PING, 1, 0, ping.payload) * 2)
        self.assertEqual((last.kind, last.payload), (frames.GOAWAY, b"\0\0\0\3" + bytes(4)))
        self.assertEqual(errors(recorder.feed(head(5))), [("reset", 5, ErrorCode.REFUSED_STREAM)])
        for number in (1, 3):
            recorder.connection.send_answer(recorder.connection.streams[number], b"\x88", b"x")
        self.assertEqual(len(recorder.take()), 4)
        recorder.connection.close()
        recorder.connection.close()
        self.assertEqual(errors(recorder.take()), [("goaway", ErrorCode.NO_ERROR)])

    def test_a_client_that_does_not_say_that_it_knows(self) -> None:
        """The owner goes on without the answer to PING. One that comes later, or unasked, changes nothing."""
        recorder = begun()
        ack = frame(PING, 1, 0, sending.LEAVING_PING)
        self.assertEqual(recorder.feed(ack), [])
        self.assertFalse(recorder.connection.leaving)
        recorder.connection.go_away()
        recorder.connection.refuse_streams()
        self.assertEqual(errors(recorder.take()), [("goaway", ErrorCode.NO_ERROR)] * 2)
        recorder.connection.go_away()
        self.assertEqual(recorder.feed(ack), [])

    def test_a_client_that_has_left_itself(self) -> None:
        recorder = begun()
        recorder.connection.leaving = True
        recorder.connection.go_away()
        recorder.connection.refuse_streams()
        self.assertEqual(recorder.take(), [])

    def test_only_so_many_resets_are_remembered(self) -> None:
        self.patch(sending, "RESET_STREAMS", 10)
        recorder = begun()
        for number in range(1, 41, 2):
            recorder.feed(head(number))
            recorder.connection.cancel(recorder.connection.streams[number], ErrorCode.CANCEL)
        self.assertEqual(list(recorder.connection._reset_here), list(range(21, 41, 2)))
        recorder.take()
        self.assertEqual(recorder.feed(content(39, b"late" * 5)), [])
        self.assertEqual(errors(recorder.feed(content(19, b"late" * 5))), [("goaway", ErrorCode.STREAM_CLOSED)])


MOST_CALLS = 12
"""Of Python functions for a request that repeats another one and its whole answer: what was counted and a tenth of it."""


class CostTests(SynchronousTestCase):
    """What a request costs, counted as in ``tests.proxy.test_hot_path``."""

    def test_a_request_and_its_answer(self) -> None:
        recorder = begun()
        told, calls = recorder.connection, Calls()

        def exchange(number: int) -> None:
            told.feed(asked[number], 0.0)
            told.send_answer(told.streams[2 * number + 1], b"\x88", b"ok")
            told.take_output()

        asked = [head(2 * number + 1) for number in range(30)]
        for number in range(10):
            exchange(number)
        for number in range(10, 30):
            calls.count(partial(exchange, number))
        self.assertLessEqual(calls.python / 20 - 3, MOST_CALLS)  # The function here, and two of the recorder.
        self.assertEqual(recorder.reads, 1)
