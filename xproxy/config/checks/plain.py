"""Checks of numbers, words and plain texts, with a hint where a value is written as other programs want it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any, Optional

from ..errors import Unfit, shown
from .check import Check, of_text

MAX_SECONDS = 31 * 24 * 3600.0
"""No timeout of ours is longer than a month: a larger number is a mistyped one."""

MAX_CONTENT_BYTES = 1024 * 1024
"""A body of our own is kept in memory."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|secs|m|min|mins|h|hours?|d|days?)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"(\d+)\s*([kmg]?)i?b?", re.IGNORECASE)
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

_YES, _NO = ("true", "yes", "on", "1", "enabled"), ("false", "no", "off", "0", "disabled")


def whole_number(low: int, high: int) -> Check[int]:
    """A check of whole numbers from ``low`` to ``high``, both included."""
    allowed = f"a whole number from {low} to {high}"

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unfit(f"must be {allowed}", value, hint=_meant(_as_size(value), low, high))
        return value

    return Check(allowed, f"{low} to {high}", parse)


def one_number_of(*numbers: int) -> Check[int]:
    """A check of one of a few numbers."""
    allowed = _any_of([str(number) for number in numbers])

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value not in numbers:
            raise Unfit(f"must be {allowed}", value)
        return value

    return Check(allowed, allowed, parse)


def seconds(low: float = 0.001, high: float = MAX_SECONDS) -> Check[float]:
    """A check of times in seconds."""
    allowed = f"a number of seconds from {low:.15g} to {high:.15g}"

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not low <= value <= high:
            raise Unfit(f"must be {allowed}", value, hint=_meant(_as_seconds(value), low, high))
        return float(value)

    return Check(allowed, f"{low:.15g} to {high:.15g}", parse)


def one_of(*words: str) -> Check[str]:
    """A check of one of a few words."""
    allowed = _any_of([f'"{word}"' for word in words])

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            close = difflib.get_close_matches(value.lower(), words, n=1) if isinstance(value, str) else []
            raise Unfit(f"must be {allowed}", value, hint=f'did you mean "{close[0]}"?' if close else "")
        return value

    return Check(allowed, allowed, parse, of_text=True)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unfit("must be true or false", value, hint=_meant_truth(value, "true", "false"))
    return value


true_or_false = Check("true or false", "true or false", _truth)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise Unfit("must be a number above 0, up to 1", value)
    return float(value)


share = Check("a number above 0, up to 1", "up to 1.0", _share)


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unfit("must be a table", value)
    return value


any_table = Check("a table", "table", _table)


def _https_port(value: object) -> int:
    if isinstance(value, bool):
        return 443 if value else 0
    if isinstance(value, int) and 1 <= value <= 65535:
        return value
    raise Unfit("must be true, false, or a port from 1 to 65535", value)


https_port = Check(
    "true, false, or a port from 1 to 65535",
    "true, false, 1 to 65535",
    _https_port,
    lambda port: {0: False, 443: True}.get(port, port),
)
"""The port that clients find HTTPS at; 0: none."""


MAX_WORKERS = 64
"""More than the cores of most hosts; each takes tens of megabytes, and asks the acceptor for slots of its own."""


def _worker_count(value: object) -> int:
    if value == "auto":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_WORKERS:
        return value
    hint = f"did you mean {value}?" if isinstance(value, str) and value.isdigit() and 1 <= int(value) <= MAX_WORKERS else ""
    raise Unfit(f'must be a whole number from 1 to {MAX_WORKERS} or "auto"', value, hint=hint)


worker_count = Check(
    f'a whole number from 1 to {MAX_WORKERS} or "auto"',
    f'1 to {MAX_WORKERS}, "auto"',
    _worker_count,
    lambda count: count or "auto",
)
"""The number of worker processes; 0: as many as there are cores."""


def _on_off(value: object) -> bool:
    if value not in ("on", "off"):
        raise Unfit('must be "on" or "off"', value, hint=_meant_truth(value, '"on"', '"off"'))
    return value == "on"


on_off = Check('"on" or "off"', '"on" or "off"', _on_off, lambda value: "on" if value else "off", of_text=True)


@of_text("a text in quotes", "text")
def text(given: str) -> str:
    """A text on one line, perhaps empty."""
    return given


@of_text("ASCII text without spaces around it", "text")
def field_value(given: str) -> str:
    """What can stand in a header field."""
    if not given or not given.isascii() or given != given.strip():
        raise Unfit("must be ASCII text without spaces around it", given)
    return given


def _content(value: object) -> bytes:
    if not isinstance(value, str):
        raise Unfit("must be a text in quotes", value)
    encoded = value.encode("utf-8")
    if len(encoded) > MAX_CONTENT_BYTES:
        raise Unfit(f"is longer than {MAX_CONTENT_BYTES} bytes")
    return encoded


content = Check("a text in quotes", "text", _content, lambda value: value.decode(), of_text=True)
"""A body written as text, sent as UTF-8."""


def _any_of(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _meant(number: Optional[float], low: float, high: float) -> str:
    return f"did you mean {number!r}?" if number is not None and low <= number <= high else ""


def _meant_truth(value: Any, yes: str, no: str) -> str:
    said = shown(value).strip("'\"").lower()
    return f"did you mean {yes}?" if said in _YES else f"did you mean {no}?" if said in _NO else ""


def _as_size(value: object) -> Optional[int]:
    """The bytes that a text or a number with a fraction means: ``8k``, ``10 MB``, ``1e3``."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) * _BYTES[match[2].lower()] if match else None


def _as_seconds(value: object) -> Optional[float]:
    """The seconds that a text means: ``30s``, ``1.5m``."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    unit = (match[2] or "s").lower()
    return float(match[1]) * _SECONDS["ms" if unit == "ms" else unit[0]]
