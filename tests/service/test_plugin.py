"""``slots:`` descriptions."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Tuple
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import endpoints
from twisted.internet.endpoints import _parse, clientFromString, serverFromString
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.doubles.certificates import Authority
from tests.doubles.dialling import Recorders
from xproxy.service.endpoint import SlotsServerEndpoint
from xproxy.service.plugin import SlotsParser, client_description

texts = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=20)


class DescriptionTests(TestCase):
    """Through serverFromString, as ``twist web --listen`` does it."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def parse(self, description: str) -> SlotsServerEndpoint:
        endpoint = serverFromString(self.reactor, description)
        assert isinstance(endpoint, SlotsServerEndpoint)
        return endpoint

    def refused(self, description: str) -> str:
        error = self.assertRaises(ValueError, self.parse, description)
        return str(error)

    def test_the_plugin_is_found(self) -> None:
        found = [plugin for plugin in getPlugins(IStreamServerEndpointStringParser) if plugin.prefix == "slots"]
        self.assertEqual(len(found), 1)
        self.assertTrue(verifyObject(IStreamServerEndpointStringParser, found[0]))
        self.assertTrue(IPlugin.providedBy(found[0]))

    def test_tcp(self) -> None:
        endpoint = self.parse("slots:tcp:127.0.0.1:9999:count=3")
        self.successResultOf(endpoint.listen(Recorders()))
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("127.0.0.1", 9999)] * 3)

    def test_unix(self) -> None:
        endpoint = self.parse("slots:unix:/run/x.sock:count=2")
        self.successResultOf(endpoint.listen(Recorders()))
        self.assertEqual([client[0] for client in self.reactor.unixClients], ["/run/x.sock"] * 2)

    def test_unix_with_signs_in_its_path(self) -> None:
        endpoint = self.parse(r"slots:unix:/run/a\:b\=c\\d:count=1")
        self.successResultOf(endpoint.listen(Recorders()))
        self.assertEqual(self.reactor.unixClients[0][0], r"/run/a:b=c\d")

    def test_keywords_of_the_client_endpoint(self) -> None:
        endpoint = self.parse("slots:tcp:host=localhost:port=9999:count=1:timeout=5:bindAddress=192.0.2.7:pool=api")
        self.successResultOf(endpoint.listen(Recorders()))
        host, port, _, timeout, bind = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout, bind), ("localhost", 9999, 5, ("192.0.2.7", 0)))

    def test_tls(self) -> None:
        endpoint = self.parse("slots:tls:edge.example.com:9999:count=8")
        self.assertEqual((endpoint.count, endpoint.description), (8, "tls:edge.example.com:9999"))

    def test_tls_with_certificates(self) -> None:
        """Every argument reaches Twisted's client endpoint, colons in paths included."""
        directory = tempfile.mkdtemp(prefix="with:colons=")
        self.addCleanup(shutil.rmtree, directory)
        authority = Authority(directory=directory)
        web = authority.issue("web.example.com")
        quoted = [path.replace(":", "\\:").replace("=", "\\=") for path in (web.files.chain, web.files.key, directory)]
        more = "certificate={}:privateKey={}:trustRoots={}".format(*quoted)
        client = f"tls:edge.example.com:9999:timeout=5:bindAddress=127.0.0.1:{more}:endpoint=unix\\:/run/x"
        with patch.object(endpoints, "_parseClientTLS", wraps=endpoints._parseClientTLS) as parse:
            endpoint = self.parse(f"slots:pool=api:{client}:count=8:token=t")
        expected = {"certificate": web.files.chain, "privateKey": web.files.key, "trustRoots": directory, "timeout": "5"}
        parse.assert_called_once_with(
            self.reactor, "edge.example.com", "9999", bindAddress="127.0.0.1", endpoint="unix:/run/x", **expected
        )
        self.assertNotIn("token", endpoint.description)

    def test_everything(self) -> None:
        self.parse("slots:tcp:a:1:count=1:pool=api:token=t:registration=proxy:instance=i:drain=2.5")
        self.parse("slots:tcp:a:1:count=1:registration=raw")
        self.parse("slots:tcp:a:1:count=1:registration=mxproxy")

    def test_a_token_is_not_in_what_is_logged(self) -> None:
        self.assertNotIn("t0ken", self.parse("slots:tcp:a:1:count=1:token=t0ken").description)
        self.assertNotIn("t0ken", self.refused("slots:tcp:a:1:count=0:token=t0ken"))

    def test_refused(self) -> None:
        expected: List[Tuple[str, str]] = [
            ("slots:", "needs the client endpoint to dial, as in slots:tcp:127.0.0.1:9999:count=8"),
            ("slots:count=3", "needs the client endpoint to dial"),
            ("slots:tcp:a:1", "count= is missing"),
            ("slots:tcp:a:1:count=", "count=: a number is needed"),
            ("slots:tcp:a:1:count=many", "count=many: a number is needed"),
            ("slots:tcp:a:1:count=1.5", "count=1.5: a number is needed"),
            ("slots:tcp:a:1:count=0", "count=0: a number from 1 to"),
            ("slots:tcp:a:1:count=-1", "count=-1: a number from 1 to"),
            ("slots:tcp:a:1:count=99999999", "a number from 1 to"),
            ("slots:tcp:a:1:count=1:pool=a b", "cannot be a pool's name"),
            ("slots:tcp:a:1:count=1:pool=", "pool= is empty"),
            ("slots:tcp:a:1:count=1:token=", "token= is empty"),
            ("slots:tcp:a:1:count=1:registration=auto", "registration=auto is unknown"),
            ("slots:tcp:a:1:count=1:registration=raw:pool=x", "registration=raw carries no pool"),
            ("slots:tcp:a:1:count=1:drain=soon", "drain=soon: a number is needed"),
            ("slots:tcp:a:1:count=1:drain=-1", "drain=-1.0: a number of seconds"),
            ("slots:tcp:a:1:count=1:drain=nan", "drain=nan: a number of seconds"),
            ("slots:tcp:a:count=1", "lacks an argument, or has one too many or unknown"),
            ("slots:tcp:a:1:count=1:cuont=2", "lacks an argument, or has one too many or unknown"),
            ("slots:tcp:a:http-alt:count=1", "not a client endpoint"),
            ("slots:nope:a:1:count=1", "not a client endpoint: unknown endpoint type: 'nope'"),
            ("slots:tls:a:1:count=1:certificate=/none:privateKey=/none", "no such file or directory: /none"),
            ("slots:tls:a:1:count=1:trustRoots=/nonexistent", "no such file or directory: /nonexistent"),
            ("slots:tls:a:1:count=1:trustRoots=/dev/null", "not a directory: /dev/null"),
            ("slots:tls:a:1:count=1:certificate=/dev/null:privateKey=/dev/null", "certificate or private key: "),
        ]
        for description, words in expected:
            text = self.refused(description)
            self.assertIn(words, text, description)
            self.assertTrue(text.startswith("slots:"), description)
            self.assertNotIn("\n", text)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.lists(texts, min_size=1, max_size=4), st.dictionaries(texts, texts, max_size=3))
    def test_put_together_again(self, args: List[str], kwargs: Dict[str, str]) -> None:
        """Twisted's parser reads what we write as what it had read before."""
        parsed: Any = _parse(client_description(args, kwargs))
        self.assertEqual(parsed, (args, kwargs))

    def test_what_is_put_together_connects(self) -> None:
        for description in ("tcp:a:1:timeout=3", "unix:/a\\:b", "tls:a:1", "tcp:host=a:port=1"):
            args, kwargs = _parse(description)
            clientFromString(self.reactor, client_description(args, kwargs))

    def test_prefix(self) -> None:
        self.assertEqual(SlotsParser.prefix, "slots")


class ImportTests(TestCase):
    """Every twist and twistd command imports the plugin."""

    def test_it_brings_little(self) -> None:
        heavy = "{'twisted.web.http', 'xproxy.service.endpoint', 'xproxy.http1.request'}"
        code = f"import sys, xproxy.service.plugin; print({heavy} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(done.stdout, "set()\n")
