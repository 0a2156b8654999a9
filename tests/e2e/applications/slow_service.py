"""A Twisted web server on slots whose answers come when SIGUSR1 does: ``slow_service.py slots:...``.

It stops as ``twist web`` does: its port is stopped, and the process ends when that is done.
"""

import signal
import sys
from typing import Any, List

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

reactor: Any = _reactor


class Slow(Resource):
    """Every path."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: List[Request] = []

    def render(self, request: Request) -> Any:
        """Answer later."""
        self.waiting.append(request)
        print("got", request.path.decode("ascii"), flush=True)
        return NOT_DONE_YET

    def finish(self) -> None:
        """Answer now."""
        while self.waiting:
            request = self.waiting.pop()
            request.write(b"finished")
            request.finish()


def main(description: str) -> None:
    """Serve until SIGTERM, then until everything is answered."""
    slow = Slow()
    ports: List[Any] = []
    serverFromString(reactor, description).listen(Site(slow)).addCallback(ports.append)
    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(slow.finish))
    reactor.addSystemEventTrigger("before", "shutdown", ports[0].stopListening)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
