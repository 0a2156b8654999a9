"""What is said of a text that is not TOML: tomllib's words, the line where messages have it, and a guess at the slip."""

from __future__ import annotations

import re

from .errors import Mistake

_PLACE = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)")

_OTHER_FORMATS = (
    ("JSON", re.compile(r"\s*\{")),
    ("the format of nginx or Caddy", re.compile(r"(?:\s*#.*\n)*\s*[\w.:*/-]+(?:[ \t]+[^\s{=]+)*[ \t]*\{\s*$", re.MULTILINE)),
    ("YAML", re.compile(r"(?:\s*#.*\n)*\s*(?:---\s*$|[\w-]+:(?:\s|$))", re.MULTILINE)),
    (
        "the format of HAProxy",
        re.compile(r"(?:\s*#.*\n)*\s*(?:global|defaults|frontend \S+|backend \S+|listen \S+)\s*$", re.MULTILINE),
    ),
)


def not_toml(said: str, source: str) -> Mistake:
    """The mistake that tomllib tells by ``said``."""
    place = _PLACE.search(said)
    reason = _PLACE.sub("", said)
    if place is None:
        return Mistake((), f"not TOML: {reason}")
    if place[1] is None:
        return Mistake((), f"not TOML: {reason} (at the end of the file)", source.count("\n") + (source[-1:] != "\n"))
    line, column = int(place[1]), int(place[2])
    hint = _hint(reason, source, source.split("\n")[line - 1])
    return Mistake((), f"not TOML: {reason} (at line {line}, column {column}){hint}", line)


def _hint(reason: str, source: str, line: str) -> str:
    for name, pattern in _OTHER_FORMATS:
        if pattern.match(source):
            return f"; this looks like {name}, a configuration is TOML: docs/configuration.md"
    if re.match(r"[^=]*=\s*[\w/*:.-]", line) and ("value" in reason.lower() or "statement" in reason):
        return "; a text needs quotes"
    if re.match(r"\s*[\w.-]+\s*(:|\s+[^=\s])", line):
        return "; = goes between a key and its value"
    return ""
