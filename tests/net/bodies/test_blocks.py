"""Tests for ``xproxy.net.bodies.blocks``: another limit while blocks are in use."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xproxy.net.bodies.blocks import BLOCK_BYTES, SHARE, Blocks


class ResizeTests(SynchronousTestCase):
    """Another limit."""

    def test_more(self) -> None:
        blocks = Blocks(BLOCK_BYTES)
        claimed = [blocks.claim()]
        self.assertIsNone(blocks.claim())
        blocks.resize(3 * BLOCK_BYTES)
        self.assertEqual((blocks.free, blocks.most_bytes), (2, 3 * BLOCK_BYTES // SHARE))
        claimed += [blocks.claim(), blocks.claim()]
        self.assertEqual((None in claimed, blocks.claim()), (False, None))

    def test_less(self) -> None:
        """What is in use stays so, and is let go when it comes back."""
        blocks = Blocks(4 * BLOCK_BYTES)
        claimed = [block for block in (blocks.claim(), blocks.claim(), blocks.claim()) if block is not None]
        blocks.give_back([claimed.pop()])
        blocks.resize(BLOCK_BYTES)
        self.assertEqual(blocks.free, 0)
        self.assertIsNone(blocks.claim())
        blocks.give_back([claimed.pop()])
        self.assertEqual(blocks.free, 0)
        blocks.give_back([claimed.pop()])
        self.assertEqual(blocks.free, 1)
        self.assertIsNotNone(blocks.claim())
        self.assertIsNone(blocks.claim())

    def test_none(self) -> None:
        """And back."""
        blocks = Blocks(2 * BLOCK_BYTES)
        blocks.give_back([block for block in (blocks.claim(),) if block is not None])
        blocks.resize(0)
        self.assertIsNone(blocks.claim())
        blocks.resize(2 * BLOCK_BYTES)
        self.assertEqual(blocks.free, 2)
