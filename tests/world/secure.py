"""TLS clients of a rig: HTTP/1.1 and HTTP/2 over OpenSSL, in memory."""

from __future__ import annotations

import functools
from typing import Any, Dict, List, Optional, Sequence, Tuple

import attr
import h2.config
import h2.connection
import h2.events
from hyperframe.frame import GoAwayFrame
from OpenSSL import SSL
from twisted.internet.address import IPv4Address

from tests.doubles.certificates import NOW, POLICY, Authority
from tests.world.peers import Peer
from tests.world.rig import Rig, RigCase, make_config
from tests.world.sockets import CAPACITY, MEMORY, kernel_pair
from xproxy import config as cfg
from xproxy.proxy.clients.https import HTTPSFront
from xproxy.tls.certificate_store import CertificateStore
from xproxy.tls.contexts import TLSPolicy

GOAWAY = 7
"""The type of that frame."""


@functools.cache
def authority() -> Authority:
    """The CA of all rigs."""
    return Authority()


@functools.cache
def server_pair() -> Any:
    """The certificate of all rigs that do not say another."""
    return authority().issue("example.com", "*.example.com").pair()


def client_context(**options: Any) -> SSL.Context:
    """A client's context. ``highest``: the version; ``ciphers``: of TLS 1.2; ``issued``: its certificate."""
    context = SSL.Context(SSL.TLS_METHOD)
    if "highest" in options:
        context.set_max_proto_version(options["highest"])
    if "ciphers" in options:
        context.set_cipher_list(options["ciphers"])
    return context


class SecureRig(Rig):
    """A rig with an HTTPS front."""

    def __init__(self, config: Optional[cfg.Config] = None, kind: str = MEMORY, policy: TLSPolicy = POLICY) -> None:
        super().__init__(config, kind)
        self.store = CertificateStore(self.reactor, (), policy, [server_pair()], lambda: NOW)
        self.secure = HTTPSFront(self.proxy.front, self.store)

    def secure_peer(self, factory: Any = None, host: str = "192.0.2.1", capacity: int = CAPACITY) -> Peer:
        """A connection to the HTTPS endpoint, without any TLS yet: a real socket, since OpenSSL wants a descriptor."""
        near, far = kernel_pair(capacity)
        peer = Peer(far)
        self.reactor.peers.append(peer)
        address = IPv4Address("TCP", host, 50000)
        protocol = (factory or self.secure).buildProtocol(address)
        if protocol is None:
            near.close()
        else:
            self.reactor.connect(near, protocol, address)
        self.settle()
        return peer

    def secure_client(self, data: bytes = b"", **options: Any) -> SecureClient:
        """A client whose handshake is over, and that has sent ``data``."""
        client = SecureClient(self, self.secure_peer(capacity=options.pop("capacity", CAPACITY)), **options)
        client.handshake()
        if data:
            client.send(data)
        return client

    def http2_client(self, **options: Any) -> HTTP2Client:
        """A client that speaks HTTP/2 and has said so."""
        client = HTTP2Client(self, self.secure_peer(capacity=options.pop("capacity", CAPACITY)), **options)
        client.handshake()
        client.begin()
        return client


class SecureClient:
    """The client's side of a TLS connection."""

    def __init__(
        self,
        rig: SecureRig,
        peer: Peer,
        name: Optional[bytes] = b"example.com",
        protocols: Sequence[bytes] = (b"http/1.1",),
        context: Optional[SSL.Context] = None,
        session: Any = None,
    ) -> None:
        self.rig = rig
        self.peer = peer
        self.tls = SSL.Connection(context or client_context(), None)
        self.tls.set_connect_state()
        if name is not None:
            self.tls.set_tlsext_host_name(name)
        if protocols:
            self.tls.set_alpn_protos(list(protocols))
        if session is not None:
            self.tls.set_session(session)
        self.received = b""
        self.ended = False
        """The server has sent close_notify."""

    def handshake(self) -> None:
        """Shake hands. Raises SSL.Error when the server does not want to."""
        for _ in range(10):
            try:
                self.tls.do_handshake()
            except SSL.WantReadError:
                self.exchange()
            else:
                self.exchange()
                return
        raise AssertionError("the handshake does not end")

    def exchange(self) -> None:
        """Move bytes both ways until nothing moves."""
        while True:
            self._flush()
            self.rig.settle()
            data = self.peer.take()
            if not data:
                return
            self.tls.bio_write(data)
            self._read()

    def _flush(self) -> None:
        while True:
            try:
                self.peer.send(self.tls.bio_read(65536))
            except SSL.WantReadError:
                return

    def _read(self) -> None:
        while True:
            try:
                self.took(self.tls.recv(65536))
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self.ended = True
                return

    def took(self, data: bytes) -> None:
        """Plain text from the server."""
        self.received += data

    def send(self, data: bytes) -> None:
        """Send, and see what comes."""
        for start in range(0, len(data), 16384):
            self.tls.send(data[start : start + 16384])
        self.exchange()

    def take(self) -> bytes:
        """What was received since the last call."""
        self.exchange()
        data, self.received = self.received, b""
        return data

    def shut_down(self) -> None:
        """Send close_notify."""
        self.tls.shutdown()
        self.exchange()


@attr.define
class Answer:
    """What came on one stream."""

    status: int = 0
    fields: Dict[bytes, bytes] = attr.Factory(dict)
    hints: List[int] = attr.Factory(list)
    content: bytes = b""
    trailers: Dict[bytes, bytes] = attr.Factory(dict)
    ended: bool = False
    reset: Optional[int] = None
    frames: int = 0


class HTTP2Client(SecureClient):
    """The client's side of HTTP/2, by hyper-h2. ``acknowledges``: it opens its windows again for what it got."""

    def __init__(self, rig: SecureRig, peer: Peer, acknowledges: bool = True, **options: Any) -> None:
        super().__init__(rig, peer, protocols=options.pop("protocols", (b"h2", b"http/1.1")), **options)
        config = h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.acknowledges = acknowledges
        self.answers: Dict[int, Answer] = {}
        self.goaway: Optional[GoAwayFrame] = None
        self._incoming = b""
        self.events: List[h2.events.Event] = []
        self.h2.initiate_connection()
        self._begun = False

    def begin(self) -> None:
        """Send the preface, and answer what came before it."""
        self._begun = True
        self.push()

    def push(self) -> None:
        """Send what hyper-h2 has to say."""
        data = self.h2.data_to_send()
        if data:
            self.send(data)

    def took(self, data: bytes) -> None:
        """See SecureClient."""
        self._incoming += data
        while len(self._incoming) >= 9:
            length = 9 + int.from_bytes(self._incoming[:3], "big")
            if len(self._incoming) < length:
                return
            frame, self._incoming = self._incoming[:length], self._incoming[length:]
            if frame[3] == GOAWAY:  # After which hyper-h2 would have nothing more to do with this connection.
                self.goaway = GoAwayFrame(0)
                self.goaway.parse_body(memoryview(frame)[9:])
                continue
            for event in self.h2.receive_data(frame):
                self.events.append(event)
                self._happened(event)

    def _happened(self, event: Any) -> None:
        answer = self.answers.setdefault(getattr(event, "stream_id", 0) or 0, Answer())
        if isinstance(event, h2.events.ResponseReceived):
            answer.fields = dict(event.headers)
            answer.status = int(answer.fields[b":status"])
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.hints.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.DataReceived):
            answer.content += event.data
            answer.frames += 1
            if self.acknowledges and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code

    def exchange(self) -> None:
        """See SecureClient; with the acknowledgements of hyper-h2."""
        super().exchange()
        while self._begun:
            data = self.h2.data_to_send()
            if not data or self.ended:
                return
            self.tls.send(data)
            super().exchange()

    def ask(
        self,
        path: bytes = b"/",
        method: bytes = b"GET",
        fields: Sequence[Tuple[bytes, bytes]] = (),
        body: Optional[bytes] = None,
        end: bool = True,
    ) -> int:
        """Begin a request; returns its stream. ``body``: None when it has none; ``end``: it is whole."""
        stream_id = self.h2.get_next_available_stream_id()
        head = [(b":method", method), (b":scheme", b"https"), (b":authority", b"example.com"), (b":path", path), *fields]
        self.h2.send_headers(stream_id, head, end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=end)
        self.push()
        return stream_id

    def answer(self, stream_id: int) -> Answer:
        """What came on a stream so far."""
        self.exchange()
        return self.answers.setdefault(stream_id, Answer())

    def raw(self, frames: bytes) -> None:
        """Send bytes past hyper-h2."""
        for start in range(0, len(frames), 16384):
            if self.peer.over:
                return
            self.send(frames[start : start + 16384])


class SecureCase(RigCase):
    """A test case with secure rigs."""

    def make_secure_rig(self, policy: TLSPolicy = POLICY, config: Optional[cfg.Config] = None, **parts: Any) -> SecureRig:
        """A rig with this configuration, or with one made of parts as ``make_config`` takes them."""
        rig = SecureRig(config or make_config(**parts), self.kind, policy)
        self.addCleanup(rig.stop)
        return rig
