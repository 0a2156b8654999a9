"""Every form of the table: accepted as its strict equivalent, or refused, however it arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, List, Tuple

from twisted.trial.unittest import SynchronousTestCase

from tests.http1.differential import disagreement, forwarded
from tests.http1.forms import Form, table
from tests.http1.messages import bytewise, read, splits, whole
from tests.http1.request_forms import REQUESTS
from tests.http1.response_forms import RESPONSES
from xproxy.http1.errors import BadMessage
from xproxy.http1.forward import client_head
from xproxy.http1.limits import HeadLimits
from xproxy.http1.response import ResponseHead

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture" / "http1.md"


def ways(message: bytes) -> Iterable[List[bytes]]:
    """In one piece, byte by byte, and in two pieces."""
    yield whole(message)
    yield bytewise(message)
    if len(message) < 150:
        yield from map(list, splits(message))


def answered(pieces: List[bytes], method: bytes) -> Tuple[bytes, bytes, bytes, bool]:
    """What of a response goes on to the client, and whether its slot can be used again."""
    reading = read(pieces, HeadLimits(), method)
    head = reading.head
    assert isinstance(head, ResponseHead) and reading.rest == b"", reading.rest
    length = head.fields.content_length if method == b"HEAD" or head.status == 304 else len(reading.content)
    reusable = head.keep_alive or head.status < 200  # Behind an interim response the final one decides.
    return client_head(head, 1, True, length), reading.content, reading.trailers, reusable


class FormTests(SynchronousTestCase):
    def test_requests(self) -> None:
        for form in REQUESTS:
            for message in form.messages:
                for pieces in ways(message):
                    for chunk in (False, True):
                        expected = forwarded([form.same_as], chunk) if form.same_as else None
                        self.assertEqual(forwarded(pieces, chunk), expected, (form.name, message))
                if form.same_as:
                    self.assertEqual(disagreement([message]), "", message)

    def test_responses(self) -> None:
        for form in RESPONSES:
            for message in form.messages:
                for pieces in ways(message):
                    self.response(form, pieces)

    def response(self, form: Form, pieces: List[bytes]) -> None:
        if not form.same_as:
            self.assertRaises(BadMessage, read, pieces, HeadLimits(), form.answer_to)
            return
        strict = answered([form.same_as], form.answer_to)
        self.assertTrue(strict[-1], form.name)
        self.assertEqual(answered(pieces, form.answer_to), (*strict[:-1], form.reusable), (form.name, pieces))

    def test_strict_forms_are_strict(self) -> None:
        """What a form is compared with is none itself."""
        for form in REQUESTS + RESPONSES:
            self.assertNotIn(form.same_as, form.messages[1:], form.name)
            self.assertTrue(form.messages, form.name)

    def test_documented(self) -> None:
        """The tables in the documentation are these."""
        text = DOCUMENT.read_text("utf-8")
        for forms in (REQUESTS, RESPONSES):
            self.assertIn(table(forms), text)
