"""Registrations, in every mode: what is taken, what is refused and for which reason, and what silence means."""

from __future__ import annotations

import re
import struct
from typing import Callable, List, Optional, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.slots.pieces import Outcome, outcome, outcome_of_all_cuts
from xproxy.slots.preambles.preamble import Address, PreambleError
from xproxy.slots.preambles.proxy_header import V2_SIGNATURE, build_v1, build_v2
from xproxy.slots.preambles.registration import (
    MAX_TOKEN_BYTES,
    MODES,
    MXPROXY_SIGNATURE,
    TLV_POOL,
    TLV_TOKEN,
    Registration,
    RegistrationParser,
    build_mxproxy,
    build_registration,
    is_pool_name,
)

RAW = Registration("raw")
PAPER = bytes.fromhex("0d0a0d0a 4d5850524f5859 0a 21 11 0006 c0000201 1f90")
"""The 22 bytes, written out."""

modest = settings(max_examples=100, deadline=None, derandomize=True)

pool_names = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), fullmatch=True)
names = st.from_regex(re.compile(r"[A-Za-z0-9._-]{1,64}"), fullmatch=True)
hosts = st.ip_addresses().map(str)
ports = st.integers(0, 65535)


def mode(name: str) -> Callable[[], RegistrationParser]:
    return lambda: RegistrationParser(name)


def mxproxy(version_command: int, family: int, block: bytes) -> bytes:
    return MXPROXY_SIGNATURE + struct.pack("!BBH", version_command, family, len(block)) + block


def local(*tlvs: Tuple[int, bytes]) -> bytes:
    return build_v2(None, None, tlvs, local=True)


GOOD: List[Tuple[str, bytes, Registration]] = [
    ("mxproxy", PAPER, Registration("mxproxy", address=("192.0.2.1", 8080))),
    ("mxproxy", build_mxproxy("2001:db8::1", 1), Registration("mxproxy", address=("2001:db8::1", 1))),
    ("mxproxy", build_mxproxy("::ffff:192.0.2.1", 1), Registration("mxproxy", address=("::ffff:192.0.2.1", 1))),
    ("proxy", build_v1(("192.0.2.1", 1), ("192.0.2.2", 2)), Registration("proxy", address=("192.0.2.1", 1))),
    ("proxy", build_v1(None, None), Registration("proxy")),
    ("proxy", build_v2(("::1", 1), ("::1", 2)), Registration("proxy", address=("::1", 1))),
    ("proxy", build_v2(None, None), Registration("proxy")),
    ("proxy", build_registration(), Registration("proxy")),
    ("proxy", build_registration("web", "", ""), Registration("proxy", "web")),
    ("proxy", build_registration(None, "host-1:4711:ab12cd"), Registration("proxy", instance="host-1:4711:ab12cd")),
    ("proxy", build_registration(token="gehëim"), Registration("proxy", token="gehëim".encode())),
    (
        "proxy",
        build_registration("a.b_c-1", "i/1", bytes(range(256)), ("192.0.2.1", 1), ("192.0.2.2", 2)),
        Registration("proxy", "a.b_c-1", ("192.0.2.1", 1), "i/1", bytes(range(256))),
    ),
    ("proxy", build_v2(None, None, [(TLV_POOL, b"web"), (0xEF, b"other")], checksum=True), Registration("proxy", "web")),
]

BAD: List[Tuple[str, bytes, str]] = [
    ("mxproxy", b"HTTP/1.1 200 OK\r\n", "signature"),
    ("mxproxy", V2_SIGNATURE, "signature"),
    ("mxproxy", b"\r\n\r\nMXPROXY\r", "signature"),
    ("proxy", PAPER, "signature"),
    ("auto", b"HTTP/1.1 200 OK\r\n", "signature"),
    ("auto", b"\r\n\r\nX", "signature"),
    ("auto", b"\r\n\r\n\x00\r\nQUIX", "signature"),
    ("raw", b"\r", "unexpected"),
    ("raw", PAPER, "unexpected"),
    ("mxproxy", mxproxy(0x01, 0x11, bytes(6)), "version"),
    ("mxproxy", mxproxy(0x31, 0x11, bytes(6)), "version"),
    ("mxproxy", mxproxy(0x22, 0x11, bytes(6)), "command"),
    ("mxproxy", mxproxy(0x21, 0x31, bytes(6)), "family"),
    ("mxproxy", mxproxy(0x21, 0x13, bytes(6)), "family"),
    ("mxproxy", mxproxy(0x21, 0x21, bytes(6)), "family"),
    ("mxproxy", mxproxy(0x21, 0x11, bytes(18)), "family"),
    ("mxproxy", mxproxy(0x21, 0x11, bytes(12)), "length"),
    ("mxproxy", mxproxy(0x21, 0x11, b""), "length"),
    ("mxproxy", mxproxy(0x21, 0x21, bytes(65535))[:40], "length"),
    ("proxy", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 x\r\n", "port"),
    ("proxy", local((TLV_POOL, b"")), "pool"),
    ("proxy", local((TLV_POOL, b"a" * 65)), "pool"),
    ("proxy", local((TLV_POOL, b"a b")), "pool"),
    ("proxy", local((TLV_POOL, b"a\n")), "pool"),
    ("proxy", local((TLV_POOL, b"../../etc")), "pool"),
    ("proxy", local((TLV_POOL, "pöol".encode())), "pool"),
    ("proxy", local((TLV_POOL, b"a"), (TLV_POOL, b"a")), "tlv"),
    ("proxy", local((0x05, b"")), "instance"),
    ("proxy", local((0x05, b'"')), "instance"),
    ("proxy", local((0x05, b"\x1b[2J")), "instance"),
    ("proxy", local((0x05, b"a" * 129)), "instance"),
    ("proxy", local((0x05, b"a"), (0x05, b"b")), "tlv"),
    ("proxy", local((TLV_TOKEN, b"")), "token"),
    ("proxy", local((TLV_TOKEN, bytes(MAX_TOKEN_BYTES + 1))), "token"),
    ("proxy", local((TLV_TOKEN, b"a"), (TLV_TOKEN, b"a")), "tlv"),
]


class TableTests(TestCase):
    def test_good_in_every_piece_in_its_own_mode_and_in_auto(self) -> None:
        for kind, data, registration in GOOD:
            for name in (kind, "auto"):
                for rest in (b"", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"):
                    self.assertEqual(outcome_of_all_cuts(mode(name), data + rest), (registration, rest), data)

    def test_not_read_before_the_last_byte(self) -> None:
        for kind, data, _ in GOOD:
            for end in range(len(data)):
                for name in (kind, "auto"):
                    self.assertIsNone(outcome(mode(name), [data[:end]]), data[:end])

    def test_bad_in_every_piece(self) -> None:
        for name, data, reason in BAD:
            self.assertEqual(outcome_of_all_cuts(mode(name), data), reason, data)

    def test_the_other_kinds_are_refused(self) -> None:
        for kind, data, _ in GOOD:
            for name, reason in (("mxproxy", "signature"), ("proxy", "signature"), ("raw", "unexpected")):
                if name != kind:
                    self.assertEqual(outcome(mode(name), [data]), reason)

    def test_mxproxy_says_what_it_must(self) -> None:
        """The acceptor this comes from ignored version, command and family: what can be read in one way only is taken."""
        for version_command in (0x10, 0x11, 0x20, 0x21):
            for families, block, host in (
                ((0x00, 0x01, 0x02, 0x10, 0x11, 0x12), bytes([192, 0, 2, 1, 0, 9]), "192.0.2.1"),
                ((0x00, 0x01, 0x02, 0x20, 0x21, 0x22), bytes(15) + bytes([1, 0, 9]), "::1"),
            ):
                for family in families:
                    found = outcome(mode("mxproxy"), [mxproxy(version_command, family, block)])
                    self.assertEqual(found, (Registration("mxproxy", address=(host, 9)), b""))

    def test_the_lengths_of_the_contract(self) -> None:
        self.assertEqual(build_mxproxy("192.0.2.1", 8080), PAPER)
        self.assertEqual((len(build_mxproxy("192.0.2.1", 8080)), len(build_mxproxy("::1", 8080))), (22, 34))


class SilenceTests(TestCase):
    def test_raw_expects_nothing(self) -> None:
        parser = RegistrationParser("raw")
        self.assertEqual((parser.immediate, parser.silent()), (RAW, RAW))
        self.assertEqual([RegistrationParser(name).immediate for name in MODES if name != "raw"], [None] * 3)

    def test_auto_takes_silence_for_raw(self) -> None:
        parser = RegistrationParser("auto")
        self.assertIsNone(parser.feed(b""))
        self.assertEqual(parser.silent(), RAW)
        self.assertRaises(RuntimeError, parser.feed, b"\r\n")
        self.assertIsNone(parser.silent())

    def test_auto_waits_for_what_has_begun(self) -> None:
        for kind, data, registration in GOOD:
            parser = RegistrationParser("auto")
            self.assertIsNone(parser.feed(data[:1]))
            self.assertIsNone(parser.silent(), kind)
            self.assertEqual(parser.feed(data[1:]), (registration, b""))
            self.assertIsNone(parser.silent())

    def test_a_preamble_that_must_come(self) -> None:
        for name in ("mxproxy", "proxy"):
            self.assertIsNone(RegistrationParser(name).silent())

    def test_after_an_error(self) -> None:
        parser = RegistrationParser("auto")
        self.assertRaises(PreambleError, parser.feed, b"HTTP")
        self.assertIsNone(parser.silent())
        self.assertRaises(RuntimeError, parser.feed, b"")

    def test_unknown_mode(self) -> None:
        self.assertRaises(ValueError, RegistrationParser, "magic")


class BuildTests(TestCase):
    @modest
    @given(
        pool=pool_names,
        instance=names | st.none(),
        token=st.binary(max_size=MAX_TOKEN_BYTES),
        source=st.tuples(hosts, ports) | st.none(),
        rest=st.binary(max_size=20),
    )
    def test_registration_round_trip(
        self, pool: str, instance: Optional[str], token: bytes, source: Optional[Address], rest: bytes
    ) -> None:
        data = build_registration(pool, instance, token, source, source)
        found = RegistrationParser("auto").feed(data + rest)
        assert found is not None
        self.assertEqual((found[0].kind, found[0].pool, found[0].instance, found[1]), ("proxy", pool, instance, rest))
        self.assertEqual(found[0].token, token or None)
        self.assertEqual(found[0].address is None, source is None)
        self.assertEqual(build_registration(pool, instance, token, found[0].address, found[0].address), data)

    @modest
    @given(host=hosts, port=ports, rest=st.binary(max_size=20))
    def test_mxproxy_round_trip(self, host: str, port: int, rest: bytes) -> None:
        found = RegistrationParser("auto").feed(build_mxproxy(host, port) + rest)
        assert found is not None and found[0].address is not None
        self.assertEqual((found[0].kind, found[1]), ("mxproxy", rest))
        self.assertEqual(build_mxproxy(*found[0].address), build_mxproxy(host, port))

    def test_what_an_acceptor_would_refuse_is_not_built(self) -> None:
        for reason, build in (
            ("pool", lambda: build_registration("a b")),
            ("pool", lambda: build_registration("pöol")),
            ("instance", lambda: build_registration(instance="a b")),
            ("token", lambda: build_registration(token=bytes(MAX_TOKEN_BYTES + 1))),
            ("address", lambda: build_registration("web", source=("127.0.0.1", 1))),
            ("address", lambda: build_mxproxy("localhost", 1)),
            ("port", lambda: build_mxproxy("127.0.0.1", 65536)),
        ):
            self.assertEqual(self.assertRaises(PreambleError, build).reason, reason)

    def test_pool_names(self) -> None:
        for name in ("a", "default", "A.b_c-9", "x" * 64):
            self.assertTrue(is_pool_name(name))
        for name in ("", "x" * 65, "a b", "a\n", "ä", "a/b", "٣"):
            self.assertFalse(is_pool_name(name))

    def test_a_token_is_not_shown(self) -> None:
        self.assertNotIn("secret", repr(Registration("proxy", token=b"secret")))


class HostileTests(TestCase):
    @settings(modest, max_examples=200)
    @given(
        name=st.sampled_from(MODES),
        start=st.sampled_from([b"", b"\r\n\r\n", MXPROXY_SIGNATURE, V2_SIGNATURE, b"PROXY "]),
        data=st.binary(max_size=200),
    )
    def test_garbage_is_an_error_or_unfinished(self, name: str, start: bytes, data: bytes) -> None:
        """Nothing but PreambleError is raised, and where the bytes are cut does not matter."""
        self.check_values(outcome_of_all_cuts(mode(name), start + data))

    @settings(modest, max_examples=200)
    @given(good=st.sampled_from(GOOD), at=st.integers(0, 300), new=st.binary(max_size=3), gone=st.integers(0, 3))
    def test_damaged_registrations(self, good: Tuple[str, bytes, Registration], at: int, new: bytes, gone: int) -> None:
        at %= len(good[1])
        self.check_values(outcome_of_all_cuts(mode("auto"), good[1][:at] + new + good[1][at + gone :]))

    def check_values(self, found: Outcome) -> None:
        """What is taken may be shown and used as a label."""
        if found is None or isinstance(found, str):
            return
        registration: Registration = found[0]
        self.assertTrue(registration.pool is None or is_pool_name(registration.pool))
        self.assertTrue(repr(registration).isprintable())
        if registration.instance is not None:
            self.assertRegex(registration.instance, r"\A[!-~]{1,128}\Z")
