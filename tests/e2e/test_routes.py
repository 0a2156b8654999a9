"""Routes: by host, path and method to pools, elsewhere and nowhere; what a service sees of them."""

from __future__ import annotations

import time

from tests.e2e.played import PlayedService, ProxyCase, Recorder, get, post
from tests.e2e.services import respond
from tests.e2e.wire import Wire

API = """
[pools.api]
slots = ["tcp:0:interface=127.0.0.2"]
"""
HOSTS = {"default": "127.0.0.1", "api": "127.0.0.2"}
"""Where the services of each pool register."""

ROUTES = """
[[routes]]
[[routes]]
host = "www.example.com"
path = "/api"
pool = "api"
[[routes]]
host = "*.example.com"
path = "/below"
pool = "api"
[[routes]]
path = "/stripped"
strip_prefix = "/stripped"
set_host = "inner:8000"
pool = "api"
[[routes]]
path = "/written"
methods = ["POST", "PUT"]
pool = "api"
[[routes]]
path = "/old"
redirect = { status = 308, location = "https://{host}{target}" }
[[routes]]
path = "/fixed"
respond = { status = 418, body = "short and stout\\n", content_type = "text/teapot" }
[[routes]]
host = "only.example"
path = "/here"
"""


class RouteTests(ProxyCase):
    """Two pools, each of whose services says its name."""

    def begin(self, routes: str) -> None:
        """A proxy with these routes, and both services."""
        self.start(more=API + routes)
        self.recorders = {name: Recorder(respond(name.encode())) for name in HOSTS}
        for name, host in HOSTS.items():
            port = int(self.proxy.said(rf"slots at {host}:(\d+)")[1])
            PlayedService(self, (host, port), self.recorders[name])
        for name in HOSTS:
            self.proxy.has(name, slots=1)

    def goes(self, target: str, host: str = "x", method: str = "GET") -> str:
        """Which pool answers, or the status when none does."""
        response = self.ask(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return response.body.decode() if response.status == 200 else str(response.status)

    def test_table(self) -> None:
        """The most specific host, then the longest path, on segment boundaries, then the method."""
        self.begin(ROUTES)
        for target, host, pool in (
            ("/", "x", "default"),
            ("/api", "www.example.com", "api"),
            ("/api/x", "WWW.Example.Com:8080", "api"),
            ("/apix", "www.example.com", "default"),
            ("/api", "example.com", "default"),
            ("/below/x", "a.example.com", "api"),
            ("/below/x", "a.b.example.com", "api"),
            ("/below/x", "example.com", "default"),
            ("/below/x", "badexample.com", "default"),
            ("/%61pi", "www.example.com", "api"),
            ("/x/../api/", "www.example.com", "api"),
            ("/api/../x", "www.example.com", "default"),
            ("/api%2Fx", "www.example.com", "api"),
            ("http://www.example.com/api", "x", "api"),
        ):
            self.assertEqual(pool, self.goes(target, host), (target, host))
        self.assertEqual("default", self.goes("/written"))
        self.assertEqual("api", self.goes("/written", method="PUT"))
        self.assertEqual("default", self.goes("*", method="OPTIONS"))

    def test_as_received(self) -> None:
        """Matching normalises, forwarding does not."""
        self.begin(ROUTES)
        for target in ("/%61pi/x%2f?a=/../b", "/x/../api/%7e", "/api//./"):
            self.goes(target, "www.example.com")
            self.assertEqual(target, self.recorders["api"].last.target)

    def test_strip_prefix_and_set_host(self) -> None:
        """The service sees the rest of the path, with its query and escapes, and the host that was set."""
        self.begin(ROUTES)
        for target, rest in (
            ("/stripped", "/"),
            ("/stripped/", "/"),
            ("/stripped?q=1", "/?q=1"),
            ("/stripped/a%2Fb/./c?q=%20", "/a%2Fb/./c?q=%20"),
            ("/strippe%64/x", "/x"),
        ):
            self.assertEqual("api", self.goes(target, "outer"))
            self.assertEqual(
                (rest, "inner:8000"), (self.recorders["api"].last.target, self.recorders["api"].last.headers["host"])
            )
        self.assertEqual("outer", self.recorders["api"].last.headers["x-forwarded-host"])

    def test_no_service_asked(self) -> None:
        """Redirects and fixed answers; with and without a body of the request."""
        self.begin(ROUTES)
        client = self.connect()
        client.send(get("/old/x?y=%20"))
        response = client.response()
        self.assertEqual((308, "https://example.com/old/x?y=%20"), (response.status, response.headers["location"]))
        client.send(get("/fixed"))
        response = client.response()
        self.assertEqual(
            (418, "text/teapot", b"short and stout\n"), (response.status, response.headers["content-type"], response.body)
        )
        client.send(get("/fixed", method="HEAD"))
        response = client.response("HEAD")
        self.assertEqual((418, "16"), (response.status, response.headers["content-length"]))
        client.send(post(b"unread", target="/fixed"))
        response = client.response()
        self.assertEqual((418, "close"), (response.status, response.headers["connection"]))
        self.assertEqual({"default": [], "api": []}, {name: recorder.seen for name, recorder in self.recorders.items()})

    def test_no_route(self) -> None:
        """404, and the connection goes on."""
        self.begin("""
            [[routes]]
            host = "only.example"
            path = "/here"
            [[routes]]
            host = "api.example"
            pool = "api"
        """)
        client = self.connect()
        for _ in range(2):
            client.send(get("/elsewhere", "Accept: text/html"))
            response = client.response()
            self.assertEqual((404, "text/html; charset=utf-8"), (response.status, response.headers["content-type"]))
        self.assertEqual("default", self.goes("/here", "only.example"))
        self.assertEqual("404", self.goes("/here", "x"))
        self.assertEqual("default", self.goes("/here%2f", "only.example"))

    def test_limits_of_a_route(self) -> None:
        """response_timeout and body_limit instead of the pool's and the general one."""

        def silent(wire: Wire) -> None:
            wire.request()
            wire.rest()
            wire.close()

        self.start(
            more="""
            [[routes]]
            [[routes]]
            path = "/hasty"
            response_timeout = 0.3
            [[routes]]
            path = "/small"
            body_limit = 10
            [limits]
            body = 20
        """
        )
        self.serve(silent)
        before = time.monotonic()
        self.assertEqual(504, self.ask(get("/hasty")).status)
        self.assertLess(time.monotonic() - before, 5)
        for length, target in ((11, "/small"), (21, "/")):
            self.assertEqual(413, self.ask(post(b"x" * length, target=target)).status)
            chunked = get(target, "Transfer-Encoding: chunked", method="POST") + b"%x\r\n%b\r\n" % (length, b"x" * length)
            self.assertEqual(413, self.ask(chunked).status)
