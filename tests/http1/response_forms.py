"""The forms of responses: see ``forms``."""

from __future__ import annotations

from typing import Tuple

from tests.http1.forms import ACCEPTS, BOTH, CODED, CONTROLS, Form

OK = b"HTTP/1.1 200 OK\r\n"


def _ok(*lines: bytes, body: bytes = b"hello") -> Tuple[bytes, ...]:
    return tuple(OK + line + b"\r\n\r\n" + body for line in lines)


_OK = OK + b"Content-Length: 5\r\n\r\nhello"
_OK_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n" + CODED


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
            for code in CONTROLS
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
        (*_ok(b"Content-Length : 5"), *_ok(b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", body=CODED)),
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
        ("accepts, without tabs", ACCEPTS),
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
        _ok(b"Content-Length: 5\r\nTransfer-Encoding: chunked", body=CODED),
        answer_to=b"GET",
    ),
    Form(
        "blanks around `chunked`, empty members beside it",
        ("accepts", "accepts, 502 for `,chunked`"),
        "ignored (RFC 9110 5.5, 5.6.1 MUST)",
        _ok(
            *(b"Transfer-Encoding:" + value for value in (b"\tchunked", b"  CHUNKED ", b"chunked,", b", chunked ,")),
            body=CODED,
        ),
        _OK_CHUNKED,
        b"GET",
    ),
    Form(
        "`Transfer-Encoding` twice, other codings",
        (ACCEPTS, "502"),
        "502",
        _ok(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", body=CODED),
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
