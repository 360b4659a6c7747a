"""A bundle as a page: self-contained, without a script, fit to be printed. Everything is escaped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def evidence_page(bundle: Mapping[str, Any]) -> str:
    """The HTML of a bundle that `registry.evidence.gather` made: a pure function of it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["points"] = points
    return environment.get_template("bundle.html").render(b=bundle)


def percent(value: float | None) -> str:
    """`93.8`; a dash for what was not measured."""
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """`+1.25`, in points; `undefined` where it is."""
    return "undefined" if value is None else f"{100 * value:+.2f}"
