"""``twistd xproxy``: the proxy, with an acceptor of its own or behind the handoff socket of another process."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any, Optional, Union

from twisted.application.service import IService
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.usage import UsageError

from .. import __version__
from ..acceptor.acceptor_service import AcceptorService
from ..admin import Sources
from ..config import DEFAULT_POOL, Config, Overrides, Role
from ..config import checks as check
from ..handoff.client import HandoffClient
from ..interfaces import ISlotSource
from ..net.descriptors import descriptors_of
from ..net.polling import poll_plainly
from ..proxy.proxy_service import ProxyService
from ..reload import Change
from ..service.demo import demo_service
from ..startup import StartupError
from ..workers.crew import DRAIN_GRACE_S
from ..workers.doors import DoorsBeside
from ..workers.inside.dialling import AskingEndpoint
from ..workers.whole import WholeProxy
from . import addresses
from .configured_tree import ConfiguredTree, Place
from .options import SlotsOptions, refuse
from .room import hard_limit, room_for
from .workers import Idle, Onlooker, lacking, worker_room, workers_of

DEMO_SLOTS = 8

_log = Logger()


class Options(SlotsOptions):
    """What ``twistd xproxy`` understands."""

    program = "xproxy"
    synopsis = "Usage: twistd [twistd options] xproxy [options]"

    def __init__(self) -> None:
        super().__init__()
        self["http"] = []
        self["https"] = []
        self["self_signed"] = False
        self["acceptor"] = None
        self["workers"] = None
        self["admin"] = None
        self["demo"] = False

    def opt_http(self, description: str) -> None:
        """Where HTTP clients arrive, an endpoint description; repeatable. [default: tcp:8080:interface=127.0.0.1]"""
        self["http"].append(self.checked("http", check.endpoint, description))

    def opt_https(self, description: str) -> None:
        """Where HTTPS clients arrive, an endpoint description without TLS (tcp:8443); repeatable. Needs certificates."""
        self["https"].append(self.checked("https", check.plain_endpoint, description))

    def opt_self_signed(self) -> None:
        """Make a certificate for --https on the spot, for trying out: no client trusts it."""
        self["self_signed"] = True

    def opt_acceptor(self, path: str) -> None:
        """Use the acceptor behind this handoff socket instead of one in this process (excludes --slots)."""
        self["acceptor"] = self.checked("acceptor", check.socket_path, path)

    def opt_workers(self, count: str) -> None:
        """How many processes serve clients, or "auto": one for each core. [default: 1, which is this process]"""
        self["workers"] = self.checked("workers", check.worker_count, int(count) if count.isdecimal() else count)

    def opt_admin(self, description: str) -> None:
        """Where status and metrics are shown, or "none". [default: tcp:9901:interface=127.0.0.1]"""
        self["admin"] = self.checked("admin", check.endpoint_or_none, description)

    def opt_demo(self) -> None:
        """Also run a demo service on the default pool."""
        self["demo"] = True

    @property
    def role(self) -> Role:
        """See ConfiguredOptions."""
        return Role.PROXY if self["acceptor"] else Role.EMBEDDED

    def overrides(self) -> Overrides:
        """See ConfiguredOptions."""
        for name in ("slots", "allow", "demo"):
            if self["acceptor"] and self[name]:
                raise UsageError(f"--acceptor and --{name} exclude each other: services register at that acceptor, not here")
        workers = {} if self["workers"] is None else {"workers": self["workers"]}
        given = self.given("http", "https", "self_signed", "admin")
        return Overrides(proxy={**given, **workers}, **self.given("slots", "allow"))

    def look_at(self, config: Config) -> None:
        """See ConfiguredOptions."""
        if config.proxy.self_signed and not config.proxy.https:
            raise UsageError("--self-signed needs --https")
        if self["demo"]:
            self._check_demo(config)

    def _check_demo(self, config: Config) -> None:
        pool = config.pools.get(DEFAULT_POOL)
        if pool is None or not pool.slots:
            raise UsageError(f'--demo needs a pool "{DEFAULT_POOL}" with slots')
        if pool.token or pool.registration not in ("auto", "proxy"):
            raise UsageError(f'--demo needs the pool "{DEFAULT_POOL}" to have no token and registration "auto" or "proxy"')


class XproxyTree(ConfiguredTree):
    """The proxy, its admin endpoint, its acceptor (or the way to it), and the demo service when asked for.

    The proxy listens before the acceptor does, so that a start that fails leaves no handoff socket behind.

    :raises StartupError: from the constructor, for mistakes that are seen without listening.
    """

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__(reactor, options, announce=self._say)
        poll_plainly(reactor)
        self._demo = bool(options["demo"])
        self.acceptor: Optional[AcceptorService] = None
        if not options["acceptor"]:
            self.acceptor = AcceptorService(reactor, self.config, time.monotonic)
        self.proxy, source = self._make_proxy(options["acceptor"] or "")
        self.parts.append(self.proxy.prepare)
        self._source = source
        self._client: Optional[HandoffClient] = None
        """The proxy's way to the acceptor of another program, where it has one after that of this process."""
        self.drain_first(self.proxy, self._drain_all, self._limit_s, self._delay_s)
        self.reopen_with(self.proxy.reopen_logs)
        self._add_admin(source)
        if self.acceptor is not None:
            self.acceptor.succession.also = self.also
            self.parts.append(self.acceptor.prepare)
        self.parts.append(self._prepare_room)
        self._take_room(self.config)
        if isinstance(self.proxy, WholeProxy):
            self.begin([DoorsBeside(self.proxy.doors, self.config, workers_of(self.config))], self.proxy.warm_up)
        else:
            self.begin()

    # -- one program after another

    def also(self) -> dict[tuple[str, str], Any]:
        """See ConfiguredTree."""
        proxy = self.proxy
        clients = proxy.entrances.listening() if isinstance(proxy, ProxyService) else proxy.doors.listening()
        return {**clients, **super().also()}

    def take_up(self) -> None:
        """See ConfiguredTree."""
        self.proxy.setServiceParent(self)
        self.admin.setServiceParent(self)
        if self.acceptor is not None:
            self.acceptor.setServiceParent(self)
        else:
            self._source.looks = self._former is None
            self._source.setServiceParent(self)
        if self.running:
            self._begin_demo()
        if isinstance(self.proxy, WholeProxy):
            if not self.held_back:
                self.hold_back()
            self.proxy.crew.seating.begun.addCallback(lambda _: self.serve())
        else:
            self.serve()

    def _move(self, proxy: ProxyService, acceptor: AcceptorService) -> None:
        """The acceptor of this process is taken over: have the proxy dial whoever serves then."""

        def ask() -> None:
            try:
                ours, theirs = descriptors_of(self._reactor).pair()
            except OSError:
                endpoint.given(-1)
                return
            acceptor.take_proxy(ours.detach())
            endpoint.given(theirs.detach())

        endpoint = AskingEndpoint(self._reactor, ask)
        client = HandoffClient(self._reactor, "its successor", proxy, endpoint=endpoint)
        client.expects_successor = True
        proxy.attach(client)
        client.setServiceParent(self)
        self._client = client

    def _drain_all(self) -> Deferred[Any]:
        acceptor = self.acceptor
        if acceptor is None or not self.replaced:
            return self.proxy.drain()
        return Deferred.fromCoroutine(self._drain_replaced(acceptor))

    async def _drain_replaced(self, acceptor: AcceptorService) -> None:
        await DeferredList([self.proxy.drain(), acceptor.drain()], consumeErrors=True)
        if self._client is not None:
            await self._client.settled()

    def _limit_s(self) -> Optional[float]:
        return self.config.proxy.drain_timeout + DRAIN_GRACE_S if self.replaced else None

    def _delay_s(self) -> float:
        return 0.0 if self.replaced else self.config.proxy.drain_delay

    # --

    def _make_proxy(self, path: str) -> tuple[Union[ProxyService, WholeProxy], Any]:
        """The proxy, in this process or in workers, and the slot source that its acceptor is to this process.

        :param path: of the handoff socket of another process' acceptor; empty: the acceptor is in this process.
        """
        if workers_of(self.config) > 1:
            return self._make_workers(path)
        proxy = ProxyService(self._reactor, self.config, time.monotonic)
        acceptor = self.acceptor
        if acceptor is None:
            client = HandoffClient(self._reactor, path, proxy)
            proxy.attach(client)
            return proxy, client
        source = acceptor.local_source(proxy)
        source.moves = partial(self._move, proxy, acceptor)
        proxy.attach(source)
        return proxy, source

    def _make_workers(self, path: str) -> tuple[WholeProxy, Any]:
        acceptor = self.acceptor
        take_proxy = None if acceptor is None else acceptor.take_proxy
        proxy = WholeProxy(self._reactor, self.config, workers_of, worker_room, path, take_proxy, lambda: self.ready)
        return proxy, Onlooker(acceptor) if acceptor is not None else HandoffClient(self._reactor, path, Idle(self._reactor))

    def _prepare_room(self, config: Config) -> Change:
        def commit() -> Deferred[Any]:
            self._take_room(config)
            return succeed(None)

        return Change(commit, lambda: None)

    def _take_room(self, config: Config) -> None:
        """Let as many clients in as there are descriptors for; workers do so themselves."""
        single = isinstance(self.proxy, ProxyService)
        room = room_for(config, hard_limit(), accepts_slots=self.acceptor is not None, takes_clients=single)
        self._rooms = [room]
        if isinstance(self.proxy, ProxyService):
            self.proxy.front.room = room.clients
            self.proxy.gateway.space.room_files = room.files
        else:
            self._rooms += lacking(config)

    def lost_lines(self) -> dict[str, int]:
        """See ServiceTree."""
        log = self.proxy.gateway.access_log if isinstance(self.proxy, ProxyService) else None
        return super().lost_lines() if log is None else {**super().lost_lines(), "access": log.file.lost}

    def _certificate_ends(self) -> list[tuple[str, str, float]]:
        acceptors = [] if self.acceptor is None else self.acceptor.certificate_ends()
        return [*self.proxy.certificate_ends(), *acceptors]

    def _add_admin(self, source: ISlotSource) -> None:
        acceptor, proxy = self.acceptor, self.proxy
        alone = isinstance(proxy, ProxyService)
        sources = partial(
            Sources,
            program="xproxy",
            census=source.census,
            ready=lambda: self.ready and proxy.can_serve and (alone or source.answers),
            clock=self._reactor,
            requests=proxy.status if isinstance(proxy, ProxyService) else None,
            counts=proxy.gateway.counts if isinstance(proxy, ProxyService) else None,
            work=None if isinstance(proxy, ProxyService) else proxy.work,
            registrations=None if acceptor is None else acceptor.acceptor.registrations,
            closings=None if acceptor is None else acceptor.acceptor.closings,
            certificates=self._certificate_ends,
            lost_lines=self.lost_lines,
        )
        self.add_admin(sources, lambda config: config.proxy.admin, lambda: self.config.proxy.admin_token)

    def startService(self) -> None:
        """See IService."""
        self.listen()
        if self.proxy.parent is not None:
            self._begin_demo()
        super().startService()

    def _begin_demo(self) -> None:
        """Begin the demo service, which dials the port that the acceptor has by now."""
        if self._demo:
            try:
                description = addresses.client_description(self._slots()[0])
            except ValueError as error:
                self.refuse(StartupError(f"the demo service has nowhere to register: {error}"))
            demo_service(self._reactor, description, DEMO_SLOTS, DEFAULT_POOL).setServiceParent(self)

    def _slots(self) -> list[IAddress]:
        """Where services of this process' acceptor register; those of the default pool come first."""
        if self.acceptor is None:
            return []
        pool = self.config.pools.get(DEFAULT_POOL)
        first = [] if pool is None else pool.slots
        ports = [(listener.description not in first, listener.port) for listener in self.acceptor.listeners]
        return [port.getHost() for _, port in sorted(ports, key=lambda entry: entry[0]) if port is not None]

    def places(self) -> list[Place]:
        """See ConfiguredTree."""
        places = [("proxy", addresses.url(address)) for address in self.proxy.addresses()]
        places += [("proxy", addresses.url(address, "https")) for address in self.proxy.secure_addresses()]
        places += [("slots", addresses.plain(address)) for address in self._slots()]
        if self.acceptor is not None:
            places += [("slots over TLS", addresses.plain(address)) for address in self.acceptor.tls_addresses()]
        if self.admin.port is not None:
            places.append(("admin", addresses.url(self.admin.port.getHost())))
        return places

    def _say(self) -> None:
        """Say where the endpoints are: on standard output with ``--demo``, else in the log."""
        places = self.places()
        for room in self._rooms:
            self.say_room(room)
        if self.config.proxy.self_signed:
            _log.warn("the certificate of https was made on the spot, for trying out: no client trusts it")
        if not self._demo:
            self.say_places(places)
            return
        text = "".join(f"  {what}  {where}\n" for what, where in places)
        stream = sys.__stdout__ or sys.stdout
        stream.write(f"xproxy {__version__} runs, with a demo service in {DEMO_SLOTS} slots; Ctrl-C stops it\n{text}")
        stream.write(f"  try    curl {places[0][1]}\n")
        stream.flush()


def makeService(options: Options) -> IService:
    """See IServiceMaker."""
    from twisted.internet import reactor

    options.rehearse_start()
    try:
        return XproxyTree(reactor, options)
    except StartupError as error:
        refuse(options.program, str(error))
