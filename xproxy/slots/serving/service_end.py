"""The service's end of one slot, told from the bytes: what its server is given, when the slot may be closed, with which words.

The life of a slot at the service: it is dialled (``dialling``), introduces itself (``registration``), and waits. Requests come,
one at a time, and are answered (``tracker``). It is closed politely: while it waits, with ``CLOSING_RESPONSE``; after an
exchange that was the last one, without a word; never while an exchange runs. After the last words our side of the connection
is shut, and what arrives is thrown away until the other end has closed. Or it was refused (``unasked``).

Pure. A shell owns the connection: it gives what was read to ``received`` and what the server writes to ``sent``, and asks
``last_words`` when it wants to close.
"""

from __future__ import annotations

from typing import Optional

from xproxy.slots.serving.goodbye import CLOSING_RESPONSE
from xproxy.slots.serving.tracker import ExchangeTracker, Phase
from xproxy.slots.serving.unasked import UnaskedResponse, refusal_reason

_last_words = {
    Phase.IDLE: CLOSING_RESPONSE,
    Phase.ANSWERED: b"",
    Phase.SPENT: b"",
    Phase.RAW_QUIET: b"",
}
"""The phases in which closing hurts nobody, and what is said then: only where a new request may be on its way, and never to
somebody who does not speak HTTP."""


class ServiceEnd:
    """See the module.

    :param tracker: where the exchange is; a server that follows its exchanges itself brings its own.
    :ivar closing: the last words are said, or the connection is gone: nothing goes to or comes from the server any more.
    """

    __slots__ = ("tracker", "closing", "_response")

    def __init__(self, tracker: Optional[ExchangeTracker] = None) -> None:
        self.tracker = tracker or ExchangeTracker()
        self.closing = False
        self._response = UnaskedResponse()

    def received(self, data: bytes) -> bytes:
        """The connection brought ``data``. Returns what the server is given of it."""
        if self.closing:
            if self._response.said:
                self._response.more(data)
            return b""
        if self.tracker.phase is Phase.IDLE:
            data = self._response.look(data)
        if data:
            self.tracker.received(data)
        return data

    def sent(self, data: bytes) -> bool:
        """The server writes ``data``. Returns whether that may go onto the connection."""
        if self.closing:
            return False
        self.tracker.sent(data)
        return True

    @property
    def refusal(self) -> str:
        """Why the other end does not take the slot, on one line; empty when it has not said so."""
        return refusal_reason(self._response.said) if self._response.said else ""

    @property
    def refused(self) -> bool:
        """Whether there is a ``refusal``, of which more may come: the slot is to be closed."""
        return bool(self._response.said)

    def last_words(self) -> Optional[bytes]:
        """What is said when the slot is closed now; None when it may not be: an exchange runs, or it is closing already."""
        return None if self.closing else _last_words.get(self.tracker.phase)
