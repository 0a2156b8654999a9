"""Tests for the options of the commands: what they make of the configuration, and the one line that a mistake costs."""

from __future__ import annotations

import os
from typing import Any

from tests.doubles.commands import CommandTestCase
from xproxy.config import LOOPBACK, Config, ConfigError, ProxyConfig, networks
from xproxy.tap import xacceptor, xproxy

LOCAL = "tcp:6:interface=127.0.0.1"

CERTIFIED = """
[acceptor]
client_ca = "/ca.pem"
certificates = [{ chain = "/a.pem", key = "/a.key" }]
[pools.default]
slots_tls = ["tcp:9443"]
service_names = ["a"]
"""


class OptionsTestCase(CommandTestCase):
    """Parsing."""

    def written(self, content: str) -> str:
        """A configuration file."""
        name = self.mktemp()
        with open(name, "w", encoding="utf-8") as file:
            file.write(content)
        return name

    def xproxy(self, *words: str) -> Config:
        options = xproxy.Options()
        options.parseOptions(list(words))
        return options.config

    def xacceptor(self, *words: str) -> Config:
        options = xacceptor.Options()
        options.parseOptions(list(words))
        return options.config


class XproxyOptionsTests(OptionsTestCase):
    """``twistd xproxy``."""

    def test_nothing_given(self) -> None:
        self.assertEqual(self.xproxy(), Config())

    def test_options_win_over_the_file(self) -> None:
        name = self.written('[proxy]\nhttp = ["tcp:1"]\nadmin = "tcp:2"\ndrain_timeout = 3\n[pools.default]\nslots = ["tcp:4"]')
        words = ("--http", "tcp:5", "--http", "unix:/s", "--slots", LOCAL, "--admin", "none")
        config = self.xproxy("--config", name, *words)
        self.assertEqual((config.proxy.http, config.proxy.admin), (("tcp:5", "unix:/s"), "none"))
        self.assertEqual(config.pools["default"].slots, (LOCAL,))
        self.assertEqual(config.proxy.drain_timeout, 3.0)

    def test_workers(self) -> None:
        """A number, or as many as there are cores; what can't be shared is refused."""
        self.assertEqual(self.xproxy().proxy.workers, 1)
        self.assertEqual(self.xproxy("--workers", "2").proxy.workers, 2)
        self.assertEqual(self.xproxy("--config", self.written("[proxy]\nworkers = 3"), "--workers", "auto").proxy.workers, 0)
        self.assertEqual(self.xproxy("--config", self.written('[proxy]\nworkers = "auto"'), "--workers", "1").proxy.workers, 1)
        for word in ("0", "65", "-1", "many", ""):
            self.assertIn("--workers: must be a whole number from 1 to 64", self.refused(self.xproxy, "--workers", word))
        line = self.refused(self.xproxy, "--http", "ssl:443:privateKey=/nonexistent", "--workers", "2")
        self.assertIn("privateKey", line)
        file = self.written('[proxy]\nworkers = 2\nhttp = ["fd:3"]')
        self.assertIn("workers", self.refused(self.xproxy, "--config", file))

    def test_the_file_wins_over_the_defaults(self) -> None:
        config = self.xproxy("--config", self.written('[proxy]\nhttp = ["tcp:1"]'))
        self.assertEqual(config.proxy.http, ("tcp:1",))

    def test_slots_of_the_only_pool(self) -> None:
        config = self.xproxy("--config", self.written("[pools.web]"), "--slots", LOCAL)
        self.assertEqual(config.pools["web"].slots, (LOCAL,))

    def test_slots_of_which_pool(self) -> None:
        pools = "".join(f'[pools.{name}]\nslots = ["tcp:0:interface=127.0.0.1"]\n' for name in "ab")
        name = self.written(f'{pools}[[routes]]\npool = "a"\n[[routes]]\npath = "/b"\npool = "b"')
        for option, value in (("slots", "tcp:1"), ("allow", "10.0.0.0/8")):
            self.assertEqual(
                self.refused(self.xproxy, "--config", name, f"--{option}", value),
                f'xproxy: --{option}: is about the pool "default", which the configuration does not have',
            )

    def test_allow(self) -> None:
        config = self.xproxy("--allow", "10.0.0.0/8", "--allow", "::1")
        self.assertEqual(config.pools["default"].allow, networks("10.0.0.0/8", "::1"))
        self.assertTrue(config.pools["default"].allow_given)

    def test_what_excludes_the_embedded_acceptor(self) -> None:
        for words in (["--slots", "tcp:1"], ["--allow", "::1"], ["--demo"]):
            line = self.refused(self.xproxy, "--acceptor", "/run/h.sock", *words)
            self.assertTrue(line.startswith(f"xproxy: --acceptor and {words[0]} exclude each other"), line)

    def test_a_demo_needs_a_pool_to_join(self) -> None:
        for source in ("[pools.web]", CERTIFIED):
            line = self.refused(self.xproxy, "--config", self.written(source), "--demo")
            self.assertEqual(line, 'xproxy: --demo needs a pool "default" with slots')
        for source in ('token = "x"', 'registration = "raw"'):
            line = self.refused(self.xproxy, "--config", self.written(f"[pools.default]\n{source}"), "--demo")
            self.assertIn('have no token and registration "auto" or "proxy"', line)


class XacceptorOptionsTests(OptionsTestCase):
    """``twistd xacceptor``."""

    def test_options(self) -> None:
        config = self.xacceptor("--handoff", "/run/h.sock", "--slots", "tcp:1", "--admin", "tcp:2", "--allow", "10.0.0.0/8")
        self.assertEqual((config.acceptor.handoff, config.acceptor.admin), ("/run/h.sock", "tcp:2"))
        pool = config.pools["default"]
        self.assertEqual((pool.slots, pool.allow, pool.allow_given), (("tcp:1",), networks("10.0.0.0/8"), True))

    def test_defaults(self) -> None:
        pool = self.xacceptor("--handoff", "/run/h.sock").pools["default"]
        self.assertEqual((pool.allow, pool.allow_given), (LOOPBACK, False))

    def test_the_handoff_of_the_file(self) -> None:
        name = self.written('[acceptor]\nhandoff = "/run/h.sock"')
        self.assertEqual(self.xacceptor("--config", name).acceptor.handoff, "/run/h.sock")
        self.assertEqual(self.xacceptor("--config", name, "--handoff", "/x").acceptor.handoff, "/x")

    def test_no_handoff(self) -> None:
        self.assertEqual(
            self.refused(self.xacceptor), "xacceptor: --handoff is missing: proxies have no other way to reach this acceptor"
        )


class MistakeTests(OptionsTestCase):
    """One line each."""

    def test_unknown_options(self) -> None:
        for word in ("--takeover", "-z"):
            line = self.refused(self.xproxy, word, "x")
            self.assertTrue(line.startswith("xproxy: option "), line)
            self.assertTrue(line.endswith(" not recognized (twistd xproxy --help lists the options)"), line)

    def test_missing_arguments(self) -> None:
        for word in ("http", "slots", "acceptor", "admin", "config"):
            line = self.refused(self.xproxy, f"--{word}")
            self.assertTrue(line.startswith(f"xproxy: option --{word} requires argument"), line)
        for word in ("handoff", "allow"):
            self.assertIn("requires argument", self.refused(self.xacceptor, f"--{word}"))

    def test_stray_words(self) -> None:
        self.assertEqual(self.refused(self.xproxy, "stray", "more"), "xproxy: unexpected argument 'stray'")

    def test_bad_values(self) -> None:
        endpoint = "must be an endpoint description such as tcp:8080:interface=127.0.0.1, not"
        socket = "must be the path of a socket, at most 107 bytes long, not"
        too_long = "/" + "x" * 107
        for call, option, value, said in (
            (self.xproxy, "--http", "tcp:x", f"{endpoint} 'tcp:x': 'x' is not a number"),
            (self.xproxy, "--http", "8080", f"{endpoint} '8080'; did you mean 'tcp:8080'?"),
            (self.xproxy, "--slots", "x", f"{endpoint} 'x'"),
            (self.xproxy, "--slots", "ssl:443", "must be an endpoint description without TLS"),
            (self.xproxy, "--admin", "tcp:65536", endpoint),
            (self.xacceptor, "--allow", "10.0.0.1/8", "must be a network in CIDR notation, not '10.0.0.1/8'"),
            (self.xacceptor, "--handoff", too_long, socket),
            (self.xproxy, "--acceptor", too_long, socket),
        ):
            line = self.refused(call, option, value)
            self.assertTrue(line.startswith((f"xproxy: {option}: {said}", f"xacceptor: {option}: {said}")), line)

    def test_a_value_with_lines(self) -> None:
        self.assertIn("control characters", self.refused(self.xproxy, "--http", "tcp:80\nTraceback"))

    def test_unreadable_configuration(self) -> None:
        line = self.refused(self.xproxy, "--config", "/nowhere/x.toml")
        self.assertEqual(line, "xproxy: /nowhere/x.toml: cannot be read: No such file or directory")

    def test_mistakes_in_the_configuration(self) -> None:
        name = self.written("[proxy]\nhtpt = []\n[limits]\nbody = -1")
        self.assertEqual(
            self.refused(self.xproxy, "--config", name),
            f'xproxy: {name}:2: proxy.htpt: unknown key; did you mean "http"? (and 1 more; --check lists all)',
        )


class CheckTests(OptionsTestCase):
    """``--check``."""

    def ends(self, call: Any, *words: str) -> Any:
        return self.assertRaises(SystemExit, call, *words).code

    def test_fine(self) -> None:
        name = self.written("[limits]\nbody = 1")
        self.assertEqual(self.ends(self.xproxy, "--check", "--config", name), 0)
        self.assertEqual((self.out.getvalue(), self.err.getvalue()), (f"{name}: ok\n", ""))

    def test_without_a_file(self) -> None:
        self.assertEqual(self.ends(self.xproxy, "--check"), 0)
        self.assertEqual(self.out.getvalue(), "the configuration: ok\n")

    def test_every_mistake_has_its_line(self) -> None:
        name = self.written("[proxy]\nhtpt = []\n[limits]\nbody = -1")
        self.assertEqual(self.ends(self.xproxy, "--check", "--config", name), 1)
        self.assertEqual(
            self.err.getvalue().splitlines(),
            [
                f'{name}:2: proxy.htpt: unknown key; did you mean "http"?',
                f"{name}:4: limits.body: must be a whole number from 0 to 1125899906842624, not -1",
            ],
        )

    def test_options_are_checked_too(self) -> None:
        self.assertIn("--handoff is missing", self.refused(self.xacceptor, "--check"))


class AgainTests(OptionsTestCase):
    """The file is read again, in a program that runs."""

    def parsed(self, name: str, *more: str) -> xproxy.Options:
        options = xproxy.Options()
        options.parseOptions(["--config", name, *more])
        return options

    def mistake(self, options: xproxy.Options, in_force: Config) -> str:
        return str(self.assertRaises(ConfigError, options.load_again, in_force))

    def test_options_win(self) -> None:
        """Wherever the program has gone meanwhile."""
        name = self.written('[proxy]\nhttp = ["tcp:1"]\nname = "one"')
        options = self.parsed(name, "--http", LOCAL)
        with open(name, "w", encoding="utf-8") as file:
            file.write('[proxy]\nhttp = ["tcp:2"]\nname = "two"')
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir("/")
        again = options.load_again(options.config)
        self.assertEqual((again.proxy.http, again.proxy.name), ((LOCAL,), "two"))

    def test_what_is_there_already(self) -> None:
        """The endpoints and the log that the program has are not looked at: it may not be able to make them again."""
        directory = "/nonexistent"
        text = f'[proxy]\nhttp = ["unix:{directory}/s"]\naccess_log = "{directory}/log"\nadmin = "none"\n'
        name = self.written(text)
        options = self.parsed(name)
        self.assertEqual(options.load_again(options.config), options.config)
        self.assertIn("there is no directory", self.mistake(options, Config(proxy=ProxyConfig(access_log=f"{directory}/log"))))
        self.assertIn("cannot write", self.mistake(options, Config(proxy=ProxyConfig(http=(f"unix:{directory}/s",)))))

    def test_what_the_options_need(self) -> None:
        """A mistake of the two together is one of the file, which has changed."""
        name = self.written("")
        options = self.parsed(name, "--demo")
        with open(name, "w", encoding="utf-8") as file:
            file.write('[pools.other]\nslots = ["tcp:0"]\nallow = ["10.0.0.0/8"]')
        self.assertIn('--demo needs a pool "default" with slots', self.mistake(options, options.config))

    def test_no_plain_file(self) -> None:
        """A pipe gives what it has once: nothing, the second time, would be another configuration."""
        name = self.written("")
        options = self.parsed(name)
        os.unlink(name)
        os.mkfifo(name)
        self.assertIn("is no plain file: what it held was read at the start", self.mistake(options, options.config))


class HelpTests(OptionsTestCase):
    """What is not a mistake."""

    def test_version(self) -> None:
        self.assertEqual(self.assertRaises(SystemExit, self.xproxy, "--version").code, 0)
        self.assertRegex(self.out.getvalue(), r"^xproxy \d+\.\d+\.\d+, Twisted \d+\.\d+\.\d+, (cpython|pypy) 3\.\d+\.\d+\S*\n$")

    def test_help_names_every_option(self) -> None:
        self.assertEqual(self.assertRaises(SystemExit, self.xproxy, "--help").code, 0)
        for option in ("http", "slots", "acceptor", "admin", "config", "check", "demo", "allow"):
            self.assertIn(f"--{option}", self.out.getvalue())
