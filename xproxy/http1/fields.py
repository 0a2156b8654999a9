"""One header block: checked as a whole, the few fields that matter to a proxy looked at, the rest left as bytes.

A block comes from ``request.parse_request_head`` or ``response.parse_response_head``; what becomes of it is written by
``forward``. A Fields is immutable, so messages share it.
"""

from __future__ import annotations

import copy
from typing import Dict, FrozenSet, List, Mapping, Optional, Tuple

from xproxy.http1 import grammar
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.names import Names
from xproxy.http1.target import checked_host

MAX_LENGTH_DIGITS = 18
"""Longer lengths do not fit the 64-bit integers of the parsers behind us; 18 digits are more than any body."""


class Fields:
    """The checked fields of one head. Values are without the whitespace around them.

    :ivar block: the header lines as received, each ended by CRLF.
    :ivar content_length: -1 when absent.
    :ivar chunked: Transfer-Encoding is exactly ``chunked`` (RFC 9112 section 6.1).
    :ivar close: Connection says ``close``.
    :ivar keep_alive: Connection says ``keep-alive``.
    :ivar upgrade: the value of Upgrade when Connection names it and no protocol in it is h2c, else empty.
    :ivar host: empty when absent; as received else.
    :ivar expect_continue: Expect is ``100-continue``; means nothing in HTTP/1.0 (RFC 9110 section 10.1.1).
    :ivar passed_on: the lines that go on to the other side: neither hop-by-hop (RFC 9110 section 7.6.1) nor written by us.
    :ivar special: what was received of the fields that the proxy knows, by lower-case name, lines joined with ``", "``.
    :ivar client_text: room for a log: the form in which it quotes what the client says of itself, and the text.
    :ivar secret: a credential is among the fields, so the block is not remembered beyond its connection.
    """

    __slots__ = (
        "block", "content_length", "chunked", "close", "keep_alive", "upgrade", "host", "expect_continue", "passed_on",
        "special", "secret", "client_text", "_pairs",
    )  # fmt: skip

    def __init__(self, block: bytes, special: Mapping[bytes, bytes]) -> None:
        self.block = block
        self.special = special
        self.content_length = -1
        self.chunked = self.close = self.keep_alive = self.expect_continue = self.secret = False
        self.upgrade = self.host = self.passed_on = b""
        self.client_text = ("", "")
        self._pairs: Optional[Tuple[Tuple[bytes, bytes], ...]] = None

    def pairs(self) -> Tuple[Tuple[bytes, bytes], ...]:
        """Every line as (lower-case name, value), in the order received; worked out when first asked for."""
        if self._pairs is None:
            split = (line.partition(b":") for line in self.block.split(b"\r\n")[:-1])
            self._pairs = tuple((name.lower(), value.strip(b" \t")) for name, _, value in split)
        return self._pairs

    def get(self, name: bytes) -> Optional[bytes]:
        """The value of the field with this lower-case name, several lines joined with ``", "`` (RFC 9110 section 5.3)."""
        values = [value for key, value in self.pairs() if key == name]
        return b", ".join(values) if values else None

    @property
    def max_forwards(self) -> int:
        """Max-Forwards, which only OPTIONS and TRACE obey (RFC 9110 section 7.6.2); -1: absent, or no number."""
        value = self.special.get(b"max-forwards", b"")
        return int(value) if value.isdigit() and len(value) <= MAX_LENGTH_DIGITS else -1

    def with_max_forwards(self, hops: int) -> Fields:
        """The same fields, to be passed on with this Max-Forwards."""
        changed = copy.copy(self)
        lines = _without(self.passed_on.splitlines(keepends=True), frozenset((b"max-forwards",)))
        changed.passed_on = b"".join(lines) + b"Max-Forwards: %d\r\n" % hops
        return changed


def split_block(block: bytes, limits: HeadLimits, size: int) -> List[Tuple[bytes, bytes]]:
    """Check the syntax and the sizes of header or trailer lines, and split them.

    :param block: whole lines, each ended by CRLF.
    :param size: how many bytes they may have together.
    :returns: (line, name) of each, the line with its CRLF, the name as received.
    :raises BadMessage: 431 for sizes, 400 for syntax.
    """
    if len(block) > size:
        raise BadMessage(431, "head-too-large")
    count = block.count(b"\n")
    if count > limits.header_count:
        raise BadMessage(431, "too-many-headers")
    if len(block) > limits.header and max(map(len, block.split(b"\r\n"))) + 2 > limits.header:
        raise BadMessage(431, "header-too-large")
    lines = grammar.header_lines(block)
    if len(lines) != count or (block and not block.endswith(b"\n")):
        raise BadMessage(400, _fault(block))
    return lines


def _fault(block: bytes) -> str:
    """What is wrong with a block that is not one, for the log."""
    fault = grammar.fault(block)
    if fault:
        return fault
    for line in block.split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t"):
            return "folding"
        name, colon, _ = line.partition(b":")
        if not colon:
            return "no-colon"
        if grammar.is_token(name) is None:
            return "space-before-colon" if grammar.is_token(name.rstrip(b" \t")) else "header-name"
    return "header"


def parse_fields(block: bytes, limits: HeadLimits, names: Names) -> Fields:
    """Check and understand a header block.

    :param block: whole lines, each ended by CRLF, without the empty line that ends the head.
    :param names: what the names mean on this side: ``names.REQUEST`` or ``names.RESPONSE``.
    :raises BadMessage: 400, 417 or 431.
    """
    kept: List[bytes] = []
    special: Dict[bytes, bytes] = {}
    known, single = names.known, names.single
    for line, spelling in split_block(block, limits, limits.head):
        name = known.get(spelling)
        if name is None:
            name = names.look_up(spelling)
        if not name:
            kept.append(line)
            continue
        value = line[len(spelling) + 1 : -2]
        if name in single:
            if name in special:
                raise BadMessage(400, "repeated-" + name.decode("ascii"))
            special[name] = value
        else:
            value = value.strip(b" \t")
            special[name] = special[name] + b", " + value if name in special else value
        if name in names.kept:
            kept.append(line)
    fields = Fields(block, special)
    _understand(fields)
    fields.secret = not names.secret.isdisjoint(special)
    if b"connection" in special:
        kept = _apply_connection(fields, kept)
    fields.passed_on = b"".join(kept)
    return fields


def _understand(fields: Fields) -> None:
    special = fields.special
    length = special.get(b"content-length")
    if length is not None:
        fields.content_length = _content_length(length)
    coding = special.get(b"transfer-encoding")
    if coding is not None:
        _check_coding(coding)
        if length is not None:
            raise BadMessage(400, "te-and-cl")
        fields.chunked = True
    host = special.get(b"host")
    if host is not None:
        fields.host = checked_host(host.strip(b" \t"))
    expect = special.get(b"expect")
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise BadMessage(417, "expect")
        fields.expect_continue = True


def _content_length(value: bytes) -> int:
    """RFC 9110 section 8.6, and stricter: at most one space before the digits, nothing after, no leading zero."""
    digits = value[1:] if value[:1] == b" " else value
    if not digits.isdigit() or len(digits) > MAX_LENGTH_DIGITS or (digits[:1] == b"0" and digits != b"0"):
        raise BadMessage(400, "content-length")
    return int(digits)


def _check_coding(value: bytes) -> None:
    """RFC 9112 section 6.1, and stricter: nothing but ``chunked``, with at most one space before it."""
    if (value[1:] if value[:1] == b" " else value).lower() != b"chunked":
        raise BadMessage(400, "transfer-encoding")


def _apply_connection(fields: Fields, kept: List[bytes]) -> List[bytes]:
    """RFC 9110 section 7.6.1: what Connection names goes no further. What we write ourselves is not affected."""
    special = fields.special
    value = special[b"connection"].lower()
    if value == b"keep-alive":
        fields.keep_alive = True
        return kept
    if value == b"close":
        fields.close = True
        return kept
    tokens = frozenset(item.strip(b" \t") for item in value.split(b",")) - {b""}
    if not all(map(grammar.is_token, tokens)):
        raise BadMessage(400, "connection")
    fields.close = b"close" in tokens
    fields.keep_alive = b"keep-alive" in tokens
    if b"upgrade" in tokens and b"upgrade" in special:
        fields.upgrade = _upgrade(special[b"upgrade"])
    return _without(kept, tokens)


def _without(lines: List[bytes], names: FrozenSet[bytes]) -> List[bytes]:
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def _upgrade(value: bytes) -> bytes:
    """The protocols a client would switch to (RFC 9110 section 7.8).

    h2c is dropped, with all it was offered with: a tunnel of HTTP/2 would carry requests that no rule of ours has seen ("h2c
    Smuggling: Request Smuggling Via HTTP/2 Cleartext", Bishop Fox, 2020).
    """
    protocols = [item.strip(b" \t").lower() for item in value.split(b",")]
    for protocol in protocols:
        name, slash, version = protocol.partition(b"/")
        if name == b"h2c" or not grammar.is_token(name) or (slash and not grammar.is_token(version)):
            return b""
    return value
