"""Flow control (RFC 9113 sections 5.2 and 6.9): how much a client may send, and when windows are given back."""

from __future__ import annotations

MAX_STREAMS = 128
"""Requests of one client at once (SETTINGS_MAX_CONCURRENT_STREAMS); nginx http2_max_concurrent_streams 128."""

STREAM_WINDOW_BYTES = 256 * 1024
"""How much of one body a client may send ahead of its reader: 5 MB/s at 50 ms. nginx reads ahead 64 kB
(http2_body_preread_size)."""

CONNECTION_WINDOW_BYTES = MAX_STREAMS * STREAM_WINDOW_BYTES
"""The same of all bodies together: a stream that is held back holds back no other. So this window is given back as bytes come;
the windows of the streams bound a client."""

FIRST_WINDOW_BYTES = 65535
"""With which every window begins (RFC 9113 section 6.9.2)."""

STREAM_STEP_BYTES = STREAM_WINDOW_BYTES // 2
"""A window is given back when so many bytes were used: a client that uploads is told once for eight frames, and need not stop,
since the other half is still open."""

CONNECTION_STEP_BYTES = CONNECTION_WINDOW_BYTES // 2
