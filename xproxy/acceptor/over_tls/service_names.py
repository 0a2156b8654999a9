"""Which pools a service may join, by the names in its certificate.

The chain was verified by OpenSSL before; here only the subject alternative names count, never the common name (RFC 9525
section 2). A host name is compared by service-identity. A URI, such as a SPIFFE ID, is compared as it is written:
service-identity takes scheme and host of a URI only, and what tells one workload of a trust domain from another is the path.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Sequence, Tuple

from cryptography import x509
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, DNSPattern, verify_service_identity

from ...config import PoolConfig

SHOWN_NAMES = 3
"""Names of a certificate that a log line shows."""

SHOWN_CHARACTERS = 100
"""Of each."""


class NotNamed(Exception):
    """The certificate is good for no pool; the text is the reason, on one line."""


class ServiceNames:
    """The names that the pools of one endpoint take.

    :param pools: with their ``service_names``.
    """

    def __init__(self, pools: Iterable[PoolConfig]) -> None:
        self._hosts: Dict[str, List[DNS_ID]] = {}
        self._uris: Dict[str, List[str]] = {}
        self._pools = tuple(pools)
        for pool in self._pools:
            self._hosts[pool.name] = [DNS_ID(name) for name in pool.service_names if ":" not in name]
            self._uris[pool.name] = [name for name in pool.service_names if ":" in name]

    def pools_of(self, shown: X509) -> Tuple[PoolConfig, ...]:
        """The pools that the owner of this certificate may join, in the order of the configuration; at least one.

        :raises NotNamed: there is none.
        """
        try:
            certificate = shown.to_cryptography()
        except ValueError as error:  # cryptography is stricter than OpenSSL
            raise NotNamed("its certificate can't be read") from error
        hosts, uris = _alternative_names(certificate)
        patterns = _patterns(hosts)
        found = tuple(
            pool
            for pool in self._pools
            if any(uri in uris for uri in self._uris[pool.name])
            or any(_matches(patterns, expected) for expected in self._hosts[pool.name])
        )
        if not found:
            raise NotNamed(f"its certificate is for {_shown([*hosts, *uris])}, which may join no pool here")
        return found


def _alternative_names(certificate: x509.Certificate) -> Tuple[List[str], List[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName), names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound as error:
        raise NotNamed("its certificate has no subject alternative name") from error
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise NotNamed("the extensions of its certificate can't be read") from error


def _patterns(hosts: Iterable[str]) -> List[DNSPattern]:
    """The host names that name one service. A wildcard names many, and so may join no pool: it would be a key to all."""
    patterns = []
    for host in hosts:
        if "*" not in host:
            try:
                patterns.append(DNSPattern.from_bytes(host.encode()))
            except CertificateError:
                continue  # An address, or nothing: no name of a service.
    return patterns


def _matches(patterns: Sequence[DNSPattern], expected: DNS_ID) -> bool:
    try:
        verify_service_identity(patterns, [expected], [])
    except (VerificationError, CertificateError):
        return False
    return True


def _shown(names: Sequence[str]) -> str:
    """Names for a log line, which whoever made the certificate chose."""
    shown = [ascii(name[:SHOWN_CHARACTERS]) for name in names[:SHOWN_NAMES]]
    if len(names) > SHOWN_NAMES:
        shown.append(f"{len(names) - SHOWN_NAMES} more")
    return ", ".join(shown) or "no host name or URI"
