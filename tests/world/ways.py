"""The three ways in, driven alike: HTTP/1.1 (plain and over TLS), HTTP/2, and the twisted.web resource on a site.

A test says what a client asks for as an Ask, lets a service of the rig answer, and looks at what the client Got. Whatever holds
for one of the ways has to hold for all.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Type

import attr
from twisted.internet.address import IPv4Address
from twisted.web.server import Site

from tests.world.descriptors import make_pair
from tests.world.peers import Peer
from tests.world.rig import make_config
from tests.world.secure import HTTP2Client, SecureClient, SecureRig
from tests.world.sockets import MEMORY
from xproxy import config as cfg
from xproxy.proxy.clients.resource import SlotProxyResource

Fields = Tuple[Tuple[bytes, bytes], ...]


@attr.frozen
class Ask:
    """A request. ``body``: None: there is none; ``length``: whether it is announced; ``whole``: whether all of it is sent."""

    method: bytes = b"GET"
    path: bytes = b"/"
    fields: Fields = ()
    body: Optional[bytes] = None
    length: bool = True
    trailers: Fields = ()
    whole: bool = True

    def http1(self) -> bytes:
        """As bytes of HTTP/1.1."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.path), b"Host: example.com"]
        lines += [b"%b: %b" % field for field in self.fields]
        body = self.body if self.body is not None else b""
        if self.body is not None and self.length and not self.trailers:
            lines.append(b"Content-Length: %d" % (len(body) if self.whole else len(body) + 1))
        elif self.body is not None:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if self.whole:
                body += b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in self.trailers) + b"\r\n"
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


@attr.define
class Got:
    """What a client got for one request. ``whole``: the answer was not cut off; ``over``: nothing more will come."""

    status: int = 0
    fields: Dict[bytes, bytes] = attr.Factory(dict)
    content: bytes = b""
    hints: List[int] = attr.Factory(list)
    whole: bool = False
    over: bool = False


class Way:
    """One client of a proxy. ``secure``: it comes with TLS; ``trailers``: those of a request go on."""

    name = ""
    secure = False
    trailers = True

    def __init__(self, config: Optional[cfg.Config] = None, **parts: Any) -> None:
        self.rig = SecureRig(config or make_config(**parts), MEMORY)

    def ask(self, ask: Ask) -> None:
        """Send a request."""
        raise NotImplementedError

    def got(self) -> Got:
        """What came for the request that was sent last."""
        raise NotImplementedError

    def leave(self) -> None:
        """The client leaves: resets its connection, or its stream."""
        raise NotImplementedError


def read_http1(data: bytes, method: bytes, over: bool) -> Got:
    """The last of the answers that a client of HTTP/1.1 received."""
    got = Got(over=over)
    while True:
        head, end, data = data.partition(b"\r\n\r\n")
        if not end:
            return got
        first, *lines = head.split(b"\r\n")
        status = int(first.split(b" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if status < 200:
            got.hints.append(status)
            continue
        got.status, got.fields = status, fields
        if method == b"HEAD" or status in (204, 304):
            got.whole = not data
        elif b"chunked" in fields.get(b"transfer-encoding", b""):
            got.whole = data.endswith(b"0\r\n\r\n")
            while data and not data.startswith(b"0\r\n"):
                size, _, data = data.partition(b"\r\n")
                got.content, data = got.content + data[: int(size, 16)], data[int(size, 16) + 2 :]
        else:
            got.content = data
            got.whole = len(data) == int(fields.get(b"content-length", -1))
        return got


class PlainWay(Way):
    """HTTP/1.1."""

    name = "http1"
    _client: Optional[Peer] = None
    _method = b""

    def ask(self, ask: Ask) -> None:
        """See Way."""
        self._method = ask.method
        if self._client is None or self._client.over:
            self._client = self._connect()
        self._client.take()
        self._client.send(ask.http1())
        self.rig.settle()

    def _connect(self) -> Peer:
        return self.rig.client()

    def got(self) -> Got:
        """See Way."""
        assert self._client is not None
        self.rig.settle()
        return read_http1(self._client.received, self._method, self._client.over)

    def leave(self) -> None:
        """See Way."""
        assert self._client is not None
        self._client.reset()
        self.rig.settle()


class SiteWay(PlainWay):
    """The resource on a site of twisted.web."""

    name = "resource"
    trailers = False  # twisted.web drops them.

    def _connect(self) -> Peer:
        site = Site(SlotProxyResource(self.rig.gateway), reactor=self.rig.reactor)
        address = IPv4Address("TCP", "192.0.2.1", 50000)
        near, far = make_pair(self.rig.kind)
        peer = Peer(far)
        self.rig.reactor.peers.append(peer)
        channel: Any = site.buildProtocol(address)
        self.rig.reactor.connect(near, channel, address)
        return peer


class SecureWay(Way):
    """HTTP/1.1 over TLS."""

    name = "https"
    secure = True
    _client: Optional[SecureClient] = None
    _method = b""

    def ask(self, ask: Ask) -> None:
        """See Way."""
        self._method = ask.method
        if self._client is None or self._client.ended:
            self._client = self.rig.secure_client()
        self._client.take()
        self._client.send(ask.http1())

    def got(self) -> Got:
        """See Way."""
        assert self._client is not None
        self._client.exchange()
        return read_http1(self._client.received, self._method, self._client.ended or self._client.peer.over)

    def leave(self) -> None:
        """See Way."""
        assert self._client is not None
        self._client.peer.reset()
        self.rig.settle()


class HTTP2Way(Way):
    """HTTP/2."""

    name = "http2"
    secure = True
    _client: Optional[HTTP2Client] = None
    _stream = 0

    def ask(self, ask: Ask) -> None:
        """See Way."""
        if self._client is None:
            self._client = self.rig.http2_client()
        client = self._client
        fields = [(name.lower(), value) for name, value in ask.fields]
        if ask.body is not None and ask.length and not ask.trailers:
            fields.append((b"content-length", b"%d" % (len(ask.body) if ask.whole else len(ask.body) + 1)))
        self._stream = client.ask(ask.path, ask.method, fields, end=ask.body is None)
        for start in range(0, len(ask.body or b""), 16384):
            if self._over():
                return
            client.h2.send_data(self._stream, (ask.body or b"")[start : start + 16384])
            client.push()
        if ask.body is not None and ask.whole and not self._over():
            if ask.trailers:
                client.h2.send_headers(self._stream, [(name.lower(), value) for name, value in ask.trailers], end_stream=True)
            else:
                client.h2.end_stream(self._stream)
            client.push()

    def _over(self) -> bool:
        """Whether nothing more of the request is wanted."""
        assert self._client is not None
        answer = self._client.answer(self._stream)
        return answer.ended or answer.reset is not None

    def got(self) -> Got:
        """See Way."""
        assert self._client is not None
        answer = self._client.answer(self._stream)
        return Got(answer.status, answer.fields, answer.content, answer.hints, answer.ended, self._client.peer.over)

    def leave(self) -> None:
        """See Way."""
        assert self._client is not None
        self._client.h2.reset_stream(self._stream, 8)
        self._client.push()


WAYS: Tuple[Type[Way], ...] = (PlainWay, SecureWay, HTTP2Way, SiteWay)
