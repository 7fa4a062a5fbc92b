"""Alert rules, scrape settings and the dashboard: read by promtool, and naming only figures that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from captive.metrics.catalogue import CATALOGUE
from tests.captive.metrics.scrapes import needs_promtool
from tests.test_docs import anchors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "router_scripts/monitoring"
ALERTS = (FOLDER / "alerts.yml").read_text("utf-8")
NAMES = {family.name for family in CATALOGUE}
LABELS = {
    family.name: {*family.labels, "job", "instance", *(["le"] if family.kind == "histogram" else [])}
    for family in CATALOGUE
}
NAMED = re.compile(r"\b(?:wificrm|process)_[a-z_]+\b(?!=)")


def promtool(*words: str | Path) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unknown(expression: str) -> set[str]:
    """Figures that *expression* names and nobody tells."""
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAMED.findall(expression)}
    return named - NAMES


def unknown_labels(expression: str, shown: str = "") -> set[str]:
    """Labels by which *expression* chooses or groups, or that *shown* names, and that its figures have not got."""
    wrong, has = set(), {"job", "instance"}  # what `up` has
    for name, chosen in re.findall(r"\b((?:wificrm|process)_[a-z_]+)(?:\{(.*?)\})?", expression):
        labels = LABELS[re.sub(r"_(bucket|sum|count)$", "", name)]
        wrong |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen)) - labels
        has |= labels
    has |= set(re.findall(r'label_replace\([^"]*"(\w+)"', expression))
    by = {label for each in re.findall(r" by \((.*?)\)", expression) for label in each.split(", ")}
    matched = {
        label for each in re.findall(r"(?:on|ignoring) \((.*?)\)", expression) for label in each.split(", ")
    }
    named = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", shown))
    return wrong | ((by | matched) - has) | (named - (by or has))


def dashboard() -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    return decoded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def alerts() -> list[dict[str, str]]:
    """{key: value} of each rule, as far as it stands on one line."""
    return [
        {"alert": text.partition("\n")[0], **dict(re.findall(r"(?m)^ +(\w+): (.+)$", text))}
        for text in ALERTS.split("- alert: ")[1:]
    ]


@needs_promtool
@pytest.mark.parametrize(
    ("verb", "kind", "file"),
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
)
def test_promtool_takes_what_is_shipped(verb: str, kind: str, file: str) -> None:
    assert "SUCCESS" in promtool(verb, kind, file)


@needs_promtool
def test_a_rule_that_never_fires_would_be_found(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "alerts_test.yml", tmp_path)
    (tmp_path / "alerts.yml").write_text(ALERTS.replace("used_ratio > 0.85", "used_ratio > 0.95"))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "alerts_test.yml"], capture_output=True, check=False
    )
    assert done.returncode == 1


def test_each_alert_says_what_to_do_and_where_more_is_and_is_tried() -> None:
    tried = (FOLDER / "alerts_test.yml").read_text("utf-8")
    known = anchors(ROOT / "docs/troubleshooting.md")
    assert len(alerts()) >= 25
    for rule in alerts():
        assert rule["summary"], rule
        file, _, anchor = rule["runbook"].partition("#")
        assert file == "troubleshooting.md"
        assert anchor in known, rule
        assert f'alertname="{rule["alert"]}"' in tried, rule
    assert ALERTS.count("description:") == ALERTS.count("runbook:") == len(alerts())


def test_the_documentation_has_every_alert_with_its_severity() -> None:
    text = (ROOT / "docs/monitoring.md").read_text("utf-8")
    severities = re.findall(r"severity: (\w+)", ALERTS)
    shipped = [(rule["alert"], severity) for rule, severity in zip(alerts(), severities, strict=True)]
    assert re.findall(r"(?m)^\| `(Wificrm\w+)` \((\w+)\) \| ", text) == shipped


def test_alerts_name_only_figures_that_there_are() -> None:
    assert unknown(ALERTS) == set()
    assert unknown("rate(wificrm_answers_total[5m])") == {"wificrm_answers_total"}
    assert unknown("rate(wificrm_grant_wait_seconds_bucket[5m])") == set()


@needs_promtool
def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    assert len(expressions()) >= 35
    rules = []
    for number, expression in enumerate(expressions()):
        plain = (
            expression.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$place", ".*")
        )
        assert "$" not in plain, expression
        rules.append({"record": f"panel:{number}", "expr": plain})
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_dashboard_and_alerts_show_every_figure_and_no_other() -> None:
    assert [each for each in expressions() if unknown(each)] == []
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name) for each in expressions() for name in NAMED.findall(each)
    }
    assert shown == NAMES


def test_expressions_choose_group_and_show_by_labels_that_there_are() -> None:
    """A label that no figure has selects nothing: the panel stays empty, the alert never fires."""
    for panel in panels():
        for target in panel["targets"]:
            assert unknown_labels(target["expr"], target["legendFormat"]) == set(), panel["title"]
    for rule in ALERTS.split("- alert: ")[1:]:
        expression, _, rest = rule.partition("expr:")[2].partition("labels:")
        assert unknown_labels(expression, rest) == set(), rule
    assert unknown_labels('wificrm_ready{store="crm"}') == {"store"}
    assert unknown_labels("sum by (place) (wificrm_ready)", "{{part}}") == {"place", "part"}


def test_the_dashboard_can_be_imported_anywhere() -> None:
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(variables) == {"datasource", "instance", "place"}
    for name in ("instance", "place"):
        assert unknown(variables[name]["query"]["query"]) == set()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == ["Guests", "Portal", "Gate", "Box", "Routers", "Watch", "Survey, of finished days only"]


def test_panels_do_not_lie_over_each_other() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= own


def test_guides_name_only_figures_that_there_are() -> None:
    for guide in sorted((ROOT / "docs").glob("*.md")):
        named = re.findall(r"`(wificrm_[a-z_]+[a-z])(?:\{[^`]*)?`", guide.read_text("utf-8"))
        assert [each for each in named if unknown(each)] == [], guide.name
