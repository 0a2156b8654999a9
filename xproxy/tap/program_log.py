"""The program's own log: what twistd's commands log goes to a LogFile, so that the reactor never waits for its reader.

twistd asks the application for an observer of its log before it makes one by ``--logfile``; ``for_twistd`` makes ours.
Two things differ from twistd's own: the reactor does not stand still when nobody reads standard output, and a file is not
turned over by itself at a million bytes, but opened again after it was moved away, when SIGUSR1 or SIGHUP comes.
"""

from __future__ import annotations

import os
from typing import Optional

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEventAsClassicLogText
from twisted.python.usage import Options
from zope.interface import implementer

from ..log_file import STANDARD_OUTPUT, LogFile
from ..startup import StartupError, os_reason

DAEMON_FILE = "twistd.log"
"""Where a daemon logs unless ``--logfile`` says something else, as twistd has it."""

REPEAT_S = 60.0
"""Seconds between two lines that say how many lines were lost."""


@implementer(ILogObserver)
class ProgramLog:
    """Writes events as twistd does.

    :param file: owned by this object.
    """

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self._lost = 0
        self._say_at = 0.0

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        text = formatEventAsClassicLogText(event)
        if text is None:
            return
        file = self.file
        if file.not_opened:
            text = _line(f"log file {file.path}: {file.not_opened}; the old file is written on", event) + text
            file.not_opened = ""
        if file.lost != self._lost and event["log_time"] >= self._say_at:
            self._say_at = event["log_time"] + REPEAT_S
            self._lost = file.lost
            text = _line(f"{file.lost} lines of this log are lost so far: {file.reason}", event) + text
        file.write(text.encode("utf-8", "backslashreplace"))


def _line(text: str, event: LogEvent) -> str:
    """A line of our own, at the time of ``event``."""
    own = {"log_format": "{text}", "text": text, "log_time": event["log_time"], "log_namespace": __name__}
    return formatEventAsClassicLogText({**own, "log_level": LogLevel.warn}) or ""


def path_of(twistd: Optional[Options]) -> Optional[str]:
    """Where twistd's options want the log; None where twistd writes the log itself: syslog, or another program than twistd."""
    if twistd is None or "logfile" not in twistd or twistd.get("logger") or twistd.get("syslog"):
        return None
    daemon = _is_daemon(twistd)
    path = twistd["logfile"] or (DAEMON_FILE if daemon else STANDARD_OUTPUT)
    if path == STANDARD_OUTPUT:
        return None if daemon else STANDARD_OUTPUT  # twistd has something to say about a daemon's.
    return os.path.abspath(str(path))


def _is_daemon(twistd: Options) -> bool:
    return not (twistd.get("nodaemon") or twistd.get("debug"))


def for_twistd(twistd: Optional[Options]) -> Optional[ProgramLog]:
    """The log that twistd's options ask for; None where twistd writes the log itself.

    :raises StartupError: the file can't be opened.
    """
    path = path_of(twistd)
    if twistd is None or path is None:
        return None
    try:
        file = LogFile(path)
    except OSError as error:
        raise StartupError(f"log file {path}: {os_reason(error)}") from error
    if not _is_daemon(twistd):
        file.begin()
    return ProgramLog(file)
