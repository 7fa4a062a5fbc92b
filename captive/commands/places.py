"""Which settings and stores a command works on."""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from crm.errors import SetupError
from crm.schema import is_current
from crm.settings import Backup, Settings, StoreSection
from crm.settings_file import load_settings
from crm.store import Store, open_store


def stores_of(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Both stores: (address, the package whose schema it has)."""
    return (settings.store.crm, "crm"), (settings.store.access, "captive")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that ``--config`` names, or plain ones around the stores of ``--data``."""
    data: Path | None = getattr(args, "data", None)
    if data is None:
        return load_settings(args.config)
    if not (data / "crm.db").exists():
        raise SetupError(f"{data}: no store here (crm.db is missing); wificrm demo --data {data} makes one")
    return Settings(
        store=StoreSection(crm=str(data / "crm.db"), access=str(data / "access.db")),
        secrets=str(data / "secrets"),
        backup=Backup(folder=str(data / "backups")),
    )


async def need_current(dsn: str, package: str) -> None:
    """Raise `SetupError` unless the store at *dsn* is there with this program's schema."""
    if not await is_current(dsn, package):
        shown = "of the settings" if "://" in dsn else dsn
        raise SetupError(
            f"the store {shown} is missing or not of this program's schema; run: wificrm migrate"
        )


async def with_store(
    args: argparse.Namespace,
    run: Callable[[argparse.Namespace, Store, Settings], Awaitable[int]],
    package: Literal["crm", "captive"] = "crm",
) -> int:
    """Run a command on the store of *package* (by default the crm store) and close it."""
    settings = settings_of(args)
    address = settings.store.crm if package == "crm" else settings.store.access
    await need_current(address, package)
    store = open_store(address)
    try:
        return await run(args, store, settings)
    finally:
        await store.close()
