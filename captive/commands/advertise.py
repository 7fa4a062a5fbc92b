"""``wificrm advertise``: the small process that advertises this box as the guests' IPv6 router."""

import argparse

import structlog

from captive.advertise.advertiser import serve_advertiser
from captive.box.applied import while_they_hold
from crm.command_line import add_config
from crm.log import start_log
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Run the small process that advertises this box as the guests' IPv6 router. Needs CAP_NET_RAW only."
    )
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Advertise until SIGTERM."""
    settings = load_settings(args.config)
    start_log(settings.log.level, settings.log.format)
    log = structlog.get_logger()
    await while_they_hold(settings, serve_advertiser(settings, lambda: log.info("advertising")))
    return 0
