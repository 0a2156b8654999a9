"""Routes: which one takes a request, and what is left of the path when a prefix is stripped."""

from __future__ import annotations

from typing import List, Optional, Tuple

from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import RespondConfig, RouteConfig
from xproxy.http1.errors import BadMessage
from xproxy.proxy.requests.routes import Router, strip_prefix, without_port


def router(*routes: RouteConfig) -> Router[str]:
    """A router that finds the pool's name of a route."""
    return Router([(route, route.pool) for route in routes])


class RouterTests(SynchronousTestCase):
    """Tables of requests and what they find."""

    def check(self, found: Router[str], table: List[Tuple[bytes, bytes, Optional[str]]], method: bytes = b"GET") -> None:
        """Each line: host, path, pool."""
        for host, path, pool in table:
            self.assertEqual(found.find(host, path, method), pool, (host, path))

    def test_hosts(self) -> None:
        """Exact before wildcard, a longer wildcard before a shorter one, ``*`` last; without port, case or final dot."""
        self.check(
            router(
                RouteConfig(host="*", pool="any"),
                RouteConfig(host="*.example.com", pool="below"),
                RouteConfig(host="*.deep.example.com", pool="deep"),
                RouteConfig(host="example.com", pool="exact"),
                RouteConfig(host="www.example.com", pool="www"),
                RouteConfig(host="[2001:db8::1]", pool="six"),
            ),
            [
                (b"example.com", b"/", "exact"),
                (b"EXAMPLE.com:8080", b"/", "exact"),
                (b"example.com.", b"/", "exact"),
                (b"example.com.:80", b"/", "exact"),
                (b"www.example.com", b"/", "www"),
                (b"a.example.com", b"/", "below"),
                (b"a.b.example.com", b"/", "below"),
                (b"a.deep.example.com", b"/", "deep"),
                (b"deep.example.com", b"/", "below"),
                (b".example.com", b"/", "any"),
                (b"notexample.com", b"/", "any"),
                (b"example.com.evil.net", b"/", "any"),
                (b"[2001:DB8::1]:80", b"/", "six"),
                (b"[2001:db8::2]", b"/", "any"),
                (b"", b"/", "any"),
            ],
        )

    def test_no_host_takes_it(self) -> None:
        """None, and the caller answers 404."""
        self.check(router(RouteConfig(host="example.com")), [(b"example.org", b"/", None), (b"", b"/", None)])

    def test_paths(self) -> None:
        """The longest prefix that ends on a segment boundary."""
        self.check(
            router(
                RouteConfig(path="/api", pool="api"),
                RouteConfig(path="/api/v2", pool="v2"),
                RouteConfig(path="/docs/", pool="docs"),
            ),
            [
                (b"h", b"/api", "api"),
                (b"h", b"/api?x=/api/v2", "api"),
                (b"h", b"/api/", "api"),
                (b"h", b"/api/x", "api"),
                (b"h", b"/apix", None),
                (b"h", b"/api/v2", "v2"),
                (b"h", b"/api/v2/x", "v2"),
                (b"h", b"/api/v20", "api"),
                (b"h", b"/docs", None),
                (b"h", b"/docs/", "docs"),
                (b"h", b"/docs/a", "docs"),
                (b"h", b"/", None),
                (b"h", b"*", None),
            ],
        )

    def test_paths_are_compared_as_they_mean(self) -> None:
        """RFC 3986 section 6.2.2: dot segments and escapes are undone for matching, as a strict server does."""
        self.check(
            router(RouteConfig(path="/private", pool="private"), RouteConfig(pool="public")),
            [
                (b"h", b"/public/../private", "private"),
                (b"h", b"/./private/x", "private"),
                (b"h", b"/%70rivate/x", "private"),
                (b"h", b"/public/%2e%2E/private", "private"),
                (b"h", b"/private/..", "public"),
                (b"h", b"/private/../x", "public"),
                (b"h", b"/..", "public"),
                (b"h", b"/../../private", "private"),
                (b"h", b"/private%2Fx", "private"),
                (b"h", b"/private;x", "private"),
                (b"h", b"/x%2f..%2Fprivate", "private"),
                (b"h", b"/PRIVATE", "public"),
                (b"h", b"//private", "private"),
                (b"h", b"/x?/../private", "public"),
            ],
        )

    def test_methods(self) -> None:
        """A route that names the method comes before one that takes all; methods are case-sensitive."""
        found = router(
            RouteConfig(pool="any"),
            RouteConfig(methods=("GET", "HEAD"), pool="read"),
            RouteConfig(path="/upload", methods=("PUT",), pool="put"),
        )
        self.check(found, [(b"h", b"/", "read"), (b"h", b"/upload", "read")])
        self.check(found, [(b"h", b"/", "any"), (b"h", b"/upload/x", "put")], b"PUT")
        self.check(found, [(b"h", b"/", "any")], b"get")
        self.check(router(RouteConfig(methods=("GET",))), [(b"h", b"/", None)], b"POST")

    def test_a_more_specific_host_that_does_not_take_the_path(self) -> None:
        """The next host is tried."""
        self.check(
            router(
                RouteConfig(host="www.example.com", path="/only", pool="only"),
                RouteConfig(host="*.example.com", path="/some", pool="some"),
                RouteConfig(pool="any"),
            ),
            [
                (b"www.example.com", b"/only", "only"),
                (b"www.example.com", b"/some", "some"),
                (b"www.example.com", b"/other", "any"),
            ],
        )

    def test_the_only_route(self) -> None:
        """One route for everything takes everything, whatever its form."""
        self.check(router(RouteConfig(pool="all")), [(b"", b"*", "all"), (b"h", b"/x", "all"), (b"h:1", b"", "all")])

    def test_asterisk(self) -> None:
        """``OPTIONS *`` is about the whole server."""
        self.check(router(RouteConfig(path="/a", pool="a"), RouteConfig(pool="all")), [(b"h", b"*", "all")], b"OPTIONS")


class StripTests(SynchronousTestCase):
    """What the service gets to see of the path."""

    def test_table(self) -> None:
        """As received wherever that can be, as matched where the prefix was written in another way."""
        for path, stripped in [
            (b"/api/x", b"/x"),
            (b"/api", b"/"),
            (b"/api/", b"/"),
            (b"/api?q=/api", b"/?q=/api"),
            (b"/api/%7Ex?a=%2F", b"/%7Ex?a=%2F"),
            (b"/api//x", b"//x"),
            (b"/%61pi/x?y", b"/x?y"),
            (b"/./api/x", b"/x"),
            (b"/other/../api/x", b"/x"),
        ]:
            self.assertEqual(strip_prefix(path, b"/api"), stripped, path)

    def test_nothing_to_strip(self) -> None:
        """Left alone to the byte."""
        for path in (b"/a/../b?c", b"*", b"/"):
            self.assertEqual(strip_prefix(path, b""), path)

    def test_prefix_that_ends_with_a_slash(self) -> None:
        """What is left begins with one."""
        self.assertEqual(strip_prefix(b"/api/x", b"/api/"), b"/x")
        self.assertEqual(strip_prefix(b"/api/", b"/api/"), b"/")
        self.assertEqual(strip_prefix(b"/x", b"/"), b"/x")

    def test_asterisk_is_no_path(self) -> None:
        """``OPTIONS *`` stays what it is."""
        self.assertEqual(strip_prefix(b"*", b"/"), b"*")


class HostTests(SynchronousTestCase):
    """The name in an authority."""

    def test_table(self) -> None:
        """Without port and final dot, in lower case."""
        for host, name in [
            (b"Example.COM", b"example.com"),
            (b"example.com:80", b"example.com"),
            (b"example.com.", b"example.com"),
            (b"[::1]:80", b"[::1]"),
            (b"[::1]", b"[::1]"),
            (b"", b""),
        ]:
            self.assertEqual(without_port(host), name)


class ProtectionTests(SynchronousTestCase):
    """A route that answers requests keeps them from the services, whatever they make of a path."""

    PATHS = (
        b"//admin", b"/admin%2f", b"/%2fadmin", b"/x%2f..%2fadmin", b"/x//../admin", b"/admin;x", b"/..;/admin", b"/%61dmin/",
        b"/x/../admin", b"/%2561dmin", b"/\\admin", b"/admin%00", b"/admin/%2e%2e/public", b"/admin/../public",
    )  # fmt: skip

    def find(self, found: Router[str], path: bytes) -> Optional[str]:
        """What is found, or the reason of the refusal."""
        try:
            return found.find(b"h", path, b"GET")
        except BadMessage as error:
            self.assertEqual(error.status, 400)
            return error.reason

    def test_protected(self) -> None:
        """Refused by the route or refused as ambiguous: nothing that some server takes for it gets to the service."""
        found = router(RouteConfig(path="/admin", pool="none", respond=RespondConfig(403)), RouteConfig(pool="open"))
        for path in self.PATHS:
            self.assertIn(self.find(found, path), ("none", "ambiguous-path"), path)
        for path in (b"/public", b"/administrator", b"/a%20b", b"/a;b=1/c", b"/x/../y", b"/caf%c3%a9?x=//admin"):
            self.assertEqual(self.find(found, path), "open", path)

    def test_nothing_to_protect(self) -> None:
        """Without such a route no path is refused."""
        found = router(RouteConfig(path="/admin", pool="admin"), RouteConfig(pool="open"))
        for path in self.PATHS:
            self.assertIn(self.find(found, path), ("admin", "open"), path)

    def test_exact(self) -> None:
        """The switch: byte by byte."""
        routes = (RouteConfig(path="/admin", pool="none", respond=RespondConfig(403)), RouteConfig(pool="open"))
        found = Router([(route, route.pool) for route in routes], exact=True)
        self.assertEqual([self.find(found, path) for path in (b"/admin", b"//admin", b"/%61dmin")], ["none", "open", "open"])
