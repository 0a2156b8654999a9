"""What every benchmark begins with: the options about this machine, a certificate, the limits."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import Iterator, Optional

from benchmarks.configs import Tls
from benchmarks.contestants import Places
from benchmarks.processes import raise_descriptor_limit
from benchmarks.publish import TOP


def say(text: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def make_certificate(directory: str) -> Optional[Tls]:
    """A certificate for the benchmark (P-256), None without openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    tls = Tls(*(os.path.join(directory, name) for name in ("chain.pem", "key.pem", "both.pem")))
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "30"]
    subprocess.run(
        [openssl, "req", "-x509", *kind, *subject, "-keyout", tls.key, "-out", tls.chain], check=True, capture_output=True
    )
    with open(tls.both, "wb") as both:
        for part in (tls.chain, tls.key):
            with open(part, "rb") as file:
                both.write(file.read())
    return tls


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what this machine has."""
    parser.add_argument("--contestants", default="", help="only these, by name, with commas")
    parser.add_argument("--python", default=_interpreter(), help="an interpreter that has xproxy; default: .venv's")
    parser.add_argument("--pypy", default=os.path.join(TOP, ".venv-pypy3/bin/python"), help="a PyPy that has it")
    parser.add_argument("--before", action="append", default=[], help="an interpreter that has another xproxy; repeatable")
    parser.add_argument("--envoy", default="", help="where Envoy is, if neither in the PATH nor beside --python")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1, help="of the service and the load generator")


def _interpreter() -> str:
    """Ours, when it has xproxy's dependencies; else that of the checkout's virtual environment."""
    ours = os.path.join(os.path.dirname(sys.executable), "twistd")
    return sys.executable if os.path.exists(ours) else os.path.join(TOP, ".venv/bin/python")


@contextmanager
def places(given: argparse.Namespace) -> Iterator[Places]:
    """Everything ready: a directory that is removed afterwards, a certificate, as many descriptors as may be."""
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("the benchmark itself needs CPython on Linux; PyPy takes part by --pypy")
    cores = os.sched_getaffinity(0)
    if not {given.proxy_core, given.load_core} <= cores or given.proxy_core == given.load_core:
        raise SystemExit(f"two cores are needed, and these may be used: {', '.join(map(str, sorted(cores)))}; see --proxy-core")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that what was started is stopped then too.
    with tempfile.TemporaryDirectory(prefix="xproxy-bench-") as directory:
        tls = make_certificate(directory)
        descriptors = raise_descriptor_limit()
        yield Places(
            directory, given.proxy_core, given.load_core, given.python, given.pypy, given.before, given.envoy, descriptors, tls
        )
