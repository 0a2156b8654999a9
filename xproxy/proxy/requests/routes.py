"""Which route takes a request: the most specific host, then the longest path, then the one that names the method.

A path is matched as a strict server resolves it (``http1.paths.resolved_path``). Where a route protects something, a path that
servers may read in another way, which leads elsewhere, is refused: 400 ``ambiguous-path``.
"""

from __future__ import annotations

from typing import Dict, Generic, List, Optional, Sequence, Tuple, TypeVar

from ...config import RouteConfig
from ...http1.errors import BadMessage
from ...http1.paths import equivalent_path, escaped_path, is_tangled, readings, resolved_path

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


def protects(route: RouteConfig) -> bool:
    """Whether something may depend on a request's not passing this route by: it may keep requests from the services."""
    return route.respond is not None or bool(route.guards)


class Router(Generic[T]):
    """Finds what belongs to a request's route.

    :param routes: each route with what ``find`` returns for it, one object for each.
    :param exact: paths are matched byte by byte, as they were received, and none is refused.
    """

    def __init__(self, routes: Sequence[Tuple[RouteConfig, T]], exact: bool = False) -> None:
        self.exact = exact
        self._exact: Dict[bytes, List[_Entry[T]]] = {}
        below: Dict[bytes, List[_Entry[T]]] = {}
        self._any: List[_Entry[T]] = []
        for route, found in routes:
            prefix = route.path.encode()
            entry = (prefix if exact else resolved_path(prefix), tuple(method.encode() for method in route.methods), found)
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
        self._protected = {id(found) for route, found in routes if protects(route)}
        self._only: Optional[T] = None
        if len(routes) == 1 and self._any and self._any[0][:2] == (b"/", ()):
            self._only = self._any[0][2]

    def find(self, host: bytes, path: bytes, method: bytes) -> Optional[T]:
        """What belongs to the route of a request, None when no route takes it.

        :param host: the effective authority, empty when there is none.
        :param path: the target in origin-form, or ``*``.
        :raises BadMessage: 400, the path has two readings, and one of them leads to a route that protects something.
        """
        if self._only is not None:
            return self._only
        if path == b"*":
            return self._find(host, b"/", method)
        path = path.partition(b"?")[0]
        if self.exact or not is_tangled(path):
            return self._find(host, path, method)
        found = self._find(host, resolved_path(path), method)
        if self._protected:
            for read in readings(path):
                other = self._find(host, read, method)
                if other is not found and (id(other) in self._protected or id(found) in self._protected):
                    raise BadMessage(400, "ambiguous-path")
        return found

    def _find(self, host: bytes, path: bytes, method: bytes) -> Optional[T]:
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
    """``path`` (with its query) without ``prefix``; as received where that can be, else as matched. ``*`` is no path."""
    if not prefix or path == b"*":
        return path
    raw, mark, query = path.partition(b"?")
    if not _takes(prefix, raw):
        raw = next(
            (same for same in (equivalent_path(raw), escaped_path(resolved_path(raw))) if _takes(prefix, same)), prefix + raw
        )
    rest = raw[len(prefix) :]
    return (rest if rest[:1] == b"/" else b"/" + rest) + mark + query
