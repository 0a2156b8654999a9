"""Tests for what can be done through the admin endpoint, by whom, and for the endpoint as a service."""

from __future__ import annotations

import json
import os
from typing import Any, List

import attr
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from tests.admin.test_site import AdminTestCase, Answer
from xproxy.admin import AdminService, Controls
from xproxy.admin.admin_service import private
from xproxy.config import Config, Mistake, ProxyConfig, Role
from xproxy.reload import Outcome, Reload
from xproxy.startup import StartupError

TOKEN = "0123456789abcdef"
WITH_TOKEN = f"Authorization: Bearer {TOKEN}\r\n"


class ControlTestCase(AdminTestCase):
    """An endpoint with something to do."""

    def setUp(self) -> None:
        super().setUp()
        self.done: List[str] = []
        self.token = TOKEN
        self.outcome = Outcome()
        self.draining = False
        self.record = Reload(Config(), Role.EMBEDDED, Config, lambda config: succeed(None), lambda: 86400.0)

    def reload(self) -> Deferred[Outcome]:
        self.done.append("reload")
        return succeed(self.outcome)

    def drain(self) -> bool:
        self.done.append("drain")
        before, self.draining = self.draining, True
        return not before

    def ask_for(
        self, path: str, fields: str = WITH_TOKEN, method: str = "POST", over: Any = None, host: str = "a:9901"
    ) -> Answer:
        """The answer to a request.

        :param over: the path of a UNIX socket; None: TCP.
        """
        controls = Controls(self.reload, self.drain, lambda: self.token)
        request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()
        address = None if over is None else UNIXAddress(os.fsencode(over))
        return Answer(self.send(self.sources(reload=self.record, controls=controls), request, address).value())


class PermissionTests(ControlTestCase):
    """Who may."""

    def assert_refused(self, code: int, words: str, answer: Answer) -> None:
        self.assertEqual((answer.code, self.done), (code, []))
        self.assertIn(words, answer.body.decode())

    def test_methods(self) -> None:
        """What changes something is no GET, whoever asks: browsers and crawlers make those by themselves."""
        for path in ("/reload", "/drain"):
            for method in ("GET", "HEAD", "PUT"):
                answer = self.ask_for(path, method=method)
                self.assertEqual((answer.code, answer.fields[b"allow"], self.done), (405, b"POST", []))
        self.assertEqual(self.ask_for("/status").code, 405)

    def test_no_token_is_set(self) -> None:
        self.token = ""
        for path in ("/reload", "/drain"):
            self.assert_refused(403, "none is set: admin_token", self.ask_for(path))
            self.assert_refused(403, "none is set: admin_token", self.ask_for(path, "Authorization: Bearer \r\n"))

    def test_the_token(self) -> None:
        for fields in ("", "Authorization: Bearer \r\n", f"Authorization: Basic {TOKEN}\r\n", WITH_TOKEN.replace("f", "g")):
            answer = self.ask_for("/reload", fields)
            self.assert_refused(401, "only with the token", answer)
            self.assertEqual(answer.fields[b"www-authenticate"], b"Bearer")
        self.assertEqual(self.ask_for("/reload").code, 200)
        self.assertEqual(self.ask_for("/reload", WITH_TOKEN.replace("Bearer", "bearer")).code, 200)
        self.assertEqual(self.done, ["reload"] * 2)

    def test_a_private_socket(self) -> None:
        """Its mode is looked at as it is then; a socket that is open to others needs the token, and so does a name in no
        directory."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii"):
            pass
        os.chmod(path, 0o600)
        self.token = ""
        self.assertEqual(self.ask_for("/reload", "", over=path).code, 200)
        self.done.clear()
        for mode in (0o660, 0o602):
            os.chmod(path, mode)
            self.assert_refused(403, "mode 0600", self.ask_for("/reload", "", over=path))
        self.assert_refused(403, "mode 0600", self.ask_for("/reload", "", over=self.mktemp()))
        self.assert_refused(403, "mode 0600", self.ask_for("/reload", "", over="\0abstract"))
        self.token = TOKEN
        self.assertEqual(self.ask_for("/reload", over=path).code, 200)

    def test_pages_of_other_sites(self) -> None:
        """With the token or without, over whatever leads here."""
        for field in ("Origin: http://evil.test", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"):
            self.assert_refused(403, "another site", self.ask_for("/reload", f"{WITH_TOKEN}{field}\r\n"))
        for field in ("Origin: http://a:9901", "Origin: https://a:9901\r\nSec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"):
            self.assertEqual(self.ask_for("/reload", f"{WITH_TOKEN}{field}\r\n").code, 200)


class DoneTests(ControlTestCase):
    """What is answered."""

    def test_reloaded(self) -> None:
        self.outcome = Outcome(kept=("acceptor.handoff",))
        answer = self.ask_for("/reload")
        self.assertEqual((answer.code, answer.fields[b"content-type"]), (200, b"application/json"))
        self.assertEqual(
            json.loads(answer.body), {"reloaded": True, "generation": 1, "kept": ["acceptor.handoff"], "mistakes": []}
        )

    def test_not_reloaded(self) -> None:
        mistakes = (Mistake(("proxy", "http", 0), "address already in use", 3), Mistake((), "cannot be read"))
        self.outcome = Outcome(mistakes, "x.toml")
        answer = self.ask_for("/reload")
        self.assertEqual(answer.code, 422)
        self.assertEqual(
            json.loads(answer.body),
            {
                "reloaded": False,
                "generation": 1,
                "kept": [],
                "mistakes": [
                    {"file": "x.toml", "line": 3, "key": "proxy.http[0]", "reason": "address already in use"},
                    {"file": "x.toml", "line": None, "key": "", "reason": "cannot be read"},
                ],
            },
        )

    def test_too_late(self) -> None:
        self.outcome = Outcome((Mistake((), "draining"),), refused=True)
        answer = self.ask_for("/reload")
        self.assertEqual((answer.code, json.loads(answer.body)["mistakes"][0]["reason"]), (409, "draining"))

    def test_drain(self) -> None:
        """It has begun, who asks again hears so."""
        for before in (False, True):
            answer = self.ask_for("/drain")
            self.assertEqual((answer.code, json.loads(answer.body)), (202, {"draining": True, "begun_before": before}))

    def test_without_controls(self) -> None:
        self.assertEqual(self.ask(self.sources(), "/reload", "POST").code, 404)


class RecordTests(ControlTestCase):
    """What is shown of the configuration."""

    def test_status(self) -> None:
        status = json.loads(self.ask(self.sources(reload=self.record), "/status").body)
        shown = {key: status[key] for key in ("generation", "loaded_at", "kept", "failed_reload")}
        expected = {"generation": 1, "loaded_at": "1970-01-02T00:00:00+00:00", "kept": [], "failed_reload": None}
        self.assertEqual(shown, expected)
        self.record.failed_at, self.record.failure = 172800.0, ["x.toml:3: wrong"]
        status = json.loads(self.ask(self.sources(reload=self.record), "/status").body)
        self.assertEqual(status["failed_reload"], {"at": "1970-01-03T00:00:00+00:00", "reasons": ["x.toml:3: wrong"]})

    def test_page(self) -> None:
        """What comes from the file is escaped."""
        self.record.failed_at, self.record.failure, self.record.kept = 172800.0, ["x.toml:3: <b>"], ("acceptor.handoff",)
        page = self.ask(self.sources(reload=self.record), "/").body.decode()
        for words in ("Configuration 1, since 1970-01-02", "acceptor.handoff holds from the start", "x.toml:3: &lt;b&gt;"):
            self.assertIn(words, page)
        self.assertNotIn("Configuration", self.ask(self.sources(), "/").body.decode())

    def test_metrics(self) -> None:
        self.successResultOf(self.record.ask())
        lines = self.ask(self.sources(reload=self.record), "/metrics").body.decode().splitlines()
        for line in (
            "xproxy_config_generation 2.0",
            "xproxy_config_last_reload_success_timestamp_seconds 86400.0",
            'xproxy_config_reloads_total{result="ok"} 1.0',
            'xproxy_config_reloads_total{result="failed"} 0.0',
        ):
            self.assertIn(line, lines)


class ServiceTests(ControlTestCase):
    """Where it listens."""

    def service(self, description: str) -> AdminService:
        self.reactor = MemoryReactorClock()
        service = AdminService(self.reactor, self.sources(), self.config(description), lambda config: config.proxy.admin)
        service.privilegedStartService()
        service.startService()
        return service

    def config(self, description: str) -> Config:
        return Config(proxy=attr.evolve(ProxyConfig(), admin=description))

    def test_private_by_itself(self) -> None:
        """A UNIX socket whose description says nothing of others is the owner's."""
        for written, meant in (
            ("unix:/run/a", "unix:/run/a:mode=600"),
            ("unix:/run/a:mode=660", "unix:/run/a:mode=660"),
            ("unix:/run/a:660", "unix:/run/a:660"),
            ("unix:address=/run/a:lockfile=0", "unix:address=/run/a:lockfile=0:mode=600"),
            ("tcp:9901", "tcp:9901"),
        ):
            self.assertEqual(private(written), meant)
        self.service("unix:/run/a")
        self.assertEqual(self.reactor.unixServers[0][3], 0o600)

    def test_another_one(self) -> None:
        """It moves, it goes, it comes."""
        service = self.service("tcp:9901")
        before = service.port
        service.prepare(self.config("tcp:9901")).commit()
        self.assertIs(service.port, before)
        service.prepare(self.config("tcp:9902")).commit()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [9901, 9902])
        self.assertEqual(len(service.services), 1)
        service.prepare(self.config("none")).commit()
        self.assertIsNone(service.port)
        self.assertEqual(service.services, [])
        service.prepare(self.config("tcp:9903")).commit()
        self.assertIsNotNone(service.port)

    def test_not_after_all(self) -> None:
        service = self.service("tcp:9901")
        before = service.port
        service.prepare(self.config("tcp:9902")).abort()
        self.assertRaises(StartupError, service.prepare, self.config("systemd:domain=INET:index=7"))
        self.assertIs(service.port, before)
        self.assertEqual(len(service.services), 1)
