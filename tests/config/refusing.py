"""What tests of refusals share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import Config, ConfigError, Overrides, Role, from_toml

NOTHING: Mapping[str, str] = {}


class RefusingTestCase(SynchronousTestCase):
    """Configurations, and what is wrong with them."""

    environment: Mapping[str, str] = NOTHING

    def read(self, source: str, role: Role = Role.EMBEDDED, overrides: Optional[Overrides] = None) -> Config:
        """The tree."""
        return from_toml(source, "x.toml", overrides, role, self.environment)

    def lines(self, source: str, role: Role = Role.EMBEDDED, overrides: Optional[Overrides] = None) -> list[str]:
        """What is wrong with ``source``, one line for each mistake, without the name of the file."""
        error = self.assertRaises(ConfigError, self.read, source, role, overrides)
        lines = str(error).split("\n")
        for line in lines:
            self.assertTrue(line.startswith("x.toml:"), line)
        return [line[len("x.toml:") :].lstrip() for line in lines]

    def refuses(self, source: str, *expected: str) -> None:
        """It is refused, with exactly these lines."""
        self.assertEqual(self.lines(source), list(expected))

    def refused(self, source: str) -> str:
        """The one line that it is refused with."""
        (line,) = self.lines(source)
        return line
