"""Who has asked, as the access log says it, and what it says of those whose requests were none."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress

from tests.doubles.logged import Logged
from tests.world.rig import GET, OK, RigCase
from xproxy import config as cfg
from xproxy.net.peers import client_host
from xproxy.proxy.requests.provenance import Provenance

TRUSTED = {"trusted_proxies": cfg.networks("192.0.2.0/24", "2001:db8::/32")}


def forwarded(*values: bytes) -> bytes:
    """A request that came through somebody."""
    return GET[:-2] + b"".join(b"X-Forwarded-For: " + value + b"\r\n" for value in values) + b"\r\n"


class ClientTests(RigCase):
    """Through proxies, believed or not."""

    def peer(self, request: bytes, host: str = "192.0.2.1") -> str:
        """Whom the access log names."""
        rig = self.make_rig(proxy=TRUSTED)
        service = rig.slot()
        log = rig.log_to()
        rig.client(request, host=host)
        rig.exchange(service, OK)
        (line,) = rig.logged(log)
        return str(line["peer"])

    def test_believed(self) -> None:
        """The last one that is no proxy of ours: what stands before it, it may have made up."""
        for expected, *values in (
            ("203.0.113.7", b"203.0.113.7"),
            ("203.0.113.7", b"198.51.100.1, 203.0.113.7"),
            ("203.0.113.7", b"203.0.113.7, 192.0.2.9"),
            ("203.0.113.7", b"203.0.113.7,192.0.2.9", b"2001:db8::1"),
            ("203.0.113.7", b"203.0.113.7:1234, [2001:db8::1]:80"),
            ("2001:db9::1", b"[2001:db9::1]"),
            ("192.0.2.8", b"192.0.2.8, 192.0.2.9"),
            ("192.0.2.9", b"203.0.113.7, nonsense, 192.0.2.9"),
            ("192.0.2.1", b"nonsense"),
            ("192.0.2.1", b'"; DROP'),
            ("192.0.2.1",),
        ):
            self.assertEqual(self.peer(forwarded(*values)), expected, values)

    def test_not_believed(self) -> None:
        """Anybody can write what he likes."""
        self.assertEqual(self.peer(forwarded(b"203.0.113.7"), "198.51.100.2"), "198.51.100.2")


class UnixTests(RigCase):
    """Over a UNIX socket, whose clients have no address."""

    def test_believed(self) -> None:
        """Where the configuration says so: the service is told who the client is, and so is the log."""
        for trusted, expected in (((cfg.UnixPeers(),), "203.0.113.7"), (cfg.networks("0.0.0.0/0", "::/0"), ""), ((), "")):
            rig = self.make_rig(proxy={"trusted_proxies": trusted})
            service = rig.slot()
            log = rig.log_to()
            rig.client(forwarded(b"203.0.113.7"), host="")
            request = rig.exchange(service, OK)
            (line,) = rig.logged(log)
            self.assertEqual(line["peer"], expected)
            self.assertEqual(b"X-Forwarded-For: 203.0.113.7, unknown" in request, bool(expected), request)

    def test_one_that_nobody_knows(self) -> None:
        """A balancer that does not know its client has not said that it is on our UNIX socket."""
        self.assertEqual(client_host(UNIXAddress(None)), "")
        self.assertEqual(client_host(UNIXAddress("")), "unix:")
        self.assertEqual(client_host(IPv4Address("TCP", "192.0.2.1", 1)), "192.0.2.1")

    def test_under_another_policy(self) -> None:
        """It stays a client on a UNIX socket."""
        rig = self.make_rig(proxy={"trusted_proxies": (cfg.UnixPeers(),)})
        provenance = Provenance(rig.gateway.policy, "unix:", b"http")
        for each in (provenance, provenance.under(rig.gateway.policy), provenance.of_subject(b"CN=x"), provenance.at(None)):
            self.assertEqual((each.trusted, each.peer), (True, ""))


class BadRequestTests(RigCase):
    """What was no request leaves a trace."""

    def test_a_trace(self) -> None:
        """In the access log, in a counter, and in the program's log, there seldom."""
        logged = Logged(self)
        rig = self.make_rig()
        log = rig.log_to()
        bad = (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n")
        clients = [rig.client(request) for request in (*bad, *bad)]
        lines = rig.logged(log)
        self.assertEqual([line["line"] for line in lines[:3]], ["GET /a b HTTP/1.1", "GET / HTTP/1.1", "\x16\x03\x01"])
        self.assertEqual([line["status"] for line in lines], [400] * 6)
        for line, client in zip(lines, clients):
            self.assertEqual(line["bytes"], len(client.take().partition(b"\r\n\r\n")[2]))
        reasons = [line["reason"] for line in lines]
        self.assertEqual(reasons[1], "no-host")
        self.assertEqual(rig.gateway.counts.bad_requests, {reason: reasons.count(reason) for reason in set(reasons)})
        self.assertIn("bad request from 192.0.2.1: no-host", logged.lines)
        self.assertEqual(len(logged.lines), len(set(reasons)))

    def test_too_late(self) -> None:
        """Half a head."""
        rig = self.make_rig()
        log = rig.log_to()
        rig.client(GET[:20])
        rig.pass_time(61.0)
        (line,) = rig.logged(log)
        self.assertEqual((line["line"], line["status"], line["reason"]), ("GET / HTTP/1.1", 408, "head-timeout"))

    def test_a_bad_body(self) -> None:
        """There is a request: its line is like any other, and it is counted."""
        rig = self.make_rig()
        log = rig.log_to()
        rig.client(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        (line,) = rig.logged(log)
        self.assertEqual((line["target"], line["status"]), ("/x", 400))
        self.assertEqual(sum(rig.gateway.counts.bad_requests.values()), 1)
