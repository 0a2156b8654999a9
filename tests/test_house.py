"""Nothing grows past what can be read in one go: modules, classes, functions and folders have their sizes.

Those of the tests that are larger are named here, and no others may become so.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

MODULE_LINES = 400
CLASS_METHODS = 25
FUNCTION_LINES = 60
FOLDER_MODULES = 16

LARGER = {
    "tests/acceptor/test_bridge.py",
    "tests/acceptor/test_handoff_server.py",
    "tests/acceptor/test_loan.py",
    "tests/e2e/test_buffering.py",
    "tests/e2e/test_tls.py",
    "tests/handoff/test_handoff.py",
    "tests/http2/test_connection.py",
    "tests/proxy/clients/test_bodies.py",
    "tests/proxy/clients/test_bodies.py BodyMixin",
    "tests/proxy/clients/test_connection.py",
    "tests/proxy/clients/test_connection.py FrontMixin",
    "tests/proxy/clients/test_http2_stream.py",
    "tests/proxy/clients/test_http2_stream.py LimitTests",
    "tests/proxy/clients/test_https.py",
    "tests/proxy/clients/test_slow_clients.py",
    "tests/proxy/clients/test_ways_in.py",
    "tests/proxy/exchanges/test_leased_slot.py",
    "tests/proxy/exchanges/test_leased_slot.py SlotMixin",
    "tests/proxy/exchanges/test_pool.py",
    "tests/proxy/test_invariants.py",
    "tests/slots/test_book.py",
    "tests/tap/test_tree.py",
    "tests/world/process.py",
    "tests/world/test_takeover.py",
    "tests/e2e",
    "tests/http1",
}


def parts(name: str, source: str) -> Iterator[tuple[str, int, int]]:
    """The module, its classes and its functions: name, size, the most that it may have."""
    yield name, len(source.splitlines()), MODULE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
            yield f"{name} {node.name}", len(methods), CLASS_METHODS
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{name} {node.name}", (node.end_lineno or 0) - node.lineno + 1, FUNCTION_LINES


def too_large(folder: str) -> dict[str, int]:
    """Everything below this folder that is larger than it may be, by name, with its size."""
    found: dict[str, int] = {}
    modules: Counter[str] = Counter()
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        modules[path.parent.relative_to(ROOT).as_posix()] += path.name != "__init__.py"
        found.update((part, size) for part, size, most in parts(name, path.read_text("utf-8")) if size > most)
    found.update((place, size) for place, size in modules.items() if size > FOLDER_MODULES)
    return found


class SizeTests(SynchronousTestCase):
    """The sizes of what there is."""

    def test_the_program(self) -> None:
        self.assertEqual(too_large("xproxy"), {})

    def test_the_tests(self) -> None:
        found = too_large("tests")
        self.assertEqual({name: size for name, size in found.items() if name not in LARGER}, {})

    def test_what_is_found(self) -> None:
        """One more than there may be of each, and as many as there may be."""
        for more in (0, 1):
            methods = "".join(f"    def m{number}(self): ...\n" for number in range(CLASS_METHODS + more))
            body = "".join("    x()\n" for _ in range(FUNCTION_LINES - 1 + more))
            source = f"class C:\n{methods}async def f():\n{body}"
            source += "\n" * (MODULE_LINES - len(source.splitlines()) + more)
            found = [name for name, size, most in parts("m.py", source) if size > most]
            self.assertEqual(found, ["m.py", "m.py C", "m.py f"] if more else [])
