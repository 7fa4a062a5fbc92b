"""Whether anybody can be on a guests' network at all: something is plugged in, the radio is on the air."""

from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.handset import find_link
from captive.gate.hostapd import ask_state
from crm.commands_here import to_see_radios
from crm.settings import Settings

WIRE, RADIO = "access points", "hostapd"


def look_at_radios(settings: Settings) -> list[Finding]:
    """Each interface of guests, and each hostapd that the settings name. Before a phone is plugged in."""
    notes = Notes()
    if settings.gate.gateway == "open":
        return []
    names = dict.fromkeys(network.interface for network in settings.networks)
    links = {name: link for name in names if (link := find_link(name)) and link.is_up}
    dark = [name for name, link in links.items() if not link.has_carrier]
    for name in dark:
        notes.fault(
            WIRE,
            f"none at {name}: no cable that leads to one, no radio that is on the air; no phone can join",
            f"see to cable and power of the access point (bridge link show); or to the radio: {to_see_radios()}",
        )
    if links and not dark:
        notes.ok(WIRE, f"something is plugged into {', '.join(links)}")
    for path in (path for network in settings.networks for path in network.hostapd):
        _tell_hostapd(notes, path)
    return notes.findings


def _tell_hostapd(notes: Notes, path: str) -> None:
    try:
        state = ask_state(path)
    except PermissionError:
        notes.skip(RADIO, f"{path} is for root to ask; run it with sudo")
    except OSError as error:
        notes.fault(RADIO, f"nobody answers at {path} ({error.strerror or error})", to_see_radios())
    else:
        if state == "ENABLED":
            notes.ok(RADIO, f"{path}: on the air")
        else:
            why = ": it listens for radar first, for a minute or ten" if state == "DFS" else ""
            notes.fault(
                RADIO, f"{path}: not on the air ({state or 'it does not say why'}){why}", to_see_radios()
            )
