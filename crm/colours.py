"""Colours that stay readable whatever accent a centre chooses (no I/O).

Contrast is the ratio of WCAG 2.2 (section 1.4.3 and its definition of relative luminance). Text here
keeps 7:1, the level AAA of section 1.4.6, on every background it stands on, in light and in dark.
"""

import re

AAA = 7.0
"""The contrast that all text keeps (WCAG 2.2 section 1.4.6)."""

INK, PAPER = "#0b0c0c", "#ffffff"
NIGHT_INK, NIGHT_PAPER = "#f3f5f7", "#12161b"
_TINT, _NIGHT_TINT = 0.07, 0.16
_CALM = 9.0
"""The contrast of the band in the dark: a wide bright stripe would dazzle."""

Rgb = tuple[int, int, int]


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, from 0.0 (black) to 1.0 (white)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _parse(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1.0 (equal) to 21.0 (black and white)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mix(colour: str, other: str, share: float) -> str:
    """*colour* with *share* (0.0 to 1.0) of *other* stirred in."""
    pairs = zip(_parse(colour), _parse(other), strict=True)
    return "#" + "".join(f"{round(mine + (theirs - mine) * share):02x}" for mine, theirs in pairs)


def readable(colour: str, *backgrounds: str, ratio: float = AAA) -> str:
    """*colour*, moved towards black or white only as far as it takes to reach *ratio* on all *backgrounds*.

    Raises ValueError when neither black nor white reaches it.
    """
    end = "#000000" if min(map(luminance, backgrounds)) > 0.18 else "#ffffff"
    for percent in range(101):
        candidate = mix(colour, end, percent / 100)
        if all(contrast(candidate, background) >= ratio for background in backgrounds):
            return candidate
    raise ValueError(f"no colour reaches {ratio}:1 on {', '.join(backgrounds)}")


def palette(accent: str) -> dict[str, dict[str, str]]:
    """What the accent becomes in the ``light`` and in the ``dark``: CSS variable -> colour.

    ``band`` and ``on-band`` are the head of the page, ``tint`` lies under an answer, ``act`` is for links,
    outlines and filled buttons (whose letters are ``paper``).
    """
    tint = mix(PAPER, accent, _TINT)
    band, on_band = _band(accent)
    act = readable(accent, PAPER, tint)
    light = {"ink": INK, "paper": PAPER, "tint": tint, "act": act, "band": band, "on-band": on_band}
    shade = mix(NIGHT_PAPER, readable(accent, NIGHT_PAPER, ratio=4.5), _NIGHT_TINT)
    night_band = readable(accent, PAPER, ratio=_CALM)
    dark = {
        "ink": NIGHT_INK,
        "paper": NIGHT_PAPER,
        "tint": shade,
        "act": readable(accent, NIGHT_PAPER, shade),
        "band": night_band,
        "on-band": PAPER,
    }
    return {"light": light, "dark": dark}


def accent_css(accent: str) -> str:
    """The palette of *accent* as CSS custom properties for both colour schemes."""
    colours = palette(accent)
    return (
        f":root{{color-scheme:light dark;{_declare(colours['light'])}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{_declare(colours['dark'])}}}}}"
    )


def page_style(css: str, accent: str) -> str:
    """*css* without comments and indentation, after the variables of *accent*: what a page's head holds."""
    bare = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    bare = re.sub(r"\s+", " ", bare)
    bare = re.sub(r" ?([{};,]) ?", r"\1", bare).replace(": ", ":").replace(";}", "}")
    return accent_css(accent) + bare.strip()


def _band(accent: str) -> tuple[str, str]:
    """Background and letters of the head: the accent as it is, if any letters can be read on it."""
    for letters in (PAPER, INK):
        if contrast(accent, letters) >= AAA:
            return accent, letters
    return readable(accent, PAPER), PAPER


def _declare(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items()).rstrip(";")


def _parse(colour: str) -> Rgb:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise ValueError(f"{colour!r} is not a colour such as #0b5cad")
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
