"""Before anything is measured: whether a contestant answers rightly, byte by byte."""

from __future__ import annotations

import hashlib
import http.client
import socket
from typing import Dict

from benchmarks.loads import Failed
from benchmarks.service import SIZES, content

CHECKED = ("256", "16k", "1m")
"""The answers that are compared whole."""

UPLOAD_BYTES = 1024 * 1024


def keep_alive_bytes(port: int, path: str) -> int:
    """The size of an answer, head included, to the request that wrk sends. Raises Failed."""
    size = SIZES[path.strip("/")]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (path.encode(), port))
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                raise Failed(f"GET {path}: the connection ended in the head")
            received += piece
    head = received.partition(b"\r\n\r\n")[0]
    if b"\r\ncontent-length: %d\r\n" % size not in head.lower() + b"\r\n":
        raise Failed(f"GET {path}: {head!r}")
    return len(head) + 4 + size


def check(port: int) -> Dict[str, int]:
    """Compare whole answers, download and upload; returns the sizes of right answers by path. Raises Failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        for name in CHECKED:
            connection.request("GET", "/" + name)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or body != content(SIZES[name]):
                raise Failed(f"GET /{name}: {answer.status}, {len(body)} bytes, not the right ones")
        upload = content(UPLOAD_BYTES)
        connection.request("POST", "/digest", body=upload)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or body.decode() != hashlib.sha256(upload).hexdigest():
            raise Failed(f"POST /digest: {answer.status}, {body[:80]!r}")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    return {f"/{name}": keep_alive_bytes(port, f"/{name}") for name in SIZES}
