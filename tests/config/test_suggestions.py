"""Tests for ``xproxy.config.suggestions`` and ``foreign``: what is said of keys that there are not."""

from __future__ import annotations

import re

from tests.config.refusing import RefusingTestCase
from xproxy.config.foreign import ANSWERS, plain
from xproxy.config.schema import HEADINGS, keys_of


class UnknownTests(RefusingTestCase):
    """Keys that nobody heeds."""

    def test_slips(self) -> None:
        for section, name, meant in (
            ("pools.default", "queue_limt", "queue_limit"),
            ("pools.default", "queueLimit", "queue_limit"),
            ("proxy", "htpt", "http"),
            ("proxy", "access-log", "access_log"),
            ("proxy", "trusted_proxy", "trusted_proxies"),
            ("limits", "header_cuont", "header_count"),
        ):
            self.refuses(f"[{section}]\n{name} = 1", f'2: {section}.{name}: unknown key; did you mean "{meant}"?')

    def test_in_another_section(self) -> None:
        self.refuses("[proxy]\nqueue_timeout = 1", "2: proxy.queue_timeout: unknown key; it belongs in [pools.NAME]")
        self.refuses(
            "[limits]\nresponse_timeout = 1",
            "2: limits.response_timeout: unknown key; it belongs in [pools.NAME] or [[routes]]",
        )
        self.refuses("[proxy]\nque_limit = 1", '2: proxy.que_limit: unknown key; did you mean "queue_limit", in [pools.NAME]?')
        self.refuses("[[routes]]\nredirct = 1", '2: routes[0].redirct: unknown key; did you mean "redirect"?')

    def test_outside_of_any_section(self) -> None:
        self.refuses("queue_limit = 1", "1: queue_limit: unknown key outside of a section; it belongs in [pools.NAME]")
        line = self.refused("gzip = true")
        self.assertIn("1: gzip: unknown key outside of a section; nothing is compressed here", line)

    def test_in_no_section(self) -> None:
        self.refuses("[limits]\nzzz = 1", "2: limits.zzz: unknown key")

    def test_sections(self) -> None:
        self.refuses(
            "[pool.default]\n[route]\n[limit]\n[x]\n[proxi]",
            '1: pool: unknown section; did you mean "pools"?',
            '2: route: unknown section; did you mean "routes"?',
            '3: limit: unknown section; did you mean "limits"?',
            "4: x: unknown section",
            '5: proxi: unknown section; did you mean "proxy"?',
        )

    def test_what_is_not_there_yet(self) -> None:
        for section, name in (("proxy", "drain_delay"), ("pools.default", "absent_timeout"), ("pools.default", "client_share")):
            if name not in {key for shape in HEADINGS.values() for key in keys_of(shape)}:
                self.assertIn("unknown key", self.refused(f"[{section}]\n{name} = 1"))


ELSEWHERE = {
    # nginx
    "upstream": "[pools.NAME]",
    "proxy_pass": "[pools.NAME]",
    "server": "[pools.NAME]",
    "listen": "http and https in [proxy]",
    "worker_processes": "",
    "worker_connections": "connections in [limits]",
    "gzip": "nothing is compressed here",
    "limit_req": "rates are not limited here",
    "ssl_certificate": "[[proxy.certificates]]",
    "ssl_protocols": "TLS 1.2 and 1.3",
    "server_name": "host in [[routes]]",
    "location": "[[routes]]",
    "root": "files are not served here",
    "client_max_body_size": "body in [limits]",
    "client_header_timeout": "head in [timeouts]",
    "keepalive_timeout": "keep_alive in [timeouts]",
    "proxy_read_timeout": "response_timeout in [pools.NAME]",
    "proxy_buffering": "buffering in [[routes]]",
    "proxy_next_upstream": "max_attempts in [limits]",
    "set_real_ip_from": "trusted_proxies in [proxy]",
    "error_page": "error_pages in [proxy]",
    "add_header": "set_host in [[routes]]",
    # HAProxy
    "backend": "[pools.NAME]",
    "bind": "http and https in [proxy]",
    "maxconn": "connections in [limits]",
    "balance": "slots are taken in turn",
    "option httpchk": "health is not checked here",
    "timeout queue": "queue_timeout in [pools.NAME]",
    "timeout server": "response_timeout in [pools.NAME]",
    "timeout tunnel": "tunnel in [timeouts]",
    "hard-stop-after": "drain_timeout in [proxy]",
    "nbthread": "",
    "stats": "admin in [proxy]",
    # Caddy
    "reverse_proxy": "[pools.NAME]",
    "encode": "nothing is compressed here",
    "file_server": "files are not served here",
    "basicauth": "client_ca in [proxy]",
    "health_uri": "health is not checked here",
    # Traefik
    "entryPoints": "http and https in [proxy]",
    "loadBalancer": "[pools.NAME]",
    "rateLimit": "rates are not limited here",
    "certificatesResolvers": "docs/tls.md",
    "forwardedHeaders": "trusted_proxies in [proxy]",
    # Envoy
    "clusters": "[pools.NAME]",
    "listeners": "http and https in [proxy]",
    "outlier_detection": "health is not checked here",
    "lb_policy": "slots are taken in turn",
    "idle_timeout": "keep_alive in [timeouts]",
    # words of nobody in particular
    "rate_limit": "rates are not limited here",
    "health_check": "health is not checked here",
    "listen_addr": "http and https in [proxy]",
    "root_dir": "",
}
"""Keys that users of other programs look for, and what the answer must have in it."""


class ForeignTests(RefusingTestCase):
    """Keys that other proxies have."""

    def test_answers(self) -> None:
        for name, part in ELSEWHERE.items():
            for source in (f'[proxy]\n"{name}" = 1', f'["{name}"]', f'"{name}" = 5', f'[pools.default]\n"{name}" = 1'):
                line = self.refused(source)
                self.assertIn("unknown", line)
                self.assertIn(part, line, source)

    def test_timeouts(self) -> None:
        self.assertIn("each timeout has a key of its own", self.refused("[proxy]\ntimeout = 1"))

    def test_they_name_keys_that_there_are(self) -> None:
        """Where an answer says NAME in [SECTION], that section has that key."""
        for said, _ in ANSWERS:
            for names, section in re.findall(r"((?:[a-z_0-9]+(?:, | and | or ))*[a-z_0-9]+) in (\[+[a-zA-Z.]+\]+)", said):
                known = keys_of(HEADINGS[section])
                for name in re.split(r", | and | or ", names):
                    if "_" in name or name in {key for shape in HEADINGS.values() for key in keys_of(shape)}:
                        self.assertIn(name, known, said)

    def test_each_name_stands_once_and_is_none_of_ours(self) -> None:
        names = [plain(name) for _, words in ANSWERS for name in words.split()]
        self.assertEqual(sorted(names), sorted(set(names)))
