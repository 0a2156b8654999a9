"""One header block: checked as a whole, the few fields that matter to a proxy looked at, the rest left as bytes.

A block comes from ``request.parse_request_head`` or ``response.parse_response_head``; ``forward`` writes the block that goes
on. A Fields is immutable, so messages share it.
"""

from __future__ import annotations

import copy
import re
from typing import Dict, FrozenSet, List, Mapping, Optional, Tuple

from xproxy.http1 import grammar
from xproxy.http1.errors import BadMessage
from xproxy.http1.limits import HeadLimits
from xproxy.http1.names import Names
from xproxy.http1.target import checked_host
from xproxy.http1.upgrade import passable

MAX_LENGTH_DIGITS = 18
"""Longer lengths do not fit the 64-bit integers of the parsers behind us; 18 digits are more than any body."""


class Fields:
    """The checked fields of one head. Values are without the whitespace around them.

    :ivar block: the header lines, each ended by CRLF: as received, or as they were mended (see ``split_block``).
    :ivar content_length: -1 when absent.
    :ivar chunked: Transfer-Encoding is exactly ``chunked`` (RFC 9112 section 6.1).
    :ivar framing_fault: what is wrong with the framing of a response, if it has a body at all; empty: nothing.
    :ivar close: Connection says ``close``.
    :ivar keep_alive: Connection says ``keep-alive``.
    :ivar upgrade: the protocols that may be passed on (see ``upgrade.passable``) when Connection names Upgrade, else empty.
    :ivar takes_trailers: TE says ``trailers`` (RFC 9110 section 10.1.4).
    :ivar host: empty when absent; as ``target.checked_host`` writes it else.
    :ivar expect_continue: Expect says ``100-continue``; means nothing in HTTP/1.0 (RFC 9110 section 10.1.1).
    :ivar passed_on: the lines that go on to the other side: neither hop-by-hop (RFC 9110 section 7.6.1) nor written by us.
    :ivar special: values of the fields that the proxy knows, as received, by lower-case name, lines joined with ``", "``.
    :ivar client_text: room for a log: the form in which it quotes what the client says of itself, and the text.
    :ivar onward: room for whoever sends them on: under which conditions, and the outgoing block.
    :ivar secret: a credential is among the fields, so the block is not remembered beyond its connection.
    """

    __slots__ = (
        "block", "content_length", "chunked", "framing_fault", "close", "keep_alive", "upgrade", "takes_trailers", "host",
        "expect_continue", "passed_on", "special", "secret", "client_text", "onward", "_pairs",
    )  # fmt: skip

    def __init__(self, block: bytes, special: Mapping[bytes, bytes]) -> None:
        self.block = block
        self.special = special
        self.content_length = -1
        self.framing_fault = ""
        self.chunked = self.close = self.keep_alive = self.expect_continue = self.takes_trailers = self.secret = False
        self.upgrade = self.host = self.passed_on = b""
        self.client_text = ("", "")
        self.onward: Optional[Tuple[object, bytes]] = None
        self._pairs: Optional[Tuple[Tuple[bytes, bytes], ...]] = None

    def pairs(self) -> Tuple[Tuple[bytes, bytes], ...]:
        """Every line as (lower-case name, value), in the order received; split at the first call."""
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
        lines = _without(self.passed_on.splitlines(keepends=True), frozenset((b"max-forwards",)))
        return self.with_lines(b"".join(lines) + b"Max-Forwards: %d\r\n" % hops)

    def with_lines(self, passed_on: bytes) -> Fields:
        """The same fields, but for the lines that are passed on as they are. They are remembered nowhere."""
        changed = copy.copy(self)
        changed.onward = None
        changed.passed_on = passed_on
        changed.secret = True
        return changed


def split_block(
    block: bytes, limits: HeadLimits, size: int, names: Optional[Names] = None
) -> Tuple[bytes, List[Tuple[bytes, bytes]]]:
    """Check the syntax and the sizes of header or trailer lines, mend what may be mended, and split them.

    :param block: whole lines, each ended by CRLF.
    :param size: how many bytes they may have together.
    :param names: what the names mean on this side; None: they are trailers.
    :returns: the block, and (line, name) of each line, the line with its CRLF, the name as received.
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
        return _mended(block, names)
    return block, lines


def _mended(block: bytes, names: Optional[Names]) -> Tuple[bytes, List[Tuple[bytes, bytes]]]:
    """As ``split_block``, for a block that is not well-formed: without the blanks before a colon when it is a response's.

    RFC 9112 section 5.1: a proxy MUST remove them. Not before the colon of a field that we act on: nobody writes these so.
    """
    if names is None or not names.of_responses:
        raise BadMessage(400, _fault(block))
    mended = grammar.blanks_before_colon(rb"\1:", block)
    lines = grammar.header_lines(mended)
    if mended == block or b"".join([line for line, _ in lines]) != mended:
        raise BadMessage(400, _fault(block))
    for (line, name), received in zip(lines, block.split(b"\r\n")):
        if line[:-2] != received and names.acts_on(name):
            raise BadMessage(400, "space-before-colon")
    return mended, lines


def _fault(block: bytes) -> str:
    """The label of the first fault in a block that is not well-formed, for the log."""
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
    :raises BadMessage: 400 or 431.
    """
    kept: List[bytes] = []
    special: Dict[bytes, bytes] = {}
    repeated = ""
    known, single = names.known, names.single
    block, lines = split_block(block, limits, limits.head, names)
    for line, spelling in lines:
        name = known.get(spelling)
        if name is None:
            name = names.look_up(spelling)
        if not name:
            kept.append(line)
            continue
        value = line[len(spelling) + 1 : -2]
        if name in single:
            if name in special and not (names.of_responses and _says_the_same(name, value, special[name])):
                repeated = "repeated-" + name.decode("ascii")
            special[name] = value
        else:
            value = value.strip(b" \t")
            special[name] = special[name] + b", " + value if name in special else value
        if name in names.kept:
            kept.append(line)
    fields = Fields(block, special)
    if names.of_responses:
        _understand_response(fields, repeated)
    elif repeated:
        raise BadMessage(400, repeated)
    else:
        _understand_request(fields)
    fields.secret = not names.secret.isdisjoint(special)
    if b"connection" in special:
        kept = _apply_connection(fields, kept)
    fields.passed_on = b"".join(kept)
    return fields


def _says_the_same(name: bytes, value: bytes, other: bytes) -> bool:
    """Whether a Content-Length comes twice with one value: to be replaced by one (RFC 9110 section 8.6)."""
    return name == b"content-length" and value.strip(b" \t") == other.strip(b" \t")


def _understand_request(fields: Fields) -> None:
    special = fields.special
    length = special.get(b"content-length")
    if length is not None:
        fields.content_length = _content_length(length)
    if b"transfer-encoding" in special:
        _check_coding(special[b"transfer-encoding"], False)
        if length is not None:
            raise BadMessage(400, "te-and-cl")
        fields.chunked = True
    host = special.get(b"host")
    if host is not None:
        fields.host = checked_host(host.strip(b" \t"))
    if b"expect" in special:
        # A member that nobody knows may be answered with 417 (RFC 9110 section 10.1.1); nginx and HAProxy pass over it.
        fields.expect_continue = b"100-continue" in list_members(special[b"expect"].lower())
    if b"te" in special:
        fields.takes_trailers = b"trailers" in list_members(special[b"te"].lower())


def _understand_response(fields: Fields, fault: str) -> None:
    """The framing of a response, whose faults count only where there is a body.

    :param fault: one that was found; empty: none.
    """
    special = fields.special
    length = special.get(b"content-length")
    try:
        if length is not None:
            fields.content_length = _content_length(length)
        if b"transfer-encoding" in special:
            _check_coding(special[b"transfer-encoding"], True)
            fields.chunked = True
            if length is not None:
                raise BadMessage(400, "te-and-cl")
        if fault:
            raise BadMessage(400, fault)
    except BadMessage as bad:
        fields.framing_fault = bad.reason
        fields.content_length = -1


def list_members(value: bytes) -> List[bytes]:
    """The members of a list, without the empty ones (RFC 9110 section 5.6.1)."""
    return [member for member in (item.strip(b" \t") for item in value.split(b",")) if member]


_length = re.compile(rb"[ \t]*0*([0-9]{1,%d})[ \t]*" % MAX_LENGTH_DIGITS).fullmatch


def _content_length(value: bytes) -> int:
    """RFC 9110 section 8.6: digits, with blanks around them (section 5.5); zeros before them are decimal to everybody."""
    if value[:1] == b" " and value[1:].isdigit() and len(value) <= MAX_LENGTH_DIGITS:
        return int(value)
    match = _length(value)
    if match is None:
        raise BadMessage(400, "content-length")
    return int(match[1])


def _check_coding(value: bytes, lenient: bool) -> None:
    """RFC 9112 section 6.1, and stricter: nothing but ``chunked``, with blanks around it (RFC 9110 section 5.5).

    :param lenient: tabs are blanks too, and empty members of the list are ignored (section 5.6.1). Not in requests, which
        others may have read before us: nginx takes a value with either for an unknown coding, HAProxy for ``chunked``.
    """
    value = value.lower()
    if value.strip(b" ") != b"chunked" and not (lenient and list_members(value) == [b"chunked"]):
        raise BadMessage(400, "transfer-encoding")


def _apply_connection(fields: Fields, kept: List[bytes]) -> List[bytes]:
    """RFC 9110 section 7.6.1: a field that Connection names goes no further. Fields that the proxy writes are not affected, and
    a member that is no token names nothing.
    """
    special = fields.special
    value = special[b"connection"].lower()
    if value == b"keep-alive":
        fields.keep_alive = True
        return kept
    if value == b"close":
        fields.close = True
        return kept
    tokens = frozenset(list_members(value))
    fields.close = b"close" in tokens
    fields.keep_alive = b"keep-alive" in tokens
    if b"upgrade" in tokens and b"upgrade" in special:
        fields.upgrade = passable(special[b"upgrade"])
    return _without(kept, tokens)


def _without(lines: List[bytes], names: FrozenSet[bytes]) -> List[bytes]:
    return [line for line in lines if line.partition(b":")[0].lower() not in names]
