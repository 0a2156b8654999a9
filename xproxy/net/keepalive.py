"""How long a vanished host goes unnoticed: the socket options of slots and of clients.

"No health checks" still needs liveness. A process that dies closes its sockets and is seen at once; a host that loses its power
or its network says nothing, and TCP has to ask. The options belong to the socket, so they hold for every copy of the
descriptor, at the proxies too.
"""

from __future__ import annotations

import socket

KEEPALIVE_IDLE_S = 20
"""Silence before the first probe. Linux waits 7,200 s by itself (tcp(7), tcp_keepalive_time)."""

KEEPALIVE_INTERVAL_S = 10
"""Between probes; tcp(7), TCP_KEEPINTVL."""

KEEPALIVE_PROBES = 3
"""Unanswered probes before the connection is dropped; tcp(7), TCP_KEEPCNT."""

USER_TIMEOUT_S = KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES
"""How long sent bytes may stay unacknowledged (RFC 5482). It also overrules the number of probes, so it is made the same 50 s:
"When TCP sockets refuse to die" (Cloudflare, 2019) gives this sum. Below a minute either way."""


def watch_peer(sock: socket.socket, user_timeout_s: float = USER_TIMEOUT_S) -> None:
    """Set the options on a TCP socket; any other family needs none of them. What a listening socket accepts has its options.

    :param user_timeout_s: a peer whose window stays shut for so long is cut off too, though it answers (tcp(7)).
    :raises OSError: the socket is no good any more.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", round(user_timeout_s * 1000)),
    ):
        option = getattr(socket, name, None)  # Linux has them all; others, and some builds of PyPy, not.
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
