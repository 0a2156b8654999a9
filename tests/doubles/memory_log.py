"""The file of an access log, in memory."""

from __future__ import annotations

from xproxy.log_file import NOT_TAKEN


class MemoryLog:
    """Takes lines at once, unless it is told to lose them."""

    path = "access.log"

    def __init__(self) -> None:
        self.text = ""
        self.lost = 0
        self.reason = ""
        self.not_opened = ""
        self.losing = False
        self.calls: list[str] = []

    def begin(self) -> None:
        """Remember."""
        self.calls.append("begin")

    def write(self, lines: bytes) -> None:
        """Take them."""
        if self.losing:
            self.lost += lines.count(b"\n")
            self.reason = NOT_TAKEN
        else:
            self.text += lines.decode("utf-8")

    def reopen(self) -> None:
        """Remember."""
        self.calls.append("reopen")

    def close(self) -> None:
        """Remember."""
        self.calls.append("close")
