"""Tests for ``phrases``."""

from __future__ import annotations

from http import HTTPStatus

from twisted.trial.unittest import SynchronousTestCase

from xproxy.http1.phrases import phrase

RENAMED = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""By RFC 9110; Python has these names from 3.13 on."""


class PhraseTests(SynchronousTestCase):
    """What statuses are called."""

    def test_names_of_rfc_9110(self) -> None:
        for status, name in RENAMED.items():
            self.assertEqual(phrase(status), name)

    def test_every_status_that_python_knows(self) -> None:
        """The same names, in any version, but for those that RFC 9110 has changed."""
        for status in set(HTTPStatus) - set(RENAMED):
            if status != 104:  # A draft's, in Python 3.15.
                self.assertEqual(phrase(status).lower(), status.phrase.lower())

    def test_one_that_nobody_knows(self) -> None:
        self.assertEqual(phrase(599), "Status")
