"""A ``twisted.web`` resource over the same exchange: for sites of one's own (``putChild``), and for HTTP/2.

twisted.web reads the request (whole) and writes the response; between the two the request goes the way of every other: the same
checks, marks, routes, line and slots.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from ...http1.body import BodyReader
from ...http1.errors import BadMessage
from ...http1.forward import client_head
from ...http1.limits import HeadLimits
from ...http1.phrases import phrase
from ...http1.request import RequestHead, parse_request_head
from ...http1.response import ResponseHead
from ...http1.target import local_host
from ...interfaces import Verdict
from ...net.bodies.spool import READ_BYTES
from ...net.peers import peer_host
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange, FramedCaller
from ..requests import answers
from ..requests.answers import Answer
from ..requests.decide import decide
from ..requests.gateway import Gateway
from ..requests.hearing import Hearing, hear, ruled
from ..requests.outgoing import outgoing, outgoing_whole
from ..requests.policy import Destination
from ..requests.provenance import Provenance
from ..requests.reply import CLIENT_LEFT, is_streamed, response_length
from ..requests.request_body import RequestBody

NOT_FIELDS = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"te", b"upgrade", b"expect"))
"""Of one connection, or of the message framing that twisted.web has taken off already."""


class SlotProxyResource(Resource):
    """Answers every request below it from the slots of a pool.

    :param gateway: of a running ``ProxyService``.
    :param pool: by name; None: the gateway's routes decide.
    :raises KeyError: there is no such pool.
    """

    isLeaf = True

    def __init__(self, gateway: Gateway, pool: Optional[str] = None) -> None:
        super().__init__()
        if pool is not None:
            gateway.policy.by_pool[pool]
        self._gateway = gateway
        self._pool = pool

    def render(self, request: Request) -> int:
        """Begin the exchange; the answer follows."""
        request.defaultContentType = None  # A response without a type goes on without one.
        request.responseHeaders.removeHeader(b"server")  # The service's to say.
        caller = WebCaller(self._gateway, request)
        try:
            caller.start(self._pool)
        except BadMessage as error:
            caller.fail(error.status, error.reason)
        return NOT_DONE_YET


def read_head(request: Request, limits: HeadLimits) -> RequestHead:
    """A twisted.web request as one of ours, with every check of ours. Raises BadMessage."""
    version = b"HTTP/1.0" if request.clientproto == b"HTTP/1.0" else b"HTTP/1.1"
    lines = [b"%b %b %b\r\n" % (request.method, request.uri, version)]
    host = False
    for name, values in request.requestHeaders.getAllRawHeaders():
        lowered = name.lower()
        if lowered in NOT_FIELDS:
            continue
        host = host or lowered == b"host"
        lines.extend(b"%b: %b\r\n" % (name, value) for value in values)
    if not host:
        ours = request.getHost()
        scheme = b"https" if request.isSecure() else b"http"
        lines.append(b"Host: %b\r\n" % local_host(getattr(ours, "host", ""), getattr(ours, "port", 0), scheme))
    lines.append(b"\r\n")
    return parse_request_head(b"".join(lines), limits)


@implementer(IPushProducer)
class WebCaller(FramedCaller):
    """The caller (see ``exchange.Caller``) that stands for a twisted.web request."""

    def __init__(self, gateway: Gateway, request: Request) -> None:
        self._gateway = gateway
        self._request = request
        self._provenance = Provenance(
            gateway.policy, peer_host(request.getClientAddress()), b"https" if request.isSecure() else b"http"
        )
        self._destination: Destination = gateway.policy.nowhere
        self._head: Optional[RequestHead] = None
        self._hearing: Optional[Hearing] = None
        self._exchange: Optional[Exchange] = None
        self._request_id = b""
        self._began_at = gateway.monotonic()
        self._sent_bytes = 0
        self._error: Optional[ExchangeError] = None
        """Why the answer is one of ours, or broke off."""
        self._over = False
        self._producing = False
        request.notifyFinish().addErrback(self._left)

    def start(self, pool: Optional[str]) -> None:
        """Begin what was decided of the request. Raises BadMessage."""
        gateway, provenance = self._gateway, self._provenance
        head = self._head = read_head(self._request, provenance.policy.head_limits)
        self._destination, own = decide(head, provenance, pool)
        if own is not None:
            self._answer(own)
        elif self._destination.guards:
            self._hearing, verdict = hear(head, self._destination, provenance, gateway, self._heard)
            if verdict is not None:
                self._ruled(head, verdict)
        else:
            self._let_in(head)

    def _heard(self, verdict: Verdict) -> None:
        """The verdict took its time."""
        assert self._head is not None
        try:
            self._ruled(self._head, verdict)
        except BadMessage as error:
            self.fail(error.status, error.reason)

    def _ruled(self, head: RequestHead, verdict: Verdict) -> None:
        self._hearing = None
        head, denial = ruled(head, verdict, self._provenance)
        if denial is not None:
            self._answer(denial)
        else:
            self._let_in(head)

    def _let_in(self, head: RequestHead) -> None:
        """Go on with a request that may pass. Raises BadMessage."""
        gateway, request, provenance, to = self._gateway, self._request, self._provenance, self._destination
        body = self._whole_body(to, provenance.client(head.fields))
        request_id = self._request_id = gateway.request_id(head.fields)
        if body.size:
            message, spool = outgoing_whole(head, to, provenance, request_id, body)
        else:
            length = 0 if request.requestHeaders.hasHeader(b"content-length") else -1
            message, spool = outgoing(head, to, provenance, request_id, length), None
        assert to.pool is not None
        self._exchange = exchange = Exchange(
            self, to.pool, head.method, message, gateway.monotonic(), spool, response_timeout=to.response_timeout
        )
        to.pool.submit(exchange)

    def _whole_body(self, to: Destination, client: str) -> RequestBody:
        """The body, which twisted.web has in memory or in a file of its own. Raises BadMessage."""
        content = self._request.content
        body = self._gateway.request_body(self._provenance.policy, to, -1, client)
        if content is None:
            return body
        content.seek(0)
        try:
            for data in iter(lambda: content.read(READ_BYTES), b""):
                body.keep(data)
        except BadMessage:
            body.clear()
            raise
        return body

    # -- the answer

    def request_drained(self) -> None:
        """See Caller: the request was whole, there is nothing to go on with."""

    def client(self) -> str:
        """See Caller."""
        assert self._head is not None
        return self._provenance.client(self._head.fields)

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller: twisted.web can't send interim responses."""

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        assert self._head is not None
        request, provenance, to = self._request, self._provenance, self._destination
        length = response_length(head, self._head.method, content, body, complete)
        request.setResponseCode(head.status, head.reason)
        request.responseHeaders.removeHeader(b"content-type")
        out = client_head(head, 1, True, length, False, self._gateway.date, provenance.policy.marks.via)
        lines = answers.add_hsts(out, provenance.hsts(self._head, to)).split(b"\r\n")[1:-2]
        fields: Dict[bytes, List[bytes]] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
        for name, values in fields.items():
            request.responseHeaders.setRawHeaders(name, values)
        if not complete:
            self._producing = True
            request.registerProducer(self, True)
            if self._exchange is not None and is_streamed(head, to):
                self._exchange.stream_response()
        self.response_more(content, complete)

    def response_more(self, content: bytes, complete: bool) -> None:
        """See Caller."""
        if self._over:
            return
        self._sent_bytes += len(content)
        if content:
            self._request.write(content)
        if complete:
            self._finish()

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self._exchange = None
        self._error = error
        self.fail(error.status, error.reason, error.retry_after_s)

    def response_cut_off(self, error: ExchangeError) -> None:
        """See Caller: the client must see that something is missing."""
        self._exchange = None
        self._error = error
        self._over = True
        self._note(self._request.code)
        request = self._request
        channel: Any = request.channel
        if request.chunked or request.responseHeaders.hasHeader(b"content-length"):
            request.loseConnection()
        else:  # Where the end of the connection is the end of the answer (RFC 9112 section 8).
            (getattr(channel, "abortConnection", None) or channel.transport.abortConnection)()

    def fail(self, status: int, reason: str, retry_after_s: Optional[int] = None) -> None:
        """Answer with an error."""
        self._error = self._error or ExchangeError(reason, status)
        accept = self._request.requestHeaders.getRawHeaders(b"accept") or [b""]
        self._answer(self._provenance.policy.pages.error(status, reason, b",".join(accept), retry_after_s))

    def _answer(self, answer: Answer) -> None:
        request = self._request
        request.setResponseCode(answer.status, phrase(answer.status).encode())
        request.responseHeaders.removeHeader(b"content-type")
        for name, value in answer.fields:
            request.setHeader(name, value)
        hsts = self._provenance.hsts(self._head, self._destination) if self._head is not None else b""
        if hsts:
            request.setHeader(answers.HSTS, hsts)
        if answer.has_content:
            request.setHeader(b"content-length", b"%d" % len(answer.content))
            if request.method != b"HEAD":
                self._sent_bytes = len(answer.content)
                request.write(answer.content)
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self._exchange = None
        self._note(self._request.code)
        if self._producing:
            self._request.unregisterProducer()
        self._request.finish()

    def _note(self, status: int) -> None:
        """Count and log how it ended."""
        self._destination.counts.answered(status)
        self._gateway.log(
            self._provenance,
            self._destination,
            self._head,
            status,
            self._sent_bytes,
            self._began_at,
            self._request_id,
            self._error,
        )

    def _left(self, reason: Failure) -> None:
        """The client has left before its answer was whole."""
        if self._hearing is not None:
            self._hearing.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        if not self._over:
            self._over = True
            self._note(self._request.code if self._request.startedWriting else CLIENT_LEFT)

    # -- IPushProducer

    def pauseProducing(self) -> None:
        """The client is slow."""
        if self._exchange is not None:
            self._exchange.pause()

    def resumeProducing(self) -> None:
        """The client can take more."""
        if self._exchange is not None:
            self._exchange.resume()

    def stopProducing(self) -> None:
        """The client is gone; ``notifyFinish`` tells."""
