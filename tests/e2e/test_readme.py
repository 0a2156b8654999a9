"""The README's tour, block by block, as a stranger types it: in an empty directory, with nothing but the commands on the PATH.

Only the ports are others, so that a tour needs none that is in use.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Dict, List, Optional
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.clients import Response, ask
from tests.e2e.processes import PYTHON, Program, Xproxy, configuration, twist

ROOT = Path(__file__).parents[2]

PORTS = ("8080", "8081", "8443", "9999", "9901", "8000")
"""What the README names."""


def blocks(kind: str = "", page: str = "README.md") -> List[str]:
    """The fenced blocks of a page, of this language."""
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language == kind]


def block(beginning: str, kind: str = "") -> str:
    """The one that begins so."""
    (found,) = [block for block in blocks(kind) if block.startswith(beginning)]
    return found


def free_ports(count: int) -> List[str]:
    """Ports that nobody has."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [str(each.getsockname()[1]) for each in taken]
    finally:
        for each in taken:
            each.close()


class TourTests(SynchronousTestCase):
    """Each block works as it stands there."""

    def setUp(self) -> None:
        if shutil.which("twistd", path=str(Path(PYTHON).parent)) is None:
            raise SkipTest("the commands are not beside this Python")
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.environment = {"PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}"}

    def own(self, text: str) -> str:
        """With ports of our own."""
        return re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda found: self.ports[found[0]], text)

    def run_block(self, text: str, files: Optional[Dict[str, str]] = None) -> Program:
        """Type it."""
        names = " && ".join(f'printf %s "${{FILE_{number}}}" > {name}' for number, name in enumerate(files or {}))
        more = {f"FILE_{number}": content for number, content in enumerate((files or {}).values())}
        *before, last = self.own(text).strip().splitlines()
        script = "\n".join([*([names] if names else []), *before, re.sub(r"^((?:\w+=\S+ )*)", r"\1exec ", last)])
        return Program(self, ["sh", "-c", script.replace("exec ", "exec env ", 1)], {**self.environment, **more})

    def proxy(self) -> Program:
        """The first block of the tour."""
        said = block("twistd -n xproxy  ").partition("#")
        usual = "--http tcp:8080:interface=127.0.0.1 --slots tcp:9999:interface=127.0.0.1 --admin tcp:9901:interface=127.0.0.1"
        program = self.run_block(f"{said[0].strip()} {usual}")
        program.said("admin at")
        return program

    def get(self, port: str = "8080", method: str = "GET") -> Response:
        """What a client is answered."""
        return ask(("127.0.0.1", int(self.ports[port])), "/", method)

    def answered(self, service: Program, text: bytes) -> None:
        """The service is there, and answers, a HEAD too."""
        service.eventually(lambda: b'"slots": 0' not in self.status(), "slots")
        for method in ("GET", "HEAD", "POST", "GET"):
            answer = self.get(method=method)
            self.assertIn(answer.status, (200, 405, 501), f"{method}\n{service.story()}")
            if method == "GET":
                self.assertIn(text, answer.body)
        self.assertIsNone(service.process.poll())

    def status(self) -> bytes:
        """What ``curl`` shows."""
        return ask(("127.0.0.1", int(self.ports["9901"])), "/status").body

    def test_web(self) -> None:
        self.proxy()
        service = self.run_block(block("twist web --path"), {"index.html": "from a file"})
        self.answered(service, b"from a file")

    def test_wsgi(self) -> None:
        self.proxy()
        service = self.run_block(block("PYTHONPATH=. twist web --wsgi"), {"app.py": block("def app", "python")})
        self.answered(service, b"hello from WSGI")

    def test_relay(self) -> None:
        self.proxy()
        backend = self.run_block(block("python3 -m http.server").replace("python3", f"{sys.executable} -u"))
        backend.said("Serving HTTP")
        self.answered(self.run_block(block("twistd -n xrelay")), b"Directory listing")

    def test_raw(self) -> None:
        """And it is there again when its slot was closed."""
        proxy = self.proxy()
        service = self.run_block(f"{PYTHON} slot.py", {"slot.py": self.own(block("import socket", "python"))})
        self.answered(service, b"hello")
        proxy.kill()
        self.proxy()
        self.answered(service, b"hello")

    def test_https(self) -> None:
        text = block("twistd -n xproxy --https").partition("#")[0].strip()
        ports = "--http tcp:8080:interface=127.0.0.1 --slots tcp:9999:interface=127.0.0.1 --admin none"
        self.run_block(f"{text} {ports}").said(f"https://127.0.0.1:{self.ports['8443']}/")

    def test_two_proxies(self) -> None:
        """With the handoff socket somewhere else, lest two tours meet."""
        text = block("twistd -n xacceptor").replace("/tmp/handoff.sock", "h.sock").splitlines()
        acceptor, first, second = text
        self.assertEqual(len(text), 3)
        directory = self.run_block(f"{acceptor} --slots tcp:9999:interface=127.0.0.1")
        directory.said("handoff at")
        there = os.path.relpath(directory.directory / "h.sock", "/")
        for command, port in ((first + " --admin none", "8080"), (second, "8081")):
            self.run_block(command.replace("h.sock", f"/{there}")).said("proxy at")
            self.assertIn(self.ports[port], command.replace(port, self.ports[port]))
        service = self.run_block(block("twist web --path"), {"index.html": "from a file"})
        service.eventually(lambda: self.get().status != 503, "a service")  # It may need longer than clients wait for one.
        for port in ("8080", "8081"):
            self.assertEqual(self.get(port).body, b"from a file")

    def test_nothing_of_strangers(self) -> None:
        """The ``xproxy`` on PyPI is not ours."""
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
            self.assertNotRegex(page.read_text("utf-8"), r"pip install xproxy(?!-)")


class ChallengeTests(SynchronousTestCase):
    """What docs/tls.md says about an ACME client."""

    def test_http_01(self) -> None:
        """The client's file is found by the authority, before there is a certificate and when all else is redirected."""
        (text,) = [text for text in blocks("toml", "docs/tls.md") if "[pools.acme]" in text]
        (commands,) = [text for text in blocks(page="docs/tls.md") if "pool=acme" in text]
        slots, *_ = free_ports(1)
        port = f'slots = ["tcp:{slots}:interface=127.0.0.1"]'
        text = text.replace("tcp:80", "tcp:0:interface=127.0.0.1").replace("[pools.default]", f"[pools.default]\n{port}")
        text = text.replace("[pools.acme]", f"[pools.acme]\n{port}")
        later = text.replace("[proxy]\n", '[proxy]\nhttps = ["tcp:0:interface=127.0.0.1"]\n')
        later = later.replace('[[routes]]\npool = "default"\n', '[[routes]]\npool = "default"\nredirect_https = true\n')
        self.assertNotEqual(text, later)
        (service,) = [line for line in commands.splitlines() if line.startswith("twist web")]
        words = service.replace("/var/www/acme", ".").replace(":9999:", f":{slots}:").split()[1:]
        acme = twist(self, *words)
        path = acme.directory / ".well-known" / "acme-challenge"
        path.mkdir(parents=True)
        (path / "token").write_text("token.thumbprint", "utf-8")
        for config, redirects, more in ((text, False, ()), (later, True, ("--self-signed",))):
            proxy = Xproxy(self, "--config", configuration(self, config), "--admin", "tcp:0:interface=127.0.0.1", *more).ready()
            proxy.has("acme", slots=1)
            answer = ask(proxy.http, "/.well-known/acme-challenge/token")
            self.assertEqual((answer.status, answer.body), (200, b"token.thumbprint"))
            if redirects:
                self.assertEqual(ask(proxy.http, "/").status, 301)
            self.assertEqual(0, proxy.stop())
