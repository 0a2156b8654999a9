"""Every command line in the documentation and in ``etc/`` is understood. Nothing is started: the tests of the tour do that."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

from twisted.application.twist._options import TwistOptions
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import Options
from twisted.scripts._twistd_unix import ServerOptions
from twisted.web import tap as web

from tests.doubles.certificates import Authority
from tests.doubles.commands import CommandTestCase
from xproxy.config.reference import ROOT
from xproxy.startup import StartupError
from xproxy.tap import xacceptor, xproxy, xrelay

BLOCK = re.compile(r"^ *```(?:\w+\n.*?|\n(.*?))^ *```$", re.MULTILINE | re.DOTALL)
"""Nothing, where it says of which language it is."""

UNIT = re.compile(r"^Exec\w+=(.*)$", re.MULTILINE)

MANIFEST = re.compile(r"^ +command: \[(.*)\]$", re.MULTILINE)

LINE = re.compile(r"^(?:\w+=\S+ )*(?:/\S+/)?((?:twistd|twist|daphne) .*)$")


def lines_of(text: str, found: re.Pattern[str]) -> Iterator[list[str]]:
    """The words of each line in these blocks that begins with a command of Twisted's or daphne's."""
    for block in found.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            command = LINE.match(line.replace(", ", " ") if found is MANIFEST else line)
            if command is not None:
                yield shlex.split(command[1], comments=True)


def documented() -> Iterator[tuple[str, list[str]]]:
    """Where each command line stands, and its words."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    units = sorted((ROOT / "etc/systemd").glob("*.service"))
    for paths, found in ((pages, BLOCK), (units, UNIT), ([ROOT / "etc/kubernetes.yaml"], MANIFEST)):
        for path in paths:
            for words in lines_of(path.read_text("utf-8"), found):
                yield path.name, words


class DocumentedTests(CommandTestCase):
    """``twistd`` and ``twist`` as their own parsers understand them, listen strings as endpoints."""

    def setUp(self) -> None:
        super().setUp()
        self.here = self.mktemp()
        os.mkdir(self.here)
        os.mkdir(f"{self.here}/roots")
        authority = Authority()
        authority.issue("web.services.example.com").write(self.here, "web")
        for path in ("roots/ca.pem", "empty.toml"):
            with open(f"{self.here}/{path}", "wb") as file:
                file.write(authority.pem if path.endswith(".pem") else b"")

    def placed(self, words: list[str]) -> list[str]:
        """With files of ours, an empty configuration for any, and without what looks at the machine or loads an application."""
        text = shlex.join(word for word in words if word != "--check")
        text = re.sub(r"--config \S+", f"--config {self.here}/empty.toml", text)
        text = re.sub(r"--(wsgi|path) \S+", f"--path {self.here}", text)
        return shlex.split(re.sub(r"=(web\.pem|web\.key|roots)\b", rf"={self.here}/\1", text))

    def listens(self, description: str) -> None:
        """The listen string is one of ours."""
        self.assertTrue(description.startswith("slots:"), description)
        serverFromString(MemoryReactorClock(), description)

    def understood(self, words: list[str]) -> str:
        """Have the command understand them; gives what it starts."""
        program, *rest = self.placed(words)
        if program == "daphne":
            self.listens(rest[rest.index("-e") + 1])
            return program
        options: Options = ServerOptions() if program == "twistd" else TwistOptions()
        options.parseOptions(rest)
        sub = options.subOptions
        if isinstance(sub, xrelay.Options):
            xrelay.relay_services(MemoryReactorClock(), sub)
        elif isinstance(sub, web.Options):
            for description in sub["ports"]:
                self.listens(description)
        else:
            self.assertIsInstance(sub, (xproxy.Options, xacceptor.Options))
        return f"{program} {options.subCommand}"

    def test_they_are_understood(self) -> None:
        found = set()
        for page, words in documented():
            try:
                found.add((page, self.understood(words)))
            except (SystemExit, Exception) as error:  # noqa: BLE001 - said with the line that was not understood
                self.fail(f"{page}: {shlex.join(words)}: {error} {self.err.getvalue()}")
        expected = {
            ("README.md", "twistd xacceptor"),
            ("service.md", "twistd xrelay"),
            ("service.md", "daphne"),
            ("slots-over-tls.md", "twist web"),
            ("operations.md", "twistd xproxy"),
            ("xproxy.service", "twistd xproxy"),
            ("xacceptor.service", "twistd xacceptor"),
            ("kubernetes.yaml", "twistd xproxy"),
        }
        self.assertEqual(expected - found, set())

    def test_mistakes_are_seen(self) -> None:
        """An option, a listen string, a description that is wrong."""
        for line, mistake in (
            ("twistd -n xproxy --htpp tcp:8080", SystemExit),
            ("twistd -n xproxy --http 8080", SystemExit),
            ("twistd -n xacceptor", SystemExit),
            ("twistd -n xrelay --backend tcp:127.0.0.1:8000 --slots slots:tcp:127.0.0.1:9999:count=many", StartupError),
            ("daphne -e slots:tcp:127.0.0.1:9999 a:b", ValueError),
            ("twist web --listen slots:tcp:9999:count=1", ValueError),
        ):
            self.assertRaises(mistake, self.understood, shlex.split(line))
