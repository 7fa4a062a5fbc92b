"""Conventions of the house, checked."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]
PACKAGES = ("crm", "surveys", "campaigns", "captive")
MODULES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in path.parts
]
RULES = (
    "crm/times.py", "crm/tokens.py", "crm/splice.py", "crm/colours.py", "surveys/questions.py", "surveys/answers.py",
    "surveys/masking.py", "surveys/counts.py", "surveys/scores.py", "surveys/suppression.py",
    "campaigns/announcements.py", "crm/opening_hours.py", "captive/grants/policy.py", "captive/portal/rfc8908.py",
    "captive/portal/public_services.py", "captive/portal/probes.py", "captive/kernel/ruleset.py",
    "captive/kernel/metering.py", "captive/kernel/dns_limits.py", "captive/kernel/garden.py",
    "captive/box/dnsmasq.py", "captive/advertise/advertisement.py", "captive/grants/deadlines.py",
    "captive/routers/wire.py", "captive/routers/mirror.py", "captive/portal/cookie.py",
    "captive/watch/advice.py", "captive/watch/alarms.py", "captive/watch/filters.py", "captive/watch/floods.py",
    "captive/watch/frames.py", "captive/watch/heavy_hitters.py", "captive/alert_kinds.py", "captive/watch/roaming.py",
    "captive/metrics/exposition.py", "captive/metrics/catalogue.py", "captive/grants/tally.py", "crm/pace.py",
)  # fmt: skip
FORBIDDEN_IN_RULES = {"aiohttp", "sqlalchemy", "pandas", "os", "subprocess", "socket", "asyncio", "time"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            yield each.module


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_longest_test_files_are_where_a_run_looks_for_them() -> None:
    assert [each for each in LONGEST if not (ROOT / "tests" / f"{each}.py").exists()] == []


def test_no_import_of_ours_hides_inside_a_function() -> None:
    hidden = [
        f"{name(path)}:{function.lineno} {module}"
        for path in MODULES
        for function in functions(path)
        for module in imported(function)
        if module.partition(".")[0] in PACKAGES
    ]
    assert hidden == []


@pytest.mark.parametrize("module", RULES)
def test_rules_do_no_io(module: str) -> None:
    used = {each.partition(".")[0] for each in imported(ast.parse((ROOT / module).read_text("utf-8")))}
    assert used & FORBIDDEN_IN_RULES == set()


def test_sql_stays_out_of_handlers() -> None:
    handlers = [path for path in MODULES if path.name in ("pages.py", "console.py")]
    assert len(handlers) >= 5
    assert [
        name(path)
        for path in handlers
        if any(each.startswith("sqlalchemy") for each in imported(ast.parse(path.read_text())))
    ] == []


def test_only_settings_reads_the_environment() -> None:
    readers = [
        name(path)
        for path in MODULES
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    ]
    known = ["captive/box/resolver.py", "captive/portal/kept_sockets.py", "crm/settings.py"]
    assert sorted(readers) == known, "resolver.py reads PATH, kept_sockets.py what systemd tells a service"


def test_nothing_is_run_through_a_shell() -> None:
    for path in MODULES:
        text = path.read_text("utf-8")
        assert "shell=True" not in text, path
        assert "os.system" not in text, path
        assert "create_subprocess_shell" not in text, path


def test_everything_fits_in_the_head() -> None:
    long_modules = [name(path) for path in MODULES if len(path.read_text("utf-8").splitlines()) > 300]
    long_functions = [
        f"{name(path)}:{function.lineno} {function.name}"
        for path in MODULES
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > 45
    ]
    assert long_modules == []
    assert long_functions == []


def test_names_say_what_is_inside() -> None:
    assert [
        name(path) for path in MODULES if path.stem in ("utils", "helpers", "common", "manager", "misc")
    ] == []


def test_the_portal_loads_no_report_writer_and_no_migration_tool() -> None:
    """What a small gateway's memory must not hold; measured in bench/."""
    heavy = {"pandas", "scapy", "xlsxwriter", "alembic", "numpy", "nacl"}
    seen: set[str] = set()
    waiting = ["captive.commands.serve"]
    while waiting:
        module = waiting.pop()
        path = ROOT / (module.replace(".", "/") + ".py")
        path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
        if module in seen or not path.exists():
            continue
        seen.add(module)
        tree = ast.parse(path.read_text("utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            for each in imported(node):
                assert each.partition(".")[0] not in heavy, f"{module} imports {each}"
                waiting.append(each)
                if isinstance(node, ast.ImportFrom):
                    waiting.extend(f"{each}.{alias.name}" for alias in node.names)
    assert "captive.app" in seen
    assert "surveys.store" in seen
