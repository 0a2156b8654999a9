"""The messages between the parent and a worker."""

from __future__ import annotations

from typing import get_args

import attr
from twisted.trial.unittest import SynchronousTestCase

from xproxy.handoff.boxes import MAX_VALUE_BYTES, BoxReader, encode_box
from xproxy.handoff.messages import MalformedMessage
from xproxy.workers import messages
from xproxy.workers.messages import Configure, Configured, Drain, Hello, Listen, Said, Told, encode, from_parent, from_worker

LONG = bytes(range(256)) * 1024


class MessageTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """On the wire and back each message is what it was, however long."""
        for message, read in (
            (Configure(LONG, 3), from_parent),
            (Configure(b"", 1), from_parent),
            (Listen("tcp:80:interface=\u00e9", 2), from_parent),
            (Drain(), from_parent),
            (Configured(7, "no such file"), from_worker),
            (Told({"a": ["x" * (2 * MAX_VALUE_BYTES), 0.5, None]}, 1), from_worker),
            (Said("warn", "line\n\tand more"), from_worker),
        ):
            (box,) = BoxReader(1 << 20).feed(encode_box(encode(message)))
            self.assertEqual(message, read(box))

    def test_each_has_one_sender(self) -> None:
        """No end takes what only it may say."""
        with self.assertRaises(MalformedMessage):
            from_parent(encode(Hello("1")))
        with self.assertRaises(MalformedMessage):
            from_worker(encode(Drain()))

    def test_malformed(self) -> None:
        """What can't be is refused, and nothing else is raised."""
        good = encode(Said("info", "x"))
        for change in (
            {b"_command": b"Nothing"},
            {b"json0": b"{"},
            {b"json0": b"[" * 100_000},
            {b"json0": b"[]"},
            {b"json0": b'{"level":"info"}'},
            {b"json0": b'{"level":"info","text":"x","more":1}'},
            {b"json0": b'{"level":"loud","text":"x"}'},
            {b"json0": b'{"level":"info","text":1}'},
            {b"json0": b'{"level":{},"text":""}'},
        ):
            with self.assertRaises(MalformedMessage):
                from_worker({**good, **change})
        for number in (b"-1", b"1.5", b'"1"', b"null", b"%d" % 10**20):
            with self.assertRaises(MalformedMessage):
                from_parent({b"_command": b"Tell", b"json0": b'{"question":%s}' % number})

    def test_the_table_is_whole(self) -> None:
        """Every message of the module is one of an end's."""
        made = {kind for kind in vars(messages).values() if isinstance(kind, type) and attr.has(kind)}
        made = {kind for kind in made if kind.__module__ == messages.__name__}
        self.assertEqual(made, set(get_args(messages.Message)))
