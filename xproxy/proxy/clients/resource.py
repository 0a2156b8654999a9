"""A ``twisted.web`` resource over the same exchange: for sites of one's own (``putChild``), and for HTTP/2.

twisted.web reads the request (whole) and writes the response; between the two the request goes the way of every other: the same
checks, marks, routes, line and slots.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from ...http1.body import BodyReader, LengthBody
from ...http1.errors import BadMessage
from ...http1.forward import client_head, forwarding_block, received_request_id, request_head
from ...http1.phrases import phrase
from ...http1.request import RequestHead, parse_request_head
from ...http1.response import ResponseHead
from ...net.peers import peer_host
from ...net.spool import READ_BYTES, Spool
from ..exchanges.errors import ExchangeError
from ..exchanges.exchange import Exchange
from ..requests import answers
from ..requests.answers import Answer
from ..requests.gateway import Destination, Gateway
from ..requests.routes import strip_prefix
from .request import CLIENT_LEFT

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
        self._gateway = gateway
        self._to = None if pool is None else gateway.destination(pool)

    def render(self, request: Request) -> int:
        """Begin the exchange; the answer follows."""
        request.defaultContentType = None  # A response without a type goes on without one.
        request.responseHeaders.removeHeader(b"server")  # The service's to say.
        caller = WebCaller(self._gateway, request)
        try:
            caller.start(self._to)
        except BadMessage as error:
            caller.fail(error.status, error.reason)
        return NOT_DONE_YET


def read_head(request: Request, gateway: Gateway) -> RequestHead:
    """A twisted.web request as one of ours, with every check of ours. Raises BadMessage."""
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method, request.uri)]
    host = False
    for name, values in request.requestHeaders.getAllRawHeaders():
        lowered = name.lower()
        if lowered in NOT_FIELDS:
            continue
        host = host or lowered == b"host"
        lines.extend(b"%b: %b\r\n" % (name, value) for value in values)
    if not host:
        lines.append(b"Host: %b\r\n" % (request.getRequestHostname() or b"localhost"))
    lines.append(b"\r\n")
    return parse_request_head(b"".join(lines), gateway.head_limits)


@implementer(IPushProducer)
class WebCaller:
    """The caller (see ``exchange.Caller``) that stands for a twisted.web request."""

    def __init__(self, gateway: Gateway, request: Request) -> None:
        self._gateway = gateway
        self._request = request
        self._head: Optional[RequestHead] = None
        self._counts: Any = gateway.counts
        self._exchange: Optional[Exchange] = None
        self._pool = ""
        self._request_id = b""
        self._began_at = gateway.monotonic()
        self._sent_bytes = 0
        self._over = False
        self._producing = False
        request.notifyFinish().addErrback(self._left)

    def start(self, to: Optional[Destination]) -> None:
        """Route the request and put it on its way. Raises BadMessage."""
        gateway, request = self._gateway, self._request
        head = self._head = read_head(request, gateway)
        if head.method in (b"CONNECT", b"TRACE"):
            raise BadMessage(405, "method-not-allowed")
        to = to or gateway.router.find(head.host, head.path, head.method)
        if to is None:
            raise BadMessage(404, "no-route")
        own = answers.without_service(to.route, head, request.isSecure())
        if own is not None:
            self._answer(own)
            return
        assert to.pool is not None and to.counts is not None
        self._counts = to.counts
        self._pool = to.pool.config.name
        body = self._spooled_body(to)
        message = self._message(head, to, body.size)
        content = b""
        small: Optional[Spool] = body
        if body.size <= min(READ_BYTES, gateway.limits.request_memory):  # One piece.
            content, small = body.take(), None
        arrival = gateway.monotonic()
        self._exchange = exchange = Exchange(
            self, to.pool, head.method, message + content, arrival, small, response_timeout=to.response_timeout
        )
        to.pool.submit(exchange)

    def _spooled_body(self, to: Destination) -> Spool:
        """The body, which twisted.web has in memory or in a file of its own."""
        body = Spool(self._gateway.limits.request_memory)
        content = self._request.content
        if content is None:
            return body
        content.seek(0)
        while True:
            data = content.read(READ_BYTES)
            if not data:
                return body
            if body.size + len(data) > to.body_limit:
                body.clear()
                raise BadMessage(413, "body-too-large")
            try:
                body.put(data)
            except OSError:
                body.clear()
                raise BadMessage(507, "no-space") from None

    def _message(self, head: RequestHead, to: Destination, length: int) -> bytes:
        gateway, request = self._gateway, self._request
        peer = peer_host(request.getClientAddress())
        trusted = gateway.trusts(peer)
        scheme = b"https" if request.isSecure() else b"http"
        minor = 0 if request.clientproto == b"HTTP/1.0" else 1
        block = forwarding_block(head.fields, peer.encode(), scheme, head.host, minor, trusted, gateway.marks, to.set_host)
        self._request_id = received_request_id(head.fields) or gateway.new_request_id()
        has_body = length > 0 or request.requestHeaders.hasHeader(b"content-length")
        path = strip_prefix(head.path, to.strip_prefix)
        return request_head(head.method, path, block, length if has_body else -1, False, self._request_id)

    # -- the answer

    def request_drained(self) -> None:
        """See Caller: the request was whole, there is nothing to go on with."""

    def response_hint(self, head: ResponseHead) -> None:
        """See Caller: twisted.web can't send interim responses."""

    def response_began(self, head: ResponseHead, content: bytes, body: Optional[BodyReader], complete: bool) -> None:
        """See Caller."""
        assert self._head is not None
        request = self._request
        length = -1
        if (body is None and self._head.method == b"HEAD") or isinstance(body, LengthBody):
            length = head.fields.content_length
        elif complete and head.status not in (204, 304):
            length = len(content)
        request.setResponseCode(head.status, head.reason)
        request.responseHeaders.removeHeader(b"content-type")
        lines = client_head(head, 1, True, length, False, self._gateway.date, self._gateway.marks.via).split(b"\r\n")[1:-2]
        fields: dict[bytes, list[bytes]] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
        for name, values in fields.items():
            request.responseHeaders.setRawHeaders(name, values)
        if not complete:
            self._producing = True
            request.registerProducer(self, True)
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

    def splice_target(self) -> Optional[int]:
        """See Caller: twisted.web writes the response."""
        return None

    def response_spliced(self, size: int) -> None:
        """See Caller: never, as there is no target."""
        raise AssertionError("content was written past twisted.web")

    def response_failed(self, error: ExchangeError) -> None:
        """See Caller."""
        self._exchange = None
        self.fail(error.status, error.reason, error.retry_after_s)

    def response_cut_off(self, reason: str) -> None:
        """See Caller: the client must see that something is missing."""
        self._exchange = None
        self._log(self._request.code)
        self._over = True
        self._request.loseConnection()

    def response_upgraded(self, head: ResponseHead, content: bytes) -> None:
        """See Caller: never, because no Upgrade is passed on."""
        raise AssertionError("an upgrade that nobody asked for")

    def fail(self, status: int, reason: str, retry_after_s: Optional[int] = None) -> None:
        """Answer with an error."""
        accept = self._request.requestHeaders.getRawHeaders(b"accept") or [b""]
        self._answer(self._gateway.pages.error(status, reason, b",".join(accept), retry_after_s))

    def _answer(self, answer: Answer) -> None:
        request = self._request
        request.setResponseCode(answer.status, phrase(answer.status).encode())
        request.responseHeaders.removeHeader(b"content-type")
        for name, value in answer.fields:
            request.setHeader(name, value)
        if answer.has_content:
            request.setHeader(b"content-length", b"%d" % len(answer.content))
            if request.method != b"HEAD":
                request.write(answer.content)
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self._exchange = None
        self._counts.answered(self._request.code)
        self._log(self._request.code)
        if self._producing:
            self._request.unregisterProducer()
        self._request.finish()

    def _log(self, status: int) -> None:
        log = self._gateway.access_log
        if log is not None:
            peer = peer_host(self._request.getClientAddress())
            seconds = self._gateway.monotonic() - self._began_at
            log.add(peer, self._head, status, self._sent_bytes, seconds, self._pool, self._request_id)

    def _left(self, reason: Failure) -> None:
        """The client has left before its answer was whole."""
        self._over = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
            self._log(CLIENT_LEFT)

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
