"""Guards in front of a route: whether a request may pass, and with which changes.

A guard is made by a plugin (``interfaces.IGuardMaker``) and named by routes; ``hearing`` asks it. Here is what a guard is, and
what of its verdicts can be acted on.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping

import attr
from twisted.plugin import getPlugins

from ... import config as cfg
from ...http1.forward import without_field
from ...http1.grammar import is_token
from ...http1.names import PLAIN, REQUEST, RESPONSE
from ...interfaces import Admitted, Denied, GuardedRequest, IGuard, IGuardMaker, Verdict
from ...startup import StartupError

DEFAULT_TIMEOUT_S = 1.0
"""How long a guard may take for one request: a look-up over a local network takes milliseconds, and a client is waiting."""

MAX_ADDED_BYTES = 8192
"""What a guard may add to one request or answer in all, as one header line may have (``limits.header``)."""

ADMITTED = Admitted()


class UnsoundVerdict(Exception):
    """A guard's verdict that would make a message with two readings, or none at all."""


@attr.frozen
class Guard:
    """A guard as routes use it."""

    name: str
    judge: Callable[[GuardedRequest], object]
    timeout_s: float = DEFAULT_TIMEOUT_S


def makers(plugins: Iterable[IGuardMaker]) -> Dict[str, IGuardMaker]:
    """The kinds of guards by name; of two with one name the first."""
    found: Dict[str, IGuardMaker] = {}
    for maker in plugins:
        found.setdefault(maker.name, maker)
    return found


def find_maker(kind: str, known: Mapping[str, IGuardMaker]) -> IGuardMaker:
    """What makes guards of a kind. Raises ValueError: there is no such kind."""
    maker = known.get(kind)
    if maker is None:
        there = ", ".join(sorted(known)) or "none: they come with packages that bring a Twisted plugin"
        raise ValueError(f"there is no kind of guard called {kind!r}; there are {there}")
    return maker


def make_guard(
    reactor: Any, name: str, kind: str, options: Mapping[str, object], timeout_s: float, known: Mapping[str, IGuardMaker]
) -> Guard:
    """A guard of the configuration.

    :param known: from ``makers``.
    :raises ValueError: there is no such kind, or the plugin does not take the options.
    """
    guard = find_maker(kind, known).make(reactor, options)
    if not IGuard.providedBy(guard):
        raise ValueError(f"the plugin {kind!r} made something that is no IGuard")
    return Guard(name, guard.judge, timeout_s)


def make_guards(reactor: Any, config: cfg.Config) -> Dict[str, Guard]:
    """The guards of a configuration, by name. Raises StartupError."""
    guards: Dict[str, Guard] = {}
    if config.guards:
        known = makers(getPlugins(IGuardMaker))
        for name, guard in config.guards.items():
            try:
                guards[name] = make_guard(reactor, name, guard.kind, guard.options, guard.verdict_timeout, known)
            except ValueError as error:
                raise StartupError(f"guard {name}: {error}") from error
    return guards


def checked(verdict: object) -> Verdict:
    """A verdict that can be acted on. Raises UnsoundVerdict."""
    if not isinstance(verdict, (Admitted, Denied)):
        raise UnsoundVerdict(f"its verdict is a {type(verdict).__name__}")
    names = REQUEST
    if isinstance(verdict, Denied):
        names = RESPONSE
        if not 400 <= verdict.status <= 599 or not is_token(verdict.reason.encode("utf-8", "replace")):
            raise UnsoundVerdict("it denies with a status below 400 or above 599, or with a reason that is no word")
    for name, value in verdict.added:
        if not is_token(name) or names.look_up(name) not in (PLAIN, *names.kept):
            raise UnsoundVerdict(f"it adds a field that is not its to write: {name[:64]!r}")
        if any((byte < 32 and byte != 9) or byte == 127 for byte in value):
            raise UnsoundVerdict(f"it adds {name.decode('latin-1')} with control characters")
    if sum(len(name) + len(value) + 4 for name, value in verdict.added) > MAX_ADDED_BYTES:
        raise UnsoundVerdict(f"it adds more than {MAX_ADDED_BYTES} bytes")
    return verdict


def changed(lines: bytes, verdict: Admitted) -> bytes:
    """Header lines after the changes of a verdict."""
    for name in (*verdict.removed, *(name for name, _ in verdict.added)):
        lines = without_field(lines, name)
    return lines + b"".join(b"%b: %b\r\n" % field for field in verdict.added)


def both(first: Admitted, second: Admitted) -> Admitted:
    """The changes of two verdicts, one after the other."""
    gone = {name.lower() for name in (*second.removed, *(name for name, _ in second.added))}
    kept = tuple(field for field in first.added if field[0].lower() not in gone)
    return Admitted((*first.removed, *second.removed), (*kept, *second.added))
