"""Put the last run's report into docs/benchmarks.md, between its two marks, and its picture beside it.

``python -m benchmarks.publish [DIRECTORY]``: a run is looked at before it is published.
"""

from __future__ import annotations

import os
import shutil
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(TOP, "docs", "benchmarks.md")
PICTURE = os.path.join(TOP, "docs", "benchmarks.svg")
OUTPUT = os.path.join(TOP, "build", "benchmarks")
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


def publish(directory: str) -> None:
    """Replace what is between the marks. Raises ValueError when the document does not have them."""
    with open(os.path.join(directory, "results.md")) as file:
        results = file.read()
    with open(DOCUMENT) as file:
        document = file.read()
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} does not have the marks {BEGIN.strip()} and {END.strip()}")
    with open(DOCUMENT, "w") as file:
        file.write(f"{before}{BEGIN}\n{results}\n{END}{after}")
    shutil.copyfile(os.path.join(directory, "results.svg"), PICTURE)


if __name__ == "__main__":
    publish(sys.argv[1] if len(sys.argv) > 1 else OUTPUT)
