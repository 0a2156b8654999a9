"""Forms of messages that are not quite as RFC 9110 and 9112 have them: what nginx 1.22 and HAProxy 2.6 make of each, and we.

Data only, as ``corpus``: each was sent through both of them to a service that noted what came (and, for responses, answered
so). The table in ``docs/architecture/http1.md`` is made of it. A form that is accepted goes on as its strict equivalent does.
"""

from __future__ import annotations

from typing import Tuple

import attr

ACCEPTS = "accepts"
BOTH = (ACCEPTS, ACCEPTS)


@attr.frozen
class Form:
    """One row.

    :ivar seen: what nginx and HAProxy do: accept it, or the status they answer.
    :ivar messages: the form, in one or several examples.
    :ivar same_as: the message that it is read as; empty: refused.
    :ivar answer_to: the method that it answers; empty: it is a request.
    :ivar reusable: whether the slot can be used again behind the response.
    """

    name: str
    seen: Tuple[str, str]
    decision: str
    messages: Tuple[bytes, ...]
    same_as: bytes = b""
    answer_to: bytes = b""
    reusable: bool = True

    @property
    def row(self) -> str:
        """The line of the table."""
        return "| " + " | ".join((self.name, ACCEPTS if self.same_as else "refuses", *self.seen, self.decision)) + " |"


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def _get(*lines: bytes) -> Tuple[bytes, ...]:
    return tuple(GET + line + b"\r\n\r\n" for line in lines)


def _post(*lines: bytes, body: bytes = b"hello") -> Tuple[bytes, ...]:
    return tuple(POST + line + b"\r\n\r\n" + body for line in lines)


def _chunked(*sizes: bytes) -> Tuple[bytes, ...]:
    return tuple(POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n" for size in sizes)


def _ok(*lines: bytes, body: bytes = b"hello") -> Tuple[bytes, ...]:
    return tuple(OK + line + b"\r\n\r\n" + body for line in lines)


_BARE = GET + b"\r\n"
_LENGTH = POST + b"Content-Length: 5\r\n\r\nhello"
_CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
_CODED = b"5\r\nhello\r\n0\r\n\r\n"
_OK = OK + b"Content-Length: 5\r\n\r\nhello"
_OK_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n" + _CODED
_CONTROLS = tuple(bytes((code,)) for code in (*range(9), 11, 12, *range(14, 32), 127))

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
        tuple(GET + b"X: a" + code + b"b\r\n\r\n" for code in _CONTROLS),
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
        _post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", body=_CODED),
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
            *(b"Transfer-Encoding:" + value for value in (b"chunked", b"  chunked", b" chunked ", b"   CHUNKED  ")), body=_CODED
        ),
        _CHUNKED,
    ),
    Form(
        "tabs around it, empty members beside it",
        ("501", "accepts, 422 for `,chunked`"),
        "400, though RFC 9110 5.5, 5.6.1 MUST: a reader before us may think as nginx does",
        _post(
            *(b"Transfer-Encoding:" + value for value in (b"\tchunked", b"chunked\t", b" chunked,", b" ,chunked")), body=_CODED
        ),
    ),
    Form(
        "`Transfer-Encoding: gzip, chunked` and other codings",
        ("501", "422, 400"),
        "400 (RFC 9112 6.1 SHOULD 501)",
        _post(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", body=_CODED),
    ),
    Form(
        "`Transfer-Encoding` in HTTP/1.0",
        ("400", "accepts, closes"),
        "400 (RFC 9112 6.1 MUST: faulty)",
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + _CODED,),
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


def _bodyless(status: bytes) -> Tuple[bytes, ...]:
    start = b"HTTP/1.1 " + status + b"\r\n"
    lengths = (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Length: 5\r\nTransfer-Encoding: chunked")
    return tuple(start + length + b"\r\n\r\n" for length in lengths)


RESPONSES: Tuple[Form, ...] = (
    Form(
        "204 with `Content-Length` or `Transfer-Encoding`",
        BOTH,
        "dropped, the slot is closed (RFC 9112 6.3)",
        _bodyless(b"204 No"),
        b"HTTP/1.1 204 No\r\n\r\n",
        b"GET",
        reusable=False,
    ),
    Form(
        "304 with `Transfer-Encoding`",
        BOTH,
        "dropped (RFC 9112 6.1, 6.3)",
        (b"HTTP/1.1 304 Same\r\nTransfer-Encoding: chunked\r\n\r\n",),
        b"HTTP/1.1 304 Same\r\n\r\n",
        b"GET",
    ),
    Form(
        "304, or an answer to HEAD, with both, or a length that is none",
        ("accepts", "accepts both, 502"),
        "dropped, the slot is closed (RFC 9112 6.3)",
        (
            b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 304 Same\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        ),
        b"HTTP/1.1 304 Same\r\n\r\n",
        b"HEAD",
        reusable=False,
    ),
    Form(
        "1xx with `Content-Length` or `Transfer-Encoding`, 101 too",
        ("103: takes it for the answer", ACCEPTS),
        "dropped (RFC 9112 6.3)",
        (*_bodyless(b"103 Early"), b"HTTP/1.1 103 Early\r\nContent-Length: 0\r\n\r\n"),
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"GET",
    ),
    Form(
        "several spaces before the status",
        BOTH,
        "one (RFC 9112 4)",
        (_OK.replace(b" 200", b"  200"), _OK.replace(b" 200", b"    200")),
        _OK,
        b"GET",
    ),
    Form(
        "`HTTP/1.2` to `HTTP/1.9`, `HTTP/2.0` in a status line",
        BOTH,
        "as `HTTP/1.1` (RFC 9110 2.5)",
        (_OK.replace(b"/1.1", b"/1.2"), _OK.replace(b"/1.1", b"/1.9"), _OK.replace(b"/1.1", b"/2.0")),
        _OK,
        b"GET",
    ),
    Form(
        "a status from 600 to 999",
        BOTH,
        "passed on (RFC 9110 15)",
        (b"HTTP/1.1 999 OK\r\nContent-Length: 5\r\n\r\nhello",),
        b"HTTP/1.1 999 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"GET",
    ),
    Form(
        "a status below 100",
        BOTH,
        "502: interim to whoever asks whether it is below 200",
        (_OK.replace(b"200", b"099"), _OK.replace(b"200", b"000")),
        answer_to=b"GET",
    ),
    Form(
        "no reason phrase and no space before it",
        BOTH,
        "with the space (RFC 9112 4)",
        (_OK.replace(b" OK", b""),),
        _OK.replace(b" OK", b" "),
        b"GET",
    ),
    Form(
        "a control character in the reason phrase or in a value",
        ("accepts, NUL in a value 502", ACCEPTS),
        "502, as in requests",
        tuple(
            line
            for code in _CONTROLS
            for line in (_OK.replace(b"OK", b"O" + code + b"K"), _OK.replace(b"\r\n\r\n", b"\r\nX: a" + code + b"b\r\n\r\n"))
        ),
        answer_to=b"GET",
    ),
    Form(
        "blanks before the colon of a field that is passed on",
        ("502", "502"),
        "removed (RFC 9112 5.1 MUST)",
        _ok(b"X : y\r\nContent-Length: 5", b"X \t: y\r\nContent-Length: 5"),
        OK + b"X: y\r\nContent-Length: 5\r\n\r\nhello",
        b"GET",
    ),
    Form(
        "the same where the proxy acts on the field",
        ("502", "502"),
        "502, though RFC 9112 5.1 MUST: nobody writes these so",
        (*_ok(b"Content-Length : 5"), *_ok(b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", body=_CODED)),
        answer_to=b"GET",
    ),
    Form("folding", ("502", ACCEPTS), "502 (RFC 9112 5.2)", _ok(b"X: a\r\n b\r\nContent-Length: 5"), answer_to=b"GET"),
    Form(
        "lines ended by a bare LF",
        BOTH,
        "502: response splitting where a service lets LF into a value (CWE-113)",
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", *_ok(b"X: a\nSet-Cookie: b\r\nContent-Length: 5")),
        answer_to=b"GET",
    ),
    Form("an empty line before the status line", ("HTTP/0.9", ACCEPTS), "502", (b"\r\n" + _OK,), answer_to=b"GET"),
    Form(
        "blanks around `Content-Length`, zeros before it",
        BOTH,
        "ignored (RFC 9110 5.5, 8.6 MUST)",
        _ok(*(b"Content-Length:" + value for value in (b"5", b"  5 ", b"\t5\t", b" 0005", b" " + b"0" * 30 + b"5"))),
        _OK,
        b"GET",
    ),
    Form(
        "`Content-Length` twice, the same",
        BOTH,
        "once (RFC 9110 8.6)",
        _ok(b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5 \r\ncontent-length:5"),
        _OK,
        b"GET",
    ),
    Form("`Content-Length: 5, 5`", ("ignores it", ACCEPTS), "502", _ok(b"Content-Length: 5, 5"), answer_to=b"GET"),
    Form(
        "`Content-Length` and `Transfer-Encoding`, where there is a body",
        BOTH,
        "502: two lengths, and nginx refuses it from 1.23 on",
        _ok(b"Content-Length: 5\r\nTransfer-Encoding: chunked", body=_CODED),
        answer_to=b"GET",
    ),
    Form(
        "blanks around `chunked`, empty members beside it",
        ("accepts", "accepts, 502 for `,chunked`"),
        "ignored (RFC 9110 5.5, 5.6.1 MUST)",
        _ok(
            *(b"Transfer-Encoding:" + value for value in (b"\tchunked", b"  CHUNKED ", b"chunked,", b", chunked ,")),
            body=_CODED,
        ),
        _OK_CHUNKED,
        b"GET",
    ),
    Form(
        "`Transfer-Encoding` twice, other codings",
        (ACCEPTS, "502"),
        "502",
        _ok(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", body=_CODED),
        answer_to=b"GET",
    ),
    Form(
        "`Transfer-Encoding` in HTTP/1.0",
        ("reads chunks", "reads to the end"),
        "502 (RFC 9112 6.1 MUST: faulty)",
        (_OK_CHUNKED.replace(b"/1.1", b"/1.0"),),
        answer_to=b"GET",
    ),
    Form(
        "chunk sizes and extensions as above",
        BOTH,
        "ignored",
        _ok(b"Transfer-Encoding: chunked", body=b"0005 ;a=\r\nhello\r\n0 \r\n\r\n"),
        _OK_CHUNKED,
        b"GET",
    ),
)

HEADING = "| form | we | nginx 1.22 | HAProxy 2.6 | decision |\n|---|---|---|---|---|\n"


def table(forms: Tuple[Form, ...]) -> str:
    """The table of these forms, as the documentation has it."""
    return HEADING + "".join(form.row + "\n" for form in forms)
