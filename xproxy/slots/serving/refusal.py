"""How an acceptor says to a service why it does not take its slot: one response that nobody asked for, then the end. Pure."""

from __future__ import annotations

MAX_REASON_BYTES = 200
"""A reason is a sentence."""

_TLS_RECORD = b"\x16\x03"
"""How a TLS client begins: a handshake record of any version (RFC 8446 section 5.1)."""


def refusal_response(reason: str) -> bytes:
    """A whole 403 (RFC 9110 section 15.5.4) with the reason as text."""
    body = reason.encode("utf-8", "replace")[:MAX_REASON_BYTES] + b"\n"
    return (
        b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def looks_like_tls(received: bytes) -> bool:
    """Whether these first bytes are those of a TLS client, who could make nothing of a response without TLS."""
    return received[:1] == _TLS_RECORD[:1] and _TLS_RECORD.startswith(received[:2])
