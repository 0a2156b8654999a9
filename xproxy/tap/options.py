"""What the commands have in common: strict options, the configuration they make, and the one line that a mistake costs.

Every mistake before the start ends in ``refuse``: one line on standard error and exit status 1, no traceback, no usage.
twistd's own ways (the whole help on standard output, a traceback for what a service raises) would hide the line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from getopt import GetoptError
from typing import Any, NoReturn, Optional

import attr
from twisted.python.usage import Options, UsageError

from twisted import __version__ as twisted_version

from .. import __version__
from ..config import DEFAULT_POOL, Config, checks
from ..config.reading import ConfigError, load
from ..startup import StartupError
from . import pid_file


def refuse(program: str, message: str) -> NoReturn:
    """Say on one line of standard error what is wrong, and exit with status 1.

    twistd sends ``sys.stderr`` to the log once that has begun; the line is for whoever started us.
    """
    stream = sys.__stderr__ or sys.stderr
    stream.write(f"{program}: {' '.join(message.split())}\n")
    stream.flush()
    raise SystemExit(1)


class StrictOptions(Options):
    """Options whose mistakes are one line."""

    program = ""
    """The name of the command, as twistd knows it."""

    def parseOptions(self, options: Optional[list[str]] = None) -> None:
        """Parse, or exit with status 1. The pid file of the twistd above is seen to."""
        try:
            super().parseOptions(options)
        except UsageError as mistake:
            unknown = isinstance(mistake.__context__, GetoptError)
            refuse(self.program, f"{mistake} (twistd {self.program} --help lists the options)" if unknown else str(mistake))
        pid_file.settle(self.parent)

    def parseArgs(self, *words: str) -> None:
        """Nothing but options is understood."""
        if words:
            raise UsageError(f"unexpected argument {words[0]!r}")

    def opt_version(self) -> NoReturn:
        """Show the versions of xproxy, Twisted and Python, and exit."""
        python = f"{sys.implementation.name} {sys.version.split()[0]}"
        sys.stdout.write(f"xproxy {__version__}, Twisted {twisted_version}, {python}\n")
        raise SystemExit(0)


class ConfiguredOptions(StrictOptions):
    """Options on top of a configuration file. After parsing, ``config`` is what both say together."""

    longdesc = "Options given here win over the configuration file."

    config: Config

    def __init__(self) -> None:
        super().__init__()
        self["config"] = None
        self["check"] = False

    def opt_config(self, path: str) -> None:
        """Read this TOML file."""
        self["config"] = path

    def opt_check(self) -> None:
        """Read and check the configuration, say what is wrong with file and key, and exit."""
        self["check"] = True

    def postOptions(self) -> None:
        """Read the file, put the options on top. Exits when the file is wrong, and after ``--check``."""
        path = self["config"]
        try:
            config = Config() if path is None else load(path)
        except ConfigError as error:
            if not self["check"]:
                refuse(self.program, error.line())
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from error
        self.config = self.over(config)
        if self["check"]:
            sys.stdout.write(f"{'the configuration' if path is None else path}: ok\n")
            raise SystemExit(0)

    def over(self, config: Config) -> Config:
        """``config`` with the options put on top. Raises UsageError."""
        raise NotImplementedError

    def checked(self, option: str, check: checks.Check, value: object) -> Any:
        """An option's value, checked as the configuration file's would be. Raises UsageError."""
        try:
            return check(value)
        except ValueError as mistake:
            raise UsageError(f"--{option}: {mistake}") from mistake

    def check_certificates(self, read: Callable[[], object]) -> None:
        """Read certificates as a start would. Raises UsageError."""
        try:
            read()
        except StartupError as error:
            raise UsageError(str(error)) from error

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the options that were given; what is repeatable comes as a tuple, as the configuration has it."""
        return {name: tuple(self[name]) if isinstance(self[name], list) else self[name] for name in names if self[name]}


class SlotsOptions(ConfiguredOptions):
    """The options of a command that has an acceptor: where services register, and who may."""

    def __init__(self) -> None:
        super().__init__()
        self["slots"] = []
        self["allow"] = []

    def opt_slots(self, description: str) -> None:
        """Where services register, an endpoint description; repeatable. [default: tcp:9999:interface=127.0.0.1]"""
        self["slots"].append(self.checked("slots", checks.endpoint, description))

    def opt_allow(self, network: str) -> None:
        """Who may register, a network in CIDR notation; repeatable. [default: 127.0.0.0/8 and ::1/128]"""
        self["allow"].append(self.checked("allow", checks.cidr, network))

    def over(self, config: Config) -> Config:
        """See ConfiguredOptions. ``--slots`` and ``--allow`` are about one pool: that called default, or the only one."""
        changes = self.given("slots", "allow")
        if not changes:
            return config
        pools = dict(config.pools)
        pool = pools.get(DEFAULT_POOL) or (next(iter(pools.values())) if len(pools) == 1 else None)
        if pool is None:
            option = "slots" if self["slots"] else "allow"
            raise UsageError(f'--{option} is about the pool "{DEFAULT_POOL}", which the configuration does not have')
        pools[pool.name] = attr.evolve(pool, allow_given=pool.allow_given or "allow" in changes, **changes)
        return attr.evolve(config, pools=pools)
