"""What the guides give to be typed, the program takes."""

import re
import shlex
from pathlib import Path

import pytest

from captive.cli import parse

PROJECT = Path(__file__).parents[2]
GUIDES = [
    *sorted((PROJECT / "docs").glob("*.md")),
    *(PROJECT / name for name in ("README.md", "README.vi.md", "router_scripts/README.md")),
    PROJECT / "router_scripts/debian/setup/apply.sh",  # what the installer says at its end
]


def commands(text: str) -> list[str]:
    """Lines of their own (of its blocks) that begin with the program's name, without what is said of them."""
    blocks = "\n".join(re.findall(r"(?ms)^\s*```.*?```", text)) or text
    lines = re.findall(r"(?m)^\s*(?:sudo )?(wificrm [a-z].*)$", blocks)
    return [re.split(r"\s+[#|&]|\s{3,}", line)[0] for line in lines if not line.endswith("\\")]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_program_takes_what_the_guides_give_to_be_typed(guide: Path):
    for command in commands(guide.read_text()):
        parse(shlex.split(command)[1:])


def test_commands_are_found():
    evening = (PROJECT / "docs/evening.md").read_text()
    assert {"wificrm doctor", "wificrm staff add NAME --role manager"} <= {*commands(evening)}
