"""What was probably meant by a key that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .foreign import answer, plain
from .schema import HEADINGS, SECTIONS, keys_of

SECTION_NAMES = (*SECTIONS, "pools", "routes", "guards")


def near(name: str, known: Iterable[str]) -> str:
    """The one of ``known`` that ``name`` is a slip of; empty: none."""
    by_plain = {plain(word): word for word in known}
    close = difflib.get_close_matches(plain(name), list(by_plain), n=1, cutoff=0.7)
    return by_plain[close[0]] if close else ""


def _did_you_mean(word: str) -> str:
    return f'did you mean "{word}"?' if word else ""


_SINGULAR = {"pool": "pools", "route": "routes", "limit": "limits", "timeout": "timeouts", "proxies": "proxy"}


def for_section(name: str) -> str:
    """A hint for a section that there is not."""
    meant = _SINGULAR.get(name.lower(), "")
    return _did_you_mean(meant) or answer(name) or _did_you_mean(near(name, SECTION_NAMES)) or _places(name)


def for_key_outside(name: str) -> str:
    """A hint for a key that stands before any section."""
    return _places(name) or for_key(name, ())


def _places(name: str) -> str:
    places = [heading for heading, shape in HEADINGS.items() if name in keys_of(shape)]
    return f"it belongs in {' or '.join(places)}" if places else ""


def for_key(name: str, known: Iterable[str]) -> str:
    """A hint for a key that its section does not know.

    In this order: another section has it; other proxies have it; it is a slip of one of the section's; of another's.
    """
    known = list(known)
    places = _places(name)
    if places:
        return places
    if plain(name) in map(plain, known):
        return _did_you_mean(near(name, known))
    found = answer(name) or _did_you_mean(near(name, known))
    if found:
        return found
    for heading, shape in HEADINGS.items():
        other = near(name, keys_of(shape))
        if other:
            return f'did you mean "{other}", in {heading}?'
    return ""
