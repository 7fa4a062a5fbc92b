"""What the guides name is there: files, headings, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from captive.cli import COMMANDS

ROOT = Path(__file__).parents[1]
GUIDES = sorted(
    each
    for folder in (ROOT, ROOT / "docs", ROOT / "router_scripts")
    for each in folder.glob("*.md" if folder == ROOT else "**/*.md")
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`|^ {0,3}```\w*\n(.*?)^ {0,3}```", re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of a guide: its headings as Git forges name them, and those given by hand."""
    text = path.read_text("utf-8")
    headings = (re.sub(r"[^\w\- ]", "", each.lower()).strip() for each in re.findall(r"(?m)^#+ (.+)$", text))
    return {each.replace(" ", "-") for each in headings} | set(re.findall(r'<a id="([^"]+)">', text))


def links(path: Path) -> Iterator[str]:
    for target in LINK.findall(path.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            yield target


def commands(path: Path) -> Iterator[str]:
    """The word after ``wificrm`` wherever a span or a line of code begins with it."""
    for words in CODE.findall(path.read_text("utf-8")):
        yield from re.findall(r"(?m)^ *(?:[$#] )?(?:sudo )?(?:\S*bin/)?wificrm +([a-z]+)", "".join(words))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_every_link_of_a_guide_leads_somewhere(guide: Path) -> None:
    for target in links(guide):
        name, _, anchor = target.partition("#")
        path = guide.parent / name if name else guide
        assert path.exists(), f"{guide.name}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{guide.name}: {target}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_every_command_of_a_guide_is_one(guide: Path) -> None:
    assert {name for name in commands(guide) if name not in COMMANDS} == set()


def test_guides_name_commands_and_have_links_at_all() -> None:
    assert sum(1 for guide in GUIDES for _ in commands(guide)) > 40
    assert sum(1 for guide in GUIDES for _ in links(guide)) > 10
