"""The answers that no service gives: in which form, with which fields, from which page."""

from __future__ import annotations

import json
import os
from typing import Dict

from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import RedirectConfig, RespondConfig
from xproxy.http1.limits import DEFAULT_LIMITS
from xproxy.http1.request import RequestHead, parse_request_head
from xproxy.proxy.requests.answers import HTML, JSON, MAX_PAGE_BYTES, TEXT, Answer, Pages, preferred, redirect, respond


def head(target: bytes, host: bytes = b"example.com:8080") -> RequestHead:
    """A request head."""
    return parse_request_head(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", DEFAULT_LIMITS)


class PreferredTests(SynchronousTestCase):
    """RFC 9110 section 12.5.1, as far as it matters for three forms."""

    def test_table(self) -> None:
        """By presence and order."""
        for accept, kind in [
            (b"", TEXT),
            (b"*/*", TEXT),
            (b"text/plain", TEXT),
            (b"image/png", TEXT),
            (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
            (b"TEXT/HTML", HTML),
            (b"application/json", JSON),
            (b"Application/JSON, text/html", JSON),
            (b"text/html, application/json", HTML),
            (b"application/problem+json", JSON),
            (b"application/vnd.api+json, text/html", JSON),
        ]:
            self.assertEqual(preferred(accept), kind, accept)


class PagesTests(SynchronousTestCase):
    """Error pages, made up or one's own."""

    def directory(self, **pages: bytes) -> str:
        """A directory with these pages; ``__`` in a name stands for the dot."""
        path = self.mktemp()
        os.makedirs(path)
        for name, content in pages.items():
            with open(os.path.join(path, name.lstrip("_").replace("__", ".")), "wb") as file:
                file.write(content)
        return path

    def fields(self, answer: Answer) -> Dict[bytes, bytes]:
        """The fields of an answer, of which each is there once."""
        found = dict(answer.fields)
        self.assertEqual(len(found), len(answer.fields))
        return found

    def test_made_up(self) -> None:
        """Each form says status and reason."""
        pages = Pages()
        text = pages.error(502, "slot-lost", b"")
        self.assertEqual(text.status, 502)
        self.assertEqual(self.fields(text), {b"Content-Type": b"text/plain; charset=utf-8"})
        self.assertEqual(text.content, b"502 Bad Gateway: slot-lost\n")
        html = pages.error(404, "no-route", b"text/html")
        self.assertEqual(self.fields(html), {b"Content-Type": b"text/html; charset=utf-8"})
        self.assertIn(b"<h1>404 Not Found</h1><p>no-route</p>", html.content)
        made = pages.error(503, "queue-full", b"application/json", 1)
        self.assertEqual(self.fields(made), {b"Content-Type": b"application/json", b"Retry-After": b"1"})
        self.assertEqual(json.loads(made.content), {"status": 503, "error": "Service Unavailable", "reason": "queue-full"})

    def test_allow(self) -> None:
        """RFC 9110 section 15.5.6: a 405 names what is allowed, and neither TRACE nor CONNECT is."""
        allow = self.fields(Pages().error(405, "method-not-allowed", b""))[b"Allow"].split(b", ")
        self.assertIn(b"GET", allow)
        self.assertFalse({b"TRACE", b"CONNECT"} & set(allow))

    def test_own(self) -> None:
        """The form that is asked for, else any other of this status, else a made-up one."""
        pages = Pages(self.directory(_502__html=b"<p>own", _502__json=b"{}", _503__txt=b"busy", _504__html=b"<p>late"))
        for status, accept, kind, content in [
            (502, b"text/html", b"text/html; charset=utf-8", b"<p>own"),
            (502, b"application/json", b"application/json", b"{}"),
            (502, b"", b"text/html; charset=utf-8", b"<p>own"),
            (503, b"text/html", b"text/plain; charset=utf-8", b"busy"),
            (504, b"application/json", b"text/html; charset=utf-8", b"<p>late"),
        ]:
            answer = pages.error(status, "reason", accept)
            self.assertEqual((answer.status, self.fields(answer)[b"Content-Type"], answer.content), (status, kind, content))
        self.assertEqual(pages.error(500, "reason", b"").content, b"500 Internal Server Error: reason\n")

    def test_files_that_are_no_pages(self) -> None:
        """Everything else in the directory is left alone."""
        path = self.directory(README__md=b"x", _50x__html=b"x", _5020__html=b"x", _502__htm=b"x", _502=b"x")
        os.makedirs(os.path.join(path, "errors"))
        self.assertEqual(Pages(path).error(502, "r", b"").content, b"502 Bad Gateway: r\n")

    def test_too_large(self) -> None:
        """One that would fill the memory is refused."""
        path = self.directory(_502__html=b"x" * (MAX_PAGE_BYTES + 1), _503__html=b"x")
        error = self.assertRaises(ValueError, Pages, path)
        self.assertIn("502.html", str(error))

    def test_missing_directory(self) -> None:
        """A mistake of the configuration."""
        self.assertRaises(OSError, Pages, self.mktemp())


class RuleTests(SynchronousTestCase):
    """Routes that answer themselves."""

    def test_redirect(self) -> None:
        """``{host}`` is without the port, ``{target}`` as received."""
        for location, target, host, expected in [
            ("https://{host}{target}", b"/a?b=%20c", b"example.com:8080", b"https://example.com/a?b=%20c"),
            ("https://{host}{target}", b"/", b"[2001:db8::1]:8080", b"https://[2001:db8::1]/"),
            ("https://{host}{target}", b"http://other.example/x", b"example.com", b"https://other.example/x"),
            ("/elsewhere", b"/a", b"example.com", b"/elsewhere"),
        ]:
            answer = redirect(RedirectConfig(location, 308), head(target, host))
            self.assertEqual((answer.status, answer.fields, answer.content), (308, ((b"Location", expected),), b""))

    def test_redirect_without_a_host(self) -> None:
        """HTTP/1.0 need not name one: then nobody is sent to ``https:///``."""
        nameless = parse_request_head(b"GET /a HTTP/1.0\r\n\r\n", DEFAULT_LIMITS)
        self.assertEqual(redirect(RedirectConfig("https://{host}{target}", 308), nameless).status, 400)
        self.assertEqual(redirect(RedirectConfig("https://a{target}", 308), nameless).status, 308)

    def test_respond(self) -> None:
        """Status, type and body as configured."""
        answer = respond(RespondConfig(403, b"no", "text/html"))
        self.assertEqual(answer, Answer(403, ((b"Content-Type", b"text/html"),), b"no"))
        self.assertTrue(answer.has_content)

    def test_no_content(self) -> None:
        """RFC 9110 sections 15.3.5 and 15.4.5: 204 and 304 have no content; 15.3.6: a 205 has, of no bytes."""
        for status, has_content in ((200, True), (204, False), (205, True), (304, False), (404, True)):
            answer = respond(RespondConfig(status, b"body"))
            self.assertEqual(answer.has_content, has_content, status)
        self.assertEqual(respond(RespondConfig(205, b"body")).content, b"")
