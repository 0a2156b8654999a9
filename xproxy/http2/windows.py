"""Flow control (RFC 9113 sections 5.2 and 6.9): what we let a client send, and what of it is given back when."""

from __future__ import annotations

MAX_STREAMS = 128
"""Requests of one client at once (SETTINGS_MAX_CONCURRENT_STREAMS); nginx http2_max_concurrent_streams 128."""

STREAM_WINDOW_BYTES = 256 * 1024
"""What a client may send of one body before it was read: 5 MB/s at 50 ms. nginx reads ahead 64 kB (http2_body_preread_size)."""

CONNECTION_WINDOW_BYTES = MAX_STREAMS * STREAM_WINDOW_BYTES
"""Of all bodies together: what one stream is held back for holds back no other. So it is given back as it comes; the windows of
the streams are what bounds a client."""

FIRST_WINDOW_BYTES = 65535
"""With which every window begins (RFC 9113 section 6.9.2)."""

STREAM_STEP_BYTES = STREAM_WINDOW_BYTES // 2
"""A window is given back when so much of it was used: a client that uploads is told once for eight frames, and need not stop
for that, since the other half is still open."""

CONNECTION_STEP_BYTES = CONNECTION_WINDOW_BYTES // 2
