"""The rehearsal of a start: reads the files that a start reads, and looks at the places where it will listen.

A start is rehearsed right before it begins, so that a mistake is told with the line of the configuration; ``--check`` is the
rehearsal alone. Nothing is made, removed or left behind.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from twisted.plugin import getPlugins

from ..config import CertificateConfig, Config, Mistake, Role
from ..config.checks import Place, place_of, waits_for_systemd
from ..config.errors import Path
from ..config.rules import listened
from ..handoff.path import check_acceptor, check_place
from ..interfaces import IGuardMaker
from ..log_file import check_path
from ..net.listening import server_endpoint
from ..proxy.requests.answers import Pages
from ..proxy.requests.guards import find_maker, makers
from ..startup import StartupError, os_reason
from ..tls.certificate_store import utc_now
from ..tls.certificates import CertificateError, read_pair
from ..tls.contexts import TLSPolicy


class Rehearsal:
    """One rehearsal.

    :param config: the configuration of the start.
    :param role: what the configuration is for.
    :param acceptor: the handoff socket of another process' acceptor; None: there is none.
    :param log: the path of the program's own log; None: twistd writes that itself.
    :param outside_unit: sockets that systemd passes need not be there: only the unit itself gets them.
    :param running: the configuration in force in this process, whose endpoints and log are open; None: the process is to start.
    :ivar mistakes: those with which a start would fail.
    :ivar notes: lines that say what was not looked at, and why.
    """

    def __init__(
        self,
        config: Config,
        role: Role,
        acceptor: Optional[str] = None,
        log: Optional[str] = None,
        outside_unit: bool = False,
        running: Optional[Config] = None,
    ) -> None:
        self.notes: list[str] = []
        self._outside_unit = outside_unit and os.environ.get("LISTEN_PID") != str(os.getpid())
        self.mistakes: list[Mistake] = []
        if role is not Role.ACCEPTOR:
            if running is None or running.proxy.access_log != config.proxy.access_log:
                self._note("access_log", _access_log(config.proxy.access_log))
            self._note("error_pages", _error_pages(config.proxy.error_pages))
            self.mistakes += _guards(config)
            if config.proxy.https:
                policy = TLSPolicy(config.proxy.client_ca, config.proxy.client_certificates == "required", config.proxy.http2)
                self.mistakes += _certificates("proxy", config.proxy.certificates, policy, self.notes)
        if role is not Role.PROXY and any(pool.slots_tls for pool in config.pools.values()):
            policy = TLSPolicy(config.acceptor.client_ca, client_required=True, http2=False, tickets=False)
            self.mistakes += _certificates("acceptor", config.acceptor.certificates, policy, self.notes)
        there = () if running is None else [description for description, _ in listened(running, role)]
        for description, path in listened(config, role):
            if description not in there:
                self._look_at(description, path)
        self._look_at_log(log)
        if acceptor:
            try:
                check_acceptor(acceptor)
            except StartupError as error:
                self.mistakes.append(Mistake(("--acceptor",), str(error)))

    def _look_at_log(self, path: Optional[str]) -> None:
        """Look at the program's own log, whose path comes from twistd's options."""
        try:
            if path is not None:
                check_path(path)
        except OSError as error:
            self.mistakes.append(Mistake(("--logfile",), f"cannot write {path}: {os_reason(error)}"))

    def _note(self, name: str, reason: str) -> None:
        if reason:
            self.mistakes.append(Mistake(("proxy", name), reason))

    def _look_at(self, description: str, path: Path) -> None:
        """Look at an endpoint, or at the handoff socket."""
        place = place_of(description)
        try:
            if place is not None and place.kind == "unix":
                check_place(place.address)
            elif place is not None:
                _check_interface(place)
            elif waits_for_systemd(description):
                self._look_at_systemd(description, path)
        except StartupError as error:
            self.mistakes.append(Mistake(path, str(error)))

    def _look_at_systemd(self, description: str, path: Path) -> None:
        if self._outside_unit:
            self.notes.append(f"{description} is passed by systemd to the unit only, and was not looked at")
        else:
            server_endpoint(None, description.removeprefix("haproxy:"))


def _check_interface(place: Place) -> None:
    """Whether there is such an address at all; whether this host has it is seen when it is listened on. Raises StartupError."""
    family = socket.AF_INET6 if place.kind == "tcp6" else socket.AF_INET
    try:
        socket.getaddrinfo(place.address or None, place.port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartupError(f"there is no interface {place.address!r} with an address: {os_reason(error)}") from error


def _access_log(path: str) -> str:
    """Why lines can't be appended to the access log; empty: they can."""
    try:
        if path != "none":
            check_path(path)
    except OSError as error:
        return f"cannot write {path}: {os_reason(error)}"
    return ""


def _error_pages(directory: str) -> str:
    """Why the pages can't be used; empty: they can."""
    try:
        Pages(directory)
    except (OSError, ValueError) as error:
        return f"cannot use {directory}: {os_reason(error)}"
    return ""


def _guards(config: Config) -> Iterator[Mistake]:
    """Guards of unknown kinds. Whether a guard can use its options is seen only when it is made."""
    known = makers(getPlugins(IGuardMaker)) if config.guards else {}
    for name, guard in config.guards.items():
        try:
            find_maker(guard.kind, known)
        except ValueError as error:
            yield Mistake(("guards", name, "kind"), str(error))


def _certificates(section: str, files: Sequence[CertificateConfig], policy: TLSPolicy, notes: list[str]) -> Iterator[Mistake]:
    """The mistakes in the certificates of a section, and in ``client_ca``.

    :param notes: gets a line for each OCSP response that is not stapled, which is no mistake.
    """
    try:
        policy.context()
    except CertificateError as error:
        yield Mistake((section, "client_ca"), str(error))
        policy = TLSPolicy()
    for number, pair in enumerate(files):
        try:
            read: Any = read_pair(pair, utc_now())
            policy.context([read])
            if read.no_staple:
                notes.append(f"{read.no_staple}; nothing is stapled to {read.label}")
        except CertificateError as error:
            file = "key" if str(error).startswith("key ") else "chain"
            yield Mistake((section, "certificates", number, file), str(error))
