"""What can be wrong with a configuration: a value that a key cannot have, a mistake in a file, all mistakes of one reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import attr

Path = tuple[Union[str, int], ...]
"""Where something stands in the configuration: names of tables and keys, and from 0 the number of an entry in a list."""

_NOTHING = object()


def shown(value: object, longest: int = 80) -> str:
    """A value for a message: on one line and short."""
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, dict):
        written = "a table"
    return written if len(written) <= longest else written[: longest - 3] + "..."


def key_of(path: Path) -> str:
    """A path as it is written in messages: ``routes[0].redirect.location``; what TOML would quote is quoted."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            bare = part.isascii() and part and part.replace("_", "a").replace("-", "a").isalnum()
            written += ("." if written else "") + (part if bare else shown(part))
    return written


class Unfit(ValueError):
    """A value that its key cannot have.

    :param said: what is wrong, without the value: it may be a secret.
    :param found: the value, for messages.
    :param reason: more words about the value, which may contain it.
    :param hint: what was probably meant, or where it can be said; may contain the value too.
    :param inside: where in the value: the number of an entry.
    """

    def __init__(
        self, said: str, found: object = _NOTHING, reason: str = "", hint: str = "", inside: Optional[int] = None
    ) -> None:
        self.said = said
        self.inside = inside
        text = said if found is _NOTHING else f"{said}, not {shown(found)}"
        text += f": {reason}" if reason else ""
        super().__init__(text + (f"; {hint}" if hint else ""))

    def at(self, entry: int) -> Unfit:
        """The same of an entry of a list."""
        again = Unfit(self.said, inside=entry)
        again.args = self.args
        return again


@attr.frozen
class Mistake:
    """One thing that is wrong."""

    path: Path
    """Empty: the file as a whole. An option of the command line stands alone: ``("--http",)``."""
    message: str
    line: int = 0
    """The line of the file, from 1; 0: none."""

    @property
    def key(self) -> str:
        """The path of the key, such as ``pools.default.queue_limit``; empty: the file as a whole."""
        return key_of(self.path)

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """A configuration that cannot be used. Its text has one line for each mistake, and each names file and line."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__(file, tuple(mistakes))
        self.file = file
        self.mistakes = tuple(mistakes)

    def lines(self) -> list[str]:
        """One line for each mistake: ``FILE:LINE: KEY: what is wrong``."""
        return [self._with_place(mistake) for mistake in self.mistakes]

    def _with_place(self, mistake: Mistake) -> str:
        if not self.file or mistake.key.startswith("--"):
            return str(mistake)
        return f"{self.file}:{mistake.line}: {mistake}" if mistake.line else f"{self.file}: {mistake}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def line(self) -> str:
        """The same on one line: the first mistake, and how many follow."""
        first, *rest = self.lines()
        return f"{first} (and {len(rest)} more; --check lists all)" if rest else first
