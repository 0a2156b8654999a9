"""The sample configuration and the documentation say what the code does: every key, and every default."""

from __future__ import annotations

import os
import re
from pathlib import Path

import attr
from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import Config, RedirectConfig, RouteConfig
from xproxy.config.keys import REDIRECT, RESPOND, SHAPES
from xproxy.config.reading import from_toml

ROOT = Path(__file__).resolve().parents[2]

SAMPLE = (ROOT / "etc" / "xproxy.toml").read_text(encoding="utf-8")

MANUAL = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

DEFAULT = re.compile(r"^#(?=[a-z0-9_]+ = )", re.MULTILINE)

EXAMPLE = re.compile(r"^#e\.g\. ", re.MULTILINE)


class SampleTests(SynchronousTestCase):
    """``etc/xproxy.toml``."""

    def read(self, source: str) -> Config:
        return attr.evolve(from_toml(source, "etc/xproxy.toml"), file=None)

    def test_as_it_is(self) -> None:
        self.assertEqual(self.read(SAMPLE), Config())

    def test_what_it_shows_are_the_defaults(self) -> None:
        shown = self.read(DEFAULT.sub("", SAMPLE))
        pool = attr.evolve(Config().pools["default"], allow_given=True)
        self.assertEqual(shown, attr.evolve(Config(), pools={"default": pool}))

    def test_its_examples_are_understood(self) -> None:
        pages = self.mktemp()
        os.mkdir(pages)
        shown = self.read(EXAMPLE.sub("", DEFAULT.sub("", SAMPLE)).replace("/etc/xproxy/errors", pages))
        self.assertEqual(shown.acceptor.handoff, "/run/xproxy/handoff.sock")
        self.assertEqual(list(shown.pools), ["default", "api", "remote"])
        self.assertEqual(len(shown.routes), 4)
        self.assertEqual(shown.routes[0], RouteConfig(hsts="max-age=31536000; includeSubDomains"))
        self.assertEqual(shown.routes[2].redirect, RedirectConfig("https://www.example.com{target}", 308))

    def test_it_has_every_key(self) -> None:
        parts = re.split(r"^(?:#e\.g\. )?(?=\[)", SAMPLE, flags=re.MULTILINE)
        for shape, keys in SHAPES.items():
            heading = shape.replace("[pools.NAME]", "[pools.")
            part = "".join(part for part in parts if part.startswith(heading))
            shown = [key for key in keys if f"[[{shape.strip('[]')}.{key}]]" not in SHAPES]
            missing = [key for key in shown if not re.search(rf"^(#|#e\.g\. ){key} = ", part, re.MULTILINE)]
            self.assertEqual(missing, [], shape)


class ManualTests(SynchronousTestCase):
    """``docs/configuration.md``."""

    def test_it_explains_every_key(self) -> None:
        parts = {part.partition("\n")[0].strip(" `"): part for part in re.split(r"^## ", MANUAL, flags=re.MULTILINE)}
        for shape, keys in SHAPES.items():
            explained = re.findall(r"^\| `([a-z0-9_]+)` \|", parts[shape], re.MULTILINE)
            self.assertEqual(explained, list(keys), shape)

    def test_it_explains_what_a_route_answers_by_itself(self) -> None:
        for keys in (REDIRECT, RESPOND):
            for key in keys:
                self.assertIn(f"`{key}`", MANUAL)

    def test_its_defaults_are_those_of_the_code(self) -> None:
        """A default in the manual's tables is written as in TOML."""
        parts = re.split(r"^## ", MANUAL, flags=re.MULTILINE)
        shown = []
        for part in parts:
            heading = part.partition("\n")[0].strip(" `").replace("NAME", "default")
            if heading.startswith("[") and not heading.endswith(".certificates]]"):  # Its keys have no defaults.
                rows = re.findall(r"^\| `([a-z0-9_]+)` \| `([^`]+)` \|", part, re.MULTILINE)
                shown.append("\n".join([heading, *(f"{key} = {default}" for key, default in rows)]))
        pool = attr.evolve(Config().pools["default"], allow_given=True)
        read = attr.evolve(from_toml("\n".join(shown), "docs/configuration.md"), file=None)
        self.assertEqual(read, attr.evolve(Config(), pools={"default": pool}))
