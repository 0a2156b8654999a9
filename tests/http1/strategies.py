"""Hypothesis strategies for messages: sound ones, broken ones, and how they arrive."""

from __future__ import annotations

from typing import List

from hypothesis import settings
from hypothesis import strategies as st

MODEST = settings(max_examples=150, deadline=None, derandomize=True)
"""For the suite: the same examples every time, no clock."""

_TOKEN = "!#$%&'*+-.^_`|~019azAZ"
methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE", b"get"])
targets = st.text("/?&=%.;~aZ09-_:@!$'()*+,", max_size=30).map(lambda text: b"/" + text.encode("ascii"))
hosts = st.sampled_from([b"a", b"example.com", b"example.com:8080", b"127.0.0.1", b"[::1]:80", b"a_b"])
field_names = st.one_of(
    st.text(_TOKEN, min_size=1, max_size=12),
    st.sampled_from(
        ["Accept", "Cookie", "X-Forwarded-For", "Connection", "Keep-Alive", "TE", "Upgrade", "Via", "X_Forwarded_For"]
    ),
).map(lambda text: text.encode("ascii"))
field_values = st.one_of(
    st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127)),
    st.sampled_from([b"close", b"keep-alive", b"upgrade, x", b"chunked", b"5", b"100-continue", b"websocket"]),
)
field_lines = st.builds(
    lambda name, space, value: name + b":" + space + value + b"\r\n",
    field_names,
    st.sampled_from([b" ", b"", b"\t"]),
    field_values,
)
blocks = st.lists(field_lines, max_size=6).map(b"".join)
contents = st.binary(max_size=200)
extensions = st.sampled_from([b"", b";a", b";a=b", b';a="b;\\"\t"', b";a;b=c"])
sound_trailers = st.sampled_from([b"", b"X: y\r\n", b"X-A: b\r\nHost: evil\r\nContent-Length: 5\r\n"])


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(content, how it was chunked)."""
    content = draw(contents)
    message = b""
    left = content
    while left:
        size = draw(st.integers(1, len(left)))
        form = draw(st.sampled_from([b"%x", b"%X", b"%04x"]))
        message += form % size + draw(extensions) + b"\r\n" + left[:size] + b"\r\n"
        left = left[size:]
    return content, message + draw(st.sampled_from([b"0", b"000"])) + draw(extensions) + b"\r\n" + draw(
        sound_trailers
    ) + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests that are sound but for what the fields may do to them."""
    head = draw(methods) + b" " + draw(targets) + b" HTTP/1.1\r\nHost: " + draw(hosts) + b"\r\n" + draw(blocks)
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "none":
        return head + b"\r\n"
    if framing == "length":
        content = draw(contents)
        return head + b"Content-Length: %d\r\n\r\n" % len(content) + content
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked())[1]


_spice = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"0\r\n\r\n", b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"\x0b",
     b"chunked", b",", b";", b"_", b"+", b"0", b"\x80", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.0", b"Host: b\r\n",
     b"#", b'"'],
)  # fmt: skip


@st.composite
def broken_requests(draw: st.DrawFn) -> bytes:
    """A request with a few places cut, doubled or spiced."""
    message = draw(requests())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(message)))
        until = draw(st.integers(at, min(len(message), at + 8)))
        message = message[:at] + draw(st.one_of(_spice, st.just(b""), st.just(message[at:until] * 2))) + message[until:]
    return message


@st.composite
def pieces(draw: st.DrawFn, message: bytes) -> List[bytes]:
    """The message as it may arrive."""
    cuts = sorted(draw(st.lists(st.integers(0, len(message)), max_size=6)))
    return [message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)])]
