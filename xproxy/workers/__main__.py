"""``python -m xproxy.workers NUMBER REACTOR``: a worker, as its parent starts it."""

import sys

from .inside.worker import main

if __name__ == "__main__":
    main(sys.argv[1:])
