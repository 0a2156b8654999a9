"""What the proxy writes into messages: Via, Date, who asked, the request's id, Max-Forwards; and which targets it passes on."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Dict

from tests.e2e.played import ProxyCase, Recorder, get, post
from tests.e2e.services import respond

TRUSTED = "127.0.0.2"
"""The address of a client that the configuration trusts."""

CLAIMS = (
    "X-Forwarded-For: 192.0.2.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: claimed.example",
    "X-Forwarded-Port: 8443",
    "X-Real-IP: 192.0.2.7",
    "Forwarded: for=192.0.2.7;proto=https",
    "X_Forwarded_For: 192.0.2.8",
)


class ForwardedTests(ProxyCase):
    """Who asked, in each style, said by clients that are trusted and by others."""

    def received(self, style: str, source: str, *fields: str) -> Dict[str, str]:
        """The fields that the service gets of those that say who asked."""
        self.start(more=f'[proxy]\nforwarded = "{style}"\ntrusted_proxies = ["{TRUSTED}"]')
        recorder = Recorder()
        self.serve(recorder)
        self.ask(get("/", *fields), source=source)
        found = recorder.last.headers
        return {name: value for name, value in found.items() if "forwarded" in name or name == "x-real-ip"}

    def test_x_forwarded(self) -> None:
        """The default style: what others claim is replaced, what the trusted say is continued."""
        own = {"x-forwarded-for": "127.0.0.9", "x-forwarded-proto": "http", "x-forwarded-host": "example.com"}
        self.assertEqual(own, self.received("x-forwarded", "127.0.0.9"))
        self.assertEqual(own, self.received("x-forwarded", "127.0.0.9", *CLAIMS))
        believed = {
            "x-forwarded-for": f"192.0.2.7, {TRUSTED}",
            "x-forwarded-proto": "https",
            "x-forwarded-host": "claimed.example",
            "x-forwarded-port": "8443",
            "x-real-ip": "192.0.2.7",
            "forwarded": "for=192.0.2.7;proto=https",
        }
        self.assertEqual(believed, self.received("x-forwarded", TRUSTED, *CLAIMS))

    def test_forwarded(self) -> None:
        """RFC 7239, section 4."""
        self.assertEqual(
            {"forwarded": "for=127.0.0.9;proto=http;host=example.com"}, self.received("forwarded", "127.0.0.9", *CLAIMS)
        )
        found = self.received("forwarded", TRUSTED, *CLAIMS)
        self.assertEqual(f"for=192.0.2.7;proto=https, for={TRUSTED};proto=http;host=example.com", found["forwarded"])

    def test_both_and_none(self) -> None:
        """Two more styles; none leaves nothing that a stranger said."""
        found = self.received("both", "127.0.0.9", *CLAIMS)
        self.assertEqual({"forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}, set(found))
        self.assertFalse([value for value in found.values() if "192.0.2" in value])
        self.assertEqual({}, self.received("none", "127.0.0.9", *CLAIMS))

    def test_several_lines(self) -> None:
        """A list that came in several lines is continued as one."""
        found = self.received("x-forwarded", TRUSTED, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2")
        self.assertEqual(f"192.0.2.1, 192.0.2.2, {TRUSTED}", found["x-forwarded-for"])


class MarkTests(ProxyCase):
    """What is written whoever asks."""

    def setUp(self) -> None:
        self.start(more=f'[proxy]\nname = "edge"\ntrusted_proxies = ["{TRUSTED}"]')
        self.recorder = Recorder()
        self.service = self.serve(self.recorder)

    def test_via(self) -> None:
        """Both ways, after what was there, with the version received (RFC 9110 section 7.6.3)."""
        self.recorder.answer = respond(b"", "200 OK", "Via: 1.0 inner")
        self.assertEqual("1.0 inner, 1.1 edge", self.ask(get("/", "Via: 1.1 before")).headers["via"])
        self.assertEqual("1.1 before, 1.1 edge", self.recorder.last.headers["via"])
        self.ask(get("/", version="1.0"))
        self.assertEqual("1.0 edge", self.recorder.last.headers["via"])

    def test_date(self) -> None:
        """Added where the service gave none, kept where it did (RFC 9110 section 6.6.1); our own answers have one too."""
        self.assertIsNotNone(parsedate_to_datetime(self.ask(get()).headers["date"]))
        self.recorder.answer = respond(b"", "200 OK", "Date: Tue, 15 Nov 1994 08:12:31 GMT")
        self.assertEqual("Tue, 15 Nov 1994 08:12:31 GMT", self.ask(get()).headers["date"])
        self.assertIsNotNone(parsedate_to_datetime(self.ask(get(method="TRACE")).headers["date"]))

    def test_request_id(self) -> None:
        """Made when absent, another for each request."""
        made = []
        for _ in range(3):
            self.ask(get())
            made.append(self.recorder.last.headers["x-request-id"])
        self.assertEqual(3, len(set(made)))
        for identity in made:
            self.assertRegex(identity, re.compile("^[0-9a-f]{16,}$"))

    def test_request_id_of_the_client(self) -> None:
        """Kept as the client sent it, unless it is none."""
        self.ask(get("/", "X-Request-ID: abc-123"), source=TRUSTED)
        self.assertEqual("abc-123", self.recorder.last.headers["x-request-id"])
        for bad in ("a b", "x" * 129, "", "1\r\nX-Request-ID: 2"):
            self.ask(get("/", f"X-Request-ID: {bad}"), source=TRUSTED)
            self.assertRegex(self.recorder.last.headers["x-request-id"], re.compile("^[0-9a-f]{16,}$"), bad)

    def test_max_forwards(self) -> None:
        """OPTIONS is answered here at 0, counted down above it; other methods are not concerned (RFC 9110 section 7.6.2)."""
        response = self.ask(get("/", "Max-Forwards: 0", method="OPTIONS"))
        self.assertEqual((200, "0"), (response.status, response.headers["content-length"]))
        self.assertIn("GET", response.headers["allow"])
        self.assertEqual([], self.recorder.seen)
        self.ask(get("*", "Max-Forwards: 5", method="OPTIONS"))
        self.assertEqual(("*", "4"), (self.recorder.last.target, self.recorder.last.headers["max-forwards"]))
        self.ask(get("/", "Max-Forwards: 0"))
        self.assertEqual("0", self.recorder.last.headers["max-forwards"])

    def test_refused_methods(self) -> None:
        """CONNECT and TRACE get 405, with the methods that are allowed."""
        for request in (get("example.com:443", method="CONNECT"), get(method="TRACE")):
            response = self.ask(request)
            self.assertEqual(405, response.status)
            self.assertIn("GET", response.headers["allow"])
        self.assertEqual(501, self.ask(get(method="M" * 33)).status)
        self.assertEqual(200, self.ask(get(method="UNHEARD-OF")).status)
        self.assertEqual(["UNHEARD-OF"], [request.method for request in self.recorder.seen])

    def test_targets(self) -> None:
        """All forms of RFC 9112 section 3.2; what is passed on is the origin-form as it was received, never normalised."""
        for target in ("/", "/a%2Fb/%7Euser/../c?q=%20%zz&r=a+b", "//double//", "/;x=1/?", "/..%2f..", "/%00", "/?a?b/../c"):
            self.ask(get(target))
            self.assertEqual((target, "example.com"), (self.recorder.last.target, self.recorder.last.headers["host"]))
        for target, path in (
            ("http://other.example:81/x?y", "/x?y"),
            ("HTTP://other.example:81", "/"),
            ("http://other.example:81?q", "/?q"),
        ):
            self.ask(get(target))
            self.assertEqual(
                (path, "other.example:81"), (self.recorder.last.target, self.recorder.last.headers["host"]), target
            )
        self.ask(get("http://other.example:81", method="OPTIONS"))
        self.assertEqual(("*", "other.example:81"), (self.recorder.last.target, self.recorder.last.headers["host"]))

    def test_end_to_end_fields(self) -> None:
        """Everything else arrives as it was sent, in order, on both sides."""
        lines = [
            "User-Agent: x (y; \xe9)",
            "Cookie: a=1; b=2",
            "X-Empty:",
            "Cookie: c=3",
            "x-lower: 1",
            "Authorization: Basic Zm9v",
        ]
        self.recorder.answer = respond(
            b"", "299 As It Pleases", "Set-Cookie: a=1", "X-Odd_Name: \xfc", "Set-Cookie: b=2", "Server: s"
        )
        response = self.ask(post(b"x", *lines))
        self.assertTrue(response.start.startswith("HTTP/1.1 299 As It Pleases"))
        self.assertEqual(["a=1", "b=2"], [value for name, value in response.pairs if name == "set-cookie"])
        self.assertEqual("s", response.headers["server"])
        received = self.recorder.last
        self.assertEqual(["a=1; b=2", "c=3"], [value for name, value in received.pairs if name == "cookie"])
        self.assertEqual(
            ("x (y; \xe9)", "", "1"), tuple(received.headers[name] for name in ("user-agent", "x-empty", "x-lower"))
        )
        self.assertEqual("Basic Zm9v", received.headers["authorization"])
