"""A whole venue: an internet, a gateway, phones, torn down whatever happens."""

import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Self

from tests.lab.certificates import Authority
from tests.lab.gateway import BRIDGE, UPLINK, Gateway
from tests.lab.internet import Internet
from tests.lab.namespace import Run, sweep
from tests.lab.phone import Phone


class Venue:
    """Use as a context manager; the options are those of `Gateway`."""

    def __init__(self, **options: object) -> None:
        sweep()
        self._stack = contextlib.ExitStack()
        with self._stack as stack:
            self.run = Run()
            stack.callback(self.run.close)
            self.authority = Authority(self.run.folder / "authority")
            self.internet = Internet(self.run, self.authority)
            stack.callback(self.internet.close)
            self.gateway = Gateway(self.run, self.authority, **options)  # type: ignore[arg-type]
            stack.callback(self.gateway.close)
            self.internet.wire(self.gateway.namespace, UPLINK)
            self.phones: list[Phone] = []
            self._numbers = itertools.count(1)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self.gateway.start()
            self.internet.wait()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def phone(self, bridge: str = BRIDGE) -> Phone:
        """A phone that nobody has seen before, not yet on the Wi-Fi of *bridge*."""
        phone = Phone(
            self.run, self.gateway.namespace, bridge, next(self._numbers), self.authority.certificate
        )
        self.phones.append(phone)
        return phone

    def close(self) -> None:
        """Take everything down."""
        for phone in self.phones:
            phone.close()
        self.phones.clear()
        self._stack.close()


def eventually(holds: Callable[[], bool], *, within: float = 60, every: float = 0.05) -> bool:
    """Whether *holds* becomes true *within* seconds."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(every)
    return True
