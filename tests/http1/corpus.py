"""Messages that must not pass: request smuggling, response splitting and their kin, each with where it is known from.

Data only. The parser tests send them whole and in pieces; the end-to-end tests send them through a running proxy, whose
recording service must not see them.
"""

from __future__ import annotations

from typing import List, Tuple

import attr

RFC9112 = "RFC 9112 section "
RFC9110 = "RFC 9110 section "
DESYNC = "J. Kettle, HTTP Desync Attacks: Request Smuggling Reborn, 2019"
KLEIN = "A. Klein, HTTP Request Smuggling in 2020"
LINHART = "Linhart, Klein, Heled, Orrin: HTTP Request Smuggling, 2005"
FUNKY = "J. B. Weikop, Funky chunks: abusing ambiguous chunk line terminators, 2025"
T_REQS = "a mutation as in B. Jabiyev et al., T-Reqs: HTTP Request Smuggling with Differential Fuzzing, CCS 2021"


@attr.frozen
class Refused:
    """A message that must be refused."""

    name: str
    message: bytes
    status: int
    source: str
    reason: str = ""
    """The label that BadMessage carries; empty: any."""


def _with(lines: bytes, body: bytes = b"", start: bytes = b"POST / HTTP/1.1\r\nHost: a\r\n") -> bytes:
    return start + lines + b"\r\n" + body


def _chunks(body: bytes) -> bytes:
    return _with(b"Transfer-Encoding: chunked\r\n", body)


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

LENGTHS: Tuple[Refused, ...] = (
    Refused("CL.TE", _with(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", SMUGGLED), 400, DESYNC, "te-and-cl"),
    Refused("TE.CL", _with(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", SMUGGLED), 400, DESYNC, "te-and-cl"),
    Refused(
        "CL 0 and TE",
        _with(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", SMUGGLED),
        400,
        RFC9112 + "6.1",
        "te-and-cl",
    ),
    Refused("CL.CL", _with(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"abcdef"), 400, LINHART, "repeated-content-length"),
    Refused("CL twice the same", _with(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"abcde"), 400, RFC9110 + "8.6"),
    Refused("CL twice, other case", _with(b"Content-Length: 5\r\ncontent-length: 0\r\n", b"abcde"), 400, LINHART),
    Refused("CL list", _with(b"Content-Length: 5, 5\r\n", b"abcde"), 400, RFC9110 + "8.6", "content-length"),
    Refused("CL list, different", _with(b"Content-Length: 5, 6\r\n", b"abcde"), 400, RFC9112 + "6.3", "content-length"),
    Refused("CL plus", _with(b"Content-Length: +5\r\n", b"abcde"), 400, "CVE-2022-24801 (Twisted); CVE-2023-47627 (aiohttp)"),
    Refused("CL minus", _with(b"Content-Length: -5\r\n", b"abcde"), 400, "CVE-2022-24801 (Twisted)"),
    Refused("CL minus zero", _with(b"Content-Length: -0\r\n"), 400, T_REQS),
    Refused("CL empty", _with(b"Content-Length:\r\n"), 400, "CVE-2023-40225 (HAProxy: empty Content-Length)"),
    Refused("CL blank", _with(b"Content-Length: \r\n"), 400, "CVE-2023-40225 (HAProxy: empty Content-Length)"),
    Refused("CL hexadecimal", _with(b"Content-Length: 0x5\r\n", b"abcde"), 400, "CVE-2022-24801 (Twisted)"),
    Refused(
        "CL underscore", _with(b"Content-Length: 1_0\r\n", b"abcdefghij"), 400, "CVE-2023-47627 (aiohttp: int() takes 1_0)"
    ),
    Refused("CL inner space", _with(b"Content-Length: 1 0\r\n", b"abcdefghij"), 400, T_REQS),
    Refused("CL decimal point", _with(b"Content-Length: 5.0\r\n", b"abcde"), 400, T_REQS),
    Refused("CL exponent", _with(b"Content-Length: 1e1\r\n", b"abcdefghij"), 400, T_REQS),
    Refused("CL quoted", _with(b'Content-Length: "5"\r\n', b"abcde"), 400, T_REQS),
    Refused("CL arabic digit", _with(b"Content-Length: \xd9\xa5\r\n", b"abcde"), 400, "Python str.isdigit() takes U+0665"),
    Refused(
        "CL superscript", _with(b"Content-Length: \xb2\r\n", b"ab"), 400, "Latin-1 superscript two is a digit to str.isdigit()"
    ),
    Refused("CL past 64 bits", _with(b"Content-Length: 18446744073709551621\r\n", b"abcde"), 400, RFC9110 + "8.6 (overflow)"),
    Refused("CL huge", _with(b"Content-Length: " + b"9" * 4000 + b"\r\n"), 400, "CVE-2020-10735 (Python int of many digits)"),
    Refused("CL NUL", _with(b"Content-Length: 5\x00\r\n", b"abcde"), 400, T_REQS, "nul"),
    Refused(
        "CL vertical tab", _with(b"Content-Length: \x0b5\r\n", b"abcde"), 400, "bytes.strip() and int() take vertical tabs"
    ),
    Refused("CL form feed", _with(b"Content-Length: 5\x0c\r\n", b"abcde"), 400, "bytes.strip() and int() take form feeds"),
    Refused(
        "CL by underscore", _with(b"Content_Length: 5\r\n", b"abcde"), 400, "CGI and WSGI fold _ and -: one CONTENT_LENGTH"
    ),
    Refused("CL by dot", _with(b"Content.Length: 5\r\n", b"abcde"), 400, "servers that fold punctuation into CGI names"),
    Refused(
        "CL overlong name",
        _with(b"Content-Length" + b"x" * 256 + b": 5\r\nContent-Length: 6\r\nContent-Length: 5\r\n", b"abcde"),
        400,
        "CVE-2021-40346 (HAProxy: a header name of 270 bytes)",
    ),
)

CODINGS: Tuple[Refused, ...] = tuple(
    Refused(f"TE {name}", _with(line + b"\r\n", SMUGGLED), 400, source)
    for name, line, source in (
        ("twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", DESYNC),
        ("chunked and identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", DESYNC),
        ("chunked and cow", b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow", DESYNC),
        ("xchunked", b"Transfer-Encoding: xchunked", DESYNC),
        ("x", b"Transfer-Encoding: x", DESYNC),
        ("identity", b"Transfer-Encoding: identity", RFC9112 + "7 (identity is gone)"),
        ("empty", b"Transfer-Encoding:", T_REQS),
        ("tab", b"Transfer-Encoding:\tchunked", DESYNC),
        ("trailing tab", b"Transfer-Encoding: chunked\t", T_REQS),
        ("vertical tab", b"Transfer-Encoding: \x0bchunked", "CVE-2019-18277 (HAProxy)"),
        ("form feed", b"Transfer-Encoding: \x0cchunked", "CVE-2019-18277 (HAProxy)"),
        ("NUL", b"Transfer-Encoding: chunked\x00", T_REQS),
        ("gzip, chunked", b"Transfer-Encoding: gzip, chunked", RFC9112 + "6.1"),
        ("chunked, gzip", b"Transfer-Encoding: chunked, gzip", RFC9112 + "6.3"),
        ("chunked, chunked", b"Transfer-Encoding: chunked, chunked", RFC9112 + "6.1"),
        ("chunked, identity", b"Transfer-Encoding: chunked, identity", "CVE-2022-32213 (llhttp)"),
        ("identity, chunked", b"Transfer-Encoding: identity, chunked", T_REQS),
        ("leading comma", b"Transfer-Encoding: ,chunked", T_REQS),
        ("trailing comma", b"Transfer-Encoding: chunked,", T_REQS),
        ("parameter", b"Transfer-Encoding: chunked;q=1", T_REQS),
        ("semicolon", b"Transfer-Encoding: chunked;", T_REQS),
        ("quoted", b'Transfer-Encoding: "chunked"', RFC9112 + "6.1"),
        ("single quoted", b"Transfer-Encoding: 'chunked'", RFC9112 + "6.1"),
        ("chunk", b"Transfer-Encoding: chunk", RFC9112 + "6.1"),
        ("Kelvin sign", b"Transfer-Encoding: chun\xe2\x84\xaaed", "U+212A lower-cases to k"),
        ("high bit", b"Transfer-Encoding: chunked\xff", T_REQS),
        ("space before colon", b"Transfer-Encoding : chunked", DESYNC),
        ("tab before colon", b"Transfer-Encoding\t: chunked", DESYNC),
        ("leading space", b" Transfer-Encoding: chunked", DESYNC + "; CVE-2020-7238 (Netty)"),
        ("folded value", b"Transfer-Encoding:\r\n chunked", DESYNC),
        ("folded list", b"Transfer-Encoding: chunked\r\n , identity", "CVE-2022-32215 (llhttp: TE on several lines)"),
        ("behind a bare LF", b"X: X\nTransfer-Encoding: chunked", DESYNC),
        ("behind a bare CR", b"X: X\rTransfer-Encoding: chunked", DESYNC),
        ("LF before colon", b"Transfer-Encoding\n : chunked", DESYNC),
        ("NUL in name", b"Transfer-Encoding\x00: chunked", T_REQS),
        ("by underscore", b"Transfer_Encoding: chunked", "CGI and WSGI fold _ and -"),
        ("by dot", b"Transfer.Encoding: chunked", "servers that fold punctuation into CGI names"),
        ("high bit in name", b"Transfer-Encoding\xa0: chunked", "Latin-1 no-break space is whitespace to str.strip()"),
        ("with length hidden", b"Transfer-Encoding: chunked\r\nContent_Length: 5", KLEIN),
    )
)

LINES: Tuple[Refused, ...] = tuple(
    Refused(name, message, status, source)
    for name, message, status, source in (
        (
            "HTTP/1.0 chunked",
            _with(b"Transfer-Encoding: chunked\r\n", SMUGGLED, b"POST / HTTP/1.0\r\nHost: a\r\n"),
            400,
            RFC9112 + "6.1",
        ),
        ("all bare LF", b"GET / HTTP/1.1\nHost: a\n\n", 400, RFC9112 + "2.2 permits it, we do not"),
        ("bare LF after request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, RFC9112 + "2.2"),
        ("bare LF after header", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, RFC9112 + "2.2"),
        (
            "bare LF ends head",
            b"GET / HTTP/1.1\r\nHost: a\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            RFC9112 + "2.2",
        ),
        ("bare CR in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, RFC9112 + "2.2"),
        ("bare CR before CRLF", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", 400, "CVE-2022-32214 (llhttp)"),
        ("bare CR in request line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.2"),
        ("bare CR as line end", b"GET / HTTP/1.1\rHost: a\r\r\n\r\n", 400, RFC9112 + "2.2"),
        ("CR ends name", b"GET / HTTP/1.1\r\nHost: a\r\n\rTransfer-Encoding: chunked\r\n\r\n", 400, "CVE-2023-30589 (llhttp)"),
        ("NUL in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, RFC9110 + "5.5"),
        ("NUL in target", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3.2"),
        ("ESC in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[31m\r\n\r\n", 400, RFC9110 + "5.5"),
        ("DEL in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", 400, RFC9110 + "5.5"),
        ("ESC in the target", b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3.2"),
        ("ESC in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\x1b: y\r\n\r\n", 400, RFC9110 + "5.1"),
        ("ESC before a name", b"GET / HTTP/1.1\r\nHost: a\r\n\x1bX: y\r\n\r\n", 400, RFC9110 + "5.1"),
        ("ESC in Host", b"GET / HTTP/1.1\r\nHost: a\x1b\r\n\r\n", 400, RFC9110 + "5.5"),
        ("ESC in Connection", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: \x1bclose\r\n\r\n", 400, RFC9110 + "5.5"),
        ("ESC in a mark", b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: \x1b\r\n\r\n", 400, RFC9110 + "5.5"),
        ("folding", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, RFC9112 + "5.2"),
        ("folding by tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400, RFC9112 + "5.2"),
        ("space before first header", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, RFC9112 + "2.2"),
        ("tab before first header", b"GET / HTTP/1.1\r\n\tX: a\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.2"),
        ("space before colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, RFC9112 + "5.1; CVE-2019-16869 (Netty)"),
        (
            "empty name",
            b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            400,
            "CVE-2023-25725 (HAProxy: empty header name ends the head)",
        ),
        ("empty name first", b"GET / HTTP/1.1\r\n: x\r\nHost: a\r\n\r\n", 400, "CVE-2023-25725 (HAProxy)"),
        ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n", 400, RFC9112 + "5"),
        ("no token as name", b"GET / HTTP/1.1\r\nHost: a\r\nfoo(bar): x\r\n\r\n", 400, RFC9110 + "5.1"),
        ("quote in name", b'GET / HTTP/1.1\r\nHost: a\r\n"X": x\r\n\r\n', 400, RFC9110 + "5.1"),
        ("high byte in name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: x\r\n\r\n", 400, RFC9110 + "5.1"),
        ("space in name", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: x\r\n\r\n", 400, RFC9110 + "5.1"),
        ("tab after method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3"),
        ("vertical tab after method", b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3"),
        ("space before method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3"),
        ("space after version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, RFC9112 + "3"),
        ("space in target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3.2"),
        ("second request in target", b"GET / HTTP/1.1 GET /b HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3.2"),
        ("no version", b"GET /\r\nHost: a\r\n\r\n", 400, "HTTP/0.9"),
        ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "3"),
        ("method only", b"GET\r\n\r\n", 400, RFC9112 + "3"),
        ("lower-case version", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.3"),
        ("two-digit version", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.3"),
        ("padded version", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.3"),
        ("version without point", b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.3"),
        ("other protocol", b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.3"),
        ("HTTP/3.0", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, RFC9110 + "15.6.6"),
        ("HTTP/0.9 by name", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, RFC9110 + "15.6.6"),
        ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, RFC9110 + "15.6.6"),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "RFC 9113 section 3.4"),
        ("no token as method", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9110 + "9.1"),
        ("high byte in method", b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9110 + "9.1"),
        ("long method", b"A" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501, RFC9112 + "3"),
        ("empty line by bare LF first", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.2"),
        ("blank line first", b" \r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, RFC9112 + "2.2"),
        ("TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "RFC 8446 section 4.1.2"),
    )
)

_BAD_HOSTS = (
    b"", b"user@a", b"a/b", b"a, b", b"a b", b"a?b", b"a#b", b"a\\b", b":", b":80", b"a:b", b"a:-1", b"a:65536",
    b"a:0065536", b"a:80:80", b"[::1", b"::1", b"[::1]x", b"[g::1]", b"[1:2:3]", b"[::1%25eth0]", b"[v1.x]", b"%61",
    b"a\tb", b"\xe4", b"a\x80", b"<a>", b'"a"', b"a" * 256,
)  # fmt: skip

HOSTS: Tuple[Refused, ...] = (
    Refused("no Host", b"GET / HTTP/1.1\r\n\r\n", 400, RFC9112 + "3.2", "no-host"),
    Refused("no Host, absolute target", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, RFC9112 + "3.2", "no-host"),
    Refused("Host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, RFC9112 + "3.2", "repeated-host"),
    Refused("Host twice the same", b"GET / HTTP/1.1\r\nHost: a\r\nHOST: a\r\n\r\n", 400, RFC9112 + "3.2", "repeated-host"),
    Refused("Host twice in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, RFC9112 + "3.2", "repeated-host"),
    *(
        Refused(
            "Host " + host.decode("latin-1"),
            b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
            400,
            "RFC 3986 section 3.2",
            "host",
        )
        for host in _BAD_HOSTS
    ),
)

TARGETS: Tuple[Refused, ...] = tuple(
    Refused("target " + line.decode("latin-1"), line + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400, source, "target")
    for line, source in (
        (b"GET *", RFC9112 + "3.2.4"),
        (b"GET a", RFC9112 + "3.2"),
        (b"GET a:80", RFC9112 + "3.2.3"),
        (b"GET ?a", RFC9112 + "3.2.1"),
        (b"GET ftp://a/", RFC9112 + "3.2.2"),
        (b"GET http:/a/", RFC9112 + "3.2.2"),
        (b"GET http:a", RFC9112 + "3.2.2"),
        (b"GET /a\\..\\b", "a backslash is a slash to some"),
        (b"GET http://a/\\b", "a backslash is a slash to some"),
        (b"CONNECT a", RFC9112 + "3.2.3"),
        (b"CONNECT [::1]", RFC9112 + "3.2.3"),
        (b"OPTIONS **", RFC9112 + "3.2.4"),
    )
) + tuple(
    Refused("target " + line.decode("latin-1"), line + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400, source)
    for line, source in (
        (b"GET /a#b", "CVE-2023-45539 (HAProxy: # in a target)"),
        (b"GET #", "CVE-2023-45539 (HAProxy)"),
        (b"GET http://a#@b/", "CVE-2023-45539 (HAProxy)"),
        (b"GET /\xe9", "RFC 3986 section 2"),
        (b"GET http://user@a/", RFC9110 + "4.2.4"),
        (b"GET http://user:pass@a/", RFC9110 + "4.2.4"),
        (b"GET http:///a", RFC9110 + "4.2.1"),
        (b"GET http://a:b/", "RFC 3986 section 3.2.3"),
        (b"GET http://a,b/", "RFC 3986 section 3.2.2"),
        (b"CONNECT a:80/", RFC9112 + "3.2.3"),
        (b"CONNECT http://a:80", RFC9112 + "3.2.3"),
    )
)
TARGETS += (Refused("CONNECT /", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405, RFC9112 + "3.2.3", "method-not-allowed"),)

CHUNKS: Tuple[Refused, ...] = tuple(
    Refused("chunk " + name, _chunks(body), 400, source)
    for name, body, source in (
        ("size empty", b"\r\nabc\r\n0\r\n\r\n", RFC9112 + "7.1"),
        ("size negative", b"-3\r\nabc\r\n0\r\n\r\n", "CVE-2013-2028 (nginx)"),
        ("size plus", b"+3\r\nabc\r\n0\r\n\r\n", "CVE-2022-24801 (Twisted)"),
        ("size 0x", b"0x3\r\nabc\r\n0\r\n\r\n", "CVE-2022-24801 (Twisted); CVE-2023-47627 (aiohttp)"),
        ("size underscore", b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n", "CVE-2023-47627 (aiohttp: int(x, 16) takes 1_0)"),
        ("size no digit", b"g\r\nabc\r\n0\r\n\r\n", RFC9112 + "7.1"),
        ("size space before", b" 3\r\nabc\r\n0\r\n\r\n", "Python int() takes spaces"),
        ("size vertical tab after", b"3\x0b\r\nabc\r\n0\r\n\r\n", T_REQS),
        ("size and another", b"3 3\r\nabc\r\n0\r\n\r\n", T_REQS),
        ("size and a comma", b"3,\r\nabc\r\n0\r\n\r\n", T_REQS),
        ("size overflows 64 bits", b"10000000000000003\r\nabc\r\n0\r\n\r\n", "CVE-2013-2028 (nginx); " + RFC9112 + "7.1"),
        ("size wraps", b"FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", "CVE-2013-2028 (nginx)"),
        ("size full-width digit", b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n", "U+FF13 is a digit to int()"),
        ("line by bare LF", b"3\nabc\r\n0\r\n\r\n", FUNKY),
        ("line by bare CR", b"3\rabc\r\n0\r\n\r\n", FUNKY),
        ("extension by bare LF", b"3;a\nabc\r\n0\r\n\r\n", FUNKY + " (EXT.TERM); CVE-2025-22871 (Go)"),
        ("extension with bare CR", b"3;a\rX\r\nabc\r\n0\r\n\r\n", FUNKY),
        ("extension with NUL", b"3;a\x00\r\nabc\r\n0\r\n\r\n", FUNKY),
        ("extension with ESC", b"3;a\x1b\r\nabc\r\n0\r\n\r\n", FUNKY),
        ("extension open quote", b'3;a="b\r\nabc\r\n0\r\n\r\n', RFC9112 + "7.1.1"),
        ("extension quoted line end", b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n', FUNKY),
        ("extension too long", b"3;" + b"a" * 300 + b"\r\nabc\r\n0\r\n\r\n", "CVE-2024-22019 (Node.js: unbounded extensions)"),
        ("data without CRLF", b"3\r\nabc0\r\n\r\n", RFC9112 + "7.1"),
        ("data by bare LF", b"3\r\nabc\n0\r\n\r\n", FUNKY + " (TERM.SPILL)"),
        ("data by bare CR", b"3\r\nabc\r0\r\n\r\n", FUNKY),
        ("data by two other bytes", b"3\r\nabcXX0\r\n\r\n", "CVE-2025-43859 (h11)"),
        ("data longer than size", b"3\r\nabcd\r\n0\r\n\r\n", RFC9112 + "7.1"),
        ("data shorter than size", b"4\r\nabc\r\n0\r\n\r\n", RFC9112 + "7.1"),
        ("last by bare LF", b"0\n\n", FUNKY),
        ("last then bare LF", b"0\r\n\n", FUNKY),
        ("last then bare CR", b"0\r\n\rX", FUNKY),
        ("trailer folded", b"0\r\nX: a\r\n b\r\n\r\n", RFC9112 + "7.1.2"),
        ("trailer without colon", b"0\r\nfoo\r\n\r\n", RFC9112 + "7.1.2"),
        ("trailer space before colon", b"0\r\nX : a\r\n\r\n", RFC9112 + "5.1"),
        ("trailer bare LF", b"0\r\nX: a\n\r\n", RFC9112 + "2.2"),
        ("trailer NUL", b"0\r\nX: \x00\r\n\r\n", RFC9110 + "5.5"),
        ("trailer with a request line", b"0\r\nGET / HTTP/1.1\r\n\r\n", "CVE-2023-45648 (Tomcat: trailers)"),
    )
)

LIMITS: Tuple[Refused, ...] = (
    Refused("request line too long", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, RFC9112 + "3"),
    Refused("request line without end", b"GET /" + b"a" * 9000, 414, RFC9112 + "3"),
    Refused("one header too large", _with(b"X: " + b"a" * 8192 + b"\r\n"), 431, "RFC 6585 section 5"),
    Refused("one header without end", b"GET / HTTP/1.1\r\nX: " + b"a" * 9000, 431, "RFC 6585 section 5"),
    Refused("headers too large", _with((b"X: " + b"a" * 8000 + b"\r\n") * 5), 431, "RFC 6585 section 5"),
    Refused("headers without end", b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 5, 431, "RFC 6585 section 5"),
    Refused("too many headers", _with(b"X: a\r\n" * 100), 431, "RFC 6585 section 5"),
    Refused(
        "trailers too large", _chunks(b"0\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 3 + b"\r\n"), 431, "RFC 6585 section 5"
    ),
    Refused("trailers without end", _chunks(b"0\r\nX: " + b"a" * 9000), 431, "RFC 6585 section 5"),
    Refused(
        "chunks that are all framing",
        _chunks((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100 + b"0\r\n\r\n"),
        400,
        "CVE-2023-39326 (Go)",
    ),
)

REQUESTS: Tuple[Refused, ...] = LENGTHS + CODINGS + LINES + HOSTS + TARGETS + CHUNKS + LIMITS
"""Every request that must be refused, with the defaults of HeadLimits."""


def _answer(lines: bytes, body: bytes = b"", start: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return start + lines + b"\r\n" + body


_BAD_STATUS_LINES = (
    b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 2 0 OK",
    b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.10 200 OK", b"HTTP/0.9 200 OK", b"HTTP/3.0 200 OK", b"HTTP/2 200",
    b"http/1.1 200 OK", b"ICY 200 OK", b" HTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1", b"HTTP/1.1 ", b"200 OK",
    b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 \x1b", b"hello", b"",
)  # fmt: skip


SOUND_IN_RESPONSES = frozenset(("CL twice the same", "TE leading comma", "TE trailing comma", "TE tab", "TE trailing tab"))
"""Nobody but us reads a response before it is framed anew: ``response_forms`` has these."""


def _answers() -> List[Refused]:
    refused = [
        Refused("status line " + repr(line)[2:-1], line + b"\r\nContent-Length: 0\r\n\r\n", 502, RFC9112 + "4")
        for line in _BAD_STATUS_LINES
    ]
    for case in LENGTHS + CODINGS + CHUNKS:
        if case.name in SOUND_IN_RESPONSES:
            continue
        message = case.message.replace(b"POST / HTTP/1.1\r\nHost: a", b"HTTP/1.1 200 OK", 1)
        refused.append(Refused(case.name, message, 502, case.source))
    return refused


RESPONSES: Tuple[Refused, ...] = (
    *_answers(),
    Refused(
        "chunked in HTTP/1.0",
        _answer(b"Transfer-Encoding: chunked\r\n", SMUGGLED, b"HTTP/1.0 200 OK\r\n"),
        502,
        RFC9112 + "6.1",
    ),
    Refused("CL and another field's blanks", _answer(b"Content-Length : 5\r\nContent-Length: 6\r\n", b"abcdef"), 502, LINHART),
    Refused("space in a name", _answer(b"X Y: a\r\nContent-Length: 0\r\n"), 502, RFC9110 + "5.1"),
    Refused("ESC in Connection", _answer(b"Connection: \x1bclose\r\nContent-Length: 0\r\n"), 502, RFC9110 + "5.5"),
    Refused("folding", _answer(b"X: a\r\n b\r\nContent-Length: 0\r\n"), 502, RFC9112 + "5.2"),
    Refused("split by bare LF", _answer(b"X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n"), 502, "CWE-113 response splitting"),
    Refused("all bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502, RFC9112 + "2.2"),
)
"""Every response that must be refused. ``status`` is what the client gets."""
