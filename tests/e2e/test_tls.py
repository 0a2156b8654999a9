"""HTTPS as operators set it up and other people's clients use it: curl, openssl, httpx, websockets, h2load, testssl.sh."""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import importlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.certificates import CLIENT, DAY, NOW, Authority, Issued, rsa_key
from tests.e2e.clients import PATIENCE_S, ask
from tests.e2e.played import ProxyCase, Recorder, wait_for
from tests.e2e.processes import Xproxy, configuration
from tests.e2e.services import respond
from tests.e2e.test_upgrade import ServerProtocol, websocket
from tests.e2e.wire import Message
from tests.tls.test_stapling import response

AUTHORITY = Authority()

HOME = Path(tempfile.mkdtemp(prefix="xproxy-tls-"))
atexit.register(shutil.rmtree, HOME)

CA = HOME / "ca.pem"
CA.write_bytes(AUTHORITY.pem)

LARGE = os.urandom(1000) * 5000


def certificates(*named: Tuple[str, Issued]) -> str:
    """The configuration of certificates, whose files are written."""
    files = [(issued.write(str(HOME), name), HOME / f"{name}.ocsp") for name, issued in named]
    return "\n".join(
        f'[[proxy.certificates]]\nchain = "{one.chain}"\nkey = "{one.key}"' + (f'\nocsp = "{ocsp}"' if ocsp.exists() else "")
        for one, ocsp in files
    )


@functools.cache
def both_kinds() -> str:
    """Two that most tests have, written once: the proxy that they share would read them again, and forget its ticket keys."""
    names = ("localhost", "example.com", "*.wild.example")
    return certificates(("ec", AUTHORITY.issue(*names)), ("rsa", AUTHORITY.issue(*names, key=rsa_key())))


def answer(request: Message) -> bytes:
    """What the service says, by target."""
    if request.target == "/large":
        return respond(LARGE)
    return respond(f"{request.method} {request.target} {hashlib.sha256(request.body).hexdigest()}".encode())


def echoed(method: str, target: str, body: bytes = b"") -> str:
    """What it says otherwise."""
    return f"{method} {target} {hashlib.sha256(body).hexdigest()}"


class TLSCase(ProxyCase):
    """A proxy with HTTPS on a port of its own choice, and four slots."""

    options = ""
    """Of ``[proxy]``."""

    sections = ""
    """Further ones."""

    def setUp(self) -> None:
        self.begin(f'[proxy]\nhttps = ["tcp:0:interface=127.0.0.1"]\n{self.options}\n{both_kinds()}\n{self.sections}')

    def begin(self, more: str, fresh: bool = False) -> None:
        """Start, or take what is there."""
        self.start(more=more, fresh=fresh)
        found = self.proxy.said(r"\bproxy +(?:at )?https://([\d.]+):(\d+)/?$")
        self.secure = found[1], int(found[2])
        self.url = f"https://localhost:{self.secure[1]}"

    def serve_echo(self, count: int = 4) -> Recorder:
        """The service."""
        recorder = Recorder(answer)
        self.serve(recorder, count)
        return recorder

    def need(self, name: str) -> Any:
        """A package, or the skipping of the test."""
        try:
            return importlib.import_module(name)
        except ImportError:
            self.skipTest(f"the package {name} is not installed")

    def run_tool(self, *arguments: str, status: Optional[int] = 0, given: bytes = b"", limit_s: float = PATIENCE_S) -> str:
        """What a program prints; the skipping of the test where it is not installed."""
        if shutil.which(arguments[0]) is None:
            self.skipTest(f"{arguments[0]} is not installed")
        done = subprocess.run(arguments, input=given, capture_output=True, timeout=limit_s, check=False)
        if status is not None:
            self.assertEqual(status, done.returncode, (arguments, done.stdout[-500:], done.stderr[-500:]))
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def curl(self, *arguments: str, status: int = 0) -> str:
        """What curl prints of a request with our CA."""
        return self.run_tool("curl", "-sS", "--cacert", str(CA), *arguments, status=status)

    def context(self) -> ssl.SSLContext:
        """Of Python's own TLS, trusting our CA."""
        return ssl.create_default_context(cafile=str(CA))

    def connect_tls(self, name: str = "localhost") -> ssl.SSLSocket:
        """A connection whose handshake is over."""
        plain = socket.create_connection(self.secure, PATIENCE_S)
        return self.context().wrap_socket(plain, server_hostname=name)

    def serial(self, name: str = "localhost") -> int:
        """Of the certificate that is shown for a name now."""
        with self.connect_tls(name) as tls:
            shown = tls.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


class CurlTests(TLSCase):
    """curl."""

    def test_versions_of_http(self) -> None:
        recorder = self.serve_echo()
        for option, version in (("--http1.1", "1.1"), ("--http2", "2"), ("--http1.0", "1.1")):
            told = self.curl(option, "-w", " %{http_version} %{http_code}", f"{self.url}/a?b")
            self.assertEqual(f"{echoed('GET', '/a?b')} {version} 200", told)
            self.assertEqual("https", recorder.last.headers["x-forwarded-proto"])

    def test_versions_of_tls(self) -> None:
        self.serve_echo()
        self.curl("--tls-max", "1.2", self.url)
        self.curl("--tlsv1.3", self.url)
        told = self.curl("--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", self.url, status=35)
        self.assertIn("protocol version", told)

    def test_bodies(self) -> None:
        self.serve_echo()
        path = HOME / "body"
        path.write_bytes(LARGE)
        for option in ("--http1.1", "--http2"):
            told = self.curl(option, "--data-binary", f"@{path}", f"{self.url}/up")
            self.assertEqual(echoed("POST", "/up", LARGE), told)
            self.curl(option, "-o", str(HOME / "got"), f"{self.url}/large")
            self.assertEqual(LARGE, (HOME / "got").read_bytes())

    def test_many_at_once(self) -> None:
        recorder = self.serve_echo()
        self.curl("--http2", "-Z", "--parallel-max", "20", "-o", str(HOME / "many_#1"), f"{self.url}/[1-60]")
        self.assertEqual({f"/{number}" for number in range(1, 61)}, set(recorder.targets))

    def test_plain_http_on_the_https_port(self) -> None:
        told = self.curl("-w", " %{http_code}", self.url.replace("https", "http"))
        self.assertEqual("400 Bad Request: a plain HTTP request was sent to an HTTPS port\n 400", told)

    def test_names(self) -> None:
        self.serve_echo()
        port = self.secure[1]
        for name in ("example.com", "any.wild.example"):
            self.curl("--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/")
        told = self.curl("--resolve", f"other.example:{port}:127.0.0.1", f"https://other.example:{port}/", status=60)
        self.assertIn("other.example", told)


class OpenSSLTests(TLSCase):
    """openssl s_client."""

    def client(self, *arguments: str, given: bytes = b"", status: Optional[int] = 0) -> str:
        address = f"localhost:{self.secure[1]}"
        return self.run_tool(
            "openssl", "s_client", "-connect", address, "-CAfile", str(CA), *arguments, given=given, status=status
        )

    def test_sessions_are_resumed(self) -> None:
        told = self.client("-tls1_2", "-reconnect")
        self.assertEqual(5, told.count("Reused, TLSv1.2"))
        kept = str(HOME / "session")
        request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        self.serve_echo()
        self.client("-tls1_3", "-sess_out", kept, "-ign_eof", given=request)
        self.assertIn("Reused, TLSv1.3", self.client("-tls1_3", "-sess_in", kept, "-ign_eof", given=request))

    def test_both_kinds_of_certificates(self) -> None:
        for cipher, kind in (("ECDHE-RSA-AES128-GCM-SHA256", "RSA-PSS"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA")):
            told = self.client("-tls1_2", "-cipher", cipher)
            self.assertIn(f"Peer signature type: {kind}", told)
            self.assertIn("Verification: OK", told)

    def test_a_stapled_response(self) -> None:
        """To who asks for it, with the certificate that it is for; the other one has none."""
        issued = AUTHORITY.issue("localhost")
        (HOME / "stapled.ocsp").write_bytes(response(issued, AUTHORITY))
        pairs = certificates(("stapled", issued), ("without", AUTHORITY.issue("localhost", key=rsa_key())))
        self.begin(f'[proxy]\nhttps = ["tcp:0:interface=127.0.0.1"]\n{pairs}', fresh=True)
        said = f"{issued.certificate.serial_number:X}"
        for version in ("-tls1_2", "-tls1_3"):
            told = self.client(version, "-status", "-sigalgs", "ECDSA+SHA256")
            self.assertIn("OCSP Response Status: successful", told)
            self.assertRegex(told, f"Serial Number: 0*{said}\n")
            self.assertIn("Cert Status: good", told)
            self.assertIn("OCSP response: no response sent", self.client(version, "-status", "-sigalgs", "RSA-PSS+SHA256"))

    def test_new_keys_in_the_middle(self) -> None:
        """A key update (RFC 8446 section 4.6.3), which asks us for one too."""
        recorder = self.serve_echo()
        if shutil.which("openssl") is None:
            self.skipTest("openssl is not installed")
        arguments = ["openssl", "s_client", "-tls1_3", "-connect", f"localhost:{self.secure[1]}", "-CAfile", str(CA)]
        pipe = subprocess.PIPE
        with subprocess.Popen(arguments, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, bufsize=0) as client:
            assert client.stdin is not None and client.stderr is not None
            patience = threading.Timer(PATIENCE_S, client.kill)
            patience.start()
            for number in range(3):
                client.stdin.write(b"K\n")
                self.assertIn(b"KEYUPDATE\n", iter(client.stderr.readline, b""))
                client.stdin.write(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
                recorder.wait_for(number + 1)
            client.stdin.close()
            patience.cancel()
        self.assertEqual(["/0", "/1", "/2"], recorder.targets)

    def test_no_renegotiation(self) -> None:
        told = self.client("-tls1_2", given=b"R\n", status=None)
        self.assertIn("no renegotiation", told)

    def test_no_compression_no_old_ciphers(self) -> None:
        self.assertIn("Compression: NONE", self.client("-comp"))
        for cipher in ("AES128-SHA", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"):
            self.client("-tls1_2", "-cipher", cipher, status=1)


class PackageTests(TLSCase):
    """Python packages."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.collect)

    def test_httpx_with_http_2(self) -> None:
        httpx = self.need("httpx")
        self.need("h2")
        recorder = self.serve_echo()

        async def ask() -> List[Any]:
            async with httpx.AsyncClient(http2=True, verify=self.context(), timeout=PATIENCE_S) as client:
                return list(await asyncio.gather(*(client.post(f"{self.url}/{n}", content=b"x" * 1000 * n) for n in range(40))))

        answers = asyncio.run(ask())
        self.assertEqual({"HTTP/2"}, {one.http_version for one in answers})
        self.assertEqual([echoed("POST", f"/{n}", b"x" * 1000 * n) for n in range(40)], [one.text for one in answers])
        self.assertEqual(40, len(recorder.seen))
        self.assertLessEqual(self.proxy.pool()["most_in_flight"], 4)

    def test_requests(self) -> None:
        requests = self.need("requests")
        self.serve_echo()
        with requests.Session() as session:
            for number in range(5):
                told = session.get(f"{self.url}/{number}", verify=str(CA), timeout=PATIENCE_S)
                self.assertEqual(echoed("GET", f"/{number}"), told.text)

    def test_websockets(self) -> None:
        """With the asyncio client: the other reads and writes a TLS socket in two threads, for which OpenSSL is not made."""
        if ServerProtocol is None:
            self.skipTest("the package websockets is not installed")
        from websockets.asyncio.client import connect

        service = self.serve(websocket, 2)
        url = self.url.replace("https", "wss")

        async def converse(client: Any) -> None:
            for message in ("hello", "\u00fc" * 1000, os.urandom(300_000), b""):
                await client.send(message)
                assert await asyncio.wait_for(client.recv(), 20) == message

        async def both() -> None:
            async with (
                connect(url, ssl=self.context(), max_size=None) as one,
                connect(url, ssl=self.context(), max_size=None) as other,
            ):
                await asyncio.gather(converse(one), converse(other))

        asyncio.run(both())
        wait_for(lambda: service.dialled == 4, "two more slots")

    def test_h2load(self) -> None:
        self.serve_echo()
        told = self.run_tool("h2load", "-n", "600", "-c", "6", "-m", "20", f"{self.url}/")
        self.assertIn("600 succeeded, 0 failed, 0 errored, 0 timeout", told)

    def test_testssl(self) -> None:
        """Protocols and server preference; all of it (``make testssl``) takes two minutes."""
        name = "testssl" if shutil.which("testssl") else "testssl.sh"
        self.serve_echo()
        told = self.run_tool(
            name,
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "-p",
            "-P",
            f"localhost:{self.secure[1]}",
            status=None,
            limit_s=180.0,
        )
        self.assertRegex(told, r"TLS 1\.3 +offered \(OK\)")
        self.assertRegex(told, r"TLS 1\.2 +offered \(OK\)")
        self.assertRegex(told, r"Has server cipher order\? +yes \(OK\)")
        self.assertNotRegex(told, r"NOT ok|VULNERABLE|deprecated|WARN")


class HostileTests(TLSCase):
    """Clients that do not want to be served."""

    def test_descriptors_come_back(self) -> None:
        before = self.proxy.descriptors()
        held = [socket.create_connection(self.secure, PATIENCE_S) for _ in range(20)]
        for number, connection in enumerate(held):
            connection.sendall((b"\x16\x03\x01\x02\x00\x01", b"rubbish", b"GET / HTTP/1.0\r\n\r\n", b"\x80\x2e")[number % 4])
        for connection in held:
            connection.close()
        self.proxy.eventually(lambda: self.proxy.descriptors() <= before, "the descriptors to be closed")

    def test_what_is_said_of_them(self) -> None:
        for data in (b"rubbish", b"GET / HTTP/1.0\r\n\r\n"):
            with socket.create_connection(self.secure, PATIENCE_S) as connection:
                connection.sendall(data)
                while connection.recv(1000):
                    pass
        self.proxy.said(r"TLS handshake with 127\.0\.0\.1 failed: plain-http")
        self.proxy.said(r"TLS handshake with 127\.0\.0\.1 failed: \S+")
        self.assertGreaterEqual(self.proxy.metric("xproxy_tls_handshakes_total", outcome="plain-http"), 1)


class SlowHandshakeTests(TLSCase):
    """Half a handshake, held open."""

    sections = "[timeouts]\nhandshake = 0.5"

    def test_it_is_ended(self) -> None:
        with socket.create_connection(self.secure, PATIENCE_S) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")
            with self.assertRaises(ConnectionResetError):
                connection.recv(1000)
        self.proxy.said(r"TLS handshake with 127\.0\.0\.1 failed: timeout")


class ClientCertificateTests(TLSCase):
    """Clients that have to say who they are."""

    options = f'client_ca = "{CA}"\nclient_subject_header = "X-Who"'

    def test_curl_with_and_without(self) -> None:
        recorder = self.serve_echo()
        files = AUTHORITY.issue("bob", usages=CLIENT).write(str(HOME), "bob")
        for option in ("--http1.1", "--http2"):
            self.curl(
                option, "--cert", files.chain, "--key", files.key, "-H", "X-Who: CN=root", "-H", "x_who: CN=root", self.url
            )
            self.assertEqual("CN=bob", recorder.last.headers["x-who"])
            self.assertNotIn("x_who", recorder.last.headers)
        before = len(recorder.seen)
        self.curl("--http1.1", self.url, status=56)
        self.assertEqual(before, len(recorder.seen))
        self.run_tool("curl", "-sS", "-H", "X-Who: CN=root", "http://{}:{}".format(*self.proxy.http))
        self.assertNotIn("x-who", recorder.last.headers)


class BalancedTests(TLSCase):
    """A balancer in front."""

    options = 'trusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true'

    def test_curl_as_a_balancer(self) -> None:
        recorder = self.serve_echo()
        for url in (self.url, "http://{}:{}".format(*self.proxy.http)):
            self.curl("--haproxy-protocol", url)
            self.assertEqual("127.0.0.1", recorder.last.headers["x-forwarded-for"])

    def test_another_address_in_two_pieces(self) -> None:
        recorder = self.serve_echo()
        with socket.create_connection(self.proxy.http, PATIENCE_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"PROXY TCP4 203.0.113.7 10")
            wait_for(lambda: self.proxy.status()["connections"].get("handshake"), "the balancer")
            connection.sendall(b".0.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while connection.recv(1000):
                pass
        self.assertEqual("203.0.113.7", recorder.last.headers["x-forwarded-for"])
        self.proxy.said(r"^203\.0\.113\.7 - - .*\"GET / HTTP/1\.1\" 200 ")


class RedirectTests(TLSCase):
    """From HTTP to HTTPS, and to stay there."""

    sections = '[[routes]]\nredirect_https = true\nhsts = "max-age=63072000"'

    def test_it(self) -> None:
        self.serve_echo()
        told = self.curl("-D", "-", "http://{}:{}/a?b=c".format(*self.proxy.http))
        self.assertIn("HTTP/1.1 301 Moved Permanently", told)
        self.assertIn("Location: https://127.0.0.1/a?b=c", told)
        self.assertNotIn("Strict-Transport-Security", told)
        for option in ("--http1.1", "--http2"):
            self.assertIn("strict-transport-security: max-age=63072000", self.curl(option, "-D", "-", self.url).lower())


class ReloadTests(TLSCase):
    """Certificates that are replaced while the proxy runs."""

    def setUp(self) -> None:
        self.pair = AUTHORITY.issue("localhost")
        self.begin('[proxy]\nhttps = ["tcp:0:interface=127.0.0.1"]\n' + certificates(("renewed", self.pair)), fresh=True)

    def renew(self) -> int:
        before = self.serial()
        AUTHORITY.issue("localhost").write(str(HOME), "renewed")
        return before

    def test_by_signal(self) -> None:
        """An open connection goes on with what it has."""
        self.serve_echo()
        with self.connect_tls() as tls:
            before = self.renew()
            self.proxy.signal(signal.SIGHUP)
            self.proxy.said("certificates read again: localhost")
            self.assertNotEqual(before, self.serial())
            tls.sendall(b"GET /still HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            told = b"".join(iter(lambda: tls.recv(1000), b""))
        self.assertTrue(told.endswith(echoed("GET", "/still").encode()))
        metrics = ask(self.proxy.admin, "/metrics").body.decode()
        (expires,) = re.findall(
            r'^xproxy_certificate_expiry_seconds{kind="ecdsa",name="localhost"} (\S+)$', metrics, re.MULTILINE
        )
        self.assertEqual((NOW + 90 * DAY).timestamp(), float(expires))

    def test_by_itself(self) -> None:
        before = self.renew()
        self.proxy.said("certificates read again: localhost")
        self.assertNotEqual(before, self.serial())

    def test_the_hook_of_an_acme_client(self) -> None:
        """What is shipped for certbot, as certbot runs it."""
        before = self.serial()
        lineage, pid_file = HOME / "live" / "renewed", HOME / "pid"
        lineage.mkdir(parents=True, exist_ok=True)
        fresh = AUTHORITY.issue("localhost")
        (lineage / "fullchain.pem").write_bytes(fresh.chain)
        (lineage / "privkey.pem").write_bytes(fresh.key)
        pid_file.write_text(str(self.proxy.process.pid), encoding="ascii")
        settings = {"XPROXY_TLS": str(HOME), "XPROXY_UNIT": "", "XPROXY_PID_FILE": str(pid_file)}
        settings["XPROXY_GROUP"] = str(os.getgid())
        hook = Path(__file__).parents[2] / "etc" / "certbot-deploy-hook.sh"
        subprocess.run([hook], env={**os.environ, **settings, "RENEWED_LINEAGE": str(lineage)}, timeout=PATIENCE_S, check=True)
        self.proxy.said("certificates read again: localhost")
        self.assertNotEqual(before, self.serial())
        self.assertEqual(0o640, (HOME / "renewed.key").stat().st_mode & 0o777)

    def test_a_broken_one(self) -> None:
        before = self.serial()
        (HOME / "renewed.pem").write_bytes(b"broken")
        self.proxy.signal(signal.SIGHUP)
        self.proxy.said(
            r"nothing has changed: \S+: proxy\.certificates\[0\]\.chain: .*renewed\.pem: holds no certificate in PEM"
        )
        self.assertEqual(before, self.serial())


class CommandTests(SynchronousTestCase):
    """The command line, and what is wrong at the start."""

    def refused(self, program: Xproxy) -> str:
        """The one line with which it ends."""
        self.assertEqual(1, program.exit_status(), program.story())
        (line,) = program.errors
        return line

    def config(self, issued: Issued, name: str = "bad", change: Sequence[Tuple[str, bytes]] = ()) -> Tuple[str, str]:
        text = '[proxy]\nhttps = ["tcp:0:interface=127.0.0.1"]\n' + certificates((name, issued))
        for file, content in change:
            (HOME / file).write_bytes(content)
        return "--config", configuration(self, text)

    def test_self_signed(self) -> None:
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        proxy = Xproxy(self, "--https", "tcp:0:interface=127.0.0.1", "--self-signed", "--demo")
        url = proxy.said(r"proxy +(https://\S+)")[1]
        proxy.said("made on the spot, for trying out")
        done = subprocess.run(["curl", "-sk", url], capture_output=True, timeout=PATIENCE_S, check=True)
        self.assertIn(b"X-Forwarded-Proto: https", done.stdout)
        proxy.signal(signal.SIGHUP)
        proxy.said("the configuration is read again: generation 2")
        self.assertEqual(0, proxy.stop())

    def test_a_hangup_where_there_are_no_certificates(self) -> None:
        proxy = Xproxy(self).ready()
        proxy.signal(signal.SIGHUP)
        proxy.said("SIGHUP: the logs are opened again")
        self.assertEqual(0, proxy.stop())

    def test_an_expired_certificate(self) -> None:
        """It keeps nobody from starting; it is said in the log and by ``/status``."""
        proxy = Xproxy(self, *self.config(AUTHORITY.issue(valid=(-9 * DAY, -DAY)))).ready()
        proxy.said(r"#warn\] certificate \S+bad\.pem \(\S+\) has expired on .* UTC")
        (shown,) = proxy.status()["certificates"]
        self.assertEqual((shown["kind"], shown["expired"]), ("ecdsa", True))
        self.assertEqual(0, proxy.stop())

    def test_mistakes(self) -> None:
        good = AUTHORITY.issue()
        cases: Tuple[Tuple[Tuple[str, ...], str], ...] = (
            (("--https", "tcp:0"), r"xproxy: proxy\.https: needs a certificate: .*"),
            (("--self-signed",), r"xproxy: --self-signed needs --https"),
            (
                ("--https", "ssl:443", "--self-signed"),
                r"xproxy: --https: must be an endpoint description without TLS, .* it brings TLS of its own, .*",
            ),
            (
                self.config(good, "worse", [("worse.key", AUTHORITY.issue().key)]),
                r"xproxy: \S+:\d: \S+\.key: key \S+worse\.key: does not belong to .*",
            ),
            (
                self.config(good, "worst", [("worst.pem", b"")]),
                r"xproxy: \S+:\d: \S+\.chain: certificate \S+worst\.pem: holds no certificate .*",
            ),
        )
        programs = [Xproxy(self, *arguments) for arguments, _ in cases]
        for program, (_, line) in zip(programs, cases):
            told = self.refused(program)
            self.assertTrue(re.fullmatch(line, told), told)
