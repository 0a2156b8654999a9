"""What parsing and rewriting a head costs: microseconds for each call, best of several rounds, CPU time.

Run it with ``python -m benchmarks.http1_parse``, on any interpreter. A *hit* finds the head in the memo, *same fields* has a
new target but the header block of the request before on the connection, a *miss* parses everything. Each call gets a new bytes
object, as in a proxy, so that hashing it is counted.
"""

from __future__ import annotations

import platform
import time
from typing import Callable

from xproxy.http1.body import ChunkedBody, encode_chunk, last_chunk
from xproxy.http1.forward import Marks, client_head, forwarding_block, request_head
from xproxy.http1.limits import HeadLimits
from xproxy.http1.request import head_end, parse_request_head
from xproxy.http1.response import parse_response_head

WRK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
CURL = b"GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"
BROWSER = (
    b"GET /index.html?x=y HTTP/1.1\r\nHost: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n"
    b"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n"
    b"Sec-Fetch-User: ?1\r\nPriority: u=0, i\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: TwistedWeb/24.3.0\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: 256\r\n\r\n"
)
ROUNDS, CALLS, WARM_UP = 300, 300, 3_000


def microseconds(call: Callable[[], object]) -> float:
    """CPU time of one call: the best round, which is the one that was disturbed least."""
    for _ in range(WARM_UP):
        call()
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(CALLS):
            call()
        best = min(best, time.process_time() - start)
    return best / CALLS * 1e6


def request(name: str, head: bytes, limits: HeadLimits) -> None:
    size, buffer = len(head), head + b" "
    fields = parse_request_head(head, limits).fields

    def same_fields() -> None:
        limits.request_memo.clear()
        parse_request_head(buffer[:size], limits, fields)

    def miss() -> None:
        limits.request_memo.clear()
        parse_request_head(buffer[:size], limits)

    end = microseconds(lambda: head_end(buffer, limits))
    hit = microseconds(lambda: parse_request_head(buffer[:size], limits))
    print(f"request {name:8} {size:4} bytes: end {end:5.2f}  hit {hit:5.2f}", end="")
    print(f"  same fields {microseconds(same_fields):5.2f}  miss {microseconds(miss):5.2f}")


def responses(limits: HeadLimits) -> None:
    size, buffer = len(RESPONSE), RESPONSE + b" "
    parsed = parse_response_head(RESPONSE, limits)

    def miss() -> None:
        limits.response_memo.clear()
        parse_response_head(buffer[:size], limits)

    def rewritten_anew() -> None:
        parsed.last_variant = None
        client_head(parsed, 1, True, 256)

    hit = microseconds(lambda: parse_response_head(buffer[:size], limits))
    print(f"response         {size:4} bytes: hit {hit:5.2f}  miss {microseconds(miss):5.2f}")
    print(f"client_head: again {microseconds(lambda: client_head(parsed, 1, True, 256)):5.2f}", end="")
    print(f"  first {microseconds(rewritten_anew):5.2f}")


def rewriting(limits: HeadLimits) -> None:
    head, marks = parse_request_head(BROWSER, limits), Marks()
    block = forwarding_block(head.fields, b"192.0.2.1", b"http", head.host, 1, False, marks)
    anew = microseconds(lambda: forwarding_block(head.fields, b"192.0.2.1", b"http", head.host, 1, False, marks))
    print(f"forwarding_block {anew:5.2f}", end="")
    print(f"  request_head {microseconds(lambda: request_head(b'GET', b'/a', block, request_id=b'0123456789abcdef')):5.2f}")
    chunked = encode_chunk(bytes(4096)) * 16 + last_chunk()
    print(f"64 kB in 16 chunks decoded {microseconds(lambda: ChunkedBody(limits).feed(chunked)):5.2f}")


def main() -> None:
    limits = HeadLimits()
    print(f"{platform.python_implementation()} {platform.python_version()}, microseconds")
    for name, head in (("wrk", WRK), ("curl", CURL), ("browser", BROWSER)):
        request(name, head, limits)
    responses(limits)
    rewriting(limits)


if __name__ == "__main__":
    main()
