"""Every figure that is told; docs/monitoring.md has the same in a table, and a test holds both together."""

from captive.metrics.exposition import Family

DEVICES_JOINED = Family(
    "wificrm_devices_joined_total",
    "counter",
    "Devices that were there, each once a day; told when its way online opened, or 15 minutes after it came.",
    ("place",),
)
DEVICES_REDIRECTED = Family(
    "wificrm_devices_redirected_total",
    "counter",
    "Devices whose probe or page was answered by a redirect to the portal, each once a day; told as they join.",
    ("place",),
)
PORTAL_SHOWN = Family(
    "wificrm_portal_shown_total",
    "counter",
    "Devices that were shown the first page, each once a day; told as they join.",
    ("place",),
)
GRANTS = Family(
    "wificrm_grants_total",
    "counter",
    "Attempts to bring a device online: granted, refused (closed, used_up, blocked) or failed.",
    ("place", "outcome"),
)
GRANT_WAIT = Family(
    "wificrm_grant_wait_seconds",
    "histogram",
    "From the end of what a guest was asked to the open way; each counted as the bound of its bucket.",
)
GRANTS_ENDED = Family(
    "wificrm_grants_ended_total",
    "counter",
    "Grants that ended: their time was over, all was taken, nothing was taken for too long, somebody ended them.",
    ("place", "reason"),
)
DEVICES_ONLINE = Family(
    "wificrm_devices_online", "gauge", "Devices that are online by a grant now.", ("place",)
)
PLACE_OPEN = Family(
    "wificrm_place_open", "gauge", "Whether guests may be online now by the opening hours.", ("place",)
)
SURVEY_VISITORS = Family(
    "wificrm_survey_visitors",
    "gauge",
    "Visitors of the last finished local day by what they did; answered is withheld where it is 1 to 4.",
    ("step",),
)
SURVEY_DAY = Family(
    "wificrm_survey_day_timestamp_seconds", "gauge", "When that day began, in seconds since 1970."
)

READY = Family(
    "wificrm_ready", "gauge", "Whether each part that guests need is well, as on /readyz.", ("part",)
)
GATE_REACHABLE = Family("wificrm_gate_reachable", "gauge", "Whether the gate answered the last time.")
GATE_ROUND_TRIP = Family(
    "wificrm_gate_round_trip_seconds",
    "gauge",
    "How long the gate took to list who is online, the last time; in whole hundredths.",
)
REPAIRS = Family(
    "wificrm_gateway_repairs_total",
    "counter",
    "Devices that the kernel let through, or did not, against the book of grants, and that were put right.",
)

STORE_USABLE = Family(
    "wificrm_store_usable", "gauge", "Whether the store takes what is written to it.", ("store",)
)
STORE_BEHIND = Family(
    "wificrm_store_behind", "gauge", "Whether the access store lacks grants that are in memory."
)
STORE_SET_ASIDE = Family(
    "wificrm_store_set_aside_files", "gauge", "Broken stores that lie beside the new one.", ("store",)
)
STORE_QUEUE = Family(
    "wificrm_store_queue_writes", "gauge", "Writes that wait for a commit, in whole hundreds.", ("store",)
)
STORE_WAIT = Family(
    "wificrm_store_wait_seconds",
    "gauge",
    "How long a write waited for its commit at worst in the last minutes; 0 below a second.",
    ("store",),
)
STORE_COMMIT = Family(
    "wificrm_store_commit_seconds",
    "gauge",
    "How long a commit took at worst in the last minutes; 0 below a second.",
    ("store",),
)
STORE_FREE = Family(
    "wificrm_store_free_bytes", "gauge", "Free on the store's disk, in whole 64 MiB.", ("store",)
)

CERTIFICATE_GOOD = Family(
    "wificrm_certificate_good",
    "gauge",
    "Whether phones take the portal's certificate; only where one is set.",
)
CERTIFICATE_ENDS = Family(
    "wificrm_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the certificate ends, in seconds since 1970.",
)
CLOCK_SOUND = Family("wificrm_clock_sound", "gauge", "Whether the clock of this box can be right.")
DHCP_POOL = Family("wificrm_dhcp_pool_addresses", "gauge", "IPv4 addresses there are for guests.", ("place",))
DHCP_USED = Family(
    "wificrm_dhcp_pool_used_ratio", "gauge", "Share of them that is leased, in twentieths.", ("place",)
)
WATCH_RUNNING = Family(
    "wificrm_watch_running", "gauge", "Whether wificrm watch gave a sign of life within three minutes."
)
WATCH_ALERTS = Family(
    "wificrm_watch_alerts_total", "counter", "What wificrm watch told of since it started.", ("kind",)
)
WATCH_SEEN = Family(
    "wificrm_watch_last_seen_timestamp_seconds",
    "gauge",
    "When wificrm watch last saw such a thing, in seconds since 1970.",
    ("kind",),
)
ROUTER_CONNECTED = Family(
    "wificrm_router_connected", "gauge", "Whether the thin router is connected.", ("router",)
)
ROUTER_REPORT_AGE = Family(
    "wificrm_router_report_age_seconds",
    "gauge",
    "Seconds since the thin router last reported, 0 below half a minute; none while it never did.",
    ("router",),
)
BACKUP_MADE = Family(
    "wificrm_backup_timestamp_seconds",
    "gauge",
    "When the newest backup was made, in seconds since 1970; 0: never.",
)
BUILD = Family("wificrm_build_info", "gauge", "Always 1; the label is the release.", ("version",))

PROCESS_MEMORY = Family(
    "process_resident_memory_bytes", "gauge", "Memory of the portal process, in whole MiB."
)
PROCESS_CPU = Family(
    "process_cpu_seconds_total", "counter", "Processor time of the portal process, in whole seconds."
)
PROCESS_FILES = Family(
    "process_open_fds", "gauge", "Files and sockets of the portal process, in whole hundreds."
)
PROCESS_MAX_FILES = Family("process_max_fds", "gauge", "As many as it may have open.")
PROCESS_START = Family(
    "process_start_time_seconds", "gauge", "When the portal started, in seconds since 1970."
)

CATALOGUE: tuple[Family, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Family))
"""All of them, in the order above."""
