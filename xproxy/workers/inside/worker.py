"""A worker: the process that serves clients for its parent. Started as ``python -m xproxy.workers NUMBER REACTOR``.

Everything that a worker needs comes over the control connection, and everything that it tells goes there. See
docs/architecture/workers.md.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import import_module
from typing import Any, Callable, Dict, List, Optional, Sequence, Type

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText, globalLogBeginner
from zope.interface import implementer

from ... import __version__
from ...config import ProxyConfig
from ...handoff.client import HandoffClient
from ...net.descriptors import adopt, descriptors_of
from ...net.polling import poll_plainly
from ...net.sharing.adopted import AdoptedEndpoint
from ...proxy.entrances import Provision, tls_policy
from ...proxy.proxy_service import ProxyService
from ...startup import StartupError
from ...tls.certificate_store import CertificateStore, utc_now
from ...tls.certificates import CertificateError
from ..link import ParentLink
from ..messages import (
    LEVELS,
    MAX_TEXT,
    Configure,
    Configured,
    Connect,
    Dial,
    Drain,
    Drained,
    Failed,
    FromParent,
    Hello,
    Leave,
    Listen,
    Ready,
    Reopen,
    Said,
    Share,
    Tell,
    Told,
)
from ..numbers import Tree, told
from ..orders import Orders, unpacked
from ..page import Page, received_page
from ..page import Share as PartOfPage
from ..process import CONTROL
from .dialling import AskingEndpoint

MAX_UNREAD_BYTES = 1 << 20
"""How much may wait for a parent that does not read before lines for its log are lost: as much as in ``log_file``."""

THE_PARENTS = "its parent"
"""How the log names the acceptor of the parent, which has no path."""

IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that come to the whole process group, or by mistake: the parent heeds them."""

_log = Logger()


@implementer(ILogObserver)
class Saying:
    """Has the parent log what is logged here.

    :ivar lost: how many lines were lost because the parent does not read.
    """

    def __init__(self, link: ParentLink) -> None:
        self._link = link
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if not text:
            return
        if self._link.unwritten > MAX_UNREAD_BYTES:
            self.lost += 1
            return
        level = event.get("log_level") or LogLevel.info
        self._link.say(Said(level.name if level.name in LEVELS else "info", text[:MAX_TEXT]))


class Worker:
    """The whole of a worker's process.

    :param number: of the worker's seat, from 1.
    :param descriptor: of the control connection; this object owns it.
    :param leave: ends the process.
    :ivar status: the exit status of the process, when it ends.
    """

    def __init__(self, reactor: Any, number: int, descriptor: int, leave: Callable[[], None]) -> None:
        self._reactor = reactor
        self._number = number
        self._leave = leave
        self.status = 0
        self.link = ParentLink(reactor, self._heard, self._parent_lost)
        self.saying = Saying(self.link)
        self._doors: Dict[str, List[int]] = {}
        """Descriptors of sockets that are not listened on yet, by description."""
        self._page: Optional[Page] = None
        self._part: Optional[PartOfPage] = None
        self._orders: Optional[Orders] = None
        self.proxy: Optional[ProxyService] = None
        self._source: Optional[HandoffClient] = None
        self._dialling = AskingEndpoint(reactor, lambda: self.link.say(Dial()))
        self._draining = self._done = False
        self._alone = False
        """There is no parent any more."""
        self._heeded: Dict[Type[Any], Callable[[Any], None]] = {
            Share: self._share,
            Listen: self._listen,
            Configure: self._configure,
            Connect: lambda message: self._dialling.given(self.link.taken(message.handoff)),
            Tell: lambda message: self.link.say(Told(self.numbers(), message.question)),
            Reopen: lambda _: self._reopen(),
            Drain: lambda _: self.drain(),
        }
        adopt(reactor, descriptor, self.link)
        self.link.say(Hello(__version__))

    # -- from the parent

    def _heard(self, message: FromParent) -> None:
        self._heeded[type(message)](message)

    def _parent_lost(self, reason: str) -> None:
        """The parent is gone: finish what runs, and end."""
        self._alone = True
        if self.proxy is None or self._done:
            self._leave()
        else:
            self.drain()

    def _share(self, message: Share) -> None:
        descriptor = self.link.taken(message.page)
        if descriptor >= 0:
            self._page = received_page(descriptor)
            descriptors_of(self._reactor).close(descriptor)

    def _listen(self, message: Listen) -> None:
        self._doors.setdefault(message.description, []).append(self.link.taken(message.socket))

    def _reopen(self) -> None:
        if self.proxy is not None:
            self.proxy.reopen_logs()

    def _configure(self, message: Configure) -> None:
        """Be a proxy by these orders. A worker that can't by its first ones ends; by later ones, it goes on as before."""
        try:
            before, self._orders = self._orders, unpacked(message.orders)
            if self.proxy is None or before is None:
                self._begin(self._orders)
            else:
                self._change(self.proxy, before, self._orders)
        except (StartupError, CertificateError) as error:
            if self.proxy is None:
                self.link.say(Failed(str(error)[:MAX_TEXT]))
                self.status = 1
                self._hang_up()
            else:
                self.link.say(Configured(message.generation, str(error)[:MAX_TEXT] or "for no reason that is known"))
            return
        self.link.say(Configured(message.generation, ""))

    def _begin(self, orders: Orders) -> None:
        provision = Provision(self._endpoint, self._certificates)
        proxy = ProxyService(self._reactor, orders.config, time.monotonic, provision=provision)
        endpoint = None if orders.handoff else self._dialling
        self._source = source = HandoffClient(self._reactor, orders.handoff or THE_PARENTS, proxy, endpoint=endpoint)
        proxy.attach(source)
        if self._page is not None:
            self._part = part = PartOfPage(self._page, self._number, proxy.front.clients)
            proxy.front.elsewhere = part.elsewhere
            proxy.gateway.sweep.add(part)
        self._take_room(proxy, orders)
        proxy.privilegedStartService()
        self.proxy = proxy
        proxy.startService()
        source.startService()
        self.link.say(Ready())

    def _change(self, proxy: ProxyService, before: Orders, orders: Orders) -> None:
        certificates = proxy.entrances.certificates
        secrets = [(each.certificates, each.ticket_keys) for each in (before, orders)]
        if certificates is not None and secrets[0] != secrets[1]:
            certificates.supply(orders.pairs(utc_now()), orders.ticket_keys)
        proxy.use(orders.config).addErrback(lambda failure: _log.failure("an endpoint could not be closed", failure))
        self._take_room(proxy, orders)

    def _take_room(self, proxy: ProxyService, orders: Orders) -> None:
        proxy.front.room = orders.clients
        proxy.gateway.space.room_files = orders.files

    def _endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """The socket that the parent has sent for a description."""
        waiting = self._doors.get(description)
        descriptor = waiting.pop(0) if waiting else -1
        if descriptor < 0:
            raise StartupError(f"cannot listen on {description}: its socket did not come")
        return AdoptedEndpoint(reactor, descriptor)

    def _certificates(self, reactor: Any, config: ProxyConfig) -> CertificateStore:
        orders = self._orders
        assert orders is not None
        pairs = orders.pairs(utc_now())
        return CertificateStore(reactor, (), tls_policy(config), pairs, ticket_keys=orders.ticket_keys, watches=False)

    # -- to it

    def numbers(self) -> Tree:
        """The tree of this worker: see ``numbers``."""
        proxy = self.proxy
        if proxy is None:
            return {"counts": {}, "status": {}, "lost_lines": {}}
        log = proxy.gateway.access_log
        lost = {"program": self.saying.lost, **({} if log is None else {"access": log.file.lost})}
        return told(proxy.gateway.counts, proxy.status(), lost)

    def asked_to_leave(self) -> None:
        """SIGTERM came to this process: ask the parent for a successor."""
        self.link.say(Leave())

    # -- the end

    def drain(self) -> None:
        """Finish what runs, take nothing new, then end."""
        if self._draining:
            return
        self._draining = True
        if self.proxy is None:
            self._hang_up()
        else:
            Deferred.fromCoroutine(self._drain(self.proxy)).addErrback(self._failed)

    async def _drain(self, proxy: ProxyService) -> None:
        if self._part is not None:
            self._part.leave()
        await proxy.drain()
        if self._source is not None:
            await self._source.settled()
        await maybeDeferred(proxy.stopService)
        if self._source is not None:
            await self._source.stopService()
        self.link.say(Drained(self.numbers()))
        self._hang_up()

    def _failed(self, failure: Any) -> None:
        _log.failure("could not drain", failure)
        self._hang_up()

    def _hang_up(self) -> None:
        """End when everything is sent to the parent."""
        self._done = True
        if self._alone:
            self._leave()
        else:
            transport: Any = self.link.transport
            transport.loseConnection()


def main(words: Sequence[str]) -> None:
    """Run a worker until its end.

    :param words: the command's arguments: the number of the seat, and the module of the reactor.
    """
    if len(words) != 2:
        sys.exit("this is a worker of twistd xproxy --workers, which starts it itself")
    number, module = int(words[0]), words[1]
    for ignored in IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    import_module(module).install()
    reactor: Any = sys.modules["twisted.internet.reactor"]
    poll_plainly(reactor)
    os.set_inheritable(CONTROL, False)
    worker = Worker(reactor, number, CONTROL, lambda: reactor.stop() if reactor.running else None)
    globalLogBeginner.beginLoggingTo([worker.saying], redirectStandardIO=False)
    reactor.callWhenRunning(_heed_signals, reactor, worker)
    reactor.run()
    sys.exit(worker.status)


def _heed_signals(reactor: Any, worker: Worker) -> None:
    """Ignore IGNORED and heed SIGTERM: the reactor has installed signal handlers of its own."""
    for ignored in IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: reactor.callFromThread(worker.asked_to_leave))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # The parent holds some back while it starts, and this process has its mask.
