"""The loads: what the clients do to a contestant, and whether every answer was right.

A load is a program on the load's core. It returns an Outcome, or raises Failed: a figure is only worth printing when nothing
went wrong. wrk and h2load look at each status and find the end of each answer by its length; that no answer was another one is
seen from the bytes received, which must be those of so many right answers.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from benchmarks.processes import on_core

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIMEOUT_S = 180.0

_DONE = """
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        "DONE {\\"requests\\": %d, \\"seconds\\": %.6f, \\"bytes\\": %d, \\"errors\\": %d, " ..
        "\\"latency_ms\\": {\\"p50\\": %.4f, \\"p99\\": %.4f, \\"p99.9\\": %.4f}}\\n",
        summary.requests, summary.duration / 1e6, summary.bytes,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
"""

_BROWSER = """
local prepared, at = {}, 0
init = function(arguments)
    local fields = {}
    fields["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    fields["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    fields["Accept-Language"] = "en-US,en;q=0.5"
    fields["Accept-Encoding"] = "gzip, deflate, br, zstd"
    fields["Upgrade-Insecure-Requests"] = "1"
    fields["Sec-Fetch-Dest"] = "document"
    fields["Sec-Fetch-Mode"] = "navigate"
    fields["Sec-Fetch-Site"] = "none"
    fields["Sec-Fetch-User"] = "?1"
    for number = 1, 5000 do
        fields["Cookie"] = string.format("session=%032d", number * 7919)
        prepared[number] = wrk.format("GET", "/256?page=" .. number, fields)
    end
end
request = function()
    at = at % 5000 + 1
    return prepared[at]
end
"""


class Failed(Exception):
    """Something went wrong under this load: there is no figure."""


@dataclass(frozen=True)
class Target:
    """Where a load goes.

    :ivar response_bytes: the size of a right answer of this contestant, head included, by path.
    """

    http: int
    https: int
    core: int
    directory: str
    response_bytes: Dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """What a load did, all of it right."""

    requests: int
    seconds: float
    latency_ms: Dict[str, float]


def _run(arguments: Sequence[str], target: Target, environment: Optional[Dict[str, str]] = None) -> str:
    try:
        with on_core(target.core):
            run = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
                text=True,
                cwd=target.directory,
                env={**os.environ, **(environment or {})},
            )
    except FileNotFoundError as error:
        raise Failed(f"there is no {arguments[0]} here") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{arguments[0]} did not end in {TIMEOUT_S:.0f} s") from error
    if run.returncode:
        raise Failed(f"{os.path.basename(arguments[0])} ended with {run.returncode}: {_end(run.stdout)}")
    return run.stdout


def _end(text: str) -> str:
    """What a program said went wrong, or else its last words, on one line."""
    lines = [line.strip() for line in text.strip().splitlines()]
    wrong = [line for line in lines if re.search("fail|error|non-2xx|refused|reset|timed? ?out", line, re.IGNORECASE)]
    return " | ".join(wrong[:4] or lines[-2:])


def wrk(target: Target, path: str, connections: int, seconds: float, tls: bool = False, browser: bool = False) -> Outcome:
    """Keep-alive connections, each asking again as soon as it was answered, for some seconds."""
    script = os.path.join(target.directory, "browser.lua" if browser else "done.lua")
    with open(script, "w") as file:
        file.write(_DONE + (_BROWSER if browser else ""))
    url = f"https://127.0.0.1:{target.https}{path}" if tls else f"http://127.0.0.1:{target.http}{path}"
    whole = max(1, round(seconds))
    said = _run(["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", "-s", script, url], target)
    found = re.search(r"^DONE (.*)$", said, re.MULTILINE)
    if found is None:
        raise Failed("wrk: " + _end(said))
    done = json.loads(found.group(1))
    requests, size = done["requests"], target.response_bytes[path]
    if done["errors"] or not requests:
        raise Failed(f"wrk: {done['errors']} errors in {requests} requests: {_end(said)}")
    if not requests * size <= done["bytes"] <= (requests + connections) * size:
        raise Failed(f"wrk: {requests} answers of {size} bytes can't make {done['bytes']} bytes")
    return Outcome(requests, done["seconds"], done["latency_ms"])


def ab(target: Target, path: str, connections: int, requests: int, keep_alive: bool, tls: bool = False) -> Outcome:
    """The paper's load: HTTP/1.0, a connection for each request unless ``keep_alive``."""
    url = f"https://127.0.0.1:{target.https}{path}" if tls else f"http://127.0.0.1:{target.http}{path}"
    times = os.path.join(target.directory, "ab.csv")
    arguments = ["ab", "-q", "-d", "-e", times, "-n", str(requests), "-c", str(connections)]
    said = _run([*arguments, *(["-k"] if keep_alive else []), url], target)
    number = {name: int(value) for name, value in re.findall(r"^([A-Z][A-Za-z0-9 -]+):\s+(\d+)", said, re.MULTILINE)}
    if number.get("Complete requests") != requests or number.get("Failed requests") or "Non-2xx responses" in number:
        raise Failed("ab: " + _end(said))
    if keep_alive and number.get("Keep-Alive requests") != requests:
        raise Failed(f"ab: {number.get('Keep-Alive requests')} of {requests} requests were answered with keep-alive")
    length = int(path.strip("/")) if path.strip("/").isdigit() else None
    if length is not None and number["Document Length"] != length:
        raise Failed(f"ab: the answers have {number['Document Length']} bytes, not {length}")
    with open(times) as file:
        by_percent = dict(line.strip().split(",") for line in file.readlines()[1:])
    seconds = float(re.findall(r"^Time taken for tests:\s+([0-9.]+)", said, re.MULTILINE)[0])
    return Outcome(requests, seconds, {"p50": float(by_percent["50"]), "p99": float(by_percent["99"])})


def h2load(target: Target, path: str, connections: int, streams: int, requests: int) -> Outcome:
    """HTTP/2 over TLS."""
    log = os.path.join(target.directory, "h2load.log")
    if os.path.exists(log):
        os.unlink(log)  # It appends.
    url = f"https://127.0.0.1:{target.https}{path}"
    counts = ["-n", str(requests), "-c", str(connections), "-m", str(streams), "-t", "1"]
    said = _run(["h2load", *counts, "--log-file", log, url], target)
    if "Application protocol: h2" not in said:
        raise Failed("h2load: HTTP/2 was not agreed on")
    fine = re.search(rf"{requests} succeeded, 0 failed, 0 errored, 0 timeout", said)
    if fine is None or f"status codes: {requests} 2xx" not in said:
        raise Failed("h2load: " + _end(said))
    length = int(path.strip("/"))
    data = re.search(r"\((\d+)\) data", said)
    if data is None or int(data.group(1)) != requests * length:
        raise Failed(f"h2load: {requests} answers of {length} bytes make no {data.group(1) if data else 0} bytes")
    took = re.search(r"finished in ([0-9.]+)(ms|s)", said)
    if took is None:
        raise Failed("h2load: " + _end(said))
    with open(log) as file:
        microseconds = sorted(int(line.split("\t")[2]) for line in file)
    latency = {
        name: microseconds[int(part * len(microseconds))] / 1000
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }
    return Outcome(requests, float(took.group(1)) / (1000 if took.group(2) == "ms" else 1), latency)


def _client_arguments(target: Target, kind: str, path: str, size: int, connections: int, requests: int) -> List[str]:
    numbers = ["--size", str(size), "--connections", str(connections), "--requests", str(requests)]
    return [sys.executable, "-m", "benchmarks.clients", kind, "--port", str(target.http), "--path", path, *numbers]


def client(target: Target, kind: str, path: str, size: int, connections: int, requests: int) -> Outcome:
    """Our own client: ``download`` or ``upload``."""
    said = _run(_client_arguments(target, kind, path, size, connections, requests), target, {"PYTHONPATH": TOP})
    try:
        done = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed("client: " + _end(said)) from None
    if done["failure"] is not None or done["requests"] != requests:
        raise Failed(f"client: {done['failure']}")
    return Outcome(requests, done["seconds"], done["latency_ms"])


class IdleClients:
    """Connections that were answered once and stay: a context manager."""

    def __init__(self, target: Target, connections: int) -> None:
        with on_core(target.core):
            self._process = subprocess.Popen(
                _client_arguments(target, "idle", "/256", 256, connections, connections),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": TOP},
            )

    def __enter__(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        failure = json.loads(line)["failure"] if line else "it ended"
        if failure is not None:
            self._process.communicate()
            raise Failed(f"client: {failure}")

    def __exit__(self, *exception: object) -> None:
        self._process.communicate()
