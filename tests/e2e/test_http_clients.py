"""Clients that other people wrote, through the running proxy: curl, requests, httpx, aiohttp, ab, wrk."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import re
import shutil
import subprocess
from functools import partial
from typing import Any, Iterator, List

from tests.e2e.clients import PATIENCE_S, together
from tests.e2e.played import ProxyCase, Recorder
from tests.e2e.services import respond
from tests.e2e.wire import Message

CHUNKS = [os.urandom(500) * 40 for _ in range(25)]
"""Of the answer to /chunked."""

LARGE = os.urandom(1000) * 3000


def answer(request: Message) -> bytes:
    """What the service says, by target."""
    path = request.target.partition("?")[0]
    if path == "/chunked":
        pieces = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in CHUNKS)
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    if path == "/large":
        return respond(LARGE)
    if path == "/cookie":
        return respond(b"", "302 Found", "Set-Cookie: crumb=1; Path=/", "Location: /landed")
    if path == "/nothing":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if request.method == "HEAD":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
    return respond(f"{request.method} {request.target} {hashlib.sha256(request.body).hexdigest()}".encode())


def echoed(method: str, target: str, body: bytes = b"") -> bytes:
    """What it says otherwise."""
    return f"{method} {target} {hashlib.sha256(body).hexdigest()}".encode()


class ClientCase(ProxyCase):
    """A proxy with four slots."""

    def setUp(self) -> None:
        self.start(more="[limits]\nbody = 5000000")
        self.recorder = Recorder(answer)
        self.serve(self.recorder, 4)
        self.addCleanup(self.collect)
        self.url = "http://{}:{}".format(*self.proxy.http)

    def need(self, name: str) -> Any:
        """A package, or the skipping of the test."""
        try:
            return importlib.import_module(name)
        except ImportError:
            self.skipTest(f"the package {name} is not installed")

    def run_tool(self, *arguments: str) -> bytes:
        """What a program prints; the skipping of the test where it is not installed."""
        if shutil.which(arguments[0]) is None:
            self.skipTest(f"{arguments[0]} is not installed")
        done = subprocess.run(arguments, capture_output=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(0, done.returncode, (arguments, done.stderr[-500:]))
        return done.stdout

    def new_file(self, content: bytes) -> str:
        """The path of a file."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(content)
        return path


class CurlTests(ClientCase):
    """curl."""

    def curl(self, *arguments: str) -> bytes:
        """What it prints."""
        return self.run_tool("curl", "--silent", "--show-error", "--max-time", "15", *arguments)

    def test_methods(self) -> None:
        """Of every shape, in either version."""
        for version in ("--http1.1", "--http1.0"):
            self.assertEqual(echoed("GET", "/a%20b?c=d"), self.curl(version, self.url + "/a%20b?c=d"))
            self.assertIn(b"Content-Length: 12345", self.curl(version, "--head", self.url))
            self.assertEqual(echoed("POST", "/", b"form=1"), self.curl(version, "--data", "form=1", self.url))
            self.assertEqual(echoed("DELETE", "/x"), self.curl(version, "--request", "DELETE", self.url + "/x"))
            self.assertEqual(b"".join(CHUNKS), self.curl(version, self.url + "/chunked"))
            self.assertEqual(LARGE, self.curl(version, self.url + "/large"))
            self.assertEqual(b"", self.curl(version, self.url + "/nothing"))
        self.assertEqual(echoed("GET", "/a/../b/./c"), self.curl("--path-as-is", self.url + "/a/../b/./c"))
        self.assertEqual(echoed("OPTIONS", "*"), self.curl("--request", "OPTIONS", "--request-target", "*", self.url))

    def test_as_a_forward_proxy(self) -> None:
        """The absolute-form, as curl sends it to what it takes for its proxy; but no tunnel to elsewhere."""
        found = self.curl("--proxy", self.url, "http://inner.example/path?q")
        self.assertEqual(echoed("GET", "/path?q"), found)
        self.assertEqual("inner.example", self.recorder.last.headers["host"])
        self.assertFalse([name for name in self.recorder.last.headers if name.startswith("proxy")])
        self.assertEqual(
            b"405",
            self.curl("--head", "--request", "CONNECT", "--write-out", "%{http_code}", "--output", "/dev/null", self.url),
        )

    def test_expect(self) -> None:
        """A large body after 100 Continue; and one that is refused before it is sent."""
        body = self.new_file(LARGE)
        expecting = ("--header", "Expect: 100-continue", "--expect100-timeout", "10")
        self.assertEqual(echoed("POST", "/", LARGE), self.curl(*expecting, "--data-binary", "@" + body, self.url))
        self.assertEqual(echoed("PUT", "/up", LARGE), self.curl(*expecting, "--upload-file", body, self.url + "/up"))
        chunked = ("--header", "Transfer-Encoding: chunked")
        self.assertEqual(echoed("PUT", "/up", LARGE), self.curl(*expecting, *chunked, "--upload-file", body, self.url + "/up"))
        too_large = self.new_file(LARGE * 2)
        told = "%{http_code} %{size_upload}"
        found = self.curl(*expecting, "--data-binary", "@" + too_large, "--write-out", told, "--output", "/dev/null", self.url)
        self.assertEqual(b"413 0", found)

    def test_one_connection(self) -> None:
        """Several transfers of one run, with a redirect and a cookie among them, need one connection."""
        urls = [self.url + "/cookie", self.url + "/2", self.url + "/chunked"]
        found = self.curl("--location", "--cookie", "", "--write-out", "\n%{num_connects}\n", *urls)
        connects = re.findall(rb"\n(\d)\n", found.replace(b"".join(CHUNKS), b""))
        self.assertEqual([b"1", b"0", b"0"], connects)
        self.assertEqual(["/cookie", "/landed", "/2", "/chunked"], self.recorder.targets)
        self.assertEqual("crumb=1", self.recorder.seen[1].headers["cookie"])

    def test_slow(self) -> None:
        """A download at curl's own slow pace arrives whole."""
        self.assertEqual(LARGE, self.curl("--limit-rate", "2M", self.url + "/large"))


class RequestsTests(ClientCase):
    """requests, of the synchronous ones the most used."""

    def test_session(self) -> None:
        """Everything on one connection."""
        requests = self.need("requests")
        with requests.Session() as session:
            session.trust_env = False

            def chunks() -> Iterator[bytes]:
                yield from CHUNKS

            self.assertEqual(echoed("GET", "/?a=b+c"), session.get(self.url, params={"a": "b c"}).content)
            self.assertEqual(echoed("POST", "/", b"x" * 100_000), session.post(self.url, data=b"x" * 100_000).content)
            self.assertEqual(echoed("PUT", "/", b"".join(CHUNKS)), session.put(self.url, data=chunks()).content)
            self.assertEqual(b"".join(CHUNKS), session.get(self.url + "/chunked").content)
            with session.get(self.url + "/large", stream=True) as response:
                self.assertEqual(LARGE, b"".join(response.iter_content(10_000)))
            self.assertEqual(204, session.delete(self.url + "/nothing").status_code)
            self.assertEqual("12345", session.head(self.url).headers["Content-Length"])
            self.assertEqual(echoed("GET", "/landed"), session.get(self.url + "/cookie").content)
            self.assertEqual("1", session.cookies["crumb"])
            self.assertEqual(1, self.proxy.status()["connections"]["client"])

    def test_threads(self) -> None:
        """Many at once on few slots: each gets its own answer."""
        requests = self.need("requests")

        def one(number: int) -> None:
            with requests.Session() as session:
                session.trust_env = False
                for turn in range(5):
                    target = f"/{number}/{turn}"
                    assert session.get(self.url + target).content == echoed("GET", target)

        together(*[partial(one, number) for number in range(12)])
        self.at_rest(slots=4)


class HttpxTests(ClientCase):
    """httpx, by way of h11."""

    def test_sync(self) -> None:
        """One connection."""
        httpx = self.need("httpx")
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            self.assertEqual(echoed("POST", "/", b"y" * 70_000), client.post("/", content=b"y" * 70_000).content)
            self.assertEqual(echoed("POST", "/", b"".join(CHUNKS)), client.post("/", content=iter(CHUNKS)).content)
            with client.stream("GET", "/chunked") as response:
                self.assertEqual(b"".join(CHUNKS), b"".join(response.iter_bytes()))
            self.assertEqual(LARGE, client.get("/large").content)
            self.assertEqual(413, client.post("/", content=LARGE * 2).status_code)

    def test_async(self) -> None:
        """Forty at once."""
        httpx = self.need("httpx")

        async def all_of_them() -> List[bytes]:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=PATIENCE_S) as client:
                return [found.content for found in await asyncio.gather(*[client.get(f"/{number}") for number in range(40)])]

        self.assertEqual([echoed("GET", f"/{number}") for number in range(40)], asyncio.run(all_of_them()))


class AiohttpTests(ClientCase):
    """aiohttp, whose client has a parser of its own."""

    def test_everything(self) -> None:
        """At once, in chunks, with 100-continue."""
        aiohttp = self.need("aiohttp")

        async def run() -> None:
            async with aiohttp.ClientSession(self.url) as session:

                async def one(number: int) -> None:
                    async with session.post(f"/{number}", data=b"z" * number) as response:
                        self.assertEqual(echoed("POST", f"/{number}", b"z" * number), await response.read())

                async def chunks() -> Any:
                    for chunk in CHUNKS:
                        yield chunk

                await asyncio.gather(*map(one, range(40)))
                async with session.put("/", data=chunks(), expect100=True) as response:
                    self.assertEqual(echoed("PUT", "/", b"".join(CHUNKS)), await response.read())
                async with session.get("/chunked") as response:
                    self.assertEqual(b"".join(CHUNKS), await response.read())
                async with session.get("/large") as response:
                    self.assertEqual(LARGE, await response.read())

        asyncio.run(run())


class LoadTests(ClientCase):
    """The two load generators that people measure with; what counts here is that nothing fails."""

    def test_ab(self) -> None:
        """HTTP/1.0, with and without keep-alive."""
        for more in (("-k",), ()):
            found = self.run_tool("ab", "-q", "-n", "600", "-c", "12", *more, self.url + "/").decode()
            self.assertRegex(found, r"Complete requests: +600\n")
            self.assertRegex(found, r"Failed requests: +0\n")
            self.assertNotIn("Non-2xx", found)
            if more:
                self.assertRegex(found, r"Keep-Alive requests: +600\n")

    def test_wrk(self) -> None:
        """HTTP/1.1 on sixteen connections."""
        found = self.run_tool("wrk", "-t1", "-c16", "-d1s", self.url + "/").decode()
        self.assertRegex(found, r" [1-9]\d* requests in ")
        self.assertNotIn("Socket errors", found)
        self.assertNotIn("Non-2xx", found)
        self.at_rest(slots=4)
