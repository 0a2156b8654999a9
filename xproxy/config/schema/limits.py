"""``[limits]`` and ``[timeouts]``: what clients and services may ask of us, and how long they may take."""

from __future__ import annotations

import attr

from ..checks import seconds, whole_number
from .key import GIB, KIB, MIB, PIB, entry


@attr.frozen
class LimitsConfig:
    """What a client or a service may ask of us, in bytes unless it is a number of something. ``[limits]``."""

    request_line: int = attr.field(
        default=8 * KIB,
        metadata=entry(
            whole_number(64, MIB), "The request line. Past it: 414.", source="RFC 9112 section 3: at least 8,000; nginx 8k"
        ),
    )
    header: int = attr.field(
        default=8 * KIB, metadata=entry(whole_number(64, MIB), "One header line. Past it: 431.", source="nginx 8k")
    )
    head: int = attr.field(
        default=32 * KIB,
        metadata=entry(whole_number(64, 16 * MIB), "All header lines. Past it: 431.", source="nginx 4 times 8k"),
    )
    header_count: int = attr.field(
        default=100, metadata=entry(whole_number(1, 10_000), "Their number. Past it: 431.", source="HAProxy 101")
    )
    body: int = attr.field(
        default=GIB,
        metadata=entry(whole_number(0, PIB), "A request body. Past it: 413.", source="nginx 1 MiB, HAProxy none"),
    )
    trailers: int = attr.field(
        default=8 * KIB,
        metadata=entry(
            whole_number(0, MIB), "All trailer lines. Past it: 431, from a service 502.", source="as one header line"
        ),
    )
    request_memory: int = attr.field(
        default=64 * KIB,
        metadata=entry(
            whole_number(0, GIB),
            "What one request body may hold in memory; the rest goes to an unlinked file, but see the next.",
            source="nginx 8k or 16k",
        ),
    )
    bodies_memory: int = attr.field(
        default=32 * MIB,
        metadata=entry(
            whole_number(0, GIB),
            "What long request bodies may hold in memory together beyond that, one of them a quarter of it, before they go to"
            " files; it is kept for the next ones.",
            source="32 bodies of nginx's 1 MiB",
        ),
    )
    response_memory: int = attr.field(
        default=64 * KIB,
        metadata=entry(
            whole_number(0, GIB),
            "What one response may hold in memory for a slow client; the rest goes to a file.",
            source="nginx 8 times 8k",
        ),
    )
    response_file: int = attr.field(
        default=GIB,
        metadata=entry(
            whole_number(0, PIB),
            "What one response may hold in a file; past it the slot is read at the client's speed.",
            source="nginx 1 GiB",
        ),
    )
    spool_bytes: int = attr.field(
        default=16 * GIB,
        metadata=entry(
            whole_number(0, PIB),
            "What all requests and responses together may hold in files. Past it: 507 for a request, and the slot of a response"
            " is read at the client's speed.",
            source="nginx 1 GiB for each, HAProxy has no files",
        ),
    )
    spool_files: int = attr.field(
        default=2048,
        metadata=entry(
            whole_number(0, 10_000_000),
            "How many files that may be, each of which takes a descriptor. Past it: the same. They are fewer where there are"
            " few descriptors.",
            source="one for eight connections; nginx one for each",
        ),
    )
    client_spool_bytes: int = attr.field(
        default=2 * GIB,
        metadata=entry(
            whole_number(0, PIB),
            "The share of one client, which is one address. Past it: the same. A trusted proxy stands for many and has none.",
            source="a whole body and a whole response_file",
        ),
    )
    client_spool_files: int = attr.field(
        default=64,
        metadata=entry(whole_number(0, 10_000_000), "And of the files.", source="half of an HTTP/2 connection's streams"),
    )
    discard: int = attr.field(
        default=MIB,
        metadata=entry(
            whole_number(0, PIB),
            "How much of a response is read on for a client that left, for a second at most, so that the slot stays good; past"
            " it the slot is closed.",
        ),
    )
    body_rate: int = attr.field(
        default=240,
        metadata=entry(
            whole_number(0, GIB),
            "Bytes per second: who sends a body slower than that, on the average of timeouts.body, is late; 0: nobody is who"
            " sends at all.",
            source="IIS minBytesPerSecond 240, Apache MinRate 500",
        ),
    )
    write_rate: int = attr.field(
        default=240,
        metadata=entry(
            whole_number(0, GIB),
            "The same for who takes a response, of which something waits, and timeouts.write. In HTTP/2 for each stream.",
            source="IIS minBytesPerSecond 240",
        ),
    )
    connections: int = attr.field(
        default=16384,
        metadata=entry(
            whole_number(1, 10_000_000),
            "Client connections; one more is closed at once. The limit of open files must allow it.",
        ),
    )
    max_attempts: int = attr.field(
        default=3,
        metadata=entry(
            whole_number(1, 10),
            "How often one request may be sent, the first time included. Slots that were over by then do not count.",
            source="HAProxy retries 3",
        ),
    )


@attr.frozen
class TimeoutsConfig:
    """How long a client may take, in seconds. ``[timeouts]``."""

    head: float = attr.field(
        default=60.0,
        metadata=entry(seconds(), "From the first byte of a request head to its end. Past it: 408.", source="nginx 60 s"),
    )
    body: float = attr.field(
        default=60.0,
        metadata=entry(
            seconds(), "Between two reads of a request body; see limits.body_rate. Past it: 408.", source="nginx 60 s"
        ),
    )
    keep_alive: float = attr.field(default=75.0, metadata=entry(seconds(), "Idle between two requests.", source="nginx 75 s"))
    write: float = attr.field(
        default=60.0,
        metadata=entry(
            seconds(), "A client that takes nothing for this long is cut off; see limits.write_rate.", source="nginx 60 s"
        ),
    )
    handshake: float = attr.field(
        default=10.0,
        metadata=entry(
            seconds(),
            "A PROXY header, and the TLS handshake after it. Past it: the connection is closed.",
            source="nginx 60 s, but a client has only arithmetic to do",
        ),
    )
    tunnel: float = attr.field(
        default=3600.0,
        metadata=entry(seconds(), "An upgraded connection without a byte either way.", source="HAProxy's examples 1 h"),
    )
