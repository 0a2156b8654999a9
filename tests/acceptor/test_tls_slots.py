"""Slots over TLS: who may register, who may not, and what is said about it."""

from __future__ import annotations

import socket
import ssl
import tempfile
from datetime import timedelta
from typing import Any, List, Optional

import attr
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.doubles.certificates import DAY, Authority, Issued
from tests.doubles.handoff import ended, reactor, readable, receive_slot, until
from tests.doubles.holders import RecordingHolder
from tests.doubles.tls_services import LOCAL, TLSTestCase
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.acceptor.over_tls import tls_slots
from xproxy.config import AcceptorConfig, Config, PoolConfig, networks
from xproxy.net.keepalive import USER_TIMEOUT_S
from xproxy.slots.preambles.registration import build_registration
from xproxy.startup import StartupError


class RegistrationTests(TLSTestCase):
    """Services with a certificate that is good for a pool."""

    async def test_registers(self) -> None:
        self.start_tls()
        await self.registered(3)
        census = self.acceptor.census()["default"]
        self.assertEqual((census["slots"], census["idle"], self.results()), (3, 3, {"ok": 3}))
        self.assertEqual(census["services"][0]["name"], "127.0.0.1")

    async def test_tls_1_2(self) -> None:
        self.start_tls()
        context = self.context(self.web)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        service = await self.dial(context=context)
        self.assertEqual(service.socket.version(), "TLSv1.2")
        await until(lambda: self.results() == {"ok": 1})

    async def test_with_a_preamble_in_the_first_record(self) -> None:
        self.start_tls(self.pool(registration="auto", token="s3cret"))
        service = await self.dial()
        await service.send(build_registration("default", "web:1", "s3cret"))
        await until(lambda: self.results() == {"ok": 1})
        self.assertEqual(self.acceptor.census()["default"]["services"][0]["name"], "web:1")

    async def test_the_certificate_says_which_pool(self) -> None:
        """Two pools share the endpoint; nothing is named, or the right one."""
        self.start_tls(self.pool("a", "a.example.com", registration="auto"), self.pool("b", registration="auto"))
        await self.dial()
        service = await self.dial()
        await service.send(build_registration("b", None, None))
        await until(lambda: self.results("b") == {"ok": 2})
        self.assertEqual(self.acceptor.census()["a"]["slots"], 0)

    async def test_a_certificate_for_several_pools(self) -> None:
        uri = "spiffe://example.com/web"
        self.start_tls(self.pool("a", uri, registration="auto"), self.pool("b", registration="auto"))
        both = self.authority.issue("web.example.com", uri)
        for name in ("a", "b", None):
            service = await self.dial(both)
            await service.send(build_registration(name, None, None))
        await until(lambda: self.results("a") == {"ok": 2} and self.results("b") == {"ok": 1})

    async def test_no_other_address_is_needed_but_one_that_is_asked_for(self) -> None:
        self.start_tls(self.pool(allow=networks("127.0.0.0/8"), allow_given=True))
        await self.registered()

    async def test_endpoints_open_to_the_world_start(self) -> None:
        pool = PoolConfig("default", slots_tls=("tcp:0",), service_names=("web.example.com",), registration="raw")
        self.start_tls(pool)
        await self.registered()

    async def test_a_vanished_host_is_noticed(self) -> None:
        """The options are on the TCP connection."""
        self.start_tls()
        await self.registered()
        connection = self.bridges[0].transport.socket
        self.assertEqual(connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        option = getattr(socket, "TCP_USER_TIMEOUT", 18)
        self.assertEqual(connection.getsockopt(socket.IPPROTO_TCP, option), USER_TIMEOUT_S * 1000)

    async def test_it_is_lent_to_one_byte_clients(self) -> None:
        self.start_tls()
        (service,) = await self.registered()
        plain = self.plain()
        plain.sendall(b"\x80")
        await until(lambda: readable(plain))
        slot = receive_slot(plain)
        self.sockets.append(slot)
        slot.sendall(b"request")
        self.assertEqual(await service.receive(7), b"request")


class RefusalTests(TLSTestCase):
    """Whoever may not is in no ring, is counted, and gets one line with its reason."""

    async def refused(
        self, result: str, reason: str, certificate: Optional[Issued] = None, context: Optional[ssl.SSLContext] = None
    ) -> None:
        before = dict(self.results())
        self.lines.clear()
        try:
            service = await self.dial(certificate, context)
        except OSError:
            pass  # TLS 1.2 tells a client in the handshake, TLS 1.3 after it.
        else:
            await service.ended()
        await until(lambda: self.results() != before)
        self.assertEqual(self.results(), {**before, result: before.get(result, 0) + 1})
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertIn(reason, self.lines[0])
        self.assertIn("127.0.0.1", self.lines[0])
        await until(lambda: not self.bridges)
        census = self.acceptor.census()["default"]
        self.assertEqual((census["slots"], census["idle"]), (0, 0))

    async def test_an_address_that_is_not_allowed(self) -> None:
        """One line, and an alert that a client of TLS understands; no handshake."""
        self.start_tls(self.pool(allow=networks("192.0.2.0/24"), allow_given=True))
        for number in (1, 2):
            with self.assertRaisesRegex(OSError, "(?i)alert.access.denied"):
                await self.dial()
            self.assertEqual(self.results(), {"refused_address": number})
        self.assertEqual(self.lines, ["pool default: a slot from 127.0.0.1 was refused: its address is not allowed"])
        await until(lambda: not self.factory().denials)

    async def test_who_is_told_that_and_does_not_go(self) -> None:
        """It has two seconds, and so many bytes; there are no more of them than so many; and a stop does not wait for any."""
        self.start_tls(self.pool(allow=networks("192.0.2.0/24"), allow_given=True))
        self.patch(tls_slots, "MAX_LINGERING", 2)
        self.patch(tls_slots, "LINGER_BYTES", 1000)
        stubborn, chatty, third = (self.connect() for _ in range(3))
        await until(lambda: ended(third))
        self.assertEqual(len(self.factory().denials), 2)
        chatty.sendall(b"x" * 2000)
        await until(lambda: len(self.factory().denials) == 1)
        self.patch(tls_slots, "REFUSAL_LINGER_S", 0.01)
        silent = self.connect()
        await until(lambda: ended(silent) and len(self.factory().denials) == 1)
        await self.acceptor.stopService()
        self.assertEqual(self.factory().denials, {})
        stubborn.close()

    def factory(self) -> Any:
        (listener,) = self.acceptor._endpoints.values()
        return listener.bridges

    async def test_certificates(self) -> None:
        self.start_tls()
        issue = self.authority.issue
        name = "web.example.com"
        cases: List[Any] = [
            (self.stranger.issue(name), "its CA is none of ours"),
            (issue(name, valid=(-3 * DAY, -DAY)), "it has expired"),
            (issue(name, valid=(DAY, 3 * DAY)), "it is not valid yet"),
            (issue(name, usages=[ExtendedKeyUsageOID.SERVER_AUTH]), "it is not meant for TLS clients"),
            (issue("api.example.com"), "its certificate is for 'api.example.com', which may join no pool here"),
            (issue("x.web.example.com"), "may join no pool here"),
            (issue("*.example.com"), "its certificate is for '*.example.com', which may join no pool here"),
            (issue("spiffe://web.example.com"), "may join no pool here"),
            (issue("ip:127.0.0.1"), "its certificate is for no host name or URI"),
            (issue(name, alternative=False), "its certificate has no subject alternative name"),
        ]
        for certificate, reason in cases:
            await self.refused("refused_certificate", reason, certificate)

    async def test_tls_1_2(self) -> None:
        self.start_tls()
        for certificate, reason in (
            (None, "it has shown no certificate"),
            (self.stranger.issue("web.example.com"), "its CA is none of ours"),
            (self.authority.issue("web.example.com", valid=(-3 * DAY, -timedelta(hours=1))), "it has expired"),
        ):
            context = self.context(certificate)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            await self.refused("refused_certificate", reason, context=context)

    async def test_no_certificate(self) -> None:
        self.start_tls()
        await self.refused("refused_certificate", "it has shown no certificate", context=self.context(None))

    async def test_a_self_made_authority_of_the_same_name(self) -> None:
        self.start_tls()
        impostor = Authority("CA", directory=tempfile.mkdtemp(dir=self.directory))
        await self.refused("refused_certificate", "its signature is wrong", impostor.issue("web.example.com"))

    async def test_a_pool_that_the_certificate_is_not_good_for(self) -> None:
        self.start_tls(self.pool(registration="proxy"), self.pool("api", "api.example.com", registration="proxy"))
        service = await self.dial()
        await service.send(build_registration("api", "x", None))
        self.assertEqual(await service.ended(), "in order")
        self.assertEqual((self.results(), self.results("api")), ({"refused_certificate": 1}, {}))
        self.assertIn("its certificate is not good for the pool it names", self.lines[-1])

    async def test_a_pool_that_is_not_there(self) -> None:
        self.start_tls(self.pool(registration="proxy"))
        service = await self.dial()
        await service.send(build_registration("nope", "x", None))
        await service.ended()
        self.assertEqual(self.results(), {"refused_pool": 1})

    async def test_a_token_that_is_wrong(self) -> None:
        self.start_tls(self.pool(registration="proxy", token="s3cret"))
        service = await self.dial()
        await service.send(build_registration("default", "x", "s3crez"))
        await service.ended()
        self.assertEqual(self.results(), {"refused_token": 1})

    async def test_garbage(self) -> None:
        self.start_tls()
        for number, data in enumerate(
            (b"GET / HTTP/1.1\r\n\r\n", build_registration("default", "x", None), b"\x80", b"\0" * 600), 1
        ):
            plain = self.connect()
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            await until(lambda: ended(plain))  # noqa: B023
            await until(lambda: sum(self.results().values()) == number)  # noqa: B023
        self.assertEqual(set(self.results()), {"refused_handshake", "gone"})
        await until(lambda: not self.bridges)

    async def test_old_protocols(self) -> None:
        """A hello for TLS 1.0 at most."""
        self.start_tls()
        plain = self.connect()
        ciphers = b"\x00\x02\xc0\x13"
        body = b"\x03\x01" + b"\0" * 32 + b"\x00" + ciphers + b"\x01\x00"
        hello = b"\x01" + len(body).to_bytes(3, "big") + body
        plain.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        await until(lambda: ended(plain))
        await until(lambda: self.results() == {"refused_handshake": 1})
        self.assertIn("unsupported protocol", self.lines[-1])

    async def test_it_hangs_up(self) -> None:
        self.start_tls()
        plain = self.connect()
        await until(lambda: self.bridges)
        plain.close()
        await until(lambda: self.results() == {"gone": 1})
        self.assertEqual(self.bridges, [])

    async def test_half_handshakes_held_open(self) -> None:
        """Nothing, a part of a hello, a whole one: each has its time, and no more."""
        self.start_tls(handshake=0.2)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = self.context(self.web).wrap_bio(incoming, outgoing, server_hostname="edge.example.com")
        self.assertRaises(ssl.SSLWantReadError, hello.do_handshake)
        data = outgoing.read()
        held = [self.connect() for _ in range(3)]
        for plain, part in zip(held, (b"", data[:40], data)):
            plain.sendall(part)
        await until(lambda: self.results() == {"handshake_timeout": 3})
        await until(lambda: not self.bridges)
        for plain in held:
            await until(lambda: ended(plain))  # noqa: B023
        self.assertEqual(
            self.lines, ["pool default: a slot from 127.0.0.1 was refused: its TLS handshake was not done in time"]
        )

    async def test_too_many_handshakes(self) -> None:
        self.patch(tls_slots, "MAX_HANDSHAKES", 2)
        self.start_tls()
        held = [self.connect() for _ in range(2)]
        await until(lambda: len(self.bridges) == 2)
        late = self.connect()
        await until(lambda: ended(late))
        self.assertEqual(self.results(), {"too_many": 1})
        held[0].close()
        await until(lambda: len(self.bridges) == 1)
        await self.registered()

    async def test_no_descriptors_left(self) -> None:
        def no_pair(*arguments: Any) -> None:
            raise OSError(24, "Too many open files")

        self.patch(tls_slots, "make_pair", no_pair)
        self.start_tls()
        await self.refused("no_descriptors", "too many open files", self.web)

    async def test_a_service_that_does_not_answer_the_end(self) -> None:
        """It is refused and stays: it is closed all the same."""
        self.start_tls()
        await self.dial(self.authority.issue("api.example.com"))
        await until(lambda: self.results() == {"refused_certificate": 1})
        await until(lambda: not self.bridges)

    async def test_a_session_is_not_resumed(self) -> None:
        """Each slot shows its certificate."""
        self.start_tls()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(self.web)
            context.maximum_version = version
            first = await self.dial(context=context)
            first.close_notify()
            await first.ended()
            again = await self.dial(context=context, session=first.socket.session)
            self.assertFalse(again.socket.session_reused)


class StartTests(TLSTestCase):
    """What keeps an acceptor from starting, and what is read again."""

    def mistake(self, config: Config) -> str:
        error = self.assertRaises(StartupError, AcceptorService, reactor, config)
        self.assertNotIn("\n", str(error))
        return str(error)

    async def test_what_is_missing(self) -> None:
        bare = PoolConfig("default", slots_tls=(LOCAL,))
        self.assertIn("needs service_names, and [acceptor] certificates", self.mistake(Config(pools={"default": bare})))
        self.assertIn(
            "slots_tls", self.mistake(Config(pools={"default": PoolConfig("default", slots=("tls:1:privateKey=x",))}))
        )

    async def test_files_that_can_not_be_used(self) -> None:
        config = self.config()
        for acceptor, words in (
            (
                AcceptorConfig(certificates=config.acceptor.certificates, client_ca="/nonexistent"),
                "client CA /nonexistent: no such file",
            ),
            (AcceptorConfig(certificates=config.acceptor.certificates, client_ca=self.edge.files.key), "holds no certificate"),
        ):
            self.assertIn(words, self.mistake(Config(acceptor=acceptor, pools=config.pools)))

    async def test_pools_that_register_differently(self) -> None:
        config = self.config(self.pool(), self.pool("b", registration="proxy"))
        self.assertIn("raw", self.mistake(config))

    async def test_read_again(self) -> None:
        """Another CA takes the place of the first one: its services may come, the others may not; who is there stays."""
        self.start_tls()
        (before,) = await self.registered()
        with open(self.authority.path, "wb") as file:
            file.write(self.stranger.pem)
        self.acceptor.configure(self.acceptor.acceptor.config)
        context = self.context(self.stranger.issue("web.example.com"))
        context.load_verify_locations(cadata=self.authority.pem.decode())
        await self.dial(context=context)
        await until(lambda: self.results() == {"ok": 2})
        context = self.context(None)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        context.load_cert_chain(self.web.files.chain, self.web.files.key)
        try:
            await (await self.dial(context=context)).ended()
        except OSError:
            pass
        await until(lambda: self.results() == {"ok": 2, "refused_certificate": 1})
        self.assertFalse(before.read())
        self.assertEqual(self.acceptor.certificate_ends()[0][:2], ("edge.example.com", "ecdsa"))

    async def test_they_come_and_go(self) -> None:
        """TLS where there was none, and none again: its certificates with it; who has registered stays."""
        secure = self.config(self.pool())
        plain = attr.evolve(secure, pools={"default": attr.evolve(self.pool(), slots_tls=(), slots=(LOCAL,))})
        self.acceptor = AcceptorService(reactor, plain)
        self.services.append(self.acceptor)
        self.acceptor.privilegedStartService()
        self.acceptor.startService()
        self.assertIsNone(self.acceptor.certificates)
        await self.acceptor.configure(secure)
        self.assertEqual([end[0] for end in self.acceptor.certificate_ends()], ["edge.example.com"])
        (service,) = await self.registered()
        await self.acceptor.configure(plain)
        self.assertEqual((self.acceptor.certificate_ends(), self.acceptor.tls_listeners), ([], []))
        self.assertEqual(self.acceptor.census()["default"]["idle"], 1)
        self.assertFalse(service.read())

    async def test_a_holder_is_granted_what_came_over_tls(self) -> None:
        self.start_tls()
        await self.registered()
        holder = RecordingHolder()
        self.holders.append(holder)
        holder.source = self.acceptor.local_source(holder)
        holder.ask(1.0)
        self.assertEqual(holder.sockets[0].family, socket.AF_UNIX)
        self.assertEqual(holder.sockets[0].type & socket.SOCK_STREAM, socket.SOCK_STREAM)
