"""What a start does before it listens, done for nothing: the files it reads, and the places where it is going to listen.

A start does it right before it begins, so that what is wrong is told with the line of the configuration; ``--check`` does it
instead. Nothing is made, removed or left behind.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from ..config import CertificateConfig, Config, Mistake, Role
from ..config.checks import place_of, waits_for_systemd
from ..config.errors import Path
from ..config.rules import listened
from ..handoff.path import check_acceptor, check_place
from ..net.listening import server_endpoint
from ..proxy.requests.answers import Pages
from ..startup import StartupError, os_reason
from ..tls.certificate_store import utc_now
from ..tls.certificates import CertificateError, read_pair
from ..tls.contexts import TLSPolicy


class Rehearsal:
    """One look at everything.

    :param acceptor: the handoff socket of another process' acceptor, None when there is none.
    :param outside_unit: sockets that systemd passes need not be there: only the unit itself gets them.
    :ivar mistakes: what a start would fail with.
    :ivar notes: what was not looked at.
    """

    def __init__(self, config: Config, role: Role, acceptor: Optional[str], outside_unit: bool) -> None:
        self.notes: list[str] = []
        self._outside_unit = outside_unit and os.environ.get("LISTEN_PID") != str(os.getpid())
        self.mistakes: list[Mistake] = []
        if role is not Role.ACCEPTOR:
            self._note("access_log", _access_log(config.proxy.access_log))
            self._note("error_pages", _error_pages(config.proxy.error_pages))
            if config.proxy.https:
                policy = TLSPolicy(config.proxy.client_ca, config.proxy.client_certificates == "required", config.proxy.http2)
                self.mistakes += _certificates("proxy", config.proxy.certificates, policy)
        if role is not Role.PROXY and any(pool.slots_tls for pool in config.pools.values()):
            policy = TLSPolicy(config.acceptor.client_ca, client_required=True, http2=False, tickets=False)
            self.mistakes += _certificates("acceptor", config.acceptor.certificates, policy)
        for description, path in listened(config, role):
            self._look_at(description, path)
        if acceptor:
            try:
                check_acceptor(acceptor)
            except StartupError as error:
                self.mistakes.append(Mistake(("--acceptor",), str(error)))

    def _note(self, name: str, reason: str) -> None:
        if reason:
            self.mistakes.append(Mistake(("proxy", name), reason))

    def _look_at(self, description: str, path: Path) -> None:
        """An endpoint, or the handoff socket."""
        place = place_of(description)
        try:
            if place is not None and place.kind == "unix":
                check_place(place.address)
            elif waits_for_systemd(description):
                self._look_at_systemd(description, path)
        except StartupError as error:
            self.mistakes.append(Mistake(path, str(error)))

    def _look_at_systemd(self, description: str, path: Path) -> None:
        if self._outside_unit:
            self.notes.append(f"{description} is passed by systemd to the unit only, and was not looked at")
        else:
            server_endpoint(None, description.removeprefix("haproxy:"))


def _access_log(path: str) -> str:
    """Why lines can't be appended to the access log; empty: they can. A file that is not there yet is not made."""
    if path in ("-", "none"):
        return ""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            return f"cannot write {path}: there is no directory {directory}"
        return "" if os.access(directory, os.W_OK | os.X_OK) else f"cannot write {path}: no right to make files in {directory}"
    except OSError as error:
        return "" if error.errno == errno.ENXIO else f"cannot write {path}: {os_reason(error)}"  # ENXIO: a pipe, not read yet.
    return ""


def _error_pages(directory: str) -> str:
    """Why the pages can't be used; empty: they can."""
    try:
        Pages(directory)
    except (OSError, ValueError) as error:
        return f"cannot use {directory}: {os_reason(error)}"
    return ""


def _certificates(section: str, files: Sequence[CertificateConfig], policy: TLSPolicy) -> Iterator[Mistake]:
    """What is wrong with the certificates of a section, and with the CAs of those that its peers show."""
    try:
        policy.context()
    except CertificateError as error:
        yield Mistake((section, "client_ca"), str(error))
        policy = TLSPolicy()
    for number, pair in enumerate(files):
        try:
            read: Any = read_pair(pair, utc_now())
            policy.context([read])
        except CertificateError as error:
            yield Mistake((section, "certificates", number), str(error))
