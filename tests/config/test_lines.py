"""Tests for ``xproxy.config.lines``: where the keys of a TOML text stand."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xproxy.config.errors import Path
from xproxy.config.lines import Lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENT = r'''# [not.a.table] and no key = 1
title = "a # b"   # [neither]

[proxy]
http = [ "tcp:80", # "]"
  'tcp:81',

  """tcp:82""" ]
name = "x\"]#" ; # placeholder
[[routes]]   # the first
path = "/a"
redirect = { status = 301, location = "}, path = 1" }
[[routes]]
pool = """
[proxy]
name = 5
"""
deep.er."qu.oted".'lit eral' = 1

[ pools . "a.b" ]
slots = [[1], [
  2 ], [ { x = 1, y = [
  3] } ]]
[routes.respond]
status = 200
[[proxy.certificates]]
chain = """a"""""
key = \'\'\'b\'\'\'\'\'
[[proxy.certificates]]
chain = "b"
when = 1979-05-27 07:32:00 # a blank inside of a value
[limits]
body=1
	head	=	2
'''.replace("\\'", "'").replace(" ;", "")


class LinesTests(SynchronousTestCase):
    """One document with everything in it."""

    def test_it_is_toml(self) -> None:
        tomllib.loads(DOCUMENT)

    def test_lines(self) -> None:
        lines = Lines(DOCUMENT)
        expected: dict[Path, int] = {
            ("title",): 2,
            ("proxy",): 4,
            ("proxy", "http"): 5,
            ("proxy", "http", 0): 5,
            ("proxy", "http", 1): 6,
            ("proxy", "http", 2): 8,
            ("proxy", "name"): 9,
            ("routes", 0): 10,
            ("routes", 0, "path"): 11,
            ("routes", 0, "redirect", "status"): 12,
            ("routes", 0, "redirect", "location"): 12,
            ("routes", 1): 13,
            ("routes", 1, "pool"): 14,
            ("routes", 1, "deep", "er", "qu.oted", "lit eral"): 18,
            ("pools", "a.b"): 20,
            ("pools", "a.b", "slots"): 21,
            ("pools", "a.b", "slots", 1): 21,
            ("pools", "a.b", "slots", 1, 0): 22,
            ("pools", "a.b", "slots", 2, 0, "y", 0): 23,
            ("routes", 1, "respond"): 24,
            ("routes", 1, "respond", "status"): 25,
            ("proxy", "certificates", 0): 26,
            ("proxy", "certificates", 0, "chain"): 27,
            ("proxy", "certificates", 0, "key"): 28,
            ("proxy", "certificates", 1): 29,
            ("proxy", "certificates", 1, "chain"): 30,
            ("proxy", "certificates", 1, "when"): 31,
            ("limits", "body"): 33,
            ("limits", "head"): 34,
        }
        self.assertEqual({path: lines.of(path) for path in expected}, expected)

    def test_what_is_not_there_is_at_its_table(self) -> None:
        lines = Lines(DOCUMENT)
        for path, line in (
            (("proxy", "nothing"), 4),
            (("routes", 1, "redirect", "location"), 13),
            (("routes",), 10),
            (("pools",), 20),
            (("pools", "none"), 20),
            (("nothing", "at", "all"), 0),
            ((), 0),
        ):
            self.assertEqual(lines.of(path), line, path)

    def test_ends(self) -> None:
        for source, path, line in (
            ("", ("a",), 0),
            ("a=1", ("a",), 1),
            ("\r\n[a]\r\n\r\nb=1\r\n", ("a", "b"), 4),
            ("a=[]\nb={}", ("b",), 2),
            ('"a\\u0062" = 1', ("ab",), 1),
            ("[a]\n[a.b]\n[c]\n", ("c",), 3),
            ("[[a]]\n[[a.b]]\nc=1\n[[a]]\n[[a.b]]\nc=2\n[[a.b]]\nc=3\n", ("a", 1, "b", 1, "c"), 8),
        ):
            tomllib.loads(source)
            self.assertEqual(Lines(source).of(path), line, source)

    def test_as_deep_as_tomllib_goes(self) -> None:
        for depth in range(1, sys.getrecursionlimit(), 50):
            source = "a = 1\nx = " + "[" * depth + "]" * depth
            try:
                tomllib.loads(source)
            except RecursionError:
                break
            self.assertEqual((Lines(source).of(("a",)), Lines(source).of(("x",))), (1, 2))


BLANKS = st.sampled_from(["", " ", "\t ", "  "])
STRINGS = st.sampled_from(
    ['"a"', "'b'", '"]"', "'}'", '"#"', '"\\""', '"""\n[x]\n"""', "'''\nk = 1\n'''", '"\\\\"', '""""x"""', "''"]
)
SCALARS = st.one_of(STRINGS, st.sampled_from(["1", "-2.5", "true", "1979-05-27", "1979-05-27 07:32:00", "0x1F", "inf"]))
GAPS = st.sampled_from([" ", "\n", "\n\n  # ] , }\n", "\t"])


@st.composite
def arrays(draw: Any, values: Any) -> str:
    """An array, perhaps over several lines, with comments."""
    entries = draw(st.lists(values, max_size=3))
    text = "[" + draw(GAPS)
    for entry in entries:
        text += entry + draw(GAPS) + "," + draw(GAPS)
    return text + "]"


@st.composite
def inline_tables(draw: Any, values: Any) -> str:
    """An inline table, on one line but for its values."""
    entries = draw(st.lists(values, max_size=3))
    return "{" + ", ".join(f"k{number}{draw(BLANKS)}= {entry}" for number, entry in enumerate(entries)) + "}"


VALUES = st.recursive(SCALARS, lambda inner: st.one_of(arrays(inner), inline_tables(inner)), max_leaves=6)


def paths_of(value: object, path: Path = ()) -> list[Path]:
    """Every path in a parsed document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += paths_of(inner, (*path, number))
    return found


class GeneratedTests(SynchronousTestCase):
    """Documents made of pairs and headings, whose lines are known from their making."""

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.sampled_from(["pair", "table", "tables", "comment"]), VALUES, BLANKS), max_size=8))
    def test_every_key_is_found_in_its_line(self, parts: list[tuple[str, str, str]]) -> None:
        text, counts = "", 0
        table: Path = ()
        path: Path
        expected: dict[Path, int] = {}
        for number, (kind, value, blanks) in enumerate(parts):
            line = text.count("\n") + 1
            if kind == "comment":
                text += f"{blanks}# [x] = {{\n"
            elif kind == "pair":
                path = (*table, f"p{number}")
                text += f"{blanks}p{number}{blanks}={blanks}{value}{blanks}# ]\n"
                expected[path] = line
            elif kind == "table":
                table = (f"t{number}", "u")
                text += f"{blanks}[{blanks}t{number}{blanks}.{blanks}u{blanks}]\n"
                expected[table] = line
            else:
                table = ("many", counts)
                counts += 1
                text += f"{blanks}[[many]]{blanks}\n"
                expected[table] = line
        document = tomllib.loads(text)
        lines = Lines(text)
        self.assertEqual({path: lines.of(path) for path in expected}, expected, text)
        last = text.count("\n") + 1
        for path in paths_of(document):
            self.assertTrue(1 <= lines.of(path) <= last, (path, text))
            self.assertIn(path, lines.found(), text)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(alphabet="[]{}=.,\"'\\\n# ab1", max_size=40))
    def test_any_text(self, text: str) -> None:
        """What tomllib accepts is gone over to its end; what it does not accept is not gone over."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            return
        for path in paths_of(document):
            self.assertIn(path, Lines(text).found(), text)
