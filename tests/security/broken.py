"""Make each mistake of `broken_builds` in a copy of the project and see its tests fail.

``python -m tests.security.broken`` (``make broken-builds``) for all, with numbers of cases for some. Prints a
table; ends with 1 where a mistake goes unnoticed, or where its tests fail without it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.security.broken_builds import MISTAKES, Mistake

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "artefacts", "build", "*.egg-info", "demo-data"
)
TIMEOUT = 1800
KINDS = {"failure": "failed", "error": "not run", "skipped": "skipped"}
"""What pytest calls them in its file, and what they are called here."""


def copy_of(folder: Path) -> Path:
    """The project as it stands, in *folder*."""
    return Path(shutil.copytree(ROOT, folder / "project", ignore=LEFT_OUT))


def break_in(project: Path, mistake: Mistake) -> None:
    """Make *mistake* in *project*. Raises ValueError when its source is not there exactly once."""
    path = project / mistake.file
    text = path.read_text("utf-8")
    if text.count(mistake.source) != 1:
        raise ValueError(f"{mistake.file} has {text.count(mistake.source)} times: {mistake.source!r}")
    path.write_text(text.replace(mistake.source, mistake.broken), "utf-8")


def outcomes(project: Path, tests: Iterable[str]) -> dict[str, set[str]]:
    """How each of *tests* went in *project*, over all of its parameters: passed, failed, skipped or not run."""
    wanted = {_as_told(test): test for test in tests}
    told = project / "junit.xml"
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={told}"]
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    found: dict[str, set[str]] = {test: set() for test in wanted.values()}
    try:
        # In a folder of its own: another run would close pytest's common one to the lab's unprivileged users.
        whole = [*command, f"--basetemp={project.parent / 'tmp'}", *wanted.values()]
        subprocess.run(whole, cwd=project, env=environment, capture_output=True, timeout=TIMEOUT, check=False)
        cases = list(ET.parse(told).iter("testcase"))
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return {test: {"not run"} for test in found}
    for case in cases:
        test = wanted.get(f"{case.get('classname')}.{case.get('name', '').partition('[')[0]}", "")
        late = any("failed on teardown" in child.get("message", "") for child in case)
        kinds = {child.tag for child in case} | ({"failure"} if late else set())
        found.setdefault(test, set()).add(next((KINDS[kind] for kind in KINDS if kind in kinds), "passed"))
    return found


def _as_told(test: str) -> str:
    """The name under which pytest's file tells how *test* went."""
    return test.replace(".py::", ".").replace("::", ".").replace("/", ".")


def not_passing(project: Path, tests: Iterable[str]) -> dict[str, set[str]]:
    """Which of *tests* do not pass in *project*, tried twice: the machine may be busy."""

    def bad(seen: dict[str, set[str]]) -> dict[str, set[str]]:
        return {test: kinds for test, kinds in seen.items() if kinds - {"passed", "skipped"} or not kinds}

    again = bad(outcomes(project, tests))
    return bad(outcomes(project, again)) if again else {}


def verdict(seen: dict[str, set[str]]) -> str:
    """What to say of a broken build whose tests went like that."""
    unnoticed = [test for test, kinds in seen.items() if "failed" not in kinds]
    if not unnoticed:
        return "noticed"
    if all(kinds == {"skipped"} for kinds in (seen[test] for test in unnoticed)):
        return "NOT TRIED (skipped here): " + ", ".join(unnoticed)
    return "NOT NOTICED by " + ", ".join(unnoticed)


def main(numbers: Sequence[str]) -> int:
    """Try all mistakes, or those of the cases *numbers*; the exit code."""
    chosen = [each for each in MISTAKES if not numbers or str(each.case) in numbers]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="wificrm-broken-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the lab's portal runs as nobody
        for test, kinds in not_passing(copy_of(folder), (t for each in chosen for t in each.tests)).items():
            bad += 1
            print(f"     {test}: does not pass as it is ({', '.join(sorted(kinds)) or 'not found'})")  # noqa: T201
        for each in chosen:
            shutil.rmtree(folder / "project")
            project, began = copy_of(folder), time.monotonic()
            break_in(project, each)
            said = verdict(outcomes(project, each.tests))
            bad += said != "noticed"
            print(f"{each.case:3}  {each.name:45} {said} ({time.monotonic() - began:.0f} s)", flush=True)  # noqa: T201
    print(f"{len(chosen)} mistakes, {bad} problems")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
