"""The colours of the style sheet, as a browser would find them, and how eyes see them."""

import re
from pathlib import Path
from typing import Any, Literal

import dashboard.static_files

Theme = Literal["light", "dark"]
Channels = tuple[float, float, float]
THEMES: tuple[Theme, ...] = ("light", "dark")


def values(theme: Theme) -> dict[str, str]:
    """Every custom property in force under a theme."""
    text = (Path(dashboard.static_files.FOLDER) / "tokens.css").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    light = _block(text, r":root \{")
    return (
        light if theme == "light" else {**light, **_block(text, r':root\[data-theme="dark"\] \{')}
    )


def by_preference() -> dict[str, str]:
    """What is in force when the system is dark and nobody chose."""
    text = (Path(dashboard.static_files.FOLDER) / "tokens.css").read_text()
    return {
        **values("light"),
        **_block(text, r':root:not\(\[data-theme="light"\]\) \{'),
    }


def painted(thing: Any, theme: Theme) -> Any:
    """A figure with its roles as colours: what the browser's script does, written a second time."""
    if isinstance(thing, str):
        return _colour(thing[1:], values(theme)) if thing.startswith("@") else thing
    if isinstance(thing, list):
        return [painted(each, theme) for each in thing]
    if isinstance(thing, dict):
        return {key: painted(value, theme) for key, value in thing.items()}
    return thing


def roles(thing: Any) -> set[str]:
    """Every role a figure names."""
    if isinstance(thing, str):
        return {thing[1:].split("/")[0]} if thing.startswith("@") else set()
    if isinstance(thing, list):
        return set().union(*(roles(each) for each in thing))
    if isinstance(thing, dict):
        return set().union(*(roles(each) for each in thing.values()))
    return set()


def channels(colour: str) -> Channels:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: from 1 to 21."""
    low, high = sorted((_luminance(channels(one)), _luminance(channels(other))))
    return (high + 0.05) / (low + 0.05)


def deuteranope(colour: str) -> Channels:
    """Machado, Oliveira and Fernandes 2009, severity 1: in linear RGB."""
    red, green, blue = (_linear(each) for each in channels(colour))
    return (
        0.367322 * red + 0.860646 * green - 0.227968 * blue,
        0.280085 * red + 0.672501 * green + 0.047413 * blue,
        -0.011820 * red + 0.042940 * green + 0.968881 * blue,
    )


def lab(linear: Channels) -> Channels:
    """CIE 1976 L*a*b* of linear sRGB, D65."""
    red, green, blue = linear
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (
        max(each, 0) ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116
        for each in (x, y, z)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def linear(colour: str) -> Channels:
    red, green, blue = (_linear(each) for each in channels(colour))
    return red, green, blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _luminance(parts: Channels) -> float:
    red, green, blue = (_linear(each) for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _block(text: str, opening: str) -> dict[str, str]:
    found = re.search(opening + r"(.*?)\}", text, re.DOTALL)
    assert found is not None
    return {
        name: value.strip() for name, value in re.findall(r"--([a-z0-9-]+):\s*([^;]+);", found[1])
    }


def _colour(role: str, known: dict[str, str]) -> Any:
    name, _, strength = role.partition("/")
    if name == "font":
        return known["font"]
    if name == "hatch":
        return "data:image/svg+xml,"
    found = known[f"plot-{name}"]
    if strength:
        red, green, blue = (round(255 * each) for each in channels(found))
        return f"rgba({red},{green},{blue},{strength})"
    stops = [stop.strip() for stop in found.split(",")]
    if len(stops) == 1:
        return found
    return [[place / (len(stops) - 1), stop] for place, stop in enumerate(stops)]
