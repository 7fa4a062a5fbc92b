"""Scrapes read and compared, and promtool where it is installed."""

import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool (Debian package prometheus)"
)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

OF_THE_MACHINE = (
    "process_",
    "wificrm_gate_round_trip_seconds",
    "wificrm_store_free_bytes",
    "wificrm_router_report_age",
    "wificrm_watch_",
    "wificrm_grant_wait_seconds_bucket",
    "wificrm_grant_wait_seconds_sum",
)
"""What moves by itself; on a busy machine one grant takes longer than another."""


def read(text: str) -> Samples:
    """{(name, labels): value} of a scrape."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def gained(before: Samples, after: Samples) -> Samples:
    """What changed, and by how much, but for what moves by itself."""
    assert before.keys() <= after.keys()
    return {
        key: value - before.get(key, 0.0)
        for key, value in after.items()
        if value != before.get(key) and not key[0].startswith(OF_THE_MACHINE)
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample of a scrape."""
    return samples[name, tuple(sorted(labels.items()))]
