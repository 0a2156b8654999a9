"""The configuration read again: one reload at a time, all of it or nothing, and what came of each.

Between those who ask (a signal, the admin endpoint) and those who go by a configuration. Reading and checking are one function,
putting in force is another: where the parts that change are in this process, that is ``prepare_all``; a parent passes the
configuration on to its workers instead. See docs/architecture/lifecycle.md.
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
    """A configuration that a part has looked at, and can go by: all that could fail has been done. One of the two is called.

    :ivar commit: goes by it; can't fail. Fires when what is gone with it is closed.
    :ivar abort: undoes what was done; nothing has changed then.
    """

    commit: Callable[[], Deferred[Any]]
    abort: Callable[[], None]


Prepare = Callable[[Config], Change]
"""How a part of the program gets ready for another configuration. Raises StartupError: it can't; nothing has changed."""


def prepare_all(parts: Sequence[Prepare], config: Config) -> Change:
    """Several parts as one: each is ready, or none is. Raises as they do."""
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
    """What came of a reload."""

    mistakes: Tuple[Mistake, ...] = ()
    """Why nothing has changed; empty: the configuration is in force."""
    file: str = ""
    """The configuration's, as messages name it; empty: there is none."""
    kept: Tuple[str, ...] = ()
    """Keys that hold from the start, and that the file has otherwise."""
    refused: bool = False
    """Nothing was read: there are no reloads any more."""

    @property
    def lines(self) -> List[str]:
        """The mistakes, each on one line with file, line and key."""
        return ConfigError(self.file, self.mistakes).lines()


class Reload:
    """Reads the configuration again whenever somebody asks, and keeps the record of it.

    One runs at a time. Whoever asks meanwhile is told of the next one, which begins after it: what was written before somebody
    asked is always read.

    :param config: in force from the start.
    :param role: what it is for.
    :param read: reads and checks it all, and changes nothing. Raises ConfigError.
    :param apply: puts one in force, or fails with StartupError or ConfigError and has changed nothing.
    :param wall_time: seconds since 1970.
    :ivar config: in force.
    :ivar generation: 1 at the start, and one more with each reload.
    :ivar loaded_at: when that was, in seconds since 1970.
    :ivar results: how often reloads were ``ok`` and ``failed``.
    :ivar failed_at: when the last one has failed; None: none has.
    :ivar failure: why, line by line.
    :ivar kept: of the last one that has not failed: see Outcome.
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
        """Reload; fires with what came of it, and does not fail."""
        answer: Deferred[Outcome] = Deferred()
        self._asking.append(answer)
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._run()).addErrback(lambda failure: _log.failure("a reload was left", failure))
        return answer

    def close(self, reason: str) -> None:
        """No reload is begun any more: whoever asks is told ``reason``."""
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
    """Where an endpoint stands in a configuration; empty: nowhere."""
    found = (path for description, path in listened(config, role) if endpoint and description.endswith(endpoint))
    return next(found, ())
