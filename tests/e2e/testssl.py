"""All of testssl.sh against a running proxy with a certificate of a CA that it is told: two minutes. ``make testssl``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.doubles.certificates import Authority

BAD = re.compile(r"NOT ok|VULNERABLE|not ok|deprecated", re.IGNORECASE)
"""What no line may say, but for those that are about the certificate's CA, which is a test's."""

ABOUT_THE_CA = "neither CRL nor OCSP URI provided"


def main() -> int:
    """Run it, print what it says, and count what is not in order."""
    tool = shutil.which("testssl") or shutil.which("testssl.sh")
    if tool is None:
        sys.stderr.write("testssl.sh is not installed; on Debian and Ubuntu: apt install testssl.sh\n")
        return 1
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority()
        Path(directory, "ca.pem").write_bytes(authority.pem)
        files = authority.issue("localhost").write(directory, "localhost")
        Path(directory, "xproxy.toml").write_text(
            '[proxy]\nhttp = ["tcp:0:interface=127.0.0.1"]\nhttps = ["tcp:0:interface=127.0.0.1"]\nadmin = "none"\n'
            f'[[proxy.certificates]]\nchain = "{files.chain}"\nkey = "{files.key}"\n'
            '[pools.default]\nslots = ["tcp:0:interface=127.0.0.1"]\n'
            '[[routes]]\nhsts = "max-age=31536000"\n',
            encoding="utf-8",
        )
        twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        command = [*twistd, "-n", "xproxy", "--demo", "--config", "xproxy.toml"]
        with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as proxy:
            try:
                return _examine(tool, proxy, os.path.join(directory, "ca.pem"))
            finally:
                proxy.terminate()
                proxy.communicate()


def _examine(tool: str, proxy: subprocess.Popen[str], ca: str) -> int:
    assert proxy.stdout is not None
    port = next(found[1] for found in (re.search(r"proxy +https://[\d.]+:(\d+)/", line) for line in proxy.stdout) if found)
    options = ["--quiet", "--color", "0", "--warnings", "off", "--add-ca", ca]
    done = subprocess.run([tool, *options, f"localhost:{port}"], capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    wrong = [line for line in done.stdout.splitlines() if BAD.search(line) and ABOUT_THE_CA not in line]
    wrong = [line for line in wrong if "not vulnerable" not in line]
    sys.stdout.write("".join(f"not in order: {line}\n" for line in wrong))
    return 1 if wrong or done.returncode not in (0, 1) else 0


if __name__ == "__main__":
    sys.exit(main())
