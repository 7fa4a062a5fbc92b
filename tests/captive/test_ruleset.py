import re
import subprocess

import pytest

from captive.kernel.ruleset import chains_of, render_ruleset
from tests.captive.golden_cases import CASES, GOLDEN, rendered, settings_of
from tests.captive.small_venue import needs_root


@pytest.mark.parametrize("case", CASES)
def test_texts_are_the_ones_that_were_read_and_agreed(case: str):
    for name, text in rendered(case).items():
        assert text == (GOLDEN / name).read_text(), (
            f"{name}: meant? then python -m tests.captive.golden_cases"
        )


def test_every_golden_file_belongs_to_a_case():
    assert {path.name for path in GOLDEN.iterdir()} == {name for case in CASES for name in rendered(case)}


@pytest.mark.parametrize("case", CASES)
def test_port_443_of_another_host_is_never_redirected(case: str):
    text = render_ruleset(settings_of(case))
    redirected = [line for line in text.splitlines() if "443" in line and "redirect" in line]
    assert all("fib daddr type local" in line for line in redirected)
    assert bool(redirected) == settings_of(case).tls


@pytest.mark.parametrize("case", CASES)
def test_upstream_never_accepts_a_flow_for_being_established(case: str):
    chains = re.findall(
        r"chain (?:upstream|through)_\w+ \{.*?\n\t\}", render_ruleset(settings_of(case)), re.DOTALL
    )
    assert len(chains) == 2 * len(settings_of(case).networks)
    assert not any("ct state" in chain for chain in chains)


@needs_root
@pytest.mark.lab
@pytest.mark.parametrize("case", CASES)
def test_nft_takes_it(case: str):
    done = subprocess.run(
        ["unshare", "--net", "nft", "-c", "-f", "-"],
        input=render_ruleset(settings_of(case)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs_root
@pytest.mark.lab
def test_the_chains_that_must_hold_rules_are_all_there_are_but_the_optional_one():
    settings = settings_of("ipv4-only")
    text = render_ruleset(settings, egress=False)
    chains = re.findall(r"chain (\w+) \{((?:\n\t\t.*)*)", text)
    full = {
        name for name, body in chains if any(not re.match(r"\t\t(type |#)", x) for x in body.split("\n")[1:])
    }
    assert full == chains_of(settings)
