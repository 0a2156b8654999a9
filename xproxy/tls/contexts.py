"""OpenSSL contexts: which protocols and ciphers are spoken, and which certificate a client is shown.

A Pair comes from ``certificates``; ``TLSPolicy.context`` makes a context of those that serve the same name; ``NameTable`` finds
the context for the name that a client asks for; ``certificate_store`` puts both into use.
"""

from __future__ import annotations

import hashlib
import tempfile
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import attr
from OpenSSL import SSL
from OpenSSL.crypto import PKey

from ..startup import os_reason
from .certificates import CertificateError, Pair
from .stapling import staple

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2: Mozilla's "intermediate" list without its finite-field groups. TLS 1.3 has nothing but forward-secret AEAD."""

GROUPS = b"X25519:P-256:P-384"
"""The groups of Mozilla's intermediate list, in its order (RFC 8446 section 4.2.7). pyOpenSSL has no way to say them, and of
cryptography, whose binding is used here, only newer versions do: with others OpenSSL's own groups are offered (docs/tls.md)."""

_set_groups = getattr(SSL._lib, "SSL_CTX_set1_curves_list", None)  # type: ignore[attr-defined]

OPTIONS = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | 0x40000000  # SSL_OP_NO_RENEGOTIATION, which not every pyOpenSSL names
    | 0x00200000  # SSL_OP_PRIORITIZE_CHACHA: for clients that put it first because they have no AES instructions
)

MODES = 0x10 | 0x02
"""SSL_MODE_RELEASE_BUFFERS: an idle connection keeps no 2 x 16 kB record buffers. SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER: what was
not sent may be offered again from another place. pyOpenSSL does not name the first, nor, before 25.1, set the second."""

VERIFY_REASONS = {
    7: "its signature is wrong",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "it ends in a certificate that is no CA of ours",
    20: "its CA is none of ours",
    21: "its CA is none of ours",
    23: "it was revoked",
    24: "it was issued by a certificate that is no CA",
    26: "it is not meant for TLS clients",
    66: "its key is too small",
    68: "it was signed with a digest that is too weak",
}
"""The common ones of X509_V_ERR_* (X509_STORE_CTX_get_error(3)), of which pyOpenSSL does not give the texts."""

HTTP2, HTTP11, HTTP10 = b"h2", b"http/1.1", b"http/1.0"
"""What is spoken here, by the names of ALPN."""


class NoCommonProtocol(SSL.Error):
    """The client offers by ALPN nothing that we speak: the handshake ends with a no_application_protocol alert (RFC 7301)."""

    def __init__(self) -> None:
        super().__init__([("SSL routines", "", "no application protocol")])


@attr.frozen
class TLSPolicy:
    """What all contexts have in common.

    :ivar client_ca: the path of the CAs of client certificates; empty: none is asked for.
    :ivar client_required: a client without a certificate is refused.
    :ivar http2: whether h2 is offered.
    :ivar tickets: whether sessions may be resumed, which shows no certificate again.
    """

    client_ca: str = ""
    client_required: bool = True
    http2: bool = True
    tickets: bool = True

    def context(self, pairs: Sequence[Pair] = ()) -> SSL.Context:
        """A context that shows these certificates, of different kinds. Raises CertificateError."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS)
        if _set_groups is not None and _set_groups(context._context, GROUPS) != 1:
            raise CertificateError("this OpenSSL does not know the groups X25519, P-256 and P-384")
        context.set_options(OPTIONS if self.tickets else OPTIONS | SSL.OP_NO_TICKET)
        context.set_mode(MODES)
        # Sessions are kept by the clients, as tickets: nothing to bound here.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_alpn_select_callback(self._select_protocol)
        identity = b"xproxy"
        if self.client_ca:
            identity += self._ask_for_certificates(context)
        # A session is resumed only under the rules it was made under; with another client CA there is another identity.
        context.set_session_id(hashlib.sha256(identity).digest())
        for pair in pairs:
            _use(context, pair)
        staples = {pair.staple.serial_number: pair.staple for pair in pairs if pair.staple is not None}
        if staples:
            staple(context, staples)
        return context

    def _ask_for_certificates(self, context: SSL.Context) -> bytes:
        try:
            with open(self.client_ca, "rb") as file:
                content = file.read()
            context.load_verify_locations(self.client_ca)
            context.load_client_ca(self.client_ca.encode())
        except OSError as error:
            raise CertificateError(f"client CA {self.client_ca}: {(error.strerror or str(error)).lower()}") from error
        except SSL.Error as error:
            raise CertificateError(f"client CA {self.client_ca}: holds no certificate in PEM format") from error
        context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if self.client_required else 0), _verdict)
        return content

    def _select_protocol(self, connection: SSL.Connection, offered: List[bytes]) -> bytes:
        for protocol in (HTTP2, HTTP11, HTTP10) if self.http2 else (HTTP11, HTTP10):
            if protocol in offered:
                connection.set_app_data(protocol)
                return protocol
        raise NoCommonProtocol


def agreed_protocol(connection: SSL.Connection) -> Optional[bytes]:
    """What was agreed on by ALPN; None when the client has offered nothing. OpenSSL knows it too, but pyOpenSSL asks slowly."""
    agreed: Optional[bytes] = connection.get_app_data()
    return agreed


def _verdict(connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int) -> bool:
    """OpenSSL's own verdict, which older versions of pyOpenSSL want to be told; what is wrong is kept for ``verify_reason``."""
    if not ok:
        connection.set_app_data(error)
    return bool(ok)


def verify_reason(connection: SSL.Connection) -> str:
    """What was wrong with the certificate that the client has shown."""
    error = connection.get_app_data()
    return VERIFY_REASONS.get(error, f"X.509 verification error {error}")


def _use(context: SSL.Context, pair: Pair) -> None:
    try:
        # OpenSSL keeps a chain of its own for each certificate of a context only when it reads it from a file. This one holds
        # what was checked, whatever the file that it came from holds by now.
        with tempfile.NamedTemporaryFile(prefix="xproxy-chain-") as file:
            file.write(pair.chain_pem)
            file.flush()
            context.use_certificate_chain_file(file.name)
        try:
            context.use_privatekey(pair.key)
        except TypeError:  # pyOpenSSL before 24.3 knows its own class only
            context.use_privatekey(PKey.from_cryptography_key(pair.key))
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateError(f"certificate {pair.source}: {openssl_reason(error)}") from error
    except OSError as error:
        raise CertificateError(f"certificate {pair.source}: cannot write it to a temporary file: {os_reason(error)}") from error


def openssl_reason(error: SSL.Error) -> str:
    """What OpenSSL said, in its own words."""
    entries = error.args[0] if error.args else None
    if isinstance(entries, (list, tuple)) and entries and isinstance(entries[-1], (list, tuple)):
        return str(entries[-1][-1]) or "unknown"
    return " ".join(map(str, error.args)) or "unexpected end"


class NameTable:
    """From the name that a client asks for to a context: the exact name, else the wildcard, else the first certificate.

    :param pairs: at least one, in the order of the configuration; of several with one name and kind the first valid one counts.
    :param make: makes a context of pairs.
    :ivar only: the pairs of the one context, where every client is shown the same; else empty.
    """

    def __init__(self, pairs: Sequence[Pair], make: Callable[[Sequence[Pair]], SSL.Context]) -> None:
        self.pairs = tuple(pairs)
        by_name: Dict[str, List[Pair]] = {}
        for pair in pairs:
            for name in pair.names:
                by_name.setdefault(name, []).append(pair)
        made: Dict[Tuple[Pair, ...], SSL.Context] = {}

        def context_of(candidates: Sequence[Pair]) -> SSL.Context:
            chosen: Dict[str, Pair] = {}
            for pair in sorted(candidates, key=lambda pair: not pair.was_good):
                chosen.setdefault(pair.kind, pair)
            shown = tuple(chosen.values())
            if shown not in made:
                made[shown] = make(shown)
            return made[shown]

        self._contexts = {name.encode(): context_of(candidates) for name, candidates in by_name.items()}
        first, *others = pairs
        self.default = context_of([first, *(pair for pair in others if set(first.names) <= set(pair.names))])
        self.only: Tuple[Pair, ...] = next(iter(made)) if len(made) == 1 else ()

    def find(self, name: Optional[bytes]) -> SSL.Context:
        """The context for a name as it came (RFC 6066 section 3), None when there was none."""
        if name is None:
            return self.default
        name = name.lower().rstrip(b".")
        found = self._contexts.get(name)
        if found is None:
            _, dot, parent = name.partition(b".")
            found = self._contexts.get(b"*." + parent) if dot else None
        return self.default if found is None else found
