"""``wificrm serve``: the guest portal and the staff pages, without privileges."""

import argparse

import structlog

from captive.app import running
from captive.signals import catch_stop
from crm.command_line import add_config
from crm.log import start_log
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "Run the guest portal and the staff pages. Needs no privileges. Stops at SIGTERM."
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    stop = catch_stop()
    settings = load_settings(args.config)
    start_log(settings.log.level, settings.log.format)
    async with running(settings):
        structlog.get_logger().info("serving", portal=settings.portal.port, console=settings.console.port)
        await stop.wait()
    return 0
