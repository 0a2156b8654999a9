"""A Twisted web server on slots whose number is in a file, read again at SIGUSR1: ``resizing_service.py slots:... FILE``."""

import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

reactor: Any = _reactor


class Echo(Resource):
    """Every path: what the WSGI application answers."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """The body comes back."""
        assert request.content is not None
        return b"wsgi:" + request.content.read()


def main(description: str, wanted: Path) -> None:
    """Serve until SIGTERM."""
    endpoint: Any = serverFromString(reactor, description)
    endpoint.listen(Site(Echo()))
    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(lambda: endpoint.resize(int(wanted.read_text()))))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
