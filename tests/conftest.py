"""pytest runs the suite in a directory of its own, as trial does: what ``mktemp`` makes is not left in the checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("suite"))
    yield
    os.chdir(before)
