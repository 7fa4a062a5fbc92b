"""``wificrm gate``: the small privileged process."""

import argparse

import structlog

from captive.box.check import need_guests
from captive.gate.gate import serve_gate
from crm.command_line import add_config
from crm.log import start_log
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = "Run the small privileged process that opens the network. Needs CAP_NET_ADMIN only."
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Open the network for devices until SIGTERM."""
    settings = load_settings(args.config)
    need_guests(settings)
    start_log(settings.log.level, settings.log.format)
    await serve_gate(settings, lambda: structlog.get_logger().info("gate open"))
    return 0
