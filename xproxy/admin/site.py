"""The admin endpoint: a ``twisted.web`` site.

Reading needs no password, so the site is on the loopback interface unless the configuration names another endpoint; who may
change something, ``control`` says. No request body is kept, and there are never more than ``MAX_CONNECTIONS`` connections.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Optional, Union

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.policies import ThrottlingFactory
from twisted.python.failure import Failure
from twisted.web.http import (
    ACCEPTED,
    CONFLICT,
    INTERNAL_SERVER_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    SERVICE_UNAVAILABLE,
    UNAUTHORIZED,
    Request,
)
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as SiteRequest

from .control import Controls, Refusal, refusal
from .exposition import CONTENT_TYPE, exposition
from .numbers import Sources, take
from .page import page

MAX_CONNECTIONS = 64
"""A few scrapers, a few people, and nobody who could use up our descriptors."""

IDLE_TIMEOUT_S = 60.0
"""A connection that says nothing for so long is closed; ``twisted.web``'s own default."""

_TEXT = b"text/plain; charset=utf-8"

UNPROCESSABLE = 422
"""RFC 9110 section 15.5.21; ``twisted.web`` has no name for it."""

_REASONS = {UNPROCESSABLE: b"Unprocessable Content"}

_log = Logger()


def admin_factory(sources: Sources) -> IProtocolFactory:
    """The factory of the admin endpoint's connections, MAX_CONNECTIONS of them at most."""
    root = _Root()
    root.putChild(b"", _Front(sources))
    root.putChild(b"status", _Status(sources))
    root.putChild(b"metrics", _Metrics(sources))
    root.putChild(b"healthz", _Health(sources))
    root.putChild(b"readyz", _Readiness(sources))
    if sources.controls is not None:
        root.putChild(b"reload", _ReloadAction(sources, sources.controls))
        root.putChild(b"drain", _DrainAction(sources, sources.controls))
    factory = ThrottlingFactory(_AdminSite(root, requestFactory=_AdminRequest, timeout=IDLE_TIMEOUT_S), MAX_CONNECTIONS)
    factory.noisy = False
    limited: IProtocolFactory = factory
    return limited


class _AdminSite(Site):
    """A site that keeps quiet: a scrape every few seconds is not news."""

    noisy = False
    displayTracebacks = False

    def log(self, request: Any) -> None:
        """Log nothing."""


class _AdminRequest(SiteRequest):
    """A request whose body is dropped as it comes: no resource here reads one, and a large one would fill memory or disk."""

    def handleContentChunk(self, data: bytes) -> None:
        """Forget ``data``."""


class _Unknown(Resource):
    """A path that is no page of ours."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """404, whatever the method."""
        return _plain(request, NOT_FOUND, b"there is no such page\n")


class _Root(Resource):
    """A resource that has only the pages that were put below it."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        """The answer to any other path: 404."""
        return _Unknown()


class _Leaf(_Root):
    """One page: never cached, never framed, of one content type."""

    content_type = _TEXT
    methods: Sequence[bytes] = (b"GET", b"HEAD")

    def __init__(self, sources: Sources) -> None:
        super().__init__()
        self.sources = sources

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body."""
        raise NotImplementedError

    def refusal(self, request: Request) -> Optional[Refusal]:
        """Why the request may not have this page; None: it may."""
        return None

    def render(self, request: Request) -> Union[int, bytes]:
        """Send the answer when ``answer`` has made it; a client that leaves before cancels that."""
        if request.method not in self.methods:
            request.setHeader(b"allow", b", ".join(self.methods))
            return _plain(request, NOT_ALLOWED, b"only %b is understood here\n" % b" and ".join(self.methods))
        refused = self.refusal(request)
        if refused is not None:
            if refused.code == UNAUTHORIZED:
                request.setHeader(b"www-authenticate", b"Bearer")
            return _plain(request, refused.code, f"{refused.reason}\n".encode())
        answer = Deferred.fromCoroutine(self.answer())
        gone: list[Failure] = []

        def left(failure: Failure) -> None:
            gone.append(failure)
            answer.cancel()

        def send(result: tuple[int, bytes]) -> None:
            if not gone:
                code, body = result
                request.write(_headed(request, code, self.content_type, body))
                request.finish()

        def fail(failure: Failure) -> None:
            if not gone:
                _log.failure("the admin page {path} failed", failure, path=request.path)
                request.write(_plain(request, INTERNAL_SERVER_ERROR, b"this page failed, the log says why\n"))
                request.finish()

        request.notifyFinish().addErrback(left)
        answer.addCallback(send).addErrback(fail)
        return NOT_DONE_YET


class _Action(_Leaf):
    """An action: POST only, for requests that ``control`` lets pass."""

    content_type = b"application/json"
    methods = (b"POST",)

    def __init__(self, sources: Sources, controls: Controls) -> None:
        super().__init__(sources)
        self.controls = controls

    def refusal(self, request: Request) -> Optional[Refusal]:
        """See ``control``."""
        return refusal(request, self.controls.token())


class _ReloadAction(_Action):
    async def answer(self) -> tuple[int, bytes]:
        """The outcome of the reload: 200, 422 where the configuration can't be used, 409 where none is begun any more
        (draining)."""
        outcome = await self.controls.reload()
        code = CONFLICT if outcome.refused else UNPROCESSABLE if outcome.mistakes else OK
        record = self.sources.reload
        return code, _json(
            {
                "reloaded": code == OK,
                "generation": None if record is None else record.generation,
                "kept": list(outcome.kept),
                "mistakes": [
                    {"file": outcome.file or None, "line": mistake.line or None, "key": mistake.key, "reason": mistake.message}
                    for mistake in outcome.mistakes
                ],
            }
        )


class _DrainAction(_Action):
    async def answer(self) -> tuple[int, bytes]:
        """202: the drain has begun, now or before."""
        begins = self.controls.drain()
        return ACCEPTED, _json({"draining": True, "begun_before": not begins})


class _Front(_Leaf):
    content_type = b"text/html; charset=utf-8"

    async def answer(self) -> tuple[int, bytes]:
        """The numbers for people."""
        return OK, page((await take(self.sources)).status())


class _Status(_Leaf):
    content_type = b"application/json"

    async def answer(self) -> tuple[int, bytes]:
        """The numbers for programs."""
        return OK, _json((await take(self.sources)).status())


class _Metrics(_Leaf):
    content_type = CONTENT_TYPE

    async def answer(self) -> tuple[int, bytes]:
        """The numbers for Prometheus."""
        return OK, exposition(await take(self.sources))


class _Health(_Leaf):
    async def answer(self) -> tuple[int, bytes]:
        """200 whenever the process answers at all."""
        return OK, b"ok\n"


class _Readiness(_Leaf):
    async def answer(self) -> tuple[int, bytes]:
        """Whether this process takes new work: 200, or 503."""
        return (OK, b"ready\n") if self.sources.ready() else (SERVICE_UNAVAILABLE, b"not ready\n")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode("utf-8") + b"\n"


def _plain(request: Request, code: int, text: bytes) -> bytes:
    return _headed(request, code, _TEXT, text)


def _headed(request: Request, code: int, content_type: bytes, body: bytes) -> bytes:
    """Set status and headers; returns the body."""
    request.setResponseCode(code, _REASONS.get(code))
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
    request.setHeader(b"x-content-type-options", b"nosniff")
    return body
