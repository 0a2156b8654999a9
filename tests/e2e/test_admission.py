"""Who may register a slot, what it is called, and how soon a vanished host is noticed."""

from __future__ import annotations

import re
import socket
import struct
import sys
from pathlib import Path
from typing import List

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import ask, connect_unix, exchange
from tests.e2e.processes import Xacceptor, Xproxy, configuration, short_path, slots_description, twist
from tests.e2e.services import SlotService, answering, mxproxy_preamble, respond

MINUTE_S = 60

SERVICE = ("web", "--path", ".")


def proxy_v1(host: str) -> bytes:
    """A PROXY v1 line."""
    return f"PROXY TCP4 {host} 127.0.0.1 1000 9999\r\n".encode()


def proxy_v2(host: str, **tlvs: bytes) -> bytes:
    """A PROXY v2 header with TLVs, by the name of what they carry."""
    kinds = {"pool": 0xE0, "instance": 0x05, "token": 0xE1}
    address = socket.inet_aton(host) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 1000, 9999)
    block = address + b"".join(struct.pack(">BH", kinds[name], len(value)) + value for name, value in tlvs.items())
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(block)) + block


class AdmissionTests(SynchronousTestCase):
    """A proxy with its own acceptor."""

    def start(self, *lines: str) -> None:
        """Start it, the default pool with these lines of configuration."""
        text = "\n".join(["[pools.default]", 'slots = ["tcp:0:interface=127.0.0.1"]', *lines])
        self.proxy = Xproxy(self, "--config", configuration(self, text)).ready()

    def refuses(self, preamble: bytes, host: str = "127.0.0.1") -> bool:
        """Whether the acceptor closes a slot that says this, and does not park it."""
        with socket.create_connection(self.proxy.slots, 20, (host, 0)) as slot:
            slot.setblocking(False)

            def fate() -> str:
                try:
                    told = slot.recv(1000)
                    return "refused" if told == b"" or told.startswith(b"HTTP/1.1 403 ") else "spoken to"
                except BlockingIOError:
                    return "parked" if self.proxy.pool()["slots"] else ""
                except ConnectionError:
                    return "refused"

            try:
                slot.sendall(preamble)
            except ConnectionError:
                pass  # Its address was enough.
            found = self.proxy.eventually(fate, "the slot to be parked or closed")
        self.proxy.has(slots=0)
        return found == "refused"

    def test_allow_list(self) -> None:
        """The peer's address is in one of the networks, or the slot is closed."""
        self.start('allow = ["127.1.0.0/16", "::1/128"]')
        self.assertTrue(self.refuses(b""))
        self.assertTrue(self.refuses(b"", "127.2.0.1"))
        self.assertFalse(self.refuses(b"", "127.1.200.1"))
        self.assertFalse(self.refuses(mxproxy_preamble("127.1.9.9"), "127.1.0.1"))
        self.assertEqual(2.0, self.proxy.metric("xproxy_registrations_total", pool="default", result="refused_address"))

    def test_address_in_the_preamble(self) -> None:
        """When the peer itself may come, the address in its preamble has to be in the list as well."""
        self.start('allow = ["127.1.0.0/16"]')
        peer = "127.1.0.1"
        for preamble in (mxproxy_preamble, proxy_v1, proxy_v2):
            self.assertFalse(self.refuses(preamble("127.1.2.3"), peer), preamble)
            self.assertTrue(self.refuses(preamble("127.2.2.3"), peer), preamble)
            self.assertTrue(self.refuses(preamble("127.1.2.3"), "127.2.0.1"), preamble)
        self.proxy.said("the address in its preamble is not allowed")

    def test_token(self) -> None:
        """With a token, a slot has to bring it; no other kind of registration can."""
        self.start('token = "open sesame"')
        self.assertTrue(self.refuses(mxproxy_preamble()))
        self.assertTrue(self.refuses(proxy_v2("127.0.0.1")))
        self.assertTrue(self.refuses(proxy_v2("127.0.0.1", token=b"open sesam")))
        self.assertFalse(self.refuses(proxy_v2("127.0.0.1", token=b"open sesame")))
        self.assertNotIn("sesam", self.proxy.story())
        self.assertEqual(3.0, self.proxy.metric("xproxy_registrations_total", pool="default", result="refused_token"))

    def test_token_of_an_endpoint(self) -> None:
        """``slots:`` brings token, pool and instance."""
        self.start('token = "open sesame"')
        more = ":token=open sesame:pool=default:instance=web-1"
        twist(self, *SERVICE, "--listen", slots_description(self.proxy.slots, 2, more))
        pool = self.proxy.has(slots=2)
        self.assertEqual(["web-1"], [service["name"] for service in pool["services"]])
        self.assertEqual(200, ask(self.proxy.http).status)

    def test_wrong_token_of_an_endpoint(self) -> None:
        """A service with a wrong token says that it is refused, does not storm the acceptor, and does not show the token."""
        self.start('token = "open sesame"')
        service = twist(self, *SERVICE, "--listen", slots_description(self.proxy.slots, 50, ":token=abracadabra"))
        service.said("refused by the acceptor: its token is not the pool's")
        self.proxy.said("its token is not the pool's")
        self.assertNotIn("abracadabra", service.story().partition("exit status")[2])
        dials = self.proxy.metric("xproxy_registrations_total", pool="default", result="refused_token")
        self.assertLessEqual(dials, 50 + 5)
        self.assertEqual(0, self.proxy.pool()["slots"])

    def test_pools_by_name(self) -> None:
        """One endpoint for two pools: the slot says which; requests go by the routes."""
        text = """
[pools.a]
slots = ["tcp:0:interface=127.0.0.1"]
[pools.b]
slots = ["tcp:0:interface=127.0.0.1"]
[[routes]]
path = "/a"
pool = "a"
[[routes]]
path = "/b"
pool = "b"
"""
        self.proxy = Xproxy(self, "--config", configuration(self, text)).ready()
        for name in ("a", "b"):
            preamble = proxy_v2("127.0.0.1", pool=name.encode(), instance=b"service-" + name.encode())
            SlotService(self, self.proxy.slots, 1, answering(respond(name.encode())), preamble)
            self.proxy.has(name, slots=1)
            self.assertEqual([f"service-{name}"], [service["name"] for service in self.proxy.pool(name)["services"]])
        self.assertEqual([b"a", b"b"], [ask(self.proxy.http, target).body for target in ("/a/x", "/b")])
        self.assertEqual(404, ask(self.proxy.http, "/c").status)

    def test_pools_that_share_without_a_word(self) -> None:
        """The how-to of docs/tls.md as it is written, but for the ports: who names no pool joins default, acme has its own."""
        manual = (Path(__file__).resolve().parents[2] / "docs" / "tls.md").read_text(encoding="utf-8")
        (text,) = [block for block in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL) if "[pools.acme]" in block]
        text = text.replace('http = ["tcp:80"]\n', "")
        text = text.replace("[pools.default]\n", '[pools.default]\nslots = ["tcp:0:interface=127.0.0.1"]\n')
        self.proxy = Xproxy(self, "--config", configuration(self, text)).ready()
        acme = proxy_v2("127.0.0.1", pool=b"acme", instance=b"acme")
        SlotService(self, self.proxy.slots, 1, answering(respond(b"acme")), acme)
        SlotService(self, self.proxy.slots, 2, answering(respond(b"default")), proxy_v2("127.0.0.1"))
        self.proxy.has("acme", slots=1)
        self.proxy.has("default", slots=2)
        for target, name in (("/", b"default"), ("/.well-known/acme-challenge/x", b"acme"), ("/.well-known/x", b"default")):
            self.assertEqual(name, ask(self.proxy.http, target).body)

    def test_modes(self) -> None:
        """A listener that is told what to expect takes nothing else."""
        self.start('registration = "mxproxy"')
        self.assertFalse(self.refuses(mxproxy_preamble()))
        self.assertTrue(self.refuses(proxy_v1("127.0.0.1")))
        self.assertTrue(self.refuses(b"x"))

    def test_max_slots(self) -> None:
        """No pool has more than ``max_slots``."""
        self.start("max_slots = 2")
        SlotService(self, self.proxy.slots, 2)
        self.proxy.has(slots=2)
        with socket.create_connection(self.proxy.slots, 20) as third:
            third.sendall(mxproxy_preamble())
            self.assertIn(b"the pool has 2 slots", exchange(third, b"", half_close=False))
        self.assertEqual(1.0, self.proxy.metric("xproxy_registrations_total", pool="default", result="too_many"))
        self.assertEqual(200, ask(self.proxy.http).status)


AS_SYSTEMD = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="slots")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program with a listening socket as systemd does: descriptor 3, and the process keeps its id."""


class EndpointTests(SynchronousTestCase):
    """Slots on other endpoints than TCP."""

    def test_systemd(self) -> None:
        """The socket is systemd's: ``slots = ["systemd:domain=INET:name=slots"]``."""
        systemd = [sys.executable, "-c", AS_SYSTEMD]
        acceptor = Xacceptor(self, slots="systemd:domain=INET:name=slots", started_by=systemd).ready()
        service = SlotService(self, acceptor.slots, 2)
        acceptor.has(slots=2)
        proxy = Xproxy(self, "--acceptor", acceptor.handoff).ready()
        self.assertEqual(200, ask(proxy.http).status)
        self.assertEqual(2, service.dialled)

    def test_unix(self) -> None:
        """Services on the same host can come over a UNIX socket, whose mode says who may."""
        path = short_path(self, "slots.sock")
        acceptor = Xacceptor(self, slots=f"unix:{path}:mode=600").ready()
        proxy = Xproxy(self, "--acceptor", acceptor.handoff).ready()
        twist(self, *SERVICE, "--listen", f"slots:unix:{path}:count=3")
        pool = acceptor.has(slots=3)
        self.assertEqual(1, len(pool["services"]))
        self.assertEqual([200] * 5, [ask(proxy.http).status for _ in range(5)])
        with connect_unix(path):
            acceptor.has(slots=4)
        acceptor.has(slots=3)


class VanishedHostTests(SynchronousTestCase):
    """A host that lost its power sends nothing any more: TCP asks, and gives up in time. The acceptor's end is looked at
    in tests/acceptor/test_registering.py."""

    def test_service(self) -> None:
        """The service's end: the kernel's list of timers has a keep-alive timer that runs out in time."""
        acceptor = Xacceptor(self).ready()
        twist(self, *SERVICE, "--listen", slots_description(acceptor.slots, 3))
        acceptor.has(slots=3)
        port = f":{acceptor.slots[1]:04X}"
        timers: List[str] = []
        with open("/proc/net/tcp", encoding="ascii") as connections:
            for line in connections:
                fields = line.split()
                if fields[2].endswith(port) and fields[3] == "01":
                    timers.append(fields[5])
        self.assertEqual(3, len(timers))
        for timer in timers:
            kind, expires = timer.split(":")
            self.assertEqual("02", kind, "no keep-alive timer is running")
            self.assertLess(int(expires, 16) / 100, MINUTE_S / 2)
