"""``wificrm watch`` with short windows, so that tests need not wait: rates stay as they are.

Usage: hasty_watch CONFIG
"""

import sys

from captive.cli import main
from captive.watch import floods, observer, roaming
from captive.watch.webhook import Webhook

WINDOW, TIME_TO_SPEAK = 1.5, 8.0
"""Seconds over which a rate is taken here; and in which a crowd that joins on a busy machine has begun to speak."""

if __name__ == "__main__":
    floods.WINDOW = WINDOW
    floods.TIME_TO_SPEAK = TIME_TO_SPEAK
    roaming.APART = 0.5
    setattr(observer, "PROBE_APART", 1.0)  # noqa: B010 mypy does not see what a module has imported
    Webhook.__init__.__defaults__ = ((0.5, 1.0),)
    main(["watch", "--config", sys.argv[1]])
