"""The messages: what is written is read, by Twisted's AMP too, and nothing else is."""

from __future__ import annotations

from typing import Any, Tuple, Type

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff import messages
from xproxy.handoff.boxes import Box, BoxReader, encode_box
from xproxy.handoff.messages import (
    COMMAND,
    MAX_SPOKEN_BYTES,
    QUESTION,
    Ask,
    AskAnswered,
    Census,
    GiveBack,
    Hello,
    LeaseAskedBack,
    LeaseClosed,
    LeaseGranted,
    LeasesRecalled,
    MalformedMessage,
    Ping,
    Pong,
    RecallDone,
    ServiceRegistered,
    SlotSpoke,
    decode,
    decode_answer,
    encode,
    encode_answer,
    encode_error,
    error_text,
)
from xproxy.interfaces import MAX_WAITING
from xproxy.slots.tides import PLACES

FEW = settings(max_examples=60, deadline=None, derandomize=True)

names = st.text(max_size=60)
numbers = st.integers(0, 10**18 - 1)
all_messages = st.one_of(
    st.builds(Hello, numbers, numbers),
    st.builds(Ask, names, st.integers(0, MAX_WAITING), numbers, numbers),
    st.builds(GiveBack, numbers),
    st.builds(LeaseClosed, numbers),
    st.builds(Census),
    st.builds(LeaseGranted, names, numbers, names, numbers),
    st.builds(SlotSpoke, numbers, st.binary(max_size=MAX_SPOKEN_BYTES)),
    st.builds(RecallDone, names, numbers),
    st.builds(LeasesRecalled, names, numbers, numbers),
    st.builds(LeaseAskedBack, names, numbers),
    st.builds(Ping),
    st.builds(Pong),
    st.builds(AskAnswered, names, numbers),
    st.builds(ServiceRegistered, names, st.integers(0, 1), st.integers(0, PLACES - 1)),
)

NEWS = (AskAnswered("a", 1), ServiceRegistered("a", 1, 2))


class MessageTests(SynchronousTestCase):
    """encode and decode."""

    @FEW
    @given(all_messages)
    def test_what_is_written_is_read(self, message: Any) -> None:
        tag = b"1" if isinstance(message, messages.ASKS_FOR_ANSWER) else b""
        (box,) = BoxReader(4096).feed(encode_box(encode(message, tag)))
        self.assertEqual(decode(box), message)
        self.assertEqual(box.get(QUESTION, b""), tag)

    def refused(self, box: Box) -> None:
        self.assertRaises(MalformedMessage, decode, box)

    def test_unknown_commands(self) -> None:
        for name in (b"", b"Nothing", b"StartTLS", b"ask", b"Ask\0", b"_command", b"\xff"):
            self.refused({COMMAND: name})
        self.refused({})

    def test_each_field_must_be_there(self) -> None:
        grants = (LeaseGranted("a", 1, "b", 0), LeasesRecalled("a", 0), LeaseAskedBack("a", 1))
        returns = (GiveBack(1), LeaseClosed(1), SlotSpoke(1, b"PROXY "), RecallDone("a", 1))
        for message in (Hello(2, 0), Ask("a", 1, 0), *grants, *returns, *NEWS):
            whole = encode(message, b"1" if isinstance(message, Hello) else b"")
            decode(whole)
            for key in set(whole) - {COMMAND}:
                self.refused({other: value for other, value in whole.items() if other != key})

    def test_numbers(self) -> None:
        for value in (
            b"",
            b"-1",
            b"+1",
            b" 1",
            b"1_0",
            b"0x1",
            b"1.0",
            "\N{ARABIC-INDIC DIGIT ONE}".encode(),
            b"1" * 19,
            b"9" * 60000,
        ):
            self.refused({COMMAND: b"GiveBack", b"lease": value})
        self.assertEqual(decode({COMMAND: b"GiveBack", b"lease": b"007"}), GiveBack(7))

    def test_bounded_numbers(self) -> None:
        ask = encode(Ask("a", 0, 0))
        self.assertEqual(decode({**ask, b"waiting": b"%d" % MAX_WAITING}), Ask("a", MAX_WAITING, 0))
        self.refused({**ask, b"waiting": b"%d" % (MAX_WAITING + 1)})
        self.refused({**encode(ServiceRegistered("a", 1)), b"registered": b"2"})
        self.refused({**encode(ServiceRegistered("a", 1)), b"place": b"%d" % PLACES})

    def test_names(self) -> None:
        for value in (b"\xff", b"a" * 256, b"\xed\xa0\x80"):
            self.refused({COMMAND: b"LeasesRecalled", b"pool": value, b"waiting": b"1", b"number": b"0"})

    def test_questions_and_what_is_none(self) -> None:
        self.refused({COMMAND: b"Census"})
        self.refused({COMMAND: b"GiveBack", b"lease": b"1", QUESTION: b"1"})

    def test_answers(self) -> None:
        """Of any length: a value of AMP has 65,535 bytes."""
        for answer in ({}, {"pools": ["a"]}, ["x" * 300000, {"y": 1.5}], "\N{SNOWMAN}" * 20000):
            box = encode_answer(b"7", answer)
            (read,) = BoxReader(1 << 20).feed(encode_box(box))
            self.assertEqual(decode_answer(read), answer)
            self.assertEqual(read[b"_answer"], b"7")

    def test_answers_that_are_none(self) -> None:
        for text in (b"", b"{", b"\xff", b"[" * 60000, b'"' + b"a" * 10):
            self.assertRaises(MalformedMessage, decode_answer, {b"_answer": b"1", b"json0": text})

    def test_errors(self) -> None:
        self.assertEqual(error_text(encode_error(b"1", b"VERSION", "no")), "no")
        self.assertEqual(error_text({b"_error": b"1", b"_error_description": b"\xff"}), "\N{REPLACEMENT CHARACTER}")
        self.assertIsNone(error_text({b"_answer": b"1"}))


class TwistedGiveBack(amp.Command):
    commandName = b"GiveBack"
    arguments = [(b"lease", amp.Integer())]
    requiresAnswer = False


class TwistedAsk(amp.Command):
    commandName = b"Ask"
    arguments = [
        (b"pool", amp.Unicode()),
        (b"waiting", amp.Integer()),
        (b"seen", amp.Integer()),
        (b"question", amp.Integer()),
    ]
    requiresAnswer = False


class TwistedRecall(amp.Command):
    commandName = b"LeasesRecalled"
    arguments = [
        (b"pool", amp.Unicode()),
        (b"waiting", amp.Integer()),
        (b"number", amp.Integer()),
    ]
    requiresAnswer = False


class TwistedRegistered(amp.Command):
    commandName = b"ServiceRegistered"
    arguments = [(b"pool", amp.Unicode()), (b"registered", amp.Integer()), (b"place", amp.Integer())]
    requiresAnswer = False


class AMPTests(SynchronousTestCase):
    """A peer that is written with ``twisted.protocols.amp``."""

    def test_both_ways(self) -> None:
        pairs: Tuple[Tuple[Type[amp.Command], Any, Any], ...] = (
            (TwistedGiveBack, GiveBack(7), {"lease": 7}),
            (
                TwistedAsk,
                Ask("a", 2, 3, 5),
                {"pool": "a", "waiting": 2, "seen": 3, "question": 5},
            ),
            (TwistedRecall, LeasesRecalled("b", 1, 2), {"pool": "b", "waiting": 1, "number": 2}),
            (TwistedRegistered, ServiceRegistered("b", 1, 3), {"pool": "b", "registered": 1, "place": 3}),
        )
        for command, message, arguments in pairs:
            box = amp.Box(encode(message))
            self.assertEqual(command.parseArguments(box, None), arguments)
            theirs = command.makeArguments(arguments, None)
            theirs[COMMAND] = command.commandName
            self.assertEqual(decode(dict(theirs)), message)
