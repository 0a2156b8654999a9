"""Other parsers of HTTP/1.1, to compare with: what would a server behind us make of what we send?"""

from __future__ import annotations

from importlib import import_module
from typing import Any, List, Optional

import attr
import h11

httptools: Any  # llhttp, the parser of Node.js
try:
    httptools = import_module("httptools")
except ImportError:  # no wheel for this interpreter
    httptools = None


class Disagrees(Exception):
    """The peer refuses the message."""


class Waits(Disagrees):
    """The peer thinks that the message goes on."""


class Leaves(Disagrees):
    """The peer leaves what follows the head to another protocol, if the answer is 101.

    :ivar rest: of the stream.
    """

    def __init__(self, rest: bytes) -> None:
        super().__init__("leaves the rest to another protocol")
        self.rest = rest


@attr.frozen
class Seen:
    """One request as a peer reads it."""

    method: bytes
    target: bytes
    content: bytes


def h11_requests(stream: bytes) -> List[Seen]:
    """Every request in the stream.

    :raises Disagrees: something is refused.
    :raises Waits: the last request is incomplete.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(stream)
    seen: List[Seen] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                seen.append(Seen(event.method, event.target, b""))
            elif isinstance(event, h11.Data):
                seen[-1] = attr.evolve(seen[-1], content=seen[-1].content + bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                if not _begin_next(connection):
                    return seen
            elif connection.their_state is h11.IDLE and not connection.trailing_data[0]:
                return seen
            else:
                raise Waits(f"h11: {event!r}")
    except h11.RemoteProtocolError as error:
        raise Disagrees(f"h11: {error}") from error


def _begin_next(connection: h11.Connection) -> bool:
    """Answer, so that h11 reads on; whether there is anything that it could read."""
    connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    rest = connection.trailing_data[0]
    if rest and connection.our_state is h11.MUST_CLOSE:
        raise Disagrees(f"h11 ignores {rest!r}")
    if rest:
        connection.start_next_cycle()
    return bool(rest)


class _Recorder:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.parser: Optional[httptools.HttpRequestParser] = None
        self.seen: List[Seen] = []
        self.open = False

    def on_message_begin(self) -> None:
        self.seen.append(Seen(b"", b"", b""))
        self.open = True

    def on_url(self, url: bytes) -> None:
        self.seen[-1] = attr.evolve(self.seen[-1], target=self.seen[-1].target + url)

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        self.seen[-1] = attr.evolve(self.seen[-1], method=self.parser.get_method())

    def on_body(self, content: bytes) -> None:
        self.seen[-1] = attr.evolve(self.seen[-1], content=self.seen[-1].content + content)

    def on_message_complete(self) -> None:
        self.open = False


def llhttp_requests(stream: bytes) -> List[Seen]:
    """Every request in the stream; raises as ``h11_requests`` does."""
    recorder = _Recorder()
    recorder.parser = httptools.HttpRequestParser(recorder)
    try:
        recorder.parser.feed_data(stream)
    except httptools.HttpParserUpgrade as upgrade:
        # What follows the request would be another protocol, if the answer were 101.
        if upgrade.args[0] != len(stream):
            raise Leaves(stream[upgrade.args[0] :]) from upgrade
    except httptools.HttpParserError as error:
        raise Disagrees(f"llhttp: {error!r}") from error
    if recorder.open:
        raise Waits("llhttp")
    return recorder.seen
