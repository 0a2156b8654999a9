"""The path of a handoff socket: what is there, said before anybody connects or listens."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from enum import Enum
from typing import Optional, Tuple

from ..config.checks import MAX_SOCKET_PATH_BYTES
from ..startup import StartupError, os_reason

MAX_PATH_BYTES = MAX_SOCKET_PATH_BYTES


class Found(Enum):
    """What is at a path."""

    NOTHING = "nothing"
    NO_SOCKET = "something that is no socket"
    STALE = "a socket that nobody listens on"
    LIVE = "a socket that somebody listens on"


Identity = Tuple[int, int, int]


def identity(path: str) -> Optional[Identity]:
    """What tells the file at ``path`` from a later one there; None when there is nothing, or nothing we may see.

    The number of an inode alone does not: tmpfs gives it to the next file. The time a socket was made does not change with its
    mode or owner.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def look_at(path: str) -> Found:
    """What is at ``path``. Tries to connect, without waiting, and closes at once.

    :raises StartupError: the path can't be a socket's, or can't be looked at.
    """
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise StartupError(f"handoff path {path} is {length} bytes long: a socket's path has {MAX_PATH_BYTES} at most")
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Found.NOTHING
    except (OSError, ValueError) as error:
        raise StartupError(f"handoff path {path}: {os_reason(error)}") from error
    if not stat.S_ISSOCK(status.st_mode):
        return Found.NO_SOCKET
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except BlockingIOError:
        return Found.LIVE  # Its queue of connections is full.
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            return Found.STALE
        if error.errno == errno.ENOENT:
            return Found.NOTHING
        raise StartupError(f"handoff socket {path}: {os_reason(error)}") from error
    finally:
        probe.close()
    return Found.LIVE


def check_place(path: str) -> None:
    """Whether a socket could be made at ``path``, or replace one that is there. Nobody is connected to.

    :raises StartupError: it could not.
    """
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise StartupError(f"path {path} is {length} bytes long: a socket's path has {MAX_PATH_BYTES} at most")
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise StartupError(f"path {path} is not a socket: remove it, or choose another path")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise StartupError(f"path {path}: {os_reason(error)}") from error
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise StartupError(f"path {path}: there is no directory {directory}")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StartupError(f"path {path}: no right to make a socket in {directory}")


def make_way(path: str) -> None:
    """Before listening on ``path``: remove the socket of an acceptor that is dead.

    :raises StartupError: nobody can listen there, or somebody does.
    """
    check_place(path)
    before = identity(path)
    found = look_at(path)
    if found is Found.LIVE:
        raise StartupError(f"handoff socket {path} is in use by a running acceptor")
    if found is Found.STALE and identity(path) == before:  # Else another acceptor has just replaced it: listening will say so.
        try:
            os.unlink(path)
        except OSError as error:
            raise StartupError(f"handoff socket {path} of a dead acceptor can't be removed: {os_reason(error)}") from error


def group_number(name: str) -> int:
    """The number of a group, by name or as it is. Raises StartupError."""
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StartupError(f"handoff_group: there is no group {name!r}") from None


def check_acceptor(path: str) -> None:
    """Before dialling ``path`` for the first time: is an acceptor there?

    :raises StartupError: there is none.
    """
    found = look_at(path)
    if found is Found.NOTHING:
        raise StartupError(f"handoff socket {path} does not exist: is the acceptor running?")
    if found is Found.NO_SOCKET:
        raise StartupError(f"handoff path {path} is not a socket")
    if found is Found.STALE:
        raise StartupError(f"handoff socket {path} is stale: its acceptor is not running")
