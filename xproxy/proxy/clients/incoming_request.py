"""One request of an HTTP/1.1 client on its way in: what was decided of it, the guards, the body, until it goes to a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ...http1.body import encode_chunk, last_chunk
from ...http1.errors import BadMessage
from ...http1.request import RequestHead
from ...interfaces import Verdict
from ..exchanges.exchange import Exchange
from ..requests.answers import Answer
from ..requests.decide import decide
from ..requests.hearing import Hearing, hear, ruled
from ..requests.outgoing import offered, passed_trailers
from ..requests.policy import Destination
from ..requests.request_body import RequestBody
from .states import State

if TYPE_CHECKING:
    from .connection import ClientConnection

_BODY = State.BODY


class IncomingRequest:
    """See the module's docstring. A ``ClientRequest`` is one, makes the exchange of it, and gives the answer.

    :ivar exchange: None until the request is on its way to a slot, and when its answer is whole.
    :ivar began_at: when its head was whole, in monotonic seconds.
    """

    __slots__ = ("connection", "head", "destination", "exchange", "began_at", "request_id", "_hearing", "_body")

    connection: ClientConnection
    head: RequestHead
    destination: Destination
    exchange: Optional[Exchange]
    began_at: float
    request_id: bytes
    _hearing: Optional[Hearing]
    _body: Optional[RequestBody]

    def answer(self, answer: Answer, last: bool = False) -> None:
        """Answer without a service. ``last``: whatever the client would like."""
        raise NotImplementedError

    def refuse(self, error: BadMessage) -> None:
        """The request turned out bad: nothing that follows on this connection could be trusted."""
        raise NotImplementedError

    def submit(self, length: int, chunked: bool, upgrade: bytes, now: float) -> None:
        """Put a request without a body, or one whose body is streamed, on its way to a slot."""
        raise NotImplementedError

    def submit_whole(self) -> None:
        """Put a request with its whole body on its way to a slot. Raises BadMessage."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin what was decided of the request. Raises BadMessage."""
        head, connection = self.head, self.connection
        if not head.host:
            connection.provenance = connection.provenance.at(connection.transport.getHost())
        self.destination, own = decide(head, connection.provenance)
        if own is not None:
            self.answer(own)
        elif self.destination.guards:
            self._ask_guards()
        elif connection.state is _BODY:
            self._let_in()
        else:
            self.submit(head.fields.content_length, False, head.upgrade, self.began_at)

    def _ask_guards(self) -> None:
        """Ask whether the request may pass; until then nothing of its body is read. Raises BadMessage."""
        connection = self.connection
        self._hearing, verdict = hear(self.head, self.destination, connection.provenance, connection.gateway, self._heard)
        if verdict is not None:
            self._ruled(verdict)
        elif connection.state is _BODY:
            connection.intake.pause_body()

    def _heard(self, verdict: Verdict) -> None:
        """The verdict took its time."""
        try:
            if self.connection.state is _BODY:
                self.connection.intake.resume_body()
            self._ruled(verdict)
        except BadMessage as error:
            self.refuse(error)

    def _ruled(self, verdict: Verdict) -> None:
        self._hearing = None
        self.head, denial = ruled(self.head, verdict, self.connection.provenance)
        if denial is not None:
            self.answer(denial)
        else:
            self._let_in()

    def _let_in(self) -> None:
        """Go on with a request that may pass. Raises BadMessage."""
        announced = self.head.fields.content_length
        if self.connection.state is _BODY:
            self._begin_body(announced)
        else:
            # No body, which some services want to be told where they expect one: a length of 0 goes on.
            self.submit(announced, False, self.head.upgrade, self.began_at)

    # -- the body

    def _begin_body(self, announced: int) -> None:
        """Ask for the body. Raises BadMessage."""
        head, connection, to = self.head, self.connection, self.destination
        gateway, intake = connection.gateway, connection.intake
        client = connection.provenance.client(head.fields)
        body = self._body = gateway.request_body(connection.policy, to, announced, client)
        if head.expect_continue and not intake.buffer:
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not to.buffering:
            chunked = head.fields.chunked
            self.submit(announced, chunked, offered(head, intake.buffer, chunked), gateway.monotonic())
        if connection.state is _BODY:  # Nothing was answered meanwhile.
            intake.read_body(head, to.body_limit, body if to.buffering else None)

    def count(self, content: bytes) -> None:
        """Some of the body has come: count it, and keep it unless it is streamed. Raises BadMessage."""
        body = self._body
        assert body is not None
        if self.destination.buffering:
            body.keep(content)
        else:
            body.count(len(content))

    def body_received(self, content: bytes, whole: bool) -> None:
        """Do with the body what can be done now. Raises BadMessage.

        :param content: what was counted last.
        """
        if not self.destination.buffering:
            self._pass_on(content, whole)
        elif whole:
            self.submit_whole()

    def _pass_on(self, content: bytes, whole: bool) -> None:
        """Stream: the slot is held for as long as the client takes."""
        exchange = self.exchange
        if exchange is None:
            return  # Answered already; the rest of the body is thrown away.
        if self.head.fields.chunked:
            content = encode_chunk(content)
            if whole:
                content += last_chunk(passed_trailers(self.connection.intake.trailers, self.connection.policy.marks))
        if not exchange.request_more(content, whole) and not whole:
            self.connection.intake.pause_body()

    def request_drained(self) -> None:
        """See Caller."""
        if self.connection.state is _BODY:
            self.connection.intake.resume_body()
