"""Every piece of configuration in the documentation is understood."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import from_toml
from xproxy.config.reference import ROOT

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


class DocumentedTests(SynchronousTestCase):
    """The blocks of TOML in README.md and docs/."""

    def test_they_are_understood(self) -> None:
        token = self.mktemp()
        with open(token, "w", encoding="utf-8") as file:
            file.write("abc\n")
        environment = {"XPROXY_HTTP": "tcp:80"}
        count = 0
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
            for block in BLOCK.findall(page.read_text(encoding="utf-8")):
                source = re.sub(r'"/run/secrets/[^"]*"', f'"{token}"', block)
                from_toml(source, f"{page.name}: {block[:60]!r}", environment=environment)
                count += 1
        self.assertGreater(count, 5)
