"""The meaning of field names to a proxy, on the request side and on the response side."""

from __future__ import annotations

import re
from typing import Dict, FrozenSet, Iterable

from xproxy.http1.errors import BadMessage

PLAIN = b""
"""An end-to-end field that we neither read nor write."""
CONFUSABLE = b"?"
"""A field that CGI or WSGI may take for one that we write: such a field goes no further, and its value is not looked at."""
SECRET = b"*"
"""A field that goes on unchanged, and whose value may be a credential, judging by the name."""

FOLD = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
_credential = re.compile(rb"auth|cookie|credential|jwt|key|pass|secret|session|signature|token").search
_KNOWN_NAMES = 4096
"""How many spellings are remembered; a client that sends new ones for ever only makes itself slower."""
_KNOWN_NAME_BYTES = 64

_COMMON = (
    b"Accept", b"Accept-Encoding", b"Accept-Language", b"Cache-Control", b"Content-Encoding", b"Content-Type", b"ETag",
    b"If-Modified-Since", b"If-None-Match", b"Last-Modified", b"Location", b"Origin", b"Pragma", b"Range", b"Referer",
    b"Server", b"User-Agent", b"Vary", b"accept", b"accept-encoding", b"content-type", b"user-agent",
)  # fmt: skip


class Names:
    """The field names of one side.

    :param taken: fields that end here: hop-by-hop, or written by the proxy itself.
    :param kept: fields that are looked at and go on unchanged.
    :param single: fields that may come once only (400 ``repeated-…``), kept with the whitespace around their value.
    :param prefix: every name that begins so is taken.
    :param of_responses: blanks before a colon are removed (RFC 9112 section 5.1), and faults of the framing count only where
        there is a body (section 6.3).
    """

    def __init__(
        self, taken: Iterable[bytes], kept: Iterable[bytes], single: Iterable[bytes], prefix: bytes, of_responses: bool = False
    ) -> None:
        self.of_responses = of_responses
        self.taken = frozenset(taken) | {CONFUSABLE}
        self.kept = frozenset(kept) | {SECRET}
        self.single = frozenset(single)
        self.secret: FrozenSet[bytes] = frozenset((SECRET, b"proxy-authorization"))
        """A block with a field of one of these meanings is not remembered beyond its connection."""
        self.known: Dict[bytes, bytes] = {}
        """From a spelling to the lower-case name, PLAIN, CONFUSABLE or SECRET."""
        self._prefix = prefix
        for name in (*_COMMON, *self.taken, *self.kept):
            self.look_up(name)
            self.look_up(name.title())

    def look_up(self, raw: bytes) -> bytes:
        """The meaning of a spelling: a name in ``taken`` or ``kept``, PLAIN, CONFUSABLE or SECRET; remembered in ``known``.

        CGI and WSGI know ``X-Forwarded-For`` and ``X_Forwarded_For`` by one name, HTTP_X_FORWARDED_FOR, and some servers fold
        other punctuation too; so a name that folds to one of ours is treated as ours.

        :raises BadMessage: 400 for one that could be taken for a framing field.
        """
        name = raw.lower()
        meaning = self._meaning(name)
        if meaning is PLAIN:
            folded = name.translate(FOLD)
            if folded != name and self._meaning(folded) not in (PLAIN, *self.kept):
                if folded in (b"content-length", b"transfer-encoding"):
                    raise BadMessage(400, "confusable-" + folded.decode("ascii"))
                meaning = CONFUSABLE
            elif _credential(name):
                meaning = SECRET
        if len(self.known) < _KNOWN_NAMES and len(raw) <= _KNOWN_NAME_BYTES:
            self.known[raw] = meaning
        return meaning

    def acts_on(self, raw: bytes) -> bool:
        """Whether a field with this spelling is one that ends here because the proxy reads or writes it."""
        meaning = self.look_up(raw)
        return meaning not in (PLAIN, CONFUSABLE, SECRET) and meaning not in self.kept

    def _meaning(self, name: bytes) -> bytes:
        if name in self.taken or name in self.kept or (self._prefix and name.startswith(self._prefix)):
            return name
        return PLAIN


_HOP_BY_HOP = (
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings",
    b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
)  # fmt: skip

BELIEVED = (b"forwarded", b"x-real-ip")
"""With every ``x-forwarded-…``: the fields in which only a trusted proxy may say where a request came from."""

REQUEST = Names(
    taken=(*_HOP_BY_HOP, *BELIEVED, b"content-length", b"host", b"expect", b"x-request-id", b"proxy"),
    kept=(b"max-forwards",),
    single=(b"content-length", b"transfer-encoding", b"host"),
    prefix=b"x-forwarded-",
)
RESPONSE = Names(
    taken=(*_HOP_BY_HOP, b"content-length", b"xproxy-slot", b"x-accel-buffering"),
    kept=(b"content-type", b"date"),
    single=(b"content-length", b"transfer-encoding"),
    prefix=b"",
    of_responses=True,
)
