import gzip
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.splice import MARK, SplicedPage, accepts_gzip

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABC-_0123456789", max_size=60)


@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="@")), min_size=1, max_size=5),
    TOKENS,
)
def test_both_forms_are_the_page_with_the_token_in_it(parts: list[str], token: str) -> None:
    page = SplicedPage(MARK.join(parts))
    expected = token.join(parts).encode()
    assert b"".join(page.plain(token.encode())) == expected
    assert gzip.decompress(b"".join(page.gzipped(token.encode()))) == expected


def test_gzip_itself_finds_nothing_to_complain_of() -> None:
    page = SplicedPage(f"<p>{'Xin chào ' * 200}{MARK}</p>{'ông/bà ' * 300}{MARK}!")
    packed = b"".join(page.gzipped(b"t" * 40))
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == b"".join(page.plain(b"t" * 40))
    assert done.stderr == b""
    assert len(packed) < 300


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("gzip", True),
        ("deflate, gzip;q=1.0, br", True),
        ("br,GZIP ; Q=0.5", True),
        ("x-gzip", True),
        ("", False),
        ("br, deflate", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("identity, GZip; Q=0.000", False),
        ("*", False),
        ("ungzipped", False),
        (",;q=,,", False),
    ],
)
def test_gzip_is_for_who_takes_it(accept: str, accepted: bool) -> None:
    assert accepts_gzip(accept) is accepted
