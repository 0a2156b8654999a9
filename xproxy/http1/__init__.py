"""HTTP/1.1 messages (RFC 9110, RFC 9112): parsed, checked and rewritten. Pure: bytes in, bytes out; no clock, socket or log."""
