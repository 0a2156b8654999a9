"""The demo service of ``twistd xproxy --demo``: a small ``twisted.web`` site that says what it was sent and by which slot.

``/`` and every other path describe the request; ``/slow?s=1`` takes its time; ``/bytes?n=100000`` sends so many bytes;
``/echo`` sends a POST's body back.
"""

from __future__ import annotations

import math
from typing import Any, List, Tuple

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from twisted.web.http import BAD_REQUEST, NOT_ALLOWED
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.introduction import new_instance

MAX_SLOW_S = 30.0
"""Half of the proxy's response_timeout."""

MAX_BYTES = 16 * 1024 * 1024
"""What ``/bytes`` sends at most; it is made in memory."""

_row = b"xproxy demo\n"


def _text(request: Request, body: str) -> bytes:
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return body.encode("utf-8", "replace")


def _number(request: Request, name: bytes, default: float, most: float) -> float:
    """A number from the query, from 0 to ``most``. Raises ValueError."""
    values: List[bytes] = request.args.get(name, [])
    number = float(values[0]) if values else default
    if not math.isfinite(number) or not 0 <= number <= most:
        raise ValueError(f"{name.decode()} is a number from 0 to {most:g}")
    return number


def _refusal(request: Request, error: ValueError) -> bytes:
    request.setResponseCode(BAD_REQUEST)
    return _text(request, f"{error}\n")


class Description(Resource):
    """Every path: what arrived, and who answers."""

    isLeaf = True

    def __init__(self, instance: str) -> None:
        super().__init__()
        self._instance = instance

    def render(self, request: Request) -> Any:
        """Any method."""
        lines: List[Tuple[str, str]] = [
            ("service", self._instance),
            ("slot", str(request.host)),
            ("acceptor", str(request.client)),
            ("method", request.method.decode("latin-1")),
            ("target", request.uri.decode("latin-1")),
        ]
        for name, values in request.requestHeaders.getAllRawHeaders():
            lines.extend((name.decode("latin-1"), value.decode("latin-1")) for value in values)
        body = "Answered through a slot.\n\n" + "".join(f"{name}: {value}\n" for name, value in lines)
        return b"" if request.method == b"HEAD" else _text(request, body)


class Slow(Resource):
    """``/slow?s=SECONDS``: answers after so long, and holds its slot for that time."""

    isLeaf = True

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock

    def render_GET(self, request: Request) -> Any:
        """Wait, then answer; a client that leaves ends the wait."""
        try:
            seconds = _number(request, b"s", 1.0, MAX_SLOW_S)
        except ValueError as error:
            return _refusal(request, error)
        answer: IDelayedCall = self._clock.callLater(seconds, self._answer, request, seconds)
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(self._left, answer)
        return NOT_DONE_YET

    def _answer(self, request: Request, seconds: float) -> None:
        request.write(_text(request, f"that took {seconds:g} s\n"))
        request.finish()

    def _left(self, failure: Failure, answer: IDelayedCall) -> None:
        answer.cancel()


class Bytes(Resource):
    """``/bytes?n=NUMBER``: so many bytes, with Content-Length."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """The bytes."""
        try:
            number = int(_number(request, b"n", 100_000, MAX_BYTES))
        except ValueError as error:
            return _refusal(request, error)
        request.setHeader(b"content-type", b"application/octet-stream")
        return (_row * (number // len(_row) + 1))[:number]


class Echo(Resource):
    """``/echo``: the body of a POST, as it came."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        """The body; the proxy has bounded it, and twisted.web keeps what is large in a file."""
        request.setHeader(b"content-type", request.getHeader(b"content-type") or b"application/octet-stream")
        assert request.content is not None
        body: bytes = request.content.read()
        return body

    def render_GET(self, request: Request) -> bytes:
        """Say what to do."""
        request.setResponseCode(NOT_ALLOWED)
        request.setHeader(b"allow", b"POST")
        return _text(request, "send a POST\n")


class Root(Resource):
    """The site."""

    def __init__(self, clock: Any, instance: str) -> None:
        super().__init__()
        self._description = Description(instance)
        self.putChild(b"slow", Slow(clock))
        self.putChild(b"bytes", Bytes())
        self.putChild(b"echo", Echo())

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Every other path."""
        return self._description


class Time(proxyForInterface(IReactorTime)):  # type: ignore[misc]
    """The reactor's time alone.

    A service of its own would stop when the reactor begins to stop, and this one must not: with that its proxy begins to drain,
    whose requests it answers. Whoever starts it stops it.
    """


def demo_service(reactor: Any, client_endpoint_description: str, count: int = 8, pool: str = "default") -> IService:
    """The demo service.

    :param client_endpoint_description: where the slots are registered, for example ``tcp:127.0.0.1:9999``.
    """
    instance = new_instance()
    endpoint = SlotsServerEndpoint(
        Time(reactor),
        clientFromString(reactor, client_endpoint_description),
        count,
        pool=pool,
        instance=instance,
        description=client_endpoint_description,
    )
    site = Site(Root(reactor, instance), reactor=reactor)
    site.displayTracebacks = False
    service: IService = StreamServerEndpointService(endpoint, site)
    return service
