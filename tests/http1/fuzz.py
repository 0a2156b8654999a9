"""The differential comparison for as long as one likes: ``python -m tests.http1.fuzz --seconds 600 --seed 1``.

Each round has its own seed, counted up from the given one, so that a find is repeated by its number alone. Exit status 1 and
the message, when a parser disagrees.
"""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.http1.corpus import REQUESTS
from tests.http1.differential import disagreement
from tests.http1.strategies import broken_requests, pieces, requests

EXAMPLES_A_ROUND = 2_000


def spliced() -> st.SearchStrategy[bytes]:
    """Two messages of the corpus, the end of one behind the start of the other."""
    message = st.sampled_from([case.message for case in REQUESTS if len(case.message) < 400])
    return st.tuples(message, message, st.integers(0, 400), st.integers(0, 400)).map(
        lambda cut: cut[0][: cut[2]] + cut[1][cut[3] :]
    )


def fuzz_round(number: int) -> None:
    """Raises AssertionError with the message that parsers read differently."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES_A_ROUND,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        message = data.draw(st.one_of(requests(), broken_requests(), spliced()))
        found = disagreement(data.draw(pieces(message)), data.draw(st.booleans()))
        assert not found, found

    one()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=1)
    given_options = options.parse_args()
    number = given_options.seed
    end = time.monotonic() + given_options.seconds
    while time.monotonic() < end:
        print(f"seed {number}", file=sys.stderr)
        try:
            fuzz_round(number)
        except AssertionError as find:
            print(find, file=sys.stderr)
            return 1
        number += 1
    rounds = number - given_options.seed
    print(f"{rounds} rounds of {EXAMPLES_A_ROUND} messages, seeds {given_options.seed} to {number - 1}: no parser disagrees")
    return 0


if __name__ == "__main__":
    sys.exit(main())
