"""The services of one command under one roof: what is started in which order, how it stops, and what signals mean.

Services start in the order in which they were added. The first stop signal drains, then stops them one after the other, the
drained one first and the others in reverse; the second one stops at once: in the same order, but nothing is waited for. All
are told to stop before the reactor ends, since it closes what still listens in its own way, and a port that is closed both
ways fails. twistd itself would end the process by the signal it received; a clean stop has exit status 0 here, so the signals
are ours from the moment the reactor runs.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Optional

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from ..net.listening import use_all_descriptors
from ..startup import StartupError
from . import pid_file, program_log
from .notify import Notify
from .options import StrictOptions, complain, refuse

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ServiceTree(MultiService):
    """The root of a command's services.

    :param reactor: the one that twistd runs.
    :param options: the command's; their parent are twistd's own.
    :param announce: called when everything listens and signals are heeded, to say so.
    :ivar notify: what the service manager is told.
    """

    _log = Logger()

    def __init__(self, reactor: Any, options: StrictOptions, announce: Optional[Callable[[], None]] = None) -> None:
        super().__init__()
        self._reactor = reactor
        self._options = options
        self._announce = announce
        self._reload: Optional[Callable[[], Optional[Deferred[Any]]]] = None
        self._reopen: Optional[Callable[[], None]] = None
        self.log: Optional[program_log.ProgramLog] = None
        """The program's own log; None where twistd writes that itself."""
        self._drain: Optional[Callable[[], Deferred[Any]]] = None
        self._drain_limit_s: Callable[[], Optional[float]] = lambda: None
        self._drain_delay_s: Callable[[], float] = lambda: 0.0
        self._drained: Optional[Service] = None
        self._stopped: Optional[Deferred[None]] = None
        self._listening = False
        self._mask: Optional[set[int]] = None
        """The signals that were blocked before STOP_SIGNALS are held back; None while those are not."""
        self._asked = False
        self._hurried = False
        self._wait_no_longer: Optional[Callable[[], None]] = None
        """Ends the wait for a step of the end; None while no step is waited for."""
        self.ready = False
        """Whether new work is taken."""
        self.held_back = False
        """New work is not yet taken when everything runs, but when ``serve`` is called."""
        self.failed = False
        self._runs = False
        self.notify = Notify(reactor, os.environ, time.monotonic)

    def drain_first(
        self,
        service: Service,
        drain: Callable[[], Deferred[Any]],
        limit_s: Callable[[], Optional[float]] = lambda: None,
        delay_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``service`` is drained, by ``drain``, before any service is stopped.

        :param limit_s: asked at the end how many seconds the drain may take; None: ``drain`` bounds itself.
        :param delay_s: asked at the end for how many seconds the program serves on before, while ``ready`` is false already.
        """
        self._drained = service
        self._drain = drain
        self._drain_limit_s = limit_s
        self._drain_delay_s = delay_s

    def reload_with(self, reload: Callable[[], Optional[Deferred[Any]]]) -> None:
        """``reload`` is called when SIGHUP comes: reads again the files that may have changed, and may return a Deferred of
        the end."""
        self._reload = reload

    def reopen_with(self, reopen: Callable[[], None]) -> None:
        """``reopen`` opens the logs of services again, when SIGUSR1 or SIGHUP asks for it."""
        self._reopen = reopen

    # -- the start

    def setServiceParent(self, parent: Any) -> None:
        """See IService. twistd, whose application this is, is given the program's log."""
        super().setServiceParent(parent)
        if isinstance(parent, Componentized):
            try:
                self.log = program_log.for_twistd(self._options.parent)
            except StartupError as error:
                refuse(self._options.program, str(error))
            if self.log is not None:
                parent.setComponent(ILogObserver, self.log)

    def privilegedStartService(self) -> None:
        """Listen. Exits with one line when something cannot be used."""
        self.listen()

    def listen(self) -> None:
        """The same, unless it was called before: twistd calls it before it gives up its rights, twist not at all."""
        if self._listening:
            return
        self._listening = True
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS))
        for number in (signal.SIGHUP, signal.SIGUSR1):  # Both end a process that does not heed them.
            signal.signal(number, self._signalled)
        use_all_descriptors()
        try:
            super().privilegedStartService()
        except StartupError as error:
            self.refuse(error)

    def startService(self) -> None:
        """Begin. Exits as above."""
        self.listen()
        try:
            super().startService()
        except StartupError as error:
            self.refuse(error)
        self._reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        if self.log is not None:
            self.log.file.begin()
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and background jobs of a shell ignore it on purpose
                signal.signal(number, self._signalled)
        self._heed_stop_signals()
        self._runs = True
        if not self.held_back:
            self.serve()

    def hold_back(self) -> None:
        """No new work is taken when everything runs, but when ``serve`` is called; or never: ``end_in_failure``."""
        self.held_back = True
        atexit.register(self._exit)  # Before whatever the log registers: what is registered last is called first.

    def serve(self) -> None:
        """Take new work from here on, and say so. Called when everything runs, unless the tree is ``held_back``."""
        self.held_back = False
        if self._runs and not self._asked:
            self.ready = True
            if self._announce is not None:
                self._announce()
            self.notify.ready()

    def end_in_failure(self, error: StartupError) -> None:
        """The program turns out unable to serve when it runs already: end with exit status 1."""
        self._log.critical("{program}: {error}", program=self._options.program, error=error)
        complain(self._options.program, str(error))
        self.failed = True
        self._asked = True
        self._reactor.stop()

    def _exit(self) -> None:
        """The interpreter ends; twistd has no way to say with which status."""
        if self.failed:
            sys.stdout.flush()
            os._exit(1)

    def _heed_stop_signals(self) -> None:
        """Let the stop signals come that were held back since ``listen``: the reactor's own way to end by them is not ours."""
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._mask = None

    def refuse(self, error: StartupError) -> NoReturn:
        """End before the beginning. A daemon has no standard error any more: its log and twistd's first process say it."""
        self._heed_stop_signals()
        twistd: Any = self._options.parent or {}
        if not twistd.get("nodaemon", True):
            self._log.critical("{program}: {error}", program=self._options.program, error=error)
            raise error
        pid_file.remove_own(twistd.get("pidfile"))
        refuse(self._options.program, str(error))

    def reload_asked(self, signal_name: str) -> None:
        """SIGHUP came: reload the configuration, and open the logs again."""
        self.notify.reloading()
        self.reopen_logs(signal_name)
        if self._reload is not None:
            self._log.info("{signal}: reading again what may have changed", signal=signal_name)
            maybeDeferred(self._reload).addBoth(lambda _: self.notify.ready())
        else:
            self.notify.ready()

    def reopen_logs(self, signal_name: str) -> None:
        """Open the logs again: they may have been moved away."""
        if self.log is not None:
            self.log.file.reopen()
        if self._reopen is not None:
            self._reopen()
        self._log.info("{signal}: the logs are opened again", signal=signal_name)

    def lost_lines(self) -> dict[str, int]:
        """Lines of logs that could not be written so far, by log."""
        return {} if self.log is None else {"program": self.log.file.lost}

    def _signalled(self, number: int, frame: object) -> None:
        heed = {signal.SIGHUP: self.reload_asked, signal.SIGUSR1: self.reopen_logs}.get(signal.Signals(number), self.stop_asked)
        self._reactor.callFromThread(heed, signal.Signals(number).name)

    # -- the end

    def stop_asked(self, signal_name: str) -> None:
        """A stop signal came: the first one drains, any other stops at once."""
        if not self.drain_asked(signal_name):
            self._log.info("{signal} again: stopping at once", signal=signal_name)
            self.stop_at_once()

    def drain_asked(self, by: str) -> bool:
        """Drain, then stop; gives whether the end begins with this call.

        :param by: what asked for it, for the log: a signal's name, a request to the admin endpoint.
        """
        if self._asked or self._stopped is not None:
            return False
        self._asked = True
        self.ready = False
        self.notify.stopping()
        self._log.info("{by}: draining, then stopping; a second signal stops at once", by=by)
        self._reactor.stop()
        return True

    def stopService(self) -> Deferred[None]:
        """Drain, then stop all services in order; fires when all are stopped."""
        if self._stopped is None:
            Service.stopService(self)
            self._heed_stop_signals()
            self.ready = False
            self.notify.stopping()
            self._stopped = Deferred()
            orderly = Deferred.fromCoroutine(self._stop_in_order())
            orderly.addErrback(lambda failure: self._log.failure("could not stop in order", failure))
            orderly.addCallback(self._stopped.callback)
        return self._stopped

    def stop_at_once(self) -> None:
        """Wait for nothing any more: the services that still run are stopped one right after the other."""
        self._hurried = True
        if self._wait_no_longer is not None:
            self._wait_no_longer()

    async def _stop_in_order(self) -> None:
        if self._drain is not None:
            delay_s = self._drain_delay_s()
            if delay_s:
                await self._end_of(Deferred(), "", delay_s)
            await self._end_of(maybeDeferred(self._drain), "could not drain", self._drain_limit_s())
        others = [service for service in reversed(self.services) if service is not self._drained]
        for service in [self._drained, *others] if self._drained is not None else others:
            await self._end_of(maybeDeferred(service.stopService), f"{service} did not stop cleanly")
        self.notify.end()

    def _end_of(self, work: Deferred[Any], complaint: str, limit_s: Optional[float] = None) -> Deferred[None]:
        """Fires when ``work`` is done, however it ends, when the time is over, and when nobody waits any more."""
        ended: Deferred[None] = Deferred()
        timer = None if limit_s is None else self._reactor.callLater(limit_s, lambda: end(None))

        def end(_: object) -> None:
            if not ended.called:
                self._wait_no_longer = None
                if timer is not None and timer.active():
                    timer.cancel()
                ended.callback(None)

        self._wait_no_longer = partial(end, None)
        work.addErrback(lambda failure: self._log.failure("{complaint}", failure, complaint=complaint)).addCallback(end)
        if self._hurried:
            end(None)
        return ended
