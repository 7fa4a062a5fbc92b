"""What is written is what Prometheus reads."""

import math
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from captive.metrics.catalogue import CATALOGUE
from captive.metrics.exposition import Exposition, Family
from tests.captive.metrics.scrapes import needs_promtool

ROOT = Path(__file__).parents[3]
ODD = 'a"b\\c\nd é'


def test_prometheus_reads_back_what_is_written() -> None:
    page = Exposition()
    gauge = Family("some_ratio", "gauge", "A \\ share\nof it.", ("place", "kind"))
    page.add(gauge, 0.1, ODD, "x")
    page.add(Family("other_total", "counter", "Others."), 2**53 + 2)
    page.add(gauge, math.inf, "hall", "y")
    page.add_histogram(Family("wait_seconds", "histogram", "Waits."), (0.5, 1), (3, 0, 2), 4.25)
    families = {each.name: each for each in text_string_to_metric_families(page.text())}
    assert families["some_ratio"].documentation == "A \\ share\nof it."
    assert [(s.labels, s.value) for s in families["some_ratio"].samples] == [
        ({"place": ODD, "kind": "x"}, 0.1),
        ({"place": "hall", "kind": "y"}, math.inf),
    ]
    assert families["other"].type == "counter"
    assert families["other"].samples[0].value == 2**53 + 2
    waits = families["wait_seconds"]
    assert waits.type == "histogram"
    assert [(s.name, s.labels.get("le"), s.value) for s in waits.samples] == [
        ("wait_seconds_bucket", "0.5", 3),
        ("wait_seconds_bucket", "1", 3),
        ("wait_seconds_bucket", "+Inf", 5),
        ("wait_seconds_sum", None, 4.25),
        ("wait_seconds_count", None, 5),
    ]


def test_a_label_too_many_or_too_few_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="zip"):
        Exposition().add(Family("some_ratio", "gauge", "A share.", ("place",)), 1)


def test_names_follow_the_usual_rules() -> None:
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE) >= 35
    for family in CATALOGUE:
        assert re.fullmatch(r"(wificrm|process)_[a-z_]+", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert family.tells.endswith(".")
        assert not {"mac", "address", "device", "ip", "response", "question"} & set(family.labels)


@needs_promtool
def test_promtool_has_nothing_to_complain_of() -> None:
    page = Exposition()
    for family in CATALOGUE:
        if family.kind == "histogram":
            page.add_histogram(family, (1,), (0, 0), 0)
        else:
            page.add(family, 1, *("x" for _ in family.labels))
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=page.text(), capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_the_documentation_has_the_same_table() -> None:
    text = (ROOT / "docs/monitoring.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| `((?:wificrm|process)_\w+)`(?: \(([^)]*)\))? \| (\w+) \| (.*?) \|$", text)
    documented = [(name, labels.replace("`", ""), kind) for name, labels, kind, _ in rows]
    assert documented == [(each.name, ", ".join(each.labels), each.kind) for each in CATALOGUE]
