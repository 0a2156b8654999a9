"""Tests for ``hpack_decoder`` and ``hpack_encoder``: the examples of RFC 7541, and the ``hpack`` package at the other end."""

from __future__ import annotations

from typing import Any, List, Tuple

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.http2.errors import ConnectionFault, ErrorCode, Flood
from xproxy.http2.hpack_decoder import STATIC, TABLE_BYTES, Decoder
from xproxy.http2.hpack_encoder import EMPTY_TABLE, encode_field, huffman

Fields = List[Tuple[bytes, bytes]]

FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
EXAMPLES = {
    "C.3, without Huffman": (
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ),
    "C.4, with it": (
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ),
}

NAMES = st.sampled_from([b":method", b":path", b"accept", b"cookie", b"x-a", b"x-b", b"long" * 20])
VALUES = st.one_of(st.sampled_from([b"", b"GET", b"/", b"v" * 3000, b"w" * 200]), st.binary(max_size=20))
LISTS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


class DecoderTests(SynchronousTestCase):
    """What clients send."""

    def fault(self, block: bytes, decoder: Any = None) -> ErrorCode:
        return self.assertRaises(ConnectionFault, (decoder or Decoder(10_000)).decode, block).code

    def test_the_examples(self) -> None:
        for name, blocks in EXAMPLES.items():
            decoder = Decoder(10_000)
            for block, fields in zip(blocks, (FIRST, SECOND, THIRD)):
                self.assertEqual(decoder.decode(bytes.fromhex(block)), fields, name)

    def test_changes_are_counted(self) -> None:
        decoder = Decoder(10_000)
        for block, changes in (
            (b"\x82", 0),
            (b"\x00\x01a\x01b", 0),
            (b"\x10\x01a\x01b", 0),
            (b"\x40\x01a\x01b", 1),
            (b"\xbe", 1),
            (b"\x20", 2),
        ):
            decoder.decode(block)
            self.assertEqual(decoder.changes, changes, block)

    def test_eviction(self) -> None:
        decoder = Decoder(100_000)
        for number in range(300):
            decoder.decode(b"\x40\x03%03d\x01x" % number)
        self.assertEqual(decoder.decode(b"\xbe"), [(b"299", b"x")])
        held = TABLE_BYTES // 36
        self.assertEqual(decoder.decode(b"\xff" + bytes((61 + held - 127,))), [(b"%03d" % (300 - held), b"x")])
        self.fault(b"\xff" + bytes((62 + held - 127,)), decoder)

    def test_an_entry_larger_than_the_table_empties_it(self) -> None:
        decoder = Decoder(100_000)
        decoder.decode(b"\x40\x01a\x01b")
        decoder.decode(b"\x40\x01a\x7f\xe1\x1f" + b"x" * 4192)
        self.assertEqual(self.fault(b"\xbe", decoder), ErrorCode.COMPRESSION_ERROR)

    def test_the_name_of_an_entry_that_goes(self) -> None:
        """RFC 7541 section 4.4: what is added may take its name from what is thrown out for it."""
        decoder = Decoder(100_000)
        decoder.decode(b"\x40\x04name\x01a")
        block = b"\x7e\x7f\xc1\x1e" + b"y" * 4032
        self.assertEqual(decoder.decode(block), [(b"name", b"y" * 4032)])

    def test_too_much(self) -> None:
        decoder = Decoder(1000)
        field = b"\x40\x04bomb\x7f\x21" + b"x" * 160
        self.assertEqual(len(decoder.decode(field + b"\xbe" * 4)), 5)
        self.assertEqual(self.assertRaises(Flood, decoder.decode, b"\xbe" * 6).reason, "header-list")
        self.assertRaises(Flood, Decoder(1000).decode, b"\x82" * 200)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.sampled_from([None, 0, 100, 4096]), st.booleans(), LISTS), max_size=6))
    def test_against_the_encoder_of_hpack(self, blocks: List[Tuple[Any, bool, Fields]]) -> None:
        encoder, decoder = hpack.Encoder(), Decoder(100_000)
        for size, coded, fields in blocks:
            if size is not None:
                encoder.header_table_size = size
            block = encoder.encode(fields, huffman=coded)
            before, changes = [*decoder._entries], decoder.changes
            self.assertEqual(decoder.decode(block), fields)
            if decoder.changes == changes:
                self.assertEqual(decoder._entries, before)
            self.assertEqual(decoder._entries[::-1], list(encoder.header_table.dynamic_entries))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.lists(st.binary(max_size=60), max_size=4))
    def test_any_bytes(self, blocks: List[bytes]) -> None:
        """The same outcome as hpack's, and never another exception."""
        ours, theirs = Decoder(65536), hpack.Decoder()
        for block in blocks:
            try:
                expected: Any = [tuple(field) for field in theirs.decode(block, raw=True)]
            except hpack.HPACKError:
                self.assertEqual(self.fault(block, ours), ErrorCode.COMPRESSION_ERROR)
                return
            self.assertEqual(ours.decode(block), expected)


class EncoderTests(SynchronousTestCase):
    """What we send."""

    def test_the_static_table(self) -> None:
        self.assertEqual(encode_field(b":status", b"200"), b"\x88")
        self.assertEqual(encode_field(b":status", b"418"), b"\x08\x03418")
        self.assertEqual(encode_field(b"content-length", b"5"), b"\x0f\x0d\x015")
        self.assertEqual(encode_field(b"x", b"y"), b"\x00\x01x\x01y")

    def test_credentials_are_never_indexed(self) -> None:
        for name in (b"set-cookie", b"x-auth-token"):
            self.assertEqual(encode_field(name, b"y")[0] & 0xF0, 0x10, name)

    def test_huffman(self) -> None:
        theirs = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
        for data in (b"", b"a", b"www.example.com", bytes(range(256)), b"\xff" * 100):
            self.assertEqual(huffman(data), theirs.encode(data))
        self.assertLess(len(encode_field(b"x", b"a" * 40, True)), 30)
        self.assertEqual(encode_field(b"x", b"\xff" * 3, True), b"\x00\x01x\x03\xff\xff\xff")

    def test_nothing_is_kept(self) -> None:
        decoder = hpack.Decoder()
        decoder.decode(EMPTY_TABLE + b"".join(encode_field(name, b"value") for name, _ in STATIC[1:]))
        self.assertEqual(len(decoder.header_table.dynamic_entries), 0)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(LISTS, st.booleans())
    def test_against_the_decoder_of_hpack(self, fields: Fields, shortest: bool) -> None:
        block = b"".join([encode_field(name, value, shortest) for name, value in fields])
        self.assertEqual([tuple(field) for field in hpack.Decoder().decode(block, raw=True)], fields)
        self.assertEqual(Decoder(100_000).decode(block), fields)
