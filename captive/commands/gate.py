"""``wificrm gate``: the small privileged process."""

import argparse

import structlog

from captive.box.applied import NO_GUESTS, while_they_hold
from captive.gate.gate import serve_gate
from captive.signals import until_stopped
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
    start_log(settings.log.level, settings.log.format)
    log = structlog.get_logger()
    if settings.networks:
        work = serve_gate(settings, lambda: log.info("gate open"))
    else:
        log.info(NO_GUESTS)
        work = until_stopped()
    await while_they_hold(settings, work)
    return 0
