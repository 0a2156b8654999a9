"""The messages between an acceptor and its successor: what is written is read, and nothing else is."""

from __future__ import annotations

from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff import messages, takeover
from xproxy.handoff.boxes import BoxReader, encode_box
from xproxy.handoff.fields import COMMAND, MalformedMessage

ALL = (
    takeover.TakeOver(takeover.VERSION),
    takeover.Took(64),
    takeover.Ready(),
    takeover.Giving(),
    takeover.ListeningGiven("slots", b"tcp:9999:interface=127.0.0.1", 0),
    takeover.SlotGiven("default", "b\u00e4ckend", takeover.IDLE, b"unix:/run/slots", 1, 7),
    takeover.ProxyGiven(3),
    takeover.Given(2),
    takeover.Yours(),
    takeover.Aborted(b"it stops"),
)


class MessageTests(SynchronousTestCase):
    def test_what_is_written_is_read(self) -> None:
        self.assertEqual({type(message) for message in ALL}, set(get_args(takeover.Message)))
        for message in ALL:
            (box,) = BoxReader(4096).feed(encode_box(takeover.encode(message)))
            self.assertEqual(takeover.decode(box), message)

    def test_a_field_is_missing_or_wrong(self) -> None:
        for message in ALL:
            box = takeover.encode(message)
            for key in [key for key in box if key != COMMAND]:
                self.assertRaises(MalformedMessage, takeover.decode, {name: box[name] for name in box if name != key})
        for key, value in ((b"raw", b"2"), (b"raw", b"-1"), (b"slot", b""), (b"pool", b"\xff"), (b"endpoint", b"x" * 4097)):
            self.assertRaises(MalformedMessage, takeover.decode, {**takeover.encode(ALL[5]), key: value})

    def test_another_conversation(self) -> None:
        """A proxy's messages are none of these, and the other way round."""
        self.assertRaises(MalformedMessage, takeover.decode, messages.encode(messages.GiveBack(1)))
        self.assertRaises(MalformedMessage, messages.decode, takeover.encode(takeover.Ready()))
