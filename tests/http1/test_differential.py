"""What we forward, h11 and llhttp read as exactly one request, with the same method, target and body."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.http1 import differential, peers
from tests.http1.corpus import REQUESTS
from tests.http1.differential import disagreement, forwarded
from tests.http1.strategies import MODEST, broken_requests, pieces, requests
from xproxy.http1 import request
from xproxy.http1.body import LengthBody
from xproxy.http1.forward import request_head


class DifferentialTests(TestCase):
    @MODEST
    @given(st.data())
    def test_sound_requests(self, data: st.DataObject) -> None:
        """Requests that are mostly good."""
        self.assertEqual(disagreement(data.draw(pieces(data.draw(requests()))), data.draw(st.booleans())), "")

    @MODEST
    @given(broken_requests(), st.booleans())
    def test_broken_requests(self, message: bytes, chunk: bool) -> None:
        """Requests with a few bytes cut, doubled or put in."""
        self.assertEqual(disagreement([message], chunk), "")

    @MODEST
    @given(st.binary(max_size=60))
    def test_garbage(self, message: bytes) -> None:
        """Anything at all, behind a good start or not; BadMessage is all that is ever raised."""
        for start in (b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"):
            self.assertEqual(disagreement([start + message]), "")

    def test_good_requests_are_forwarded(self) -> None:
        """The comparison is not empty: sound requests do pass, so they are compared."""
        for message in (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
            b"GET http://b/c HTTP/1.0\r\n\r\n",
        ):
            for chunk in (False, True):
                self.assertIsNotNone(forwarded([message], chunk), message)
                self.assertEqual(disagreement([message], chunk), "")

    def test_corpus_is_not_forwarded(self) -> None:
        """Nothing of what must be refused is."""
        for case in REQUESTS:
            self.assertIsNone(forwarded([case.message]), case.name)

    def test_a_difference_is_noticed(self) -> None:
        """A length that is not sent, and one that is not read as it was sent."""
        message = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        self.patch(differential, "request_head", lambda method, path, block, *_, **__: request_head(method, path, block))
        self.assertIn("h11", differential.behind_us([message]))
        self.patch(request, "LengthBody", lambda length: LengthBody(length - 1))
        self.assertIn("h11", differential.before_us([message]))
        self.patch(request, "LengthBody", lambda length: LengthBody(length + 1))
        self.assertIn("h11", differential.before_us([message + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]))


class PeerTests(TestCase):
    """The peers see what there is to see, or the comparison proves nothing."""

    two = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"

    def test_h11(self) -> None:
        """A second request and a broken one are noticed."""
        self.assertEqual(peers.h11_requests(self.two), [peers.Seen(b"GET", b"/a", b""), peers.Seen(b"POST", b"/b", b"hi")])
        for broken in (b"GET /a HTTP/1.1\r\n\r\n", self.two[:-1], b"GET /a HTTP/1.1\r\nHost : a\r\n\r\n"):
            self.assertRaises(peers.Disagrees, peers.h11_requests, broken)

    def test_llhttp(self) -> None:
        """The same for llhttp."""
        self.assertEqual(peers.llhttp_requests(self.two), [peers.Seen(b"GET", b"/a", b""), peers.Seen(b"POST", b"/b", b"hi")])
        switch = b"GET /c HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        self.assertEqual(peers.llhttp_requests(switch), [peers.Seen(b"GET", b"/c", b"")])
        for broken in (self.two[:-1], b"GET /a HTTP/1.1\r\nHost : a\r\n\r\n", switch + b"x"):
            self.assertRaises(peers.Disagrees, peers.llhttp_requests, broken)

    if peers.httptools is None:
        test_llhttp.skip = "httptools is not installed on this interpreter"  # type: ignore[attr-defined]
