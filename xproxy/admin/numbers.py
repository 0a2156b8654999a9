"""Where the admin endpoint's numbers come from, and the one picture that it makes of them.

The acceptor knows slots (its census), the proxy knows requests (its ``status`` and counts). A number that nobody here knows is
``None``: an acceptor alone knows little of requests, a proxy whose acceptor does not answer knows nothing of slots.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred

from .. import __version__
from ..metrics import ProxyCounts
from ..reload import Reload
from .control import Controls
from .work import REQUEST_NUMBERS, Work, worker

CENSUS_TIMEOUT_S = 2.0
"""An acceptor that has not answered by then is shown as unknown: Prometheus scrapes give up after 10 s by default."""

SLOT_NUMBERS = ("slots", "idle", "leased", "waiting", "lease_moves")
"""The numbers that the acceptor has of a pool; the first three of each service too."""

_SERVICE_SLOT_NUMBERS = ("slots", "idle", "leased")
_SERVICE_REQUEST_NUMBERS = ("in_flight", "most_in_flight", "served")

Census = Mapping[str, Mapping[str, Any]]


@attr.frozen
class Sources:
    """The parts that the admin endpoint asks; each call is cheap, and made only for a request to that endpoint."""

    program: str
    """xproxy or xacceptor."""
    census: Callable[[], Deferred[Any]]
    """The acceptor's counts by pool; may fail, may never fire."""
    ready: Callable[[], bool]
    """Whether new work is taken: False before everything listens and while draining."""
    clock: Any
    """IReactorTime, for the census' timeout."""
    requests: Optional[Callable[[], Census]] = None
    """The proxy's numbers by pool; None: there is no proxy in this process."""
    counts: Optional[ProxyCounts] = None
    """The counts of the proxy; None as above."""
    registrations: Optional[Mapping[tuple[str, str], int]] = None
    """How registrations ended, by pool and result; None: there is no acceptor in this process."""
    closings: Optional[Mapping[tuple[str, str], int]] = None
    """Why slots ended, by pool and reason; None as above."""
    certificates: Optional[Callable[[], Sequence[tuple[str, str, float]]]] = None
    """Name, kind of key and end (seconds since 1970) of each certificate that clients are shown; None: there are none."""
    lost_lines: Optional[Callable[[], Mapping[str, int]]] = None
    """Lines that could not be written so far, by log: access, program."""
    work: Optional[Callable[[], Deferred[Work]]] = None
    """Asks the workers, where there are some; does not fail, and takes a second at most."""
    reload: Optional[Reload] = None
    """The record of the configuration in force; None: there is no configuration."""
    controls: Optional[Controls] = None
    """The actions; None: this admin endpoint has none."""
    upgrade: Optional[Callable[[], Mapping[str, Any]]] = None
    """What ``/status`` says of the programs before and after this one; None: nothing."""


@attr.frozen
class Picture:
    """Everything that is known at one moment."""

    program: str
    ready: bool
    census: Optional[Census]
    """None: no acceptor answered."""
    requests: Optional[Census]
    counts: Optional[ProxyCounts]
    registrations: Optional[Mapping[tuple[str, str], int]] = None
    closings: Optional[Mapping[tuple[str, str], int]] = None
    certificates: Sequence[tuple[str, str, float]] = ()
    lost_lines: Mapping[str, int] = attr.field(factory=dict)
    reload: Optional[Reload] = None
    workers: Sequence[Mapping[str, Any]] = ()
    upgrade: Mapping[str, Any] = attr.field(factory=dict)
    deaths: Optional[int] = None
    """Deaths of workers; None: this process has no workers."""

    def pool_names(self) -> list[str]:
        """Every pool that the acceptor or the proxy knows."""
        return sorted({*(self.census or {}), *(self.requests or {})})

    def status(self) -> dict[str, Any]:
        """The picture as ``/status`` shows it."""
        return {
            "program": self.program,
            "version": __version__,
            "ready": self.ready,
            "acceptor": self.census is not None,
            **({} if self.reload is None else _generation(self.reload)),
            **self.upgrade,
            "connections": None if self.counts is None else dict(self.counts.connections),
            "spools": None if self.counts is None else dict(self.counts.spools),
            "certificates": [_certificate(*certificate) for certificate in self.certificates],
            "workers": list(self.workers),
            "pools": {name: self.pool(name) for name in self.pool_names()},
        }

    def pool(self, name: str) -> dict[str, Any]:
        """One pool, and its services by name."""
        slots = None if self.census is None else self.census.get(name, {})
        requests = None if self.requests is None else self.requests.get(name, {})
        answered = None if requests is None else requests.get("services", {})
        registered = None if slots is None else {service["name"]: service for service in slots.get("services", ())}
        names = sorted({*(registered or {}), *(answered or {})})
        numbers = {**_numbers(SLOT_NUMBERS, slots), **_numbers(REQUEST_NUMBERS, requests)}
        if requests is None and slots is not None:
            numbers["in_flight"] = slots.get("in_flight")  # The acceptor sees that on the boards of its proxies, and on loans.
        return {
            **numbers,
            "services": [
                {
                    "name": service,
                    **_numbers(_SERVICE_SLOT_NUMBERS, None if registered is None else registered.get(service, {})),
                    **_numbers(
                        ("in_flight", "most_in_flight", "served"), None if answered is None else answered.get(service, {})
                    ),
                }
                for service in names
            ],
        }

    def line(self) -> str:
        """The picture in a few words."""
        pools = [self.pool(name) for name in self.pool_names()]

        def total(number: str) -> int:
            return sum(pool[number] or 0 for pool in pools)

        said = [] if self.ready else ["not ready"]
        said.append("no acceptor" if self.census is None else f"{total('slots')} slots ({total('idle')} idle)")
        said.append(f"{total('in_flight')} requests run")
        said.append(f"{total('waiting' if self.requests is None else 'queue_length')} wait")
        if self.reload is not None:
            said.append(f"configuration {self.reload.generation}")
        return ", ".join(said)


def _generation(reload: Reload) -> dict[str, Any]:
    """The configuration in force, and the last reload that failed."""
    failed_at = reload.failed_at
    return {
        "generation": reload.generation,
        "loaded_at": moment(reload.loaded_at),
        "kept": list(reload.kept),
        "failed_reload": None if failed_at is None else {"at": moment(failed_at), "reasons": list(reload.failure)},
    }


def moment(seconds: float) -> str:
    """A time, in seconds since 1970, as JSON has it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def _certificate(name: str, kind: str, seconds: float) -> dict[str, Any]:
    expired = datetime.fromtimestamp(seconds, timezone.utc) < datetime.now(timezone.utc)
    return {"name": name, "kind": kind, "expires": moment(seconds), "expired": expired}


async def take(sources: Sources) -> Picture:
    """Ask all sources. An acceptor that fails or is silent is shown as unknown; its loss is the handoff client's to log."""
    census: Optional[Census]
    try:
        census = await sources.census().addTimeout(CENSUS_TIMEOUT_S, sources.clock)
    except Exception:  # noqa: BLE001 - the acceptor's, the connection's or the timeout: any of them is shown as "no acceptor"
        census = None
    picture = Picture(
        program=sources.program,
        ready=sources.ready(),
        census=census,
        requests=None if sources.requests is None else sources.requests(),
        counts=sources.counts,
        registrations=sources.registrations,
        closings=sources.closings,
        certificates=() if sources.certificates is None else sources.certificates(),
        lost_lines={} if sources.lost_lines is None else sources.lost_lines(),
        reload=sources.reload,
        upgrade={} if sources.upgrade is None else sources.upgrade(),
    )
    if sources.work is not None:
        return with_work(picture, await sources.work())
    if picture.requests is None or picture.counts is None:
        return picture
    generation = 1 if sources.reload is None else sources.reload.generation
    state = "serving" if picture.ready else "draining"
    return attr.evolve(
        picture, workers=[worker(1, os.getpid(), generation, state, picture.counts.connections, picture.requests)]
    )


def with_work(picture: Picture, work: Work) -> Picture:
    """The picture, with the numbers of the workers added."""
    here, there = picture.lost_lines, work.lost_lines
    lines = {log: here.get(log, 0) + there.get(log, 0) for log in {**here, **there}}
    return attr.evolve(
        picture, requests=work.requests, counts=work.counts, lost_lines=lines, workers=work.workers, deaths=work.deaths
    )


def stand_of(sources: Sources) -> Deferred[str]:
    """The picture of this moment on one line; see ``Picture.line``. Does not fail for an acceptor that is silent."""
    return Deferred.fromCoroutine(take(sources)).addCallback(Picture.line)


def _numbers(names: Iterable[str], known: Optional[Mapping[str, Any]]) -> dict[str, Optional[int]]:
    """Each number by name: 0 where ``known`` does not have the name, None where nothing is known."""
    return {name: None if known is None else known.get(name, 0) for name in names}
