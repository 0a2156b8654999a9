"""Which route takes a request: the most specific host, then the longest path, then the one that names the method."""

from __future__ import annotations

from typing import Dict, Generic, List, Optional, Sequence, Tuple, TypeVar

from ...config import RouteConfig
from ...http1.target import match_path

T = TypeVar("T")

_Entry = Tuple[bytes, Tuple[bytes, ...], T]


def without_port(host: bytes) -> bytes:
    """The name or address of an authority, in lower case, without the port and without the root's dot."""
    if host[:1] == b"[":
        return host.partition(b"]")[0].lower() + b"]"
    return host.partition(b":")[0].rstrip(b".").lower()


def _takes(prefix: bytes, path: bytes) -> bool:
    """Whether ``path`` lies at or below ``prefix``, on a segment boundary."""
    if not path.startswith(prefix):
        return False
    return len(path) == len(prefix) or prefix.endswith(b"/") or path[len(prefix) : len(prefix) + 1] == b"/"


class Router(Generic[T]):
    """Finds what belongs to a request's route.

    :param routes: each route with what ``find`` returns for it.
    """

    def __init__(self, routes: Sequence[Tuple[RouteConfig, T]]) -> None:
        self._exact: Dict[bytes, List[_Entry[T]]] = {}
        below: Dict[bytes, List[_Entry[T]]] = {}
        self._any: List[_Entry[T]] = []
        for route, found in routes:
            entry = (route.path.encode(), tuple(method.encode() for method in route.methods), found)
            host = route.host.lower().encode()
            if host == b"*":
                self._any.append(entry)
            elif host.startswith(b"*."):
                below.setdefault(host[1:], []).append(entry)
            else:
                self._exact.setdefault(host, []).append(entry)
        for entries in (self._any, *self._exact.values(), *below.values()):
            entries.sort(key=lambda entry: (-len(entry[0]), not entry[1]))
        self._below = sorted(below.items(), key=lambda item: -len(item[0]))
        self._only: Optional[T] = None
        if len(routes) == 1 and self._any and self._any[0][:2] == (b"/", ()):
            self._only = self._any[0][2]

    def find(self, host: bytes, path: bytes, method: bytes) -> Optional[T]:
        """What belongs to the route of a request, None when no route takes it.

        :param host: the effective authority, empty when there is none.
        :param path: the target in origin-form, or ``*``.
        """
        if self._only is not None:
            return self._only
        path = b"/" if path == b"*" else match_path(path)
        if self._exact or self._below:
            name = without_port(host)
            found = self._first(self._exact.get(name, ()), path, method)
            if found is not None:
                return found
            for suffix, entries in self._below:
                if name.endswith(suffix) and len(name) > len(suffix):
                    found = self._first(entries, path, method)
                    if found is not None:
                        return found
        return self._first(self._any, path, method)

    @staticmethod
    def _first(entries: Sequence[_Entry[T]], path: bytes, method: bytes) -> Optional[T]:
        for prefix, methods, found in entries:
            if (not methods or method in methods) and _takes(prefix, path):
                return found
        return None


def strip_prefix(path: bytes, prefix: bytes) -> bytes:
    """``path`` (with its query) without ``prefix``; as received where that can be, else as it was matched. ``*`` is no path."""
    if not prefix or path == b"*":
        return path
    raw, mark, query = path.partition(b"?")
    if not _takes(prefix, raw):
        raw = match_path(raw)
    rest = raw[len(prefix) :]
    return (rest if rest[:1] == b"/" else b"/" + rest) + mark + query
