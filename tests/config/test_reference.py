"""The sample configuration and the manual are made from the schema, are fresh, and say what the code does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attr
from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import Config, RedirectConfig, RouteConfig, from_toml
from xproxy.config.reference import MANUAL, ROOT, SAMPLE, TABLES, default_of, main, manual, sample, tables_in, toml
from xproxy.config.schema import HEADINGS, SECTIONS, Key, Table, keys_of

DEFAULT = re.compile(r"^#(?=[a-z0-9_]+ = )", re.MULTILINE)

EXAMPLE = re.compile(r"^#e\.g\. ", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


class FreshTests(SynchronousTestCase):
    """``make reference`` was run."""

    def test_both(self) -> None:
        self.assertEqual(sample(), read(SAMPLE), "run make reference")
        self.assertEqual(manual(read(MANUAL)), read(MANUAL), "run make reference")
        self.assertEqual(main(["--check"]), 0)

    def test_the_manual_has_a_table_of_each_section(self) -> None:
        self.assertEqual(sorted(tables_in(read(MANUAL))), sorted(TABLES))

    def test_a_table_that_there_is_not(self) -> None:
        self.assertRaises(KeyError, manual, "<!-- keys of [nothing], by make reference -->\n<!-- end of keys -->")

    def test_the_words_of_the_command_line(self) -> None:
        """Nobody is told to install the package of that name on PyPI, which is somebody else's."""
        self.assertNotIn("pip install xproxy\n", read(MANUAL))


class SchemaTests(SynchronousTestCase):
    """Each key has what an entry must have."""

    def keys(self) -> Mapping[str, Key]:
        found: dict[str, Key] = {}
        for heading, shape in TABLES.items():
            found.update({f"{heading} {name}": key for name, key in keys_of(shape).items()})
        return found

    def test_every_key_is_explained(self) -> None:
        for name, key in self.keys().items():
            self.assertTrue(key.meaning.endswith("."), name)
            if not isinstance(key.check, Table):
                self.assertTrue(key.check.allowed and key.check.brief, name)

    def test_every_key_has_a_default_a_word_or_an_example(self) -> None:
        for name, key in self.keys().items():
            if not isinstance(key.check, Table):
                self.assertTrue(default_of(key) or key.unset or key.needed, name)
                self.assertTrue(default_of(key) or key.example, name)

    def test_defaults_and_examples_pass_their_own_check(self) -> None:
        for name, key in self.keys().items():
            if isinstance(key.check, Table):
                continue
            for written in filter(None, (default_of(key), key.example)):
                if written == '""':
                    continue  # A token that is none.
                value: Any = from_toml_value(written)
                self.assertEqual(toml(key.check.to_toml(key.check(value))), written, name)

    def test_every_field_of_a_section_is_a_key_or_known_to_be_none(self) -> None:
        for shape in HEADINGS.values():
            others = {field.name for field in attr.fields(shape)} - set(keys_of(shape))
            self.assertTrue(others <= {"name", "self_signed", "allow_given", "shares", "given"}, others)

    def test_every_section_is_in_the_tree(self) -> None:
        self.assertTrue(set(SECTIONS) <= {field.name for field in attr.fields(Config)})


def from_toml_value(written: str) -> object:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(f"x = {written}")["x"]


class SampleTests(SynchronousTestCase):
    """``etc/xproxy.toml``."""

    def tree(self, source: str) -> Config:
        return attr.evolve(from_toml(source, SAMPLE), file=None)

    def test_as_it_is(self) -> None:
        self.assertEqual(self.tree(sample()), Config())

    def test_what_it_shows_are_the_defaults(self) -> None:
        shown = self.tree(DEFAULT.sub("", sample()))
        pool = attr.evolve(Config().pools["default"], allow_given=True)
        self.assertEqual(shown, attr.evolve(Config(), pools={"default": pool}))

    def test_its_examples_are_understood(self) -> None:
        token = self.mktemp()
        with open(token, "w", encoding="utf-8") as file:
            file.write("abc\n")
        shown = self.tree(EXAMPLE.sub("", DEFAULT.sub("", sample())).replace("/run/secrets/api-token", token))
        self.assertEqual(shown.acceptor.handoff, "/run/xproxy/handoff.sock")
        self.assertEqual(list(shown.pools), ["default", "api", "remote"])
        self.assertEqual(shown.pools["api"].token, "abc")
        self.assertEqual(len(shown.routes), 5)
        self.assertEqual(shown.routes[0], RouteConfig(hsts="max-age=31536000; includeSubDomains"))
        self.assertEqual(shown.routes[3].redirect, RedirectConfig("https://www.example.com{target}", 308))

    def test_it_has_every_key(self) -> None:
        parts = re.split(r"^(?:#e\.g\. )?(?=\[)", sample(), flags=re.MULTILINE)
        for heading, shape in HEADINGS.items():
            part = "".join(part for part in parts if part.startswith(heading.partition("NAME")[0]))
            for name, key in keys_of(shape).items():
                if not (isinstance(key.check, Table) and key.check.many):
                    self.assertRegex(part, rf"(?m)^(#|#e\.g\. ){name} = ", f"{heading} {name}")

    def test_its_lines_are_short_enough(self) -> None:
        self.assertTrue(all(len(line) <= 128 for line in sample().split("\n")))
