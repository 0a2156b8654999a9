"""Tests of what is published: what is in the wheel and the sdist, and that Twisted finds the plugins in an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from xproxy import __version__

try:
    import hatchling
except ImportError:
    hatchling = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[1]

TIMEOUT_S = 120

_ASK_TWISTED = """
import sys
import twisted, twisted.plugins.xproxy_plugins, xproxy
print(twisted.__file__)
print(twisted.plugins.xproxy_plugins.__file__)
print(xproxy.__file__)
from twisted.application.service import IServiceMaker
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins
print(*sorted(plugin.tapname for plugin in getPlugins(IServiceMaker) if plugin.module.startswith("xproxy.")))
print(*sorted(plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser) if plugin.prefix == "slots"))
"""


_ASK_PYTHON = """
import sys, twisted.plugins.xproxy_plugins
print(*(name for name in sys.modules if name.startswith(("xproxy.", "twisted.web", "prometheus_client", "OpenSSL"))))
"""


def run(*words: str, cwd: Path = ROOT, **environment: str) -> str:
    """The standard output of a Python that must succeed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class PackagingTests(SynchronousTestCase):
    """What hatchling builds."""

    if hatchling is None:
        skip = "hatchling is not installed"

    def build(self, target: str) -> Path:
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        run("-m", "hatchling", "build", "--target", target, "--directory", directory)
        (name,) = os.listdir(directory)
        return Path(directory) / name

    def wheel(self) -> Any:
        wheel = zipfile.ZipFile(self.build("wheel"))
        self.addCleanup(wheel.close)
        return wheel

    def test_wheel(self) -> None:
        wheel = self.wheel()
        names = wheel.namelist()
        self.assertEqual([name for name in names if name.startswith("twisted/")], ["twisted/plugins/xproxy_plugins.py"])
        self.assertEqual({name.split("/")[0] for name in names}, {"twisted", "xproxy", f"xproxy_lb-{__version__}.dist-info"})
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "xproxy").rglob("*.py")}
        self.assertEqual(modules - set(names), set())
        self.assertIn("xproxy/py.typed", names)
        self.assertIn(f"xproxy_lb-{__version__}.dist-info/licenses/LICENSE", names)
        self.assertEqual([name for name in names if name.endswith((".pyc", ".cache"))], [])

    def test_twisted_finds_the_plugins_of_an_installed_wheel(self) -> None:
        """Unpacked is how pip installs it, and PYTHONPATH comes before whatever else has an xproxy."""
        directory = os.path.abspath(self.mktemp())
        self.wheel().extractall(directory)
        of_twisted, of_plugins, of_xproxy, commands, prefixes = run(
            "-c", _ASK_TWISTED, cwd=Path(directory), PYTHONPATH=directory
        ).splitlines()
        self.assertFalse(of_twisted.startswith(directory), of_twisted)
        self.assertTrue(of_plugins.startswith(directory), of_plugins)
        self.assertTrue(of_xproxy.startswith(directory), of_xproxy)
        self.assertEqual((commands, prefixes), ("xacceptor xproxy xrelay", "slots"))

    def test_sdist(self) -> None:
        with tarfile.open(self.build("sdist")) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        for name in (
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "Makefile",
            "xproxy/config/schema/tree.py",
            "twisted/plugins/xproxy_plugins.py",
            "tests/test_packaging.py",
            "etc/xproxy.toml",
            "docs/configuration.md",
        ):
            self.assertIn(name, names)
        self.assertEqual([name for name in names if name.endswith((".pyc", ".cache")) or ".venv" in name], [])


class CheckoutTests(SynchronousTestCase):
    """What must hold for an editable install."""

    def test_nothing_shadows_twisted(self) -> None:
        """A directory without ``__init__.py`` only lends its plugins to the package of the same name."""
        ours = {str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("*.py")}
        self.assertEqual(ours, {"twisted/plugins/xproxy_plugins.py"})

    def test_plugin_file_imports_next_to_nothing(self) -> None:
        """Every twistd command of the machine imports it."""
        loaded = run("-c", _ASK_PYTHON, PYTHONPATH=str(ROOT))
        self.assertEqual(set(loaded.split()) - {"xproxy.service", "xproxy.service.plugin"}, set())
