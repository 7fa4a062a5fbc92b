"""``wificrm watch``: the process that tells of rogue servers, false gateways, copied devices and floods."""

import argparse
from importlib import import_module
from importlib.util import find_spec

from captive.box.applied import while_they_hold
from crm.command_line import add_config
from crm.errors import SetupError
from crm.log import start_log
from crm.settings_file import load_settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    command.description = (
        "Watch the guests' networks of this box for rogue DHCP servers and routers, devices that pretend to be the "
        "gateway, one MAC at two places, and floods. Tells the log, the metrics and watch.webhook, never naming a "
        "device. Needs CAP_NET_RAW only."
    )
    command.add_argument(
        "--show",
        action="store_true",
        help="show live, on this terminal only, which MACs it is about; tells nobody else and keeps nothing",
    )
    add_config(command)


async def run(args: argparse.Namespace) -> int:
    """Watch until SIGTERM or Ctrl-C."""
    settings = load_settings(args.config)
    if find_spec("scapy") is None:
        raise SetupError(
            "the watch needs scapy, which is not installed: apt-get install python3-scapy, or "
            "pip install 'wificrm[watch]'"
        )
    watcher = import_module("captive.watch.watcher")  # with scapy in it, which only this command may need
    start_log(settings.log.level, settings.log.format)
    if args.show:
        await watcher.show(settings)
    else:
        await while_they_hold(settings, watcher.watch(settings))
    return 0
