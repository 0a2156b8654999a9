"""What happens follows from what came in: nothing is done in the order of a set, and nobody helps himself to time or chance.

A set of objects is in the order of their addresses, one of texts in that of a seed which each process draws: two runs that
should be the same are not (``tests/world``), and a fault that was seen once is not seen again.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Iterator, List, Set, Tuple

from twisted.trial.unittest import SynchronousTestCase

import xproxy

ROOT = Path(xproxy.__file__).parent

SETS = {"Set", "FrozenSet", "AbstractSet", "MutableSet", "set", "frozenset"}

PLAIN = {"int", "str", "bytes", "State"}
"""What sets may be of: what is the same in each run."""

CHANCE = {
    "random": {"random"},
    "secrets": {"token_hex"},
    "time": {"time", "monotonic", "perf_counter"},
    "os": {"urandom"},
    "uuid": {"uuid1", "uuid4"},
}
"""Where time and chance come from, by module."""


@cache
def modules() -> List[Tuple[str, ast.Module]]:
    """The modules of xproxy, by path."""
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))) for path in sorted(ROOT.rglob("*.py"))]


def is_set(annotation: ast.expr) -> bool:
    """Whether an annotation says that something is a set."""
    return isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") in SETS


def sets_of_objects(module: ast.Module) -> Iterator[int]:
    """The lines that say something is a set of what has no order of its own."""
    for node in ast.walk(module):
        if isinstance(node, ast.Subscript) and is_set(node):
            named = {name.id for name in ast.walk(node.slice) if isinstance(name, ast.Name)} - {"Tuple"}
            if not named <= PLAIN:
                yield node.lineno


def iterated_sets(module: ast.Module) -> Iterator[int]:
    """The lines that go through something that the module calls a set, and not in sorted order."""
    names: Set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.AnnAssign) and is_set(node.annotation):
            names.add(getattr(node.target, "attr", getattr(node.target, "id", "")))
        elif isinstance(node, ast.arg) and node.annotation is not None and is_set(node.annotation):
            names.add(node.arg)
    for node in ast.walk(module):
        gone_through: List[ast.expr] = []
        if isinstance(node, (ast.For, ast.comprehension)):
            gone_through = [node.iter]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("list", "tuple", "next", "iter", "enumerate"):
            gone_through = node.args
        for each in gone_through:
            if getattr(each, "attr", getattr(each, "id", "")) in names or isinstance(each, (ast.Set, ast.SetComp)):
                yield each.lineno


def chance(module: ast.Module) -> Iterator[int]:
    """The lines that call for time or chance, and not as the default of a parameter."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in CHANCE.get(node.module or "", ())
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
                if function.attr in CHANCE.get(function.value.id, ()):
                    yield node.lineno
            elif isinstance(function, ast.Name) and function.id in imported and not is_parameter(module, function.id, node):
                yield node.lineno


def is_parameter(module: ast.Module, name: str, call: ast.Call) -> bool:
    """Whether a name is that of a parameter of a function around the call."""
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and call in ast.walk(node):
            arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
            if name in {argument.arg for argument in arguments}:
                return True
    return False


class OrderTests(SynchronousTestCase):
    """What the modules of xproxy say."""

    def found(self, look: object) -> List[str]:
        assert callable(look)
        return [f"{path}:{line}" for path, module in modules() for line in look(module)]

    def test_no_sets_of_objects(self) -> None:
        """A dict with None for values is as quick, and in the order of its making."""
        self.assertEqual(self.found(sets_of_objects), [])

    def test_no_way_through_a_set(self) -> None:
        """Not of texts either."""
        self.assertEqual(self.found(iterated_sets), [])

    def test_time_and_chance_are_passed_in(self) -> None:
        """But for the name that a service gives itself, and the commands, where they come from."""
        allowed = ("service/introduction.py", "tap/")
        self.assertEqual([place for place in self.found(chance) if not place.startswith(allowed)], [])

    def test_what_is_looked_for_is_found(self) -> None:
        """These looks see what they should."""
        seen = ast.parse(
            "import time\nfrom random import random\n"
            "def f(names: Set[str], random=random):\n    members: Set[Slot] = set()\n    random()\n"
            "    for name in names:\n        time.time()\n"
            "def g():\n    random()\n"
        )
        self.assertEqual(list(sets_of_objects(seen)), [4])
        self.assertEqual(list(iterated_sets(seen)), [6])
        self.assertEqual(sorted(chance(seen)), [7, 9])
