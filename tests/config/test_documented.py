"""Every piece of configuration in the documentation is understood."""

from __future__ import annotations

import re
import textwrap

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

    def test_examples_of_draining(self) -> None:
        """For systemd and for Kubernetes: who starts the program waits longer for its end than that takes."""
        kubernetes = (ROOT / "etc/kubernetes.yaml").read_text(encoding="utf-8")
        embedded = re.search(r"xproxy\.toml: \|\n((?:    .*\n|\n)+)", kubernetes)
        waits = re.search(r"terminationGracePeriodSeconds: (\d+)", kubernetes)
        unit = re.search(
            r"^TimeoutStopSec=(\d+)s", (ROOT / "etc/systemd/xproxy.service").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert embedded is not None and waits is not None and unit is not None
        for source, waits_s in (
            (textwrap.dedent(embedded[1]), int(waits[1])),
            ((ROOT / "etc/systemd/xproxy.toml").read_text(encoding="utf-8"), int(unit[1])),
        ):
            proxy = from_toml(source, "an example").proxy
            self.assertEqual(proxy.drain_delay, 5.0)
            self.assertGreater(waits_s, proxy.drain_delay + proxy.drain_timeout)
