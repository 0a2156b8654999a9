"""PROXY protocol headers: tables for the grammar, properties for everything else."""

from __future__ import annotations

import struct
from typing import List, Optional, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.slots.pieces import outcome, outcome_of_all_cuts
from xproxy.slots.preambles.crc32c import crc32c
from xproxy.slots.preambles.preamble import Address, PreambleError
from xproxy.slots.preambles.proxy_header import (
    MAX_BLOCK_BYTES,
    TLV_CRC32C,
    V1_MAX_BYTES,
    V2_SIGNATURE,
    ProxyHeader,
    ProxyHeaderParser,
    Tlv,
    build_v1,
    build_v2,
)

V4 = (("192.0.2.1", 56324), ("198.51.100.7", 443))
V6 = (("2001:db8::1", 0), ("2001:db8::2", 65535))
MAPPED = (("::ffff:192.0.2.1", 1), ("::ffff:192.0.2.1", 2))

modest = settings(max_examples=100, deadline=None, derandomize=True)


def v2(version_command: int, family: int, block: bytes) -> bytes:
    """A header with these very bytes."""
    return V2_SIGNATURE + struct.pack("!BBH", version_command, family, len(block)) + block


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


IPV4_BLOCK = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + struct.pack("!HH", 56324, 443)
IPV6_BLOCK = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002") + struct.pack("!HH", 0, 65535)

GOOD: List[Tuple[bytes, ProxyHeader]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", ProxyHeader(1, False, *V4)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n", ProxyHeader(1, False, *V6)),
    (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:0001 2001:dB8::2 0 65535\r\n", ProxyHeader(1, False, *V6)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:201 1 2\r\n", ProxyHeader(1, False, *MAPPED)),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(1, True)),
    (b"PROXY UNKNOWN " + b"f" * (V1_MAX_BYTES - 16) + b"\r\n", ProxyHeader(1, True)),
    (b"PROXY UNKNOWN anything \x00\xff at all\r\n", ProxyHeader(1, True)),
    (v2(0x21, 0x11, IPV4_BLOCK), ProxyHeader(2, False, *V4)),
    (v2(0x21, 0x12, IPV4_BLOCK), ProxyHeader(2, False, *V4)),
    (v2(0x21, 0x21, IPV6_BLOCK), ProxyHeader(2, False, *V6)),
    (v2(0x21, 0x11, IPV4_BLOCK + tlv(1, b"h2") + tlv(4, b"")), ProxyHeader(2, False, *V4, ((1, b"h2"), (4, b"")))),
    (v2(0x21, 0x31, bytes(216) + tlv(2, b"a")), ProxyHeader(2, False, None, None, ((2, b"a"),))),
    (v2(0x21, 0x00, tlv(2, b"a")), ProxyHeader(2, False, None, None, ((2, b"a"),))),
    (v2(0x20, 0x00, b""), ProxyHeader(2, True)),
    (v2(0x20, 0x00, tlv(0xE0, b"web")), ProxyHeader(2, True, tlvs=((0xE0, b"web"),))),
    (v2(0x20, 0x11, IPV4_BLOCK + tlv(0xE0, b"web")), ProxyHeader(2, True, tlvs=((0xE0, b"web"),))),
    # LOCAL: "discard the protocol block including the family which is ignored".
    (v2(0x20, 0x11, b""), ProxyHeader(2, True)),
    (v2(0x20, 0xFF, b"whatever"), ProxyHeader(2, True)),
]

BAD: List[Tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n", "signature"),
    (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "signature"),
    (b"PROXY\tTCP4", "signature"),
    (b"\r\n\r\n\x00\r\nQUIT\r", "signature"),
    (b"\x00", "signature"),
    (b"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "family"),
    (b"PROXY \r\n", "family"),
    (b"PROXY tcp4 1.1.1.1 1.1.1.1 1 1\r\n", "family"),
    (b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", "family"),
    (b"PROXY UNKNOWNX\r\n", "family"),
    (b"PROXY TCP4\r\n", "grammar"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", "grammar"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", "grammar"),
    (b"PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n", "grammar"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", "grammar"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rX", "grammar"),
    (b"PROXY UNKNOWN \r \r\n", "grammar"),
    (b"PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", "address"),
    (b"PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", "address"),
    (b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n", "address"),
    (b"PROXY TCP4 1.1.1.1 ::1 1 1\r\n", "address"),
    (b"PROXY TCP6 1.1.1.1 ::1 1 1\r\n", "address"),
    (b"PROXY TCP6 ::1 fe80::1%eth0 1 1\r\n", "address"),
    (b"PROXY TCP6 ::1 1::2::3 1 1\r\n", "address"),
    (b"PROXY TCP6 ::1 [::1] 1 1\r\n", "address"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.\xb2 1 1\r\n", "address"),
    (b"PROXY TCP4 localhost 1.1.1.1 1 1\r\n", "address"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", "port"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", "port"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", "port"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n", "port"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 0x1\r\n", "port"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1_0\r\n", "port"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\t\r\n", "port"),
    (b"PROXY UNKNOWN " + b"f" * (V1_MAX_BYTES - 15) + b"\r\n", "too_long"),
    (b"PROXY TCP4 " + b"1" * V1_MAX_BYTES, "too_long"),
    (v2(0x11, 0x11, IPV4_BLOCK), "version"),
    (v2(0x31, 0x11, IPV4_BLOCK), "version"),
    (v2(0x22, 0x11, IPV4_BLOCK), "command"),
    (v2(0x2F, 0x00, b""), "command"),
    (v2(0x21, 0x01, b""), "family"),
    (v2(0x21, 0x10, IPV4_BLOCK), "family"),
    (v2(0x21, 0x13, IPV4_BLOCK), "family"),
    (v2(0x21, 0x41, bytes(300)), "family"),
    (v2(0x21, 0x11, IPV4_BLOCK[:-1]), "length"),
    (v2(0x21, 0x21, IPV6_BLOCK[:-1]), "length"),
    (v2(0x21, 0x31, bytes(215)), "length"),
    (v2(0x21, 0x11, bytes(MAX_BLOCK_BYTES + 1))[:20], "too_long"),
    (v2(0x21, 0x11, IPV4_BLOCK + b"\x01"), "tlv"),
    (v2(0x21, 0x11, IPV4_BLOCK + b"\x01\x00"), "tlv"),
    (v2(0x21, 0x11, IPV4_BLOCK + b"\x01\x00\x02a"), "tlv"),
    (v2(0x20, 0x00, b"\x01\xff\xffa"), "tlv"),
    (v2(0x21, 0x00, tlv(TLV_CRC32C, b"\0\0\0")), "tlv"),
    (v2(0x21, 0x00, tlv(TLV_CRC32C, bytes(4)) * 2), "tlv"),
    (v2(0x21, 0x00, tlv(TLV_CRC32C, b"\1\2\3\4")), "checksum"),
]

ports = st.integers(0, 65535)
addresses = st.one_of([st.tuples(*[st.tuples(st.ip_addresses(v=version).map(str), ports)] * 2) for version in (4, 6)])
kinds = st.integers(0, 255).filter(lambda kind: kind != TLV_CRC32C)
tlv_lists = st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=5)
starts = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::", V2_SIGNATURE])
good_headers = st.sampled_from([data for data, _ in GOOD])


class TableTests(TestCase):
    def test_good_headers_in_every_piece_and_followed_by_anything(self) -> None:
        for data, header in GOOD:
            for rest in (b"", b"GET / HTTP/1.1\r\n", b"\r\n", b"PROXY "):
                self.assertEqual(outcome_of_all_cuts(ProxyHeaderParser, data + rest), (header, rest), data)

    def test_a_header_is_not_read_before_its_last_byte(self) -> None:
        for data, _ in GOOD:
            for end in range(len(data)):
                self.assertIsNone(outcome(ProxyHeaderParser, [data[:end]]), data[:end])

    def test_bad_headers_in_every_piece(self) -> None:
        for data, reason in BAD:
            self.assertEqual(outcome_of_all_cuts(ProxyHeaderParser, data), reason, data)

    def test_nothing_is_kept_past_the_limit(self) -> None:
        """A peer that never ends a header is refused at the limit, not later."""
        line = b"PROXY UNKNOWN " + b"x" * (V1_MAX_BYTES - 15)
        self.assertIsNone(outcome(ProxyHeaderParser, [line]))
        self.assertEqual(outcome(ProxyHeaderParser, [line, b"x"]), "too_long")

    def test_the_longest_block(self) -> None:
        value = bytes(MAX_BLOCK_BYTES - 3)
        found = outcome(ProxyHeaderParser, [build_v2(None, None, [(4, value)])])
        self.assertEqual(found, (ProxyHeader(2, False, tlvs=((4, value),)), b""))
        self.assertRaises(PreambleError, build_v2, None, None, [(4, value + b"\0")])

    def test_a_parser_reads_one_header(self) -> None:
        done, failed = ProxyHeaderParser(), ProxyHeaderParser()
        done.feed(b"PROXY UNKNOWN\r\n")
        self.assertRaises(PreambleError, failed.feed, b"x")
        self.assertRaises(RuntimeError, done.feed, b"")
        self.assertRaises(RuntimeError, failed.feed, b"")

    def test_one_tlv_by_type(self) -> None:
        header = ProxyHeader(2, True, tlvs=((1, b"a"), (2, b"b"), (2, b"b")))
        self.assertEqual((header.tlv(1), header.tlv(3)), (b"a", None))
        self.assertEqual(self.assertRaises(PreambleError, header.tlv, 2).reason, "tlv")

    def test_tlvs_are_not_shown(self) -> None:
        self.assertNotIn("secret", repr(ProxyHeader(2, True, tlvs=((0xE1, b"secret"),))))


class ChecksumTests(TestCase):
    def test_known_values(self) -> None:
        """RFC 3720 appendix B.4, and the check value of the CRC catalogues."""
        for data, expected in (
            (b"", 0),
            (b"123456789", 0xE3069283),
            (bytes(32), 0x8A9136AA),
            (b"\xff" * 32, 0x62A8AB43),
            (bytes(range(32)), 0x46DD794E),
        ):
            self.assertEqual(crc32c(data), expected)

    def test_every_changed_byte_is_noticed(self) -> None:
        """But for the one that says that there is a checksum."""
        data = build_v2(*V4, [(1, b"h2")], checksum=True)
        for at in set(range(16, len(data))) - {len(data) - 7}:
            changed = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
            self.assertIn(outcome(ProxyHeaderParser, [changed]), ("checksum", "tlv"), at)

    def test_the_checksum_may_stand_before_other_tlvs(self) -> None:
        header = v2(0x21, 0x00, tlv(TLV_CRC32C, bytes(4)) + tlv(1, b"h2"))
        whole = header[:19] + crc32c(header).to_bytes(4, "big") + header[23:]
        found = outcome_of_all_cuts(ProxyHeaderParser, whole)
        self.assertEqual(found, (ProxyHeader(2, False, tlvs=((TLV_CRC32C, whole[19:23]), (1, b"h2"))), b""))


class BuildTests(TestCase):
    @modest
    @given(ends=addresses, rest=st.binary(max_size=20))
    def test_v1_round_trip(self, ends: Tuple[Address, Address], rest: bytes) -> None:
        data = build_v1(*ends)
        self.assertLessEqual(len(data), V1_MAX_BYTES)
        (header, after) = ProxyHeaderParser().feed(data + rest) or self.fail("not whole")
        self.assertEqual((header.version, header.local, after), (1, False, rest))
        self.assertEqual(build_v1(header.source, header.destination), data)

    @modest
    @given(addresses | st.just((None, None)), tlv_lists, st.booleans(), st.booleans(), st.binary(max_size=20))
    def test_v2_round_trip(
        self, ends: Tuple[Optional[Address], Optional[Address]], tlvs: List[Tlv], local: bool, checksum: bool, rest: bytes
    ) -> None:
        data = build_v2(*ends, tlvs, local=local, checksum=checksum)
        (header, after) = ProxyHeaderParser().feed(data + rest) or self.fail("not whole")
        self.assertEqual((header.version, header.local, after), (2, local, rest))
        self.assertEqual(list(header.tlvs[: len(tlvs)]), tlvs)
        self.assertEqual([kind for kind, _ in header.tlvs[len(tlvs) :]], [TLV_CRC32C] * checksum)
        if not local:
            self.assertEqual(build_v2(header.source, header.destination, tlvs, checksum=checksum), data)

    def test_v1_without_addresses(self) -> None:
        self.assertEqual(build_v1(None, None), b"PROXY UNKNOWN\r\n")

    def test_what_cannot_be_sent(self) -> None:
        for build in (build_v1, build_v2):
            for source, destination, reason in (
                (("127.0.0.1", 1), ("::1", 1), "family"),
                (("localhost", 1), ("127.0.0.1", 1), "address"),
                (("127.0.0.1", 65536), ("127.0.0.1", 1), "port"),
                (("127.0.0.1", 1), ("127.0.0.1", -1), "port"),
            ):
                self.assertEqual(self.assertRaises(PreambleError, build, source, destination).reason, reason)
        self.assertEqual(self.assertRaises(PreambleError, build_v2, ("127.0.0.1", 1), None).reason, "address")
        self.assertEqual(self.assertRaises(PreambleError, build_v2, None, None, [(256, b"")]).reason, "tlv")


class HostileTests(TestCase):
    @settings(modest, max_examples=300)
    @given(start=starts, data=st.binary(max_size=300))
    def test_garbage_is_an_error_or_unfinished(self, start: bytes, data: bytes) -> None:
        """Nothing but PreambleError is raised, and where the bytes are cut does not matter."""
        outcome_of_all_cuts(ProxyHeaderParser, start + data)

    @settings(modest, max_examples=300)
    @given(good=good_headers, at=st.integers(0, 300), new=st.binary(max_size=3), gone=st.integers(0, 3))
    def test_damaged_headers(self, good: bytes, at: int, new: bytes, gone: int) -> None:
        at %= len(good)
        outcome_of_all_cuts(ProxyHeaderParser, good[:at] + new + good[at + gone :])
