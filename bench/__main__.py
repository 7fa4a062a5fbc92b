"""``python -m bench``: every figure, each beside its limit, in one run; ``python -m bench page grants``: some."""

import os
import sys

from bench import answers, crowd, forwarding, grants, page, routers
from bench.table import show

PARTS = (page, answers, grants, routers, forwarding, crowd)


def main() -> None:
    """Measure and print a Markdown table."""
    cores = os.cpu_count()
    print(f"{cores} cores, Python {sys.version.split()[0]}; every ratio is of one run on this machine\n")
    parts = {part.__name__.rpartition(".")[2]: part for part in PARTS}
    if unknown := [name for name in sys.argv[1:] if name not in parts]:
        sys.exit(f"there is no {', '.join(unknown)}; there are: {', '.join(parts)}")
    chosen = [parts[name] for name in sys.argv[1:] or parts]
    print(show([row for part in chosen for row in part.measure()]))


if __name__ == "__main__":
    main()
