"""Twisted's own ReverseProxyResource as a contestant: ``python twisted_proxy.py PORT SERVICE-PORT``.

Run as a file, with the interpreter that has Twisted; it needs nothing else of this package.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.web.proxy import ReverseProxyResource
from twisted.web.server import Site

BACKLOG = 4096


class QuietSite(Site):
    """A site without an access log, as the other contestants are."""

    def log(self, request: Any) -> None:
        """Says nothing."""


def main(port: int, service_port: int) -> None:
    """Listen, and run until told to stop."""
    site = QuietSite(ReverseProxyResource("127.0.0.1", service_port, b""))
    endpoints.serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1:backlog={BACKLOG}").listen(site)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
