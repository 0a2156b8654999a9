"""``python -m benchmarks``: xproxy beside its peers, on this machine. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import List, Optional

from .contestants import Field, Places
from .configs import Tls
from .processes import raise_descriptor_limit
from .rounds import Match
from .rows import ROWS, Scale

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", default="", help="only these, by name, with commas")
    parser.add_argument("--contestants", default="", help="only these, by name, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a load that lasts a time")
    parser.add_argument("--part", type=float, default=1.0, help="of the requests of a load that has a number of them")
    parser.add_argument("--python", default=os.path.join(TOP, ".venv/bin/python"), help="an interpreter that has xproxy")
    parser.add_argument("--pypy", default=os.path.join(TOP, ".venv-pypy3/bin/python"), help="a PyPy that has it")
    parser.add_argument("--envoy", default="", help="where Envoy is, if not in the PATH")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    return parser


def main() -> None:
    """Run what the command line asks for."""
    given = options().parse_args()
    rows = [row for row in ROWS if not given.rows or row.name in given.rows.split(",")]
    with tempfile.TemporaryDirectory(prefix="xproxy-bench-") as directory:
        places = Places(
            directory,
            given.proxy_core,
            given.load_core,
            given.python,
            given.pypy,
            given.envoy,
            raise_descriptor_limit(),
            make_certificate(directory),
        )
        names = [name for name in given.contestants.split(",") if name]
        field = Field(places, names, say)
        try:
            field.start()
            match = Match(field, Scale(given.seconds, given.part), say)
            began = time.monotonic()
            match.warm_up(rows, Scale(2, 0.3))
            for row in rows:
                match.run(row, given.rounds)
            say(f"{time.monotonic() - began:.0f} s")
        finally:
            field.stop()


if __name__ == "__main__":
    main()
