"""``--check`` and a start say the same: one table of configurations, run through both, short of listening."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import tempfile
from typing import Any, Union

import attr
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase

from tests.doubles.certificates import Authority
from xproxy.tap import xacceptor, xproxy

ANY = "tcp:0:interface=127.0.0.1"

BASE = f"""
[proxy]
http = ["{ANY}"]
admin = "none"
access_log = "none"
%s
[pools.default]
slots = ["{ANY}"]
%s
"""
"""A configuration that starts; more of the proxy, and more of the pool and everything after it."""

HTTPS = f'https = ["{ANY}"]\n' + 'certificates = [{{ chain = "{chain}", key = "{key}" }}]\n'

TLS = """
[acceptor]
client_ca = "{ca}"
[[acceptor.certificates]]
chain = "{chain}"
key = "{key}"
"""


def proxy(more: str) -> str:
    """A configuration with more lines in ``[proxy]``."""
    return BASE % (more, "")


def pool(more: str) -> str:
    """A configuration with more lines in ``[pools.default]``, or after it."""
    return BASE % ("", more)


FINE = {
    "as it is": pool(""),
    "an access log that is not there yet": BASE.replace('access_log = "none"', 'access_log = "{directory}/new.log"') % ("", ""),
    "an access log that is there": BASE.replace('access_log = "none"', 'access_log = "{file}"') % ("", ""),
    "pages": proxy('error_pages = "{directory}"'),
    "a handoff socket": pool('[acceptor]\nhandoff = "{directory}/h.sock"'),
    "a dead acceptor's socket": pool('[acceptor]\nhandoff = "{stale}"'),
    "certificates": proxy(
        f'https = ["{ANY}"]\ncertificates = [{{{{ chain = "{{chain}}", key = "{{key}}" }}}}]\nclient_ca = "{{ca}}"'
    ),
    "slots over TLS": pool(f'slots_tls = ["{ANY}"]\nservice_names = ["a"]\n{TLS}'),
    "two pools": pool('[pools.b]\n[[routes]]\npool = "default"\n[[routes]]\npath = "/b"\npool = "b"'),
    "everywhere, with a token": pool('token = "x"').replace(f'slots = ["{ANY}"]', 'slots = ["tcp:0"]'),
    "a UNIX socket": pool("").replace(f'slots = ["{ANY}"]', 'slots = ["unix:{directory}/s.sock"]'),
    "a token from a file": pool('token = {{ file = "{file}" }}'),
    "a name of this host": proxy("").replace("http = [", 'http = ["tcp:0:interface=localhost", '),
}
"""What both take."""

WRONG = {
    "a key": (proxy("htpt = []"), "proxy.htpt"),
    "a value": (pool("queue_limit = -1"), "pools.default.queue_limit"),
    "an endpoint": (proxy("").replace("http = [", 'http = ["80", '), "did you mean 'tcp:80'?"),
    "a kind of guard": (pool('[guards.office]\nkind = "nosuch"'), "no kind of guard called 'nosuch'"),
    "a domain of systemd": (proxy('https = ["systemd:domain=FOO:name=x"]'), "domain 'FOO'"),
    "two sockets of systemd in one": (proxy('https = ["systemd:domain=INET"]'), "one of name= and index="),
    "an interface": (proxy("").replace("http = [", 'http = ["tcp:0:interface=eth0.", '), "there is no interface 'eth0.'"),
    "PROXY headers from nobody": (proxy("proxy_protocol = true"), "proxy.proxy_protocol: needs trusted_proxies"),
    "PROXY headers from nobody, by endpoint": (proxy("").replace("http = [", f'http = ["haproxy:{ANY}", '), "trusted_proxies"),
    "https without a certificate": (proxy(f'https = ["{ANY}"]'), "proxy.https: needs a certificate"),
    "a certificate that is not there": (
        proxy(HTTPS.replace("{chain}", "{directory}/none.pem")),
        "proxy.certificates[0].chain: certificate",
    ),
    "a key of another certificate": (
        proxy(HTTPS.replace("{key}", "{other}")),
        "proxy.certificates[0].key: key",
    ),
    "CAs that are none": (
        proxy(HTTPS + 'client_ca = "{key}"'),
        "proxy.client_ca",
    ),
    "CAs that are not there": (
        proxy(HTTPS + 'client_ca = "/nowhere"'),
        "proxy.client_ca",
    ),
    "an access log in no directory": (
        BASE.replace('access_log = "none"', 'access_log = "{directory}/no/a.log"') % ("", ""),
        "proxy.access_log: cannot write",
    ),
    "an access log that is a directory": (
        BASE.replace('access_log = "none"', 'access_log = "{directory}"') % ("", ""),
        "proxy.access_log: cannot write",
    ),
    "an access log that nobody reads": (
        BASE.replace('access_log = "none"', 'access_log = "{fifo}"') % ("", ""),
        "proxy.access_log: cannot write",
    ),
    "no pages": (proxy('error_pages = "{directory}/no"'), "proxy.error_pages: cannot use"),
    "pages that are too large": (proxy('error_pages = "{large}"'), "proxy.error_pages: cannot use"),
    "a handoff socket in no directory": (pool('[acceptor]\nhandoff = "{directory}/no/h.sock"'), "acceptor.handoff: path"),
    "a handoff socket where a file is": (pool('[acceptor]\nhandoff = "{file}"'), "is not a socket"),
    "a handoff socket below a file": (pool('[acceptor]\nhandoff = "{file}/h"'), "not a directory"),
    "a UNIX socket in no directory": (proxy("").replace("http = [", 'http = ["unix:{directory}/no/x", '), "no directory"),
    "a UNIX socket where a file is": (proxy("").replace("http = [", 'http = ["unix:{file}", '), "is not a socket"),
    "slots that the world can reach": (
        pool("").replace(f'slots = ["{ANY}"]', 'slots = ["tcp:0"]'),
        "can be reached from other hosts",
    ),
    "slots that bring TLS": (pool("").replace(f'slots = ["{ANY}"]', 'slots = ["ssl:0"]'), "without TLS"),
    "slots over TLS without anything": (pool(f'slots_tls = ["{ANY}"]'), "needs a certificate"),
    "slots over TLS without certificates": (
        pool(f'slots_tls = ["{ANY}"]\nservice_names = ["a"]\n{TLS}').replace("{chain}", "/nowhere"),
        "acceptor.certificates[0].chain",
    ),
    "slots over TLS without CAs": (
        pool(f'slots_tls = ["{ANY}"]\nservice_names = ["a"]\n{TLS}').replace("{ca}", "/nowhere"),
        "acceptor.client_ca",
    ),
    "two kinds of registration": (
        pool(f'[pools.b]\nslots = ["{ANY}"]\nregistration = "raw"\n[[routes]]\n[[routes]]\npath = "/b"\npool = "b"'),
        "pools.b.registration",
    ),
    "no endpoint": (pool("").replace(f'slots = ["{ANY}"]', "slots = []"), "no endpoint leads to this pool"),
    "no route": (pool("[pools.b]\n"), "pools.b: no route leads to this pool"),
    "no pool": (pool('[[routes]]\npool = "b"'), "there is no pool 'b'"),
    "one place twice": (
        proxy("").replace("http = [", 'http = ["tcp:1:interface=127.0.0.1", "tcp:01:interface=127.0.0.1", '),
        "is the same place as",
    ),
    "a path that nobody can have": (pool('[[routes]]\npath = "/a/../b"'), "dot segments"),
    "a token from no file": (pool('token = {{ file = "{directory}/no" }}'), "cannot be read: no such file"),
    "a token from no variable": (pool('token = {{ env = "XPROXY_NO_SUCH" }}'), "no variable XPROXY_NO_SUCH"),
}
"""What both refuse, and what the line has in it."""


@attr.frozen
class Outcome:
    """How a command ended."""

    status: Union[int, str, None]
    """None: it would run on."""
    line: str
    """The first one on standard error, without what tells the two ways of saying it apart."""


class AgreementTests(TestCase):
    """``--check`` has exit status 0 for what starts, 1 and the same line for what does not."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="xproxy-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        authority = Authority(directory=self.directory)
        one, other = authority.issue().files, authority.issue().files
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(f"{self.directory}/stale.sock")
        stale.close()
        os.mkdir(f"{self.directory}/large")
        os.mkdir(f"{self.directory}/inner")
        os.mkfifo(f"{self.directory}/fifo")
        for name, size in (("large/502.html", 1024 * 1024 + 1), ("file", 3)):
            with open(f"{self.directory}/{name}", "wb") as file:
                file.write(b"x" * size)
        self.places = {
            "directory": f"{self.directory}/inner",
            "file": f"{self.directory}/file",
            "fifo": f"{self.directory}/fifo",
            "large": f"{self.directory}/large",
            "stale": f"{self.directory}/stale.sock",
            "ca": authority.path,
            "chain": one.chain,
            "key": one.key,
            "other": other.key,
        }

    def configuration(self, text: str) -> str:
        name = f"{self.directory}/x.toml"
        with open(name, "w", encoding="utf-8") as file:
            file.write(text.format(**self.places))
        return name

    def outcome(self, status: Union[int, str, None], errors: io.StringIO) -> Outcome:
        first = errors.getvalue().partition("\n")[0]
        for start in ("xproxy: ", "xacceptor: "):
            first = first[len(start) :] if first.startswith(start) else first
        return Outcome(status, first.partition(" (and ")[0])

    def streams(self) -> io.StringIO:
        errors = io.StringIO()
        for name in ("stderr", "__stderr__"):
            self.patch(sys, name, errors)
        for name in ("stdout", "__stdout__"):
            self.patch(sys, name, io.StringIO())
        return errors

    def check(self, command: Any, *words: str) -> Outcome:
        """``--check``, which leaves everything as it was."""
        errors = self.streams()
        before = self.listing()
        end = self.assertRaises(SystemExit, command.Options().parseOptions, ["--check", *words])
        self.assertEqual(self.listing(), before)
        return self.outcome(end.code, errors)

    def listing(self) -> list[tuple[str, int]]:
        inner = self.places["directory"]
        return sorted((name, os.stat(f"{root}/{name}").st_ino) for root in (self.directory, inner) for name in os.listdir(root))

    async def start(self, command: Any, *words: str) -> Outcome:
        """A start, up to the moment when everything listens."""
        errors = self.streams()
        self.patch(signal, "signal", lambda number, call: None)
        try:
            options = command.Options()
            options.parseOptions(list(words))
            tree = command.makeService(options)
        except SystemExit as end:
            return self.outcome(end.code, errors)
        try:
            tree.privilegedStartService()
            tree.startService()
        except SystemExit as end:
            return self.outcome(end.code, errors)
        finally:
            await maybeDeferred(tree.stopService)
        return self.outcome(None, errors)

    async def agree(self, command: Any, *words: str) -> Outcome:
        checked = self.check(command, *words)
        started = await self.start(command, *words)
        self.assertEqual(checked.line, started.line)
        self.assertEqual((checked.status, started.status), (1, 1) if checked.line else (0, None))
        return checked

    async def test_what_starts(self) -> None:
        for name, text in FINE.items():
            outcome = await self.agree(xproxy, "--config", self.configuration(text))
            self.assertEqual(outcome.line, "", name)

    async def test_what_does_not(self) -> None:
        for name, (text, part) in WRONG.items():
            file = self.configuration(text)
            outcome = await self.agree(xproxy, "--config", file)
            self.assertIn(part, outcome.line, name)
            self.assertRegex(outcome.line, r"x\.toml:\d+: [a-z]", name)

    async def test_an_acceptor_alone(self) -> None:
        fine = ("--handoff", f"{self.directory}/h.sock", "--config")
        for text in (pool(""), pool("[pools.b]\n[pools.c]"), proxy("proxy_protocol = true"), proxy(f'https = ["{ANY}"]')):
            self.assertEqual((await self.agree(xacceptor, *fine, self.configuration(text))).line, "")
        for name in ("an endpoint", "no endpoint", "slots that the world can reach", "slots over TLS without CAs", "no pool"):
            text, part = WRONG[name]
            self.assertIn(part, (await self.agree(xacceptor, *fine, self.configuration(text))).line, name)
        for words, part in (
            (("--handoff", f"{self.directory}/no/h.sock"), "acceptor.handoff: path"),
            (("--handoff", self.places["file"]), "is not a socket"),
            ((), "--handoff is missing"),
        ):
            self.assertIn(part, (await self.agree(xacceptor, *words, "--config", self.configuration(pool("")))).line)

    async def test_behind_another_acceptor(self) -> None:
        """What is about slots is that acceptor's; the acceptor must be there."""
        live = socket.socket(socket.AF_UNIX)
        self.addCleanup(live.close)
        live.bind(f"{self.directory}/live.sock")
        live.listen()
        fine = ("--acceptor", f"{self.directory}/live.sock", "--config")
        for name in ("no endpoint", "slots that the world can reach", "slots over TLS without CAs"):
            self.assertEqual((await self.agree(xproxy, *fine, self.configuration(WRONG[name][0]))).line, "", name)
        for name in ("no route", "https without a certificate", "no pages"):
            text, part = WRONG[name]
            self.assertIn(part, (await self.agree(xproxy, *fine, self.configuration(text))).line, name)
        config = self.configuration(pool(""))
        for path, part in (
            (f"{self.directory}/nothing", "does not exist: is the acceptor running?"),
            (self.places["stale"], "is stale"),
            (self.places["file"], "is not a socket"),
        ):
            self.assertIn("--acceptor: handoff ", (await self.agree(xproxy, "--acceptor", path, "--config", config)).line)
            self.assertIn(part, (await self.agree(xproxy, "--acceptor", path, "--config", config)).line)

    async def test_options(self) -> None:
        base = ("--http", ANY, "--admin", "none")
        for words, part in (
            (("--slots", ANY), ""),
            (("--slots", "tcp:0"), "can be reached from other hosts"),
            (("--slots", "tcp:0", "--allow", "10.0.0.0/8"), ""),
            (("--slots", ANY, "--https", ANY), "proxy.https: needs a certificate"),
            (("--slots", ANY, "--https", ANY, "--self-signed"), ""),
            (("--slots", ANY, "--self-signed"), "--self-signed needs --https"),
            (("--slots", ANY, "--http", "tcp:1", "--http", "tcp:1"), "is the same place as"),
            (("--slots", "unix:/nowhere/x"), "no directory"),
        ):
            config = self.configuration('[proxy]\naccess_log = "none"\n')
            outcome = await self.agree(xproxy, "--config", config, *base, *words)
            self.assertIn(part, outcome.line)
            self.assertEqual(bool(part), bool(outcome.line))

    def test_a_running_acceptor_does_not_mind(self) -> None:
        """What is in use is in use: that is seen by whoever listens, and a running program can be checked."""
        live = socket.socket(socket.AF_UNIX)
        self.addCleanup(live.close)
        live.bind(f"{self.directory}/live.sock")
        live.listen()
        text = pool(f'[acceptor]\nhandoff = "{self.directory}/live.sock"')
        self.assertEqual(self.check(xproxy, "--config", self.configuration(text)), Outcome(0, ""))
        live.setblocking(False)
        self.assertRaises(BlockingIOError, live.accept)

    def test_an_ocsp_response_that_can_not_be_used(self) -> None:
        """Without it everything goes on, so it is no mistake."""
        issued = Authority().issue("localhost").write(self.directory)
        text = f'[[proxy.certificates]]\nchain = "{issued.chain}"\nkey = "{issued.key}"\nocsp = "{self.directory}/none"\n'
        config = self.configuration(proxy('https = ["tcp:0"]') + text)
        checked = self.check(xproxy, "--config", config)
        reason = f"OCSP response {self.directory}/none: no such file or directory; nothing is stapled to localhost"
        self.assertEqual((checked.status, checked.line), (0, f"{config}: {reason}"))

    async def test_sockets_of_systemd(self) -> None:
        """Outside of their unit ``--check`` says that it has not looked; a start needs them."""
        text = proxy("").replace("http = [", 'http = ["systemd:domain=INET:name=http", ')
        config = self.configuration(text)
        checked = self.check(xproxy, "--config", config)
        self.assertEqual(checked.status, 0)
        said = "systemd:domain=INET:name=http is passed by systemd to the unit only, and was not looked at"
        self.assertEqual(checked.line, f"{config}: {said}")
        started = await self.start(xproxy, "--config", config)
        self.assertIn("proxy.http[0]: bad endpoint", started.line)
        self.assertIn("systemd has not passed such a socket", started.line)
        self.patch(os, "environ", {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"})
        self.assertEqual(self.check(xproxy, "--config", config), started)
