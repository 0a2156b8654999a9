"""Texts that stand elsewhere: ``{ file = "/run/secrets/token" }`` and ``{ env = "TOKEN" }`` in the place of any text.

Nothing is replaced inside of texts. A text that is written as a shell would have it, ``$TOKEN``, is refused: whoever wrote it
took it for the value of a variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from .errors import Unfit, shown
from .files import read_most

MAX_VALUE_BYTES = 1024 * 1024
"""What is larger is no value of a key: the largest, a body of our own, may have as much."""

SOURCES = ("file", "env")

_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[^{}]*\})")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_elsewhere(value: object) -> bool:
    """Whether a value is a table that says where the value is."""
    return isinstance(value, dict) and bool(value) and all(name in SOURCES for name in value)


def resolved(value: object, environment: Mapping[str, str], secret: bool = False) -> object:
    """A text as it stands in the configuration or, where a table says so, elsewhere. Raises Unfit."""
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        name = "NAME" if secret else value.strip("${}") or "NAME"
        more = "" if not secret else ", or { file = ... } where it really begins so"
        raise Unfit(f'variables are not replaced; write {{ env = "{name}" }}{more}')
    if not isinstance(value, dict):
        return value
    if not is_elsewhere(value) or len(value) != 1:
        raise Unfit('must be a text, { file = "PATH" } or { env = "NAME" }', value)
    ((source, name),) = value.items()
    if not isinstance(name, str) or not name:
        raise Unfit(f"{source} must be a text in quotes", name)
    return _from_file(name) if source == "file" else _from_environment(name, environment)


def _from_file(path: str) -> str:
    """What a file holds, without the newline at its end."""
    named = f"the file {shown(path, longest=300)}"
    try:
        content = read_most(path, MAX_VALUE_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unfit(f"{named} cannot be read: {reason[:1].lower()}{reason[1:]}") from error
    if len(content) > MAX_VALUE_BYTES:
        raise Unfit(f"{named} is larger than {MAX_VALUE_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unfit(f"{named} is not UTF-8") from None  # The error has the content in it.
    text = re.sub(r"\r?\n\Z", "", text)
    if not text:
        raise Unfit(f"{named} is empty")
    return text


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    if not _NAME.fullmatch(name):
        bare = name.strip("${}")
        hint = f'did you mean {{ env = "{bare}" }}?' if _NAME.fullmatch(bare) else ""
        raise Unfit("env must be the name of a variable", name, hint=hint)
    if name not in environment:
        raise Unfit(f"the environment has no variable {name}")
    text = environment[name]
    if not text:
        raise Unfit(f"the variable {name} of the environment is empty")
    try:
        os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Unfit(f"the variable {name} of the environment is not UTF-8") from None  # The error has the value in it.
    return text


def any_text(value: Any, environment: Mapping[str, str], secret: bool, is_list: bool) -> object:
    """The same for a list of texts, entry by entry. Raises Unfit."""
    if not is_list or not isinstance(value, list):
        return resolved(value, environment, secret)
    entries = []
    for number, entry in enumerate(value):
        try:
            entries.append(resolved(entry, environment, secret))
        except Unfit as mistake:
            raise mistake.at(number) from mistake
    return entries
