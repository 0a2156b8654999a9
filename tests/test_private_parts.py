"""Twisted's private parts, and what it does by assignment, are touched in ``net/`` and ``tls/`` alone."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import xproxy

ROOT = Path(xproxy.__file__).parent

PRIVATE = re.compile(
    r"\._(?:tempData\w*|shouldShutdown|selectables|poller|doReadOrWrite|disconnectSelectable|lib)\b|\.dataBuffer\b"
    r"|\.do(?:Read|Write) = |\[\"do(?:Read|Write)\"\]|del \S+\.do(?:Read|Write)|\bMSG_PEEK\b"
)


class PrivatePartsTests(SynchronousTestCase):
    def test_nobody_else(self) -> None:
        found = [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for path in sorted(ROOT.rglob("*.py"))
            if path.relative_to(ROOT).parts[0] not in ("net", "tls")
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
            if PRIVATE.search(line)
        ]
        self.assertEqual(found, [])

    def test_what_is_found(self) -> None:
        lines = ("transport._tempDataBuffer", "del self.transport.doRead", "transport.doRead = read", "SSL._lib.x", "MSG_PEEK")
        for line in lines:
            self.assertTrue(PRIVATE.search(line), line)
        for line in ("return transport.doRead()", "self._library", "self._selectable"):
            self.assertFalse(PRIVATE.search(line), line)
