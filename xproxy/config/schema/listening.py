"""``[proxy]`` and ``[acceptor]``: where clients arrive, where services register, and what both are shown."""

from __future__ import annotations

import attr

from .. import checks
from ..checks import list_of, one_of
from ..networks import Trusted
from .key import Table, entry


@attr.frozen
class CertificateConfig:
    """A certificate and its key, both PEM. ``[[proxy.certificates]]``, ``[[acceptor.certificates]]``."""

    chain: str = attr.field(
        metadata=entry(
            checks.path,
            "Path of the certificate (PEM), followed by those between it and its CA.",
            example='"/etc/xproxy/tls/example.com.pem"',
        )
    )
    key: str = attr.field(
        metadata=entry(
            checks.path, "Path of its private key (PEM), not encrypted.", example='"/etc/xproxy/tls/example.com.key"'
        )
    )
    ocsp: str = attr.field(
        default="",
        metadata=entry(
            checks.path,
            "Path of an OCSP response for it (DER), which is stapled while it is good. Who fetches it is somebody else: see"
            " [tls.md](tls.md#ocsp).",
            unset="none",
            example='"/etc/xproxy/tls/example.com.ocsp"',
        ),
    )


@attr.frozen
class ProxyConfig:
    """Where clients arrive. ``[proxy]``."""

    http: tuple[str, ...] = attr.field(
        default=("tcp:8080:interface=127.0.0.1",),
        metadata=entry(
            list_of(checks.endpoint, least=1), "Endpoints of HTTP clients, at least one. `--http` replaces the list."
        ),
    )
    https: tuple[str, ...] = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.plain_endpoint),
            "Endpoints of HTTPS clients, with plain descriptions (`tcp:8443`): the TLS is xproxy's. They need certificates."
            " `--https` replaces the list. See [tls.md](tls.md).",
        ),
    )
    certificates: tuple[CertificateConfig, ...] = attr.field(
        default=(), metadata=entry(Table(CertificateConfig, many=True), "Tables, see below.", unset="none")
    )
    self_signed: bool = False
    """Make a certificate at the start, for trying out. ``--self-signed`` only."""
    workers: int = attr.field(
        default=1,
        metadata=entry(
            checks.worker_count,
            'Processes that serve clients, on sockets that their parent keeps; `"auto"`: one for each core it may use. With 1'
            " there is one process for everything; a reload changes the number, but not between 1 and others. See"
            " [operations.md](operations.md#workers).",
            source="nginx 1",
            at_start=lambda before, after: 1 in (before, after),
        ),
    )
    http2: bool = attr.field(
        default=True, metadata=entry(checks.true_or_false, "Whether HTTP/2 is offered on `https` endpoints.")
    )
    client_ca: str = attr.field(
        default="",
        metadata=entry(
            checks.path,
            "A file with the CAs (PEM) of client certificates. Without it clients are not asked for any.",
            unset="none",
            example='"/etc/xproxy/tls/clients.pem"',
        ),
    )
    client_certificates: str = attr.field(
        default="required",
        metadata=entry(
            one_of("required", "optional"),
            "With `client_ca`: whether a client must have a certificate. One that it shows must be good in any case.",
        ),
    )
    client_subject_header: str = attr.field(
        default="X-Client-Subject",
        metadata=entry(
            checks.token,
            "With `client_ca`: the field in which services see the subject of a client's certificate (RFC 4514). What clients"
            " themselves write into it is removed.",
        ),
    )
    proxy_protocol: bool = attr.field(
        default=False,
        metadata=entry(
            checks.true_or_false,
            "Whether `trusted_proxies` begin each connection to `http` and `https` endpoints with a PROXY header, version 1 or"
            " 2. Others are plain clients. `haproxy:` in front of an endpoint (`haproxy:tcp:8080`) says the same of that"
            " endpoint alone.",
        ),
    )
    admin: str = attr.field(
        default="tcp:9901:interface=127.0.0.1",
        metadata=entry(
            checks.endpoint_or_none,
            'Endpoint of status, metrics and health, or `"none"`. Reading has no password: leave it on the loopback interface'
            " or a UNIX socket, which has mode 0600 unless the description names another. `--admin` replaces it.",
        ),
    )
    admin_token: str = attr.field(
        default="",
        repr=False,
        metadata=entry(
            checks.bearer_token,
            "Who brings it (`Authorization: Bearer ...`) may reload and drain there too; on a UNIX socket that only its owner"
            " can open nobody needs it. Best kept out of the file, as `{ file = ... }` or `{ env = ... }`.",
            unset="nobody may, but on such a socket",
            example='"at-least-16-letters"',
            secret=True,
        ),
    )
    access_log: str = attr.field(
        default="-", metadata=entry(checks.log_target, 'A path, `"-"` for standard output or `"none"`.')
    )
    access_log_format: str = attr.field(
        default="combined", metadata=entry(one_of("combined", "json"), "How a line of it is written.")
    )
    trusted_proxies: Trusted = attr.field(
        default=(),
        metadata=entry(
            list_of(checks.network_or_unix),
            "Networks of proxies in front of this one, whose forwarding fields are believed; everybody else's are replaced. "
            '`"unix:"` is whoever comes over a UNIX socket.',
        ),
    )
    forwarded: str = attr.field(
        default="x-forwarded",
        metadata=entry(
            one_of("x-forwarded", "forwarded", "both", "none"),
            "What tells a service who asked: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded` (RFC 7239), or both.",
        ),
    )
    path_matching: str = attr.field(
        default="resolved",
        metadata=entry(
            one_of("resolved", "exact"),
            'How routes match paths: `"resolved"`, as a strict server reads them, or `"exact"`, byte by byte as received.',
        ),
    )
    error_pages: str = attr.field(
        default="",
        metadata=entry(
            checks.directory,
            "A directory with pages of your own for errors: `502.html`, `502.json`, `502.txt`. It must exist.",
            unset="none",
            example='"/etc/xproxy/errors"',
        ),
    )
    drain_delay: float = attr.field(
        default=0.0,
        metadata=entry(
            checks.seconds(low=0.0),
            "How long everything is still accepted after a stop signal, while `/readyz` says 503: as long as whoever sends"
            " requests here takes to notice that (5 s with a probe each second, and Kubernetes).",
        ),
    )
    drain_timeout: float = attr.field(
        default=30.0,
        metadata=entry(checks.seconds(low=0.0), "How long running requests may go on after that."),
    )
    name: str = attr.field(default="xproxy", metadata=entry(checks.token, "The pseudonym in `Via` (RFC 9110 section 7.6.3)."))


@attr.frozen
class AcceptorConfig:
    """Where services register, and where proxies ask for slots. ``[acceptor]``."""

    handoff: str = attr.field(
        default="",
        metadata=entry(
            checks.socket_path,
            "Path of the handoff socket. `xacceptor` needs it, here or as `--handoff`; `xproxy` with its own acceptor listens"
            " there as well when it is set, so that other proxies can share its slots.",
            unset="none",
            example='"/run/xproxy/handoff.sock"',
            at_start=True,
        ),
    )
    handoff_mode: str = attr.field(
        default="0600",
        metadata=entry(
            checks.file_mode,
            "Who may connect to the handoff socket, in octal: whoever may can take every slot. Clients of the one-byte protocol"
            ' that run as another user need `"0660"` and a group.',
            at_start=True,
        ),
    )
    handoff_group: str = attr.field(
        default="",
        metadata=entry(
            checks.group, "Group of the handoff socket.", unset="that of the process", example='"www-data"', at_start=True
        ),
    )
    one_byte_timeout: float = attr.field(
        default=0.1,
        metadata=entry(
            checks.seconds(),
            "How long a client of the one-byte protocol waits for a slot; then its connection is closed. Its whole worker"
            " stands still meanwhile.",
        ),
    )
    admin: str = attr.field(
        default="none",
        metadata=entry(
            checks.endpoint_or_none, "Admin endpoint of `xacceptor`; `xproxy` has that of `[proxy]`. `--admin` replaces it."
        ),
    )
    admin_token: str = attr.field(
        default="",
        repr=False,
        metadata=entry(
            checks.bearer_token,
            "As in `[proxy]`, for that.",
            unset="as there",
            example='"at-least-16-letters"',
            secret=True,
        ),
    )
    registration_timeout: float = attr.field(
        default=5.0, metadata=entry(checks.seconds(), "How long a slot that has begun to register may take to finish.")
    )
    certificates: tuple[CertificateConfig, ...] = attr.field(
        default=(), metadata=entry(Table(CertificateConfig, many=True), "Tables, see below.", unset="none")
    )
    client_ca: str = attr.field(
        default="",
        metadata=entry(
            checks.path,
            "For slots over TLS: a file with the CAs (PEM) of the services' certificates.",
            unset="none",
            example='"/etc/xproxy/tls/services-ca.pem"',
        ),
    )
