"""Services that register over TLS, played with the standard library's ssl, and an acceptor for them."""

from __future__ import annotations

import socket
import ssl
from typing import Any, List, Optional

from tests.doubles.certificates import Authority, Issued
from tests.doubles.handoff import HandoffTestCase, reactor, soon, until
from xproxy.acceptor.acceptor_service import AcceptorService
from xproxy.acceptor.over_tls import bridge
from xproxy.config import AcceptorConfig, Config, PoolConfig, TimeoutsConfig

LOCAL = "tcp:0:interface=127.0.0.1"

EDGE = "edge.example.com"


class TLSService:
    """A service's end of one connection; nothing blocks."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, session: Optional[ssl.SSLSession]) -> None:
        self.socket = context.wrap_socket(
            plain, server_hostname=EDGE, do_handshake_on_connect=False, suppress_ragged_eofs=False, session=session
        )
        self.received = b""
        self.end: Optional[str] = None
        """How the other end ended: ``in order``, ``cut off``, or an alert."""

    async def shake(self) -> TLSService:
        """Do the handshake. Raises OSError."""
        while True:
            try:
                self.socket.do_handshake()
            except ssl.SSLWantReadError:
                await soon()
            else:
                return self

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            taken = self.offer(view[:65536])
            view = view[taken:]
            if not taken:
                await soon()

    def offer(self, data: Any) -> int:
        """Send what is taken at once; returns how much. What was not taken must be offered again: a record was made of it."""
        try:
            return self.socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def read(self) -> bool:
        """Read what is there; returns whether the other end has ended."""
        try:
            while self.end is None:
                data = self.socket.recv(65536)
                self.received += data
                if not data:
                    self.end = "in order"
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLEOFError:
            self.end = "cut off"
        except ssl.SSLError as error:
            self.end = str(error.reason)
        except OSError:
            self.end = "cut off"
        return self.end is not None

    async def receive(self, count: int) -> bytes:
        """The next bytes, exactly so many."""
        await until(lambda: self.read() or len(self.received) >= count)
        data, self.received = self.received[:count], self.received[count:]
        return data

    async def ended(self) -> str:
        """Wait for the end, answer it, and tell how it was."""
        await until(self.read)
        if self.end == "in order":
            self.close_notify()
        assert self.end is not None
        return self.end

    def close_notify(self) -> None:
        """End in order, without closing the socket."""
        try:
            self.socket.unwrap()
        except (ssl.SSLWantReadError, OSError):
            pass  # Ours is sent; the other's may come yet, or may not.

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class TLSTestCase(HandoffTestCase):
    """An acceptor, an authority whose certificates it takes, and one that it has never heard of."""

    async def setUp(self) -> None:  # type: ignore[override]  # Trial waits for it.
        await super().setUp()
        self.patch(bridge, "LINGER_S", 0.3)
        self.authority = Authority("CA", directory=self.directory)
        self.stranger = Authority("stranger", directory=self.directory)
        self.edge = self.authority.issue(EDGE)
        self.web = self.authority.issue("web.example.com")
        self.tls_services: List[TLSService] = []
        self.addCleanup(self._close_services)

    def _close_services(self) -> None:
        for service in self.tls_services:
            service.close()

    async def _stop_all(self) -> None:
        self._close_services()
        await super()._stop_all()

    def config(self, *pools: PoolConfig, handshake: float = 10.0, handoff: str = "") -> Config:
        acceptor = AcceptorConfig(
            handoff=handoff,
            certificates=(self.edge.files,),
            client_ca=self.authority.path,
            registration_timeout=1.0,
        )
        pools = pools or (self.pool(),)
        return Config(
            acceptor=acceptor, pools={pool.name: pool for pool in pools}, timeouts=TimeoutsConfig(handshake=handshake)
        )

    def pool(self, name: str = "default", *names: str, **settings: Any) -> PoolConfig:
        settings.setdefault("registration", "raw")
        return PoolConfig(name, slots_tls=(LOCAL,), service_names=names or ("web.example.com",), **settings)

    def start_tls(self, *pools: PoolConfig, handshake: float = 10.0) -> AcceptorService:
        service = AcceptorService(reactor, self.config(*pools, handshake=handshake, handoff=self.path))
        self.services.append(service)
        service.privilegedStartService()
        service.startService()
        self.acceptor = service
        return service

    # -- services

    def context(self, certificate: Optional[Issued]) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.path)
        if certificate is not None:
            context.load_cert_chain(certificate.files.chain, certificate.files.key)
        return context

    def connect(self) -> socket.socket:
        """A TCP connection to the endpoint."""
        port: Any = self.acceptor.tls_listeners[0].port
        plain = socket.create_connection(("127.0.0.1", port.getHost().port))
        plain.setblocking(False)
        self.sockets.append(plain)
        return plain

    async def dial(
        self,
        certificate: Optional[Issued] = None,
        context: Optional[ssl.SSLContext] = None,
        session: Optional[ssl.SSLSession] = None,
    ) -> TLSService:
        """A service after its handshake. Raises OSError."""
        service = TLSService(self.connect(), context or self.context(certificate or self.web), session)
        self.tls_services.append(service)
        return await service.shake()

    async def registered(self, number: int = 1) -> List[TLSService]:
        """Several that are in the ring of the default pool."""
        book = self.acceptor.acceptor.books["default"]
        before = book.registered
        found = [await self.dial() for _ in range(number)]
        await until(lambda: book.registered == before + number)
        return found

    # -- what the acceptor has

    def results(self, pool: str = "default") -> Any:
        counts = self.acceptor.acceptor.registrations
        return {result: number for (name, result), number in counts.items() if name == pool}

    @property
    def bridges(self) -> List[Any]:
        return [
            found
            for listener in self.acceptor._endpoints.values()
            if listener.bridges is not None
            for found in listener.bridges.bridges
        ]
