"""In which line of a TOML text a key, a table or an entry of a list stands, which tomllib does not tell.

The scanner goes over a text that tomllib has accepted, and sees no more of it than where keys and values begin and end. What it
does not find (a key that is not there) is looked for at the table that would have it.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Optional

import attr

from .errors import ConfigError, Mistake, Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_REST_OF_LINE = re.compile(r"[^\n]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # up to two quotation marks may stand before the closing ones
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class Lines:
    """The lines of one text."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: Optional[dict[Path, int]] = None

    def found(self) -> Mapping[Path, int]:
        """The line of each path that is in the text; it is gone over when that is asked for the first time."""
        if self._found is None:
            self._found = _Scan(self._source).found
        return self._found

    def of(self, path: Path) -> int:
        """The line of a path, from 1: that of the nearest table above where the text has none; 0: there is no such table."""
        found = self.found()
        for length in range(len(path), 0, -1):
            line = found.get(path[:length])
            if line is not None:
                return line
        return 0


@attr.frozen
class Source:
    """Where a configuration comes from, for messages."""

    file: str = ""
    """Its name as it was given; empty: there is no file."""
    lines: Lines = attr.field(factory=lambda: Lines(""), repr=False)

    def error(self, mistakes: Sequence[Mistake]) -> ConfigError:
        """The mistakes with their lines, in the order of the lines."""
        placed = [attr.evolve(mistake, line=self.lines.of(mistake.path)) for mistake in mistakes]
        return ConfigError(self.file, sorted(placed, key=lambda mistake: mistake.line))


class _Scan:
    """One pass over a text."""

    def __init__(self, source: str) -> None:
        self.found: dict[Path, int] = {}
        self._source = source
        self._newlines = [match.start() for match in re.finditer("\n", source)]
        self._arrays: dict[Path, int] = {}
        self._at = 0
        table: Path = ()
        try:
            self._skip(_GAP)
            while self._at < len(source):
                if self._next() == "[":
                    table = self._header()
                else:
                    self._pair(table)
                self._skip(_REST_OF_LINE)
                self._skip(_GAP)
        except RecursionError:
            pass  # tomllib's own depth was nearly reached: what lies that deep is told by the line of its table.

    def _next(self) -> str:
        return self._source[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._source, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _note(self, path: Path) -> None:
        self.found.setdefault(path, bisect_right(self._newlines, self._at - 1) + 1)

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``: the path of the table that begins."""
        many = self._source.startswith("[[", self._at)
        start, self._at = self._at, self._at + 1 + many
        keys = self._keys()
        self._at = start
        path: Path = ()
        for number, key in enumerate(keys, 1):
            path += (key,)
            self._note(path)
            if many and number == len(keys):
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path += (self._arrays[path],)
                self._note(path)
        return path

    def _keys(self) -> list[str]:
        """A key, perhaps with dots."""
        keys = []
        while True:
            self._skip(_BLANKS)
            written = self._skip(_KEY)
            keys.append(tomllib.loads(f"key = {written}")["key"] if written[:1] in ("'", '"') else written)
            self._skip(_BLANKS)
            if self._next() != ".":
                return keys
            self._at += 1

    def _pair(self, table: Path) -> None:
        """``a.b = value``."""
        start = self._at
        keys = self._keys()
        end, self._at = self._at + 1, start  # behind the equals sign
        for number in range(1, len(keys) + 1):
            self._note((*table, *keys[:number]))
        self._at = end
        self._skip(_BLANKS)
        self._value((*table, *keys))

    def _value(self, path: Path) -> None:
        self._note(path)
        if self._next() == "[":
            self._entries(path, "]")
        elif self._next() == "{":
            self._entries(path, "}")
        elif not self._skip(_STRING):
            self._skip(_SCALAR)

    def _entries(self, path: Path, end: str) -> None:
        """``[value, ...]`` or ``{key = value, ...}``."""
        self._at += 1
        number = 0
        while True:
            self._skip(_GAP)
            if self._next() in (end, ""):
                self._at += 1
                return
            if self._next() == ",":
                self._at += 1
            elif end == "]":
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
