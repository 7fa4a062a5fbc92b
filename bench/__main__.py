"""``python -m bench``: every figure, each beside its limit, in one run."""

import os
import sys

from bench import answers, crowd, forwarding, grants, page, routers
from bench.table import show


def main() -> None:
    """Measure and print a Markdown table."""
    cores = os.cpu_count()
    print(f"{cores} cores, Python {sys.version.split()[0]}; every ratio is of one run on this machine\n")
    parts = (page, answers, grants, routers, forwarding, crowd)
    print(show([row for part in parts for row in part.measure()]))


if __name__ == "__main__":
    main()
