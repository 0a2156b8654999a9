"""The forms of requests: see ``forms``."""

from __future__ import annotations

from typing import Tuple

from tests.http1.forms import ACCEPTS, BOTH, CODED, CONTROLS, Form

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def _get(*lines: bytes) -> Tuple[bytes, ...]:
    return tuple(GET + line + b"\r\n\r\n" for line in lines)


def _post(*lines: bytes, body: bytes = b"hello") -> Tuple[bytes, ...]:
    return tuple(POST + line + b"\r\n\r\n" + body for line in lines)


def _chunked(*sizes: bytes) -> Tuple[bytes, ...]:
    return tuple(POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n" for size in sizes)


_BARE = GET + b"\r\n"
_LENGTH = POST + b"Content-Length: 5\r\n\r\nhello"
_CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n" + CODED

REQUESTS: Tuple[Form, ...] = (
    Form(
        "empty lines before the request line",
        BOTH,
        "ignored, as many as fit into a request line (RFC 9112 2.2)",
        (b"\r\n" + _BARE, b"\r\n\r\n" + _BARE, b"\r\n" * 100 + _BARE),
        _BARE,
    ),
    Form(
        "several spaces in the request line",
        BOTH,
        "one (RFC 9112 3)",
        (
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET   /   HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        _BARE,
    ),
    Form("a tab in the request line", ("400", ACCEPTS), "400", (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",)),
    Form("a space behind the version", (ACCEPTS, "400"), "400", (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",)),
    Form(
        "`HTTP/1.2` to `HTTP/1.9`",
        BOTH,
        "as `HTTP/1.1` (RFC 9110 2.5)",
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", b"GET / HTTP/1.9\r\nHost: a\r\n\r\n"),
        _BARE,
    ),
    Form("`HTTP/2.0`, `HTTP/0.9` in a request line", ("505, 400", ACCEPTS), "505", (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",)),
    Form(
        "a line ended by a bare LF, or all of them",
        BOTH,
        "400 (RFC 9112 2.2 MAY): to others the value goes on, with the next field in it",
        (b"GET / HTTP/1.1\nHost: a\n\n", GET + b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    Form("folding", ("400", ACCEPTS), "400 (RFC 9112 5.2)", _get(b"X: a\r\n b")),
    Form("blanks before a colon", ("400", "400"), "400 (RFC 9112 5.1 MUST)", _get(b"X : a")),
    Form("a line without a colon, a name that is no token", (ACCEPTS, "400"), "400", _get(b"X", b"(X): a", b"X\xe9: a")),
    Form(
        "a control character in a value",
        ("accepts, NUL 400", ACCEPTS),
        "400 (RFC 9110 5.5 MAY retain): some end a line to `str.splitlines`, `Connection: \\x01close` closes nginx only",
        tuple(GET + b"X: a" + code + b"b\r\n\r\n" for code in CONTROLS),
    ),
    Form(
        "what is no token in `Connection`, empty members",
        BOTH,
        "names nothing, goes",
        _get(b'Connection: "close"', b"Connection: ;", b"Connection: close x", b"Connection: a/b", b"Connection: ,, ,"),
        _BARE,
    ),
    Form(
        "an expectation that nobody knows, alone or beside `100-continue`; none",
        BOTH,
        "ignored, and goes (RFC 9110 10.1.1 MAY 417)",
        _post(*(value + b"\r\nContent-Length: 5" for value in (b"Expect: 200-maybe", b"Expect:", b"Expect: 100-continue;a=b"))),
        _LENGTH,
    ),
    Form(
        "`Host` with an empty port",
        BOTH,
        "without it (RFC 3986 6.2.3)",
        (b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", b"GET http://a: HTTP/1.1\r\nHost: a\r\n\r\n"),
        _BARE,
    ),
    Form(
        "`Host` with zeros before its port, blanks around it",
        ("accepts, tabs 400", ACCEPTS),
        "without them (RFC 3986 6.2.3, RFC 9110 5.5)",
        tuple(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in (b"a:080", b"a:000080", b"\ta:80 \t")),
        b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n",
    ),
    Form(
        "`Host:` a name with `!$&'()*+,;=` or an escape",
        BOTH,
        "400: no such name is in use, and it goes into lists, links and logs",
        tuple(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in (b"a,b", b"a!b", b"a*b", b"a;b", b"%61")),
    ),
    Form(
        "`Host:` what is neither name nor address, a port past 65535",
        (ACCEPTS, ACCEPTS),
        "400 (RFC 9112 3.2 MUST)",
        tuple(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in (b"user@a", b"a?b", b"a:b", b"[::1", b"a:65536")),
    ),
    Form("`Host` twice, the same", ("400", ACCEPTS), "400 (RFC 9112 3.2 MUST)", _get(b"Host: a")),
    Form("no `Host` in HTTP/1.1; an empty one", ("400", ACCEPTS), "400 (RFC 9112 3.2 MUST)", (b"GET / HTTP/1.1\r\n\r\n",)),
    Form(
        "a target of another scheme",
        BOTH,
        "400: `/` to nginx, `ftp://a/` to HAProxy and what is behind it",
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",),
    ),
    Form(
        "a backslash in a path",
        BOTH,
        "400 (RFC 9112 3.2: not to be mended): a slash to some",
        (b"GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n",),
    ),
    Form(
        "blanks around `Content-Length`",
        ("accepts spaces, tabs 400", ACCEPTS),
        "ignored (RFC 9110 5.5 MUST)",
        _post(
            *(b"Content-Length:" + value for value in (b"5", b"  5", b" 5 ", b"\t5", b"5\t", b" \t 5 \t ", b"5" + b" " * 50))
        ),
        _LENGTH,
    ),
    Form(
        "zeros before a `Content-Length`",
        BOTH,
        "ignored (RFC 9110 8.6: decimal)",
        _post(b"Content-Length: 05", b"Content-Length: 0000005", b"Content-Length: " + b"0" * 40 + b"5"),
        _LENGTH,
    ),
    Form(
        "`Content-Length` twice, or as a list, the same",
        ("400", ACCEPTS),
        "400 (RFC 9110 8.6 MAY)",
        _post(b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5, 5"),
    ),
    Form(
        "`Content-Length` and `Transfer-Encoding`",
        ("400", "accepts, closes"),
        "400 (RFC 9112 6.1 MAY)",
        _post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", body=CODED),
    ),
    Form(
        "`Content_Length`, `Transfer.Encoding`",
        BOTH,
        "400: CGI and WSGI take them for the framing fields",
        _post(b"Content_Length: 5", b"Transfer.Encoding: chunked"),
    ),
    Form(
        "spaces around `chunked`",
        BOTH,
        "ignored (RFC 9110 5.5 MUST)",
        _post(
            *(b"Transfer-Encoding:" + value for value in (b"chunked", b"  chunked", b" chunked ", b"   CHUNKED  ")), body=CODED
        ),
        _CHUNKED,
    ),
    Form(
        "tabs around it, empty members beside it",
        ("501", "accepts, 422 for `,chunked`"),
        "400, though RFC 9110 5.5, 5.6.1 MUST: a reader before us may think as nginx does",
        _post(
            *(b"Transfer-Encoding:" + value for value in (b"\tchunked", b"chunked\t", b" chunked,", b" ,chunked")), body=CODED
        ),
    ),
    Form(
        "`Transfer-Encoding: gzip, chunked` and other codings",
        ("501", "422, 400"),
        "400 (RFC 9112 6.1 SHOULD 501)",
        _post(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", body=CODED),
    ),
    Form(
        "`Transfer-Encoding` in HTTP/1.0",
        ("400", "accepts, closes"),
        "400 (RFC 9112 6.1 MUST: faulty)",
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CODED,),
    ),
    Form(
        "blanks behind a chunk size, around an extension and its parts",
        BOTH,
        "ignored (RFC 9112 7.1.1, RFC 9110 5.6.3 MUST)",
        _chunked(b"5 ", b"5\t", b"5 \t ;a", b"5; a", b"5;a ", b"5;a =b", b"5;a= b", b"5 ; a = b ; c"),
        _CHUNKED,
    ),
    Form(
        "zeros before a chunk size",
        BOTH,
        "ignored, in a line of 256 bytes",
        _chunked(b"05", b"0" * 15 + b"5", b"0" * 100 + b"5"),
        _CHUNKED,
    ),
    Form(
        "extensions of any grammar, quotes closed",
        BOTH,
        "ignored (RFC 9112 7.1.1 MUST)",
        _chunked(b"5;", b"5;;", b"5;=", b"5;=a", b"5;a=", b'5;"a"', b'5;a="b;\\"c"', b"5;a(b)", b"5;\xff", b"5;a\\"),
        _CHUNKED,
    ),
    Form(
        "a quote that stays open, a control character in an extension",
        BOTH,
        "400: the quote goes on behind the line end to a reader that knows quotes",
        _chunked(b'5;a="b', b'5;a="', b"5;\x01", b"5;a\x00"),
    ),
    Form("something else behind a chunk size", (ACCEPTS, "400"), "400", _chunked(b"5 5", b"5 a")),
    Form(
        "a bare LF behind a chunk size, a chunk, a trailer, the last chunk",
        BOTH,
        "400, as everywhere",
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", _CHUNKED[:-2] + b"\n"),
    ),
    Form(
        "folding in a trailer",
        ("drops trailers", ACCEPTS),
        "400 (RFC 9112 5.2)",
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n",),
    ),
)
