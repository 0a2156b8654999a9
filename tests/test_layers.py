"""The drawing of the packages in the architecture's page is the one that ``make lint`` checks."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Dict, List

from twisted.trial.unittest import TestCase

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


def drawn(marker: str) -> List[str]:
    """The layers in the drawing behind a marker, as the contracts spell them."""
    page = (ROOT / "docs/architecture/README.md").read_text("utf-8")
    found = re.search(rf"<!-- {marker} -->\n```\n(.*?)```", page, re.DOTALL)
    assert found is not None, marker
    return [re.split(r"\s{2,}", line)[0] for line in found[1].splitlines()]


class LayersTests(TestCase):
    def test_the_drawing_is_checked(self) -> None:
        settings: Dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
        contracts = {contract["id"]: contract for contract in settings["contracts"]}
        self.assertEqual(drawn("layers"), contracts["layers"]["layers"])
        self.assertEqual(drawn("layers of proxy"), contracts["request"]["layers"])
        self.assertTrue(all(contract["exhaustive"] for contract in contracts.values()), "a new package must be drawn")
