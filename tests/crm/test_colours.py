import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm.colours import AAA, accent_css, contrast, luminance, mix, page_style, palette, readable

colours = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")
ON = {"ink": ("paper", "tint"), "act": ("paper", "tint"), "on-band": ("band",)}


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ff0000", "#0000ff") == pytest.approx(2.15, abs=0.01)
    assert contrast("#abcdef", "#abcdef") == 1


def test_luminance_is_linear_near_black():
    assert luminance("#0a0a0a") == pytest.approx(10 / 255 / 12.92)


@given(colours)
@example("#ffff00")
@example("#ffffff")
@example("#000000")
@example("#808080")
def test_every_accent_stays_readable_in_light_and_dark(accent: str):
    for scheme in palette(accent).values():
        for letters, grounds in ON.items():
            for ground in grounds:
                assert contrast(scheme[letters], scheme[ground]) >= AAA, (accent, letters, ground)


def test_a_good_accent_is_kept_as_it_is():
    assert palette("#003d7a")["light"]["band"] == "#003d7a"
    assert palette("#003d7a")["light"]["act"] == "#003d7a"


def test_a_bright_accent_keeps_its_band_and_gets_dark_letters():
    light = palette("#ffdd00")["light"]
    assert light["band"] == "#ffdd00"
    assert luminance(light["on-band"]) < 0.01


def test_no_colour_can_be_read_on_black_and_white_at_once():
    with pytest.raises(ValueError, match="no colour"):
        readable("#123456", "#000000", "#ffffff")


def test_mix_goes_from_one_colour_to_the_other():
    assert [mix("#000000", "#ffffff", share) for share in (0, 0.5, 1)] == ["#000000", "#808080", "#ffffff"]


@pytest.mark.parametrize("wrong", ["red", "#fff", "#12345g", "#0b5cad;}", ""])
def test_what_is_no_colour_never_reaches_the_page(wrong: str):
    with pytest.raises(ValueError, match="is not a colour"):
        accent_css(wrong)


def test_the_page_gets_bare_css_after_the_accent():
    style = page_style(
        "/* why */\na {\n  color: red;\n}\n@media print { b > c { top: 1px 2px } }\n", "#0b5cad"
    )
    variables, rules = style.split("a{", 1)
    assert "--act:#" in variables
    assert "a{" + rules == "a{color:red}@media print{b > c{top:1px 2px}}"
