"""HTTP/2 (RFC 9113) and HPACK (RFC 7541), the server's side. Pure: bytes in, bytes out; no clock, socket or log."""
