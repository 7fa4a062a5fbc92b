"""The thin routers that this portal serves: which are connected."""

from datetime import UTC, datetime

from captive.doctor.finding import Finding, Notes
from captive.routers.keys import read_key
from captive.routers.state import read_states
from crm.settings import Settings


def look_at_routers(settings: Settings) -> list[Finding]:
    """Whether each router has a key and is connected."""
    notes = Notes()
    states = read_states(settings)
    for router in settings.routers:
        what = f"router {router.name}"
        state = (states or {}).get(router.name)
        if state:
            since = f"{datetime.fromtimestamp(state.since, UTC):%Y-%m-%d %H:%M}"
            online = "1 device is" if state.devices == 1 else f"{state.devices} devices are"
            notes.ok(
                what, f"connected since {since} UTC, version {state.version or 'not told'}; {online} online"
            )
        elif read_key(settings, router.name) is None:
            notes.fault(
                what, "has no key (that this user may read)", f"run as root: wificrm router key {router.name}"
            )
        elif states is None:
            notes.skip(what, "no portal runs here that could tell whether it is connected")
        else:
            notes.fault(
                what,
                "away: nobody new comes online there",
                f"look at its power and line; on it: logread -e wificrm; does it reach port "
                f"{settings.portal.router_port} of {settings.portal.name}?",
            )
    return notes.findings
