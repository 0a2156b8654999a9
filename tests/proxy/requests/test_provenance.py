"""Where requests come from: what is believed, and what is remembered for whom."""

from __future__ import annotations

from typing import Any

import attr
from twisted.trial.unittest import SynchronousTestCase

from tests.world.rig import make_config
from xproxy import config as cfg
from xproxy.http1.limits import HeadLimits
from xproxy.http1.request import RequestHead, parse_request_head
from xproxy.metrics import ProxyCounts
from xproxy.proxy.requests.policy import Policy, make_policy
from xproxy.proxy.requests.provenance import MOST_PEERS, Provenance, Provenances

LIMITS = HeadLimits()


def head(*fields: bytes) -> RequestHead:
    """A GET."""
    return parse_request_head(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *fields, b"", b""]), LIMITS)


def policy(**proxy: Any) -> Policy:
    """One without pools."""
    config = attr.evolve(make_config(proxy=proxy), pools={}, routes=())
    return make_policy(config, {}, ProxyCounts(), {})


class ProvenanceTests(SynchronousTestCase):
    """Of one peer."""

    def block(self, provenance: Provenance, request: RequestHead) -> bytes:
        """What goes on."""
        return provenance.block(request.fields, request.host, request.minor, b"")

    def test_blocks_are_worked_out_once(self) -> None:
        """For a client that repeats itself, and for a peer that speaks for several of them."""
        one, other = head(b"X-A: 1"), head(b"X-A: 2")
        provenance = Provenance(policy(), "192.0.2.1", b"http")
        blocks = [self.block(provenance, request) for request in (one, other)]
        self.assertNotEqual(*blocks)
        for request, block in zip((one, other, one), (*blocks, blocks[0])):
            self.assertIs(self.block(provenance, request), block)

    def test_each_peer_has_its_own(self) -> None:
        """Also of a head that many send."""
        request = head(b"X-A: 1")
        for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            block = self.block(Provenance(policy(), peer, b"http"), request)
            self.assertIn(b"X-Forwarded-For: " + peer.encode() + b"\r\n", block)
        provenance = Provenance(policy(), "192.0.2.1", b"http")
        self.assertIn(b"Host: other\r\n", provenance.block(request.fields, b"a", 1, b"other"))
        self.assertIn(b"Via: 1.0 ", provenance.block(request.fields, b"a", 0, b""))

    def test_hops_are_counted_anew(self) -> None:
        """Fields with another Max-Forwards are other fields."""
        fields = head(b"Max-Forwards: 3").fields
        provenance = Provenance(policy(), "192.0.2.1", b"http")
        self.assertIn(b"Max-Forwards: 3\r\n", provenance.block(fields, b"a", 1, b""))
        self.assertIn(b"Max-Forwards: 2\r\n", provenance.block(fields.with_max_forwards(2), b"a", 1, b""))

    def test_credentials_are_not_kept(self) -> None:
        """They are remembered with the fields, which go with their connection."""
        request = head(b"Authorization: Basic c2VjcmV0")
        provenance = Provenance(policy(), "192.0.2.1", b"http")
        block = self.block(provenance, request)
        self.assertIs(self.block(provenance, request), block)
        kept = [getattr(provenance, name) for name in Provenance.__slots__]
        self.assertNotIn(request.fields, kept)
        self.assertFalse([value for value in kept if isinstance(value, bytes) and b"c2VjcmV0" in value])

    def test_tls(self) -> None:
        """To us, or to a proxy that is trusted."""
        said = head(b"X-Forwarded-Proto: HTTPS, http")
        trusting = policy(trusted_proxies=cfg.networks("192.0.2.0/24"))
        for provenance, expected in (
            (Provenance(policy(), "192.0.2.1", b"http"), (False, False)),
            (Provenance(trusting, "192.0.2.1", b"http"), (False, True)),
            (Provenance(trusting, "198.51.100.1", b"http"), (False, False)),
            (Provenance(trusting, "", b"http"), (False, False)),
            (Provenance(policy(), "192.0.2.1", b"https"), (True, True)),
        ):
            self.assertEqual((provenance.came_with_tls(head()), provenance.came_with_tls(said)), expected)


class ProvenancesTests(SynchronousTestCase):
    """Of many."""

    def test_the_same_peer(self) -> None:
        """Comes from the same place, until there is another policy."""
        many, first, second = Provenances(b"http"), policy(), policy()
        found = many.find(first, "192.0.2.1")
        self.assertIs(many.find(first, "192.0.2.1"), found)
        self.assertIsNot(many.find(first, "192.0.2.2"), found)
        again = many.find(second, "192.0.2.1")
        self.assertIsNot(again, found)
        self.assertIs(again.policy, second)

    def test_bounded(self) -> None:
        """However many there are."""
        many, only = Provenances(b"http"), policy()
        for number in range(3 * MOST_PEERS):
            many.find(only, str(number))
        self.assertLessEqual(len(many._by_peer), MOST_PEERS)
