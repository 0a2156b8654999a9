"""The configuration read again: one reload at a time, all of it or nothing, and what came of each.

Between a signal or the admin endpoint, which ask for a reload, and the parts of the program, which go by a configuration.
Reading and checking are one function, putting in force is another: where the parts that change are in this process, that is
``prepare_all``; a parent passes the configuration on to its workers instead. See docs/architecture/lifecycle.md.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from .config import Config, ConfigError, Mistake, Role, settled
from .config.errors import key_of
from .config.rules import listened
from .startup import StartupError

_log = Logger()


@attr.frozen
class Change:
    """A part of the program is ready for another configuration: all that could fail has been done. One of the two is called.

    :ivar commit: puts the configuration in force; can't fail. Fires when the endpoints that are gone with it are closed.
    :ivar abort: undoes the preparation; the part goes on as before.
    """

    commit: Callable[[], Deferred[Any]]
    abort: Callable[[], None]


Prepare = Callable[[Config], Change]
"""How a part of the program gets ready for another configuration. Raises StartupError: the part can't use it, and goes on as
before."""


def prepare_all(parts: Sequence[Prepare], config: Config) -> Change:
    """Several parts as one: each is ready, or none is. Raises StartupError as they do."""
    changes: List[Change] = []

    def abort() -> None:
        for change in reversed(changes):
            change.abort()

    def commit() -> Deferred[Any]:
        return DeferredList([change.commit() for change in changes], consumeErrors=True)

    try:
        for prepare in parts:
            changes.append(prepare(config))
    except BaseException:
        abort()
        raise
    return Change(commit, abort)


@attr.frozen
class Outcome:
    """The end of a reload."""

    mistakes: Tuple[Mistake, ...] = ()
    """Why nothing has changed; empty: the configuration is in force."""
    file: str = ""
    """The configuration's file, as messages name it; empty: there is none."""
    kept: Tuple[str, ...] = ()
    """Keys that hold from the start, and that have another value in the file."""
    refused: bool = False
    """Nothing was read: no reload is begun any more."""

    @property
    def lines(self) -> List[str]:
        """The mistakes, each on one line with file, line and key."""
        return ConfigError(self.file, self.mistakes).lines()


class Reload:
    """Reads the configuration again whenever a reload is asked for, and keeps the record of all reloads.

    One reload runs at a time. Whoever asks meanwhile gets the outcome of the next one, which begins after that: what was
    written to the file before a reload was asked for is always read.

    :param config: the configuration at the start.
    :param role: what the configuration is for.
    :param read: reads and checks everything, and changes nothing. Raises ConfigError.
    :param apply: puts a configuration in force, or fails with StartupError or ConfigError and has changed nothing.
    :param wall_time: seconds since 1970.
    :ivar config: the configuration in force.
    :ivar generation: of that configuration: 1 at the start, and one more with each reload.
    :ivar loaded_at: when that configuration was read, in seconds since 1970.
    :ivar results: how often reloads were ``ok`` and ``failed``.
    :ivar failed_at: when a reload failed last, in seconds since 1970; None: none has failed.
    :ivar failure: the mistakes of that reload, line by line.
    :ivar kept: of the last reload that has not failed: see Outcome.
    """

    def __init__(
        self,
        config: Config,
        role: Role,
        read: Callable[[], Config],
        apply: Callable[[Config], Deferred[Any]],
        wall_time: Callable[[], float],
    ) -> None:
        self.config = config
        self.generation = 1
        self.loaded_at = wall_time()
        self.results: Dict[str, int] = {"ok": 0, "failed": 0}
        self.failed_at: Optional[float] = None
        self.failure: Sequence[str] = ()
        self.kept: Tuple[str, ...] = ()
        self._role = role
        self._read = read
        self._apply = apply
        self._wall_time = wall_time
        self._asking: List[Deferred[Outcome]] = []
        self._running = False
        self._closed = ""

    def ask(self) -> Deferred[Outcome]:
        """Reload; fires with the outcome, and does not fail."""
        answer: Deferred[Outcome] = Deferred()
        self._asking.append(answer)
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._run()).addErrback(lambda failure: _log.failure("a reload broke off", failure))
        return answer

    def close(self, reason: str) -> None:
        """No reload is begun any more: the outcome of one that is asked for has ``reason`` as its mistake."""
        self._closed = reason

    async def _run(self) -> None:
        try:
            while self._asking:
                asking, self._asking = self._asking, []
                outcome = await self._once()
                for answer in asking:
                    answer.callback(outcome)
        finally:
            self._running = False

    async def _once(self) -> Outcome:
        if self._closed:
            _log.warn("not reloaded: {reason}", reason=self._closed)
            return Outcome((Mistake((), self._closed),), refused=True)
        file = self.config.source.file
        try:
            read = self._read()
            file = read.source.file
            config, kept = settled(self.config, read)
            await self._apply(config)
        except ConfigError as error:
            return self._failed(error.mistakes, error.file)
        except StartupError as error:
            path = _path_of(error.endpoint, read, self._role)
            return self._failed(read.source.error([Mistake(path, str(error))]).mistakes, file)
        except Exception as error:  # noqa: BLE001 - a plugin's, or a bug of ours: told, and the program goes on
            _log.failure("a reload has failed for no reason that is known")
            return self._failed((Mistake((), f"{type(error).__name__}: {error}"),), file)
        self.config = config
        self.generation += 1
        self.loaded_at = self._wall_time()
        self.results["ok"] += 1
        self.kept = tuple(map(key_of, kept))
        _log.info("the configuration is read again: generation {generation}", generation=self.generation)
        for key in self.kept:
            _log.warn("{key} holds from the start: another value is in force after a restart only", key=key)
        return Outcome(file=file, kept=self.kept)

    def _failed(self, mistakes: Sequence[Mistake], file: str) -> Outcome:
        outcome = Outcome(tuple(mistakes), file)
        self.results["failed"] += 1
        self.failed_at = self._wall_time()
        self.failure = outcome.lines
        for line in self.failure:
            _log.error("not reloaded, nothing has changed: {line}", line=line)
        return outcome


def _path_of(endpoint: str, config: Config, role: Role) -> Tuple[Any, ...]:
    """The path of an endpoint's key in a configuration; empty: the endpoint is in no key."""
    found = (path for description, path in listened(config, role) if endpoint and description.endswith(endpoint))
    return next(found, ())
