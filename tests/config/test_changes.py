"""What a reload can't change."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.config import Config, from_toml, settled


def written(text: str) -> Config:
    """A configuration."""
    return from_toml(text, "xproxy.toml")


class SettledTests(SynchronousTestCase):
    def test_from_the_start(self) -> None:
        """It stays as it was, and is named."""
        before, after = written('[acceptor]\nhandoff = "/a"'), written('[acceptor]\nhandoff = "/b"\n[limits]\nconnections = 9')
        config, kept = settled(before, after)
        self.assertEqual(("/a", 9, (("acceptor", "handoff"),)), (config.acceptor.handoff, config.limits.connections, kept))

    def test_workers(self) -> None:
        """Their number changes, but not between one process for everything and others."""
        for before, after, expected in (
            (2, 3, 3),
            (3, 2, 2),
            ('"auto"', 2, 2),
            (1, 2, 1),
            (2, 1, 2),
            (1, 1, 1),
            (1, '"auto"', 1),
        ):
            config, kept = settled(written(f"[proxy]\nworkers = {before}"), written(f"[proxy]\nworkers = {after}"))
            self.assertEqual(expected, config.proxy.workers)
            self.assertEqual(() if expected == after else (("proxy", "workers"),), kept)
