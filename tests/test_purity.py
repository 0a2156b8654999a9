"""The packages that are fuzzed, modelled and simulated touch nothing of the world: no sockets, clock, log, threads, reactor."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, Set

from twisted.trial.unittest import TestCase

import xproxy

ROOT = Path(xproxy.__file__).parent
PURE = ("http1", "http2", "slots")

ALLOWED = frozenset(
    {
        "__future__",
        "attr",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "enum",
        "functools",
        "heapq",
        "hpack",
        "ipaddress",
        "itertools",
        "math",
        "operator",
        "re",
        "struct",
        "typing",
    }
)
"""Everything else is refused, so that nobody has to think of all that is impure."""

BUILTINS = frozenset({"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"})


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The full names of all modules that a module imports, wherever in it; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            if base == ["xproxy"]:
                for alias in node.names:
                    yield f"xproxy.{alias.name}"
            else:
                yield ".".join(base)


def impurities(source: str, package: str) -> Set[str]:
    """What a module of a pure package uses that it may not."""
    tree = ast.parse(source)
    found = set()
    for name in imported(tree, package):
        parts = name.split(".")
        if parts[0] == "xproxy":
            if len(parts) < 2 or parts[1] not in PURE:
                found.add(name)
        elif parts[0] not in ALLOWED:
            found.add(name)
    found.update(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in BUILTINS)
    return found


class PurityTests(TestCase):
    def test_pure_packages(self) -> None:
        for package in PURE:
            files = sorted((ROOT / package).rglob("*.py"))
            self.assertGreater(len(files), 1, package)
            for path in files:
                inside = ".".join(("xproxy", *path.relative_to(ROOT).parts[:-1]))
                self.assertEqual(impurities(path.read_text("utf-8"), inside), set(), str(path))

    def test_what_is_found(self) -> None:
        """The walk sees imports in functions, from-imports, relative imports and calls."""
        for source, found in (
            ("import struct, ipaddress\nfrom math import isfinite\nfrom . import waits\nfrom ..http1 import request", set()),
            ("from xproxy.slots.book import PoolBook\nfrom xproxy import slots", set()),
            ("def f():\n    import socket.timeout", {"socket.timeout"}),
            ("import os.path, time", {"os.path", "time"}),
            ("from twisted.internet import reactor", {"twisted.internet"}),
            ("from logging import *", {"logging"}),
            ("from ..acceptor import acceptor", {"xproxy.acceptor"}),
            ("from .. import config", {"xproxy.config"}),
            ("from xproxy import metrics", {"xproxy.metrics"}),
            ("import xproxy", {"xproxy"}),
            ("open('x')", {"open"}),
        ):
            self.assertEqual(impurities(source, "xproxy.slots"), found, source)
