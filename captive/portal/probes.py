"""What devices ask before a person does: whose request it is, and what page the person wanted.

The answer to every probe is the same (a 302 with an absolute Location), because no other answer is called
a portal by every system; recognising probe hosts serves only to tell a probe from a page somebody wanted.
"""

import re

from crm.probe_hosts import PROBE_HOSTS

_PROBE_PATHS = ("/generate_204", "/gen_204", "/hotspot-detect.html", "/canonical.html", "/favicon.ico")
_HOST = re.compile(r"(?a:[\w.\-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?", re.IGNORECASE)
MAX_URL = 1024


def host_name(header: str) -> str:
    """The host of a ``Host`` header: lower case, without port and brackets; "" when there is none."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".")


def wanted_page(method: str, host: str, path: str, accept: str) -> str:
    """The address of the page a person asked for, to be offered once online; "" for a probe.

    Only what a browser asks as a page counts, and only over plain http, as it reached us.
    """
    is_page = method == "GET" and "text/html" in accept and not path.startswith(_PROBE_PATHS)
    if not is_page or not _HOST.fullmatch(host) or host_name(host) in PROBE_HOSTS:
        return ""
    if not path.startswith("/"):  # an address in full, as for a proxy
        return ""
    url = f"http://{host}{path}"
    printable = all(" " < letter <= "~" for letter in url) and not any(
        letter in "\"'<>\\^`{|}" for letter in url
    )
    return url if printable and len(url) <= MAX_URL else ""
