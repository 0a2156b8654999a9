"""The paper's Listing 3 as a program of its own, so that it can be killed: ``slot_service.py HOST PORT COUNT NAME``.

It connects, sends nothing, and answers each request with its name. A request for ``/never`` is read whole, reported on standard
output, and never answered; one for ``/half`` gets half of an answer.
"""

import socket
import sys
import threading
from typing import Optional


def answer(target: str) -> Optional[bytes]:
    """The bytes of the answer; None: there will be none."""
    if target == "/never":
        return None
    if target == "/half":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(NAME), NAME)


def serve(connection: socket.socket) -> None:
    """Answer one slot's requests."""
    incoming = connection.makefile("rb")
    while True:
        line = incoming.readline()
        if not line:
            break
        method, target, _ = line.decode().split()
        length = 0
        while line != b"\r\n":
            line = incoming.readline()
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        incoming.read(length)
        content = answer(target)
        if content is not None:
            connection.sendall(content)
        print("got", method, target, length, flush=True)


if __name__ == "__main__":
    HOST, PORT, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    NAME = sys.argv[4].encode()
    threads = [threading.Thread(target=serve, args=(socket.create_connection((HOST, PORT)),)) for _ in range(COUNT)]
    for thread in threads:
        thread.start()
    print("parked", flush=True)
