"""Orders: everything that a worker needs to be a proxy, as its parent has read and checked it.

Pickled by the parent, unpickled by a worker that the parent has started from the same program, and by nobody else.
"""

from __future__ import annotations

import pickle
from datetime import datetime
from typing import List, Optional, Sequence, Tuple

import attr
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ..config import Config
from ..config.lines import Source
from ..tls.certificates import Pair, checked_pair
from ..tls.stapling import Staple

Certificate = Tuple[str, bytes, bytes, Optional[Staple]]
"""The source as messages name it, the chain and the key, both PEM, and the OCSP response that is good now."""


@attr.frozen
class Orders:
    """The orders of a worker.

    :ivar config: the configuration without certificates, which are in ``certificates``, and without the text that it was read
        from.
    :ivar ticket_keys: the keys of session tickets.
    :ivar handoff: the path of an acceptor's handoff socket; empty: the parent gives connections to its own.
    :ivar clients: how many clients a worker has descriptors for.
    :ivar files: how many requests and answers in files a worker has descriptors for.
    """

    config: Config
    certificates: Tuple[Certificate, ...] = attr.field(repr=False)
    ticket_keys: bytes = attr.field(repr=False)
    handoff: str
    clients: int
    files: int

    def pairs(self, now: datetime) -> List[Pair]:
        """The certificates, checked. Raises CertificateError."""
        return [
            attr.evolve(checked_pair(chain, key, source, source, now), staple=staple)
            for source, chain, key, staple in self.certificates
        ]


def without_files(config: Config) -> Config:
    """The configuration as workers get it."""
    return attr.evolve(config, proxy=attr.evolve(config.proxy, certificates=()), source=Source())


def contents(pairs: Sequence[Pair]) -> Tuple[Certificate, ...]:
    """Certificates as workers get them."""
    return tuple(
        (
            pair.source,
            pair.chain_pem,
            pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            pair.staple if pair.staple is not None and pair.staple.response else None,
        )
        for pair in pairs
    )


def packed(orders: Orders) -> bytes:
    """Orders as bytes."""
    return pickle.dumps(orders, protocol=4)


def unpacked(data: bytes) -> Orders:
    """The orders that ``packed`` was given by this worker's own parent."""
    orders = pickle.loads(data)
    assert isinstance(orders, Orders)
    return orders
