"""What the commands have in common: strict options, the configuration they make, and the one line that a mistake costs.

Every mistake before the start ends in ``refuse``: one line on standard error and exit status 1, no traceback, no usage.
twistd's own ways (the whole help on standard output, a traceback for what a service raises) would hide the line.
"""

from __future__ import annotations

import os
import sys
from getopt import GetoptError
from typing import Any, NoReturn, Optional, TypeVar

from twisted.python.usage import Options, UsageError

from twisted import __version__ as twisted_version

from .. import __version__
from ..config import Config, ConfigError, Mistake, Overrides, Role, checks, load
from . import pid_file, program_log
from .rehearsal import Rehearsal
from .upgrade.former import Former, former_of, settle
from .upgrade.program import Origin

T = TypeVar("T")


def complain(program: str, message: str) -> None:
    """Say on one line of standard error what is wrong."""
    stream = sys.__stderr__ or sys.stderr
    stream.write(f"{program}: {' '.join(message.split())}\n")
    stream.flush()


def refuse(program: str, message: str) -> NoReturn:
    """Say on one line of standard error what is wrong, and exit with status 1.

    twistd sends ``sys.stderr`` to the log once that has begun; the line is for whoever started us.
    """
    complain(program, message)
    raise SystemExit(1)


class StrictOptions(Options):
    """Options whose mistakes are one line."""

    program = ""
    """The name of the command, as twistd knows it."""
    former: Optional[Former] = None
    """The program that has started this one to take over."""
    pid_file = ""
    """That of the former program, which is ours when we have taken over."""

    def parseOptions(self, options: Optional[list[str]] = None) -> None:
        """Parse, or exit with status 1. The pid file of the twistd above is seen to."""
        try:
            super().parseOptions(options)
        except UsageError as mistake:
            unknown = isinstance(mistake.__context__, GetoptError)
            refuse(self.program, f"{mistake} (twistd {self.program} --help lists the options)" if unknown else str(mistake))
        if self.former is None or self.parent is None:
            pid_file.settle(self.parent)
        else:
            self.pid_file = settle(self.parent)

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
    """Options on top of a configuration file. After parsing, ``config`` is what both say together.

    Parsing reads the file with the options on top and looks at the tree as a whole; ``rehearse`` looks at the files that a
    start reads and the places where it listens. A start and ``--check`` do both, so that they refuse the same.
    """

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
        """Read and check the configuration, say what is wrong with file, line and key, and exit."""
        self["check"] = True

    def postOptions(self) -> None:
        """Read the file, put the options on top. Exits when something is wrong, and after ``--check``."""
        self.former = former_of(os.environ)
        self.origin = Origin.here()
        try:
            self.config = self.load()
            self.look_at(self.config)
            if self["config"] is not None:
                self["config"] = os.path.abspath(self["config"])  # twistd may go elsewhere before it is read again.
            if self["check"]:
                self._end_check(self.rehearse(self.config, outside_unit=True))
        except ConfigError as error:
            if not self["check"]:
                refuse(self.program, error.line())
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from error

    def load(self) -> Config:
        """Read the configuration, now and at any time again; nothing is changed by it. Raises ConfigError."""
        return load(self["config"], self.overrides(), self.role)

    def load_again(self, in_force: Config) -> Config:
        """Read the configuration again in a program that runs, and rehearse a start, but for the endpoints that are open
        already.

        :param in_force: the configuration that the program goes by.

        :raises ConfigError: the file can't be read, or a start with this configuration would fail.
        """
        path = self["config"]
        if path is not None and os.path.exists(path) and not os.path.isfile(path):
            raise ConfigError(path, [Mistake((), "is no plain file: what it held was read at the start")])
        config = self.load()
        try:
            self.look_at(config)
        except UsageError as mistake:
            raise config.source.error([Mistake((), str(mistake))]) from mistake
        mistakes = Rehearsal(config, self.role, running=in_force).mistakes
        if mistakes:
            raise config.source.error(mistakes)
        return config

    @property
    def role(self) -> Role:
        """What the configuration is for."""
        raise NotImplementedError

    def overrides(self) -> Overrides:
        """What the options say instead of the file. Raises UsageError."""
        raise NotImplementedError

    def look_at(self, config: Config) -> None:
        """Look whether the options and the configuration go together. Raises UsageError."""

    def rehearse(self, config: Config, outside_unit: bool = False) -> list[str]:
        """Read what a start reads, look where it listens.

        :param outside_unit: sockets that systemd passes need not be there.
        :returns: what was not looked at, and why.
        :raises ConfigError: a start would fail.
        """
        rehearsal = Rehearsal(config, self.role, self.get("acceptor"), program_log.path_of(self.parent), outside_unit)
        if rehearsal.mistakes:
            raise config.source.error(rehearsal.mistakes)
        return rehearsal.notes

    def rehearse_start(self) -> None:
        """Rehearse right before a start. Exits with status 1 and one line when a start would fail."""
        try:
            self.rehearse(self.config)
        except ConfigError as error:
            refuse(self.program, error.line())

    def _end_check(self, notes: list[str]) -> NoReturn:
        name = self.config.source.file or "the configuration"
        for note in notes:
            sys.stderr.write(f"{name}: {note}\n")
        sys.stdout.write(f"{name}: ok\n")
        raise SystemExit(0)

    def checked(self, option: str, check: checks.Check[T], value: object) -> T:
        """An option's value, checked as the configuration file's would be. Raises UsageError."""
        try:
            return check(value)
        except ValueError as mistake:
            raise UsageError(f"--{option}: {mistake}") from mistake

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
        self["slots"].append(self.checked("slots", checks.plain_endpoint, description))

    def opt_allow(self, network: str) -> None:
        """Who may register, a network in CIDR notation; repeatable. [default: 127.0.0.0/8 and ::1/128]"""
        self["allow"].append(self.checked("allow", checks.cidr, network))
