"""``[pools.NAME]``: the slots of one service, who may register them, and how long requests wait for them."""

from __future__ import annotations

from typing import Optional

import attr

from ...dispatch import RING
from .. import checks
from ..checks import list_of, one_of, seconds, whole_number
from ..networks import LOOPBACK, Networks
from .key import entry

DEFAULT_POOL = "default"
"""The pool that is there when the configuration names none, and that ``--slots`` and ``--allow`` are about."""

DEFAULT_SLOTS = ("tcp:9999:interface=127.0.0.1",)
"""Where services register unless something else is said."""


@attr.frozen
class PoolConfig:
    """The slots of one service. ``[pools.NAME]``."""

    name: str
    slots: tuple[str, ...] = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.plain_endpoint),
            "Endpoints where services register slots of this pool. A pool that says neither this nor `slots_tls` shares those"
            " of the pool `default`; pools that share an endpoint are told apart by the registration, which names one."
            " `--slots` replaces the list.",
            written='["tcp:9999:interface=127.0.0.1"]',
        ),
    )
    slots_tls: tuple[str, ...] = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.plain_endpoint),
            "The same for services that register over TLS with a certificate of their own, with plain descriptions"
            " (`tcp:9443`). Needs `client_ca` and `certificates` in `[acceptor]`, and `service_names`. See"
            " [slots-over-tls.md](slots-over-tls.md).",
        ),
    )
    service_names: tuple[str, ...] = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.service_name),
            "Who may register there: host names or URIs (SPIFFE IDs), one of which must be among the subject alternative names"
            " of a service's certificate.",
        ),
    )
    registration: str = attr.field(
        default="auto",
        metadata=entry(
            one_of("auto", "raw", "mxproxy", "proxy"),
            'What a slot must begin with: `"raw"` (nothing), `"mxproxy"`, `"proxy"` (PROXY protocol v1 or v2), or `"auto"`:'
            " whichever comes, and raw when nothing does within a second; a preamble that comes later is recognised too.",
        ),
    )
    allow: Networks = attr.field(
        default=LOOPBACK,
        metadata=entry(
            list_of(checks.cidr),
            "Networks that may register. An endpoint of `slots` that other hosts can reach does not start unless this is"
            " written out or a token is set. Not written out, it does not hold for `slots_tls`, where the certificate says who"
            " may come.",
        ),
    )
    token: str = attr.field(
        default="",
        repr=False,
        metadata=entry(
            checks.slot_token,
            'When set, a slot must bring it (in PROXY protocol v2). Best kept out of the file: `{ file = "/run/secrets/token"'
            ' }` or `{ env = "TOKEN" }`.',
            secret=True,
        ),
    )
    dispatch: str = attr.field(
        default=RING,
        metadata=entry(
            checks.plugin_name,
            'Which idle slot takes the next request, and which waiting request the next slot: `"ring"` (slots in turn over'
            " their services, requests in the order of arrival), or the name of a Twisted plugin that provides"
            " `xproxy.interfaces.IDispatch`.",
            at_start=True,
        ),
    )
    slow_start: float = attr.field(
        default=0.0,
        metadata=entry(
            seconds(0.0),
            "For so long after a service has come into a pool that has others, its idle slots have only a part of their turns,"
            " which grows from none to all: caches fill meanwhile. A request that would wait takes one at once. 0: its slots"
            " are as good as others from the first moment. Services are told apart by their names in `/status`.",
            example="10.0",
        ),
    )
    queue_limit: int = attr.field(
        default=1024,
        metadata=entry(
            whole_number(0, 1_000_000),
            "Requests that may wait, at all proxies of an acceptor together; one more gets 503 and `Retry-After`, unless a slot"
            " is idle somewhere. 0: nobody waits.",
        ),
    )
    client_share: Optional[float] = attr.field(
        default=None,
        metadata=entry(
            checks.share,
            "The part of `queue_limit` that the requests of one client may fill while no slot is idle; one more of that client"
            " gets 503, and the others keep their places. A client is an address, behind `trusted_proxies` the forwarded one."
            " 1.0: no bound, for a pool that has one client.",
            unset="a quarter, but 16",
            example="0.25",
        ),
    )
    queue_timeout: float = attr.field(default=30.0, metadata=entry(seconds(), "A longer wait ends with 503 and `Retry-After`."))
    absent_timeout: float = attr.field(
        default=5.0,
        metadata=entry(seconds(), "The same while no service of the pool is registered: long enough for one that restarts."),
    )
    response_timeout: float = attr.field(
        default=60.0,
        metadata=entry(
            seconds(),
            "No response head in this time: 504; nothing more of a body: the answer breaks off. The slot is closed.",
            source="nginx 60 s",
        ),
    )
    stream_timeout: float = attr.field(
        default=3600.0,
        metadata=entry(
            seconds(),
            'The same for the body of a response that is streamed (events, `X-Accel-Buffering: no`, `buffering = "off"`).',
            source="HAProxy's timeout tunnel is 1 h in its examples",
        ),
    )
    max_slots: int = attr.field(
        default=16384, metadata=entry(whole_number(1, 1_000_000), "Registered slots; one more is turned away.")
    )
    allow_given: bool = False
    """Whether ``allow`` was written by the operator (a non-loopback endpoint needs that, a token or TLS). Where it was not, it
    does not hold for ``slots_tls``: there the certificate says who may come."""
    shares: bool = attr.field(default=False, eq=False)
    """Whether ``slots`` are those of another pool, or the default ones, since nothing was written."""
    given: bool = attr.field(default=False, eq=False)
    """Whether the pool is in the configuration, rather than there because the configuration has none."""
