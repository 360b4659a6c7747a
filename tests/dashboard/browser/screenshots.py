"""The pictures of the README: the dashboard over the demo, as it was learned.

    python -m tests.dashboard.browser.screenshots

`LORI_HOME` may name a home in which `lori demo` ran; else it runs now, which takes minutes. The pictures
are of a copy, in which demo/1 serves, and demo/4 is looked at, which the gate refused.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from registry.accounts import owner
from registry.desk import Desk
from registry.home import HOME_VARIABLE
from registry.settings import switch_telemetry_off
from registry.store import open_registry
from tests.dashboard.browser.sites import ROOT, Site, served
from tests.dashboard.browser.watching import Scheme, a_browser, a_window, chromium_path, sign_in

IMAGES = ROOT / "docs" / "images"
SIZE = (1280, 1000)
COLOURS = 192


@dataclass(frozen=True)
class Picture:
    """One page, as it is looked at."""

    file: str
    path: str
    scheme: Scheme


PICTURES = (
    Picture("sequence.png", "/sequences/demo?read=cumulative", "light"),
    Picture("promotions.png", "/sequences/demo/promotions", "dark"),
)


def demo_home(folder: Path) -> Path:
    """A copy of a home with the demo, something decided in it."""
    named = os.environ.get(HOME_VARIABLE)
    home = Path(named).absolute() if named else folder / "demo"
    if not (home / "registry.db").is_file():
        ours = {**os.environ, HOME_VARIABLE: str(home)}
        subprocess.run([sys.executable, "-m", "flows.cli", "demo"], env=ours, check=True)
    copy = Path(shutil.copytree(home, folder / "home", symlinks=True))
    with open_registry(copy) as registry:
        desk = Desk(registry, owner())
        if desk.champion("demo") is None:
            desk.promote("demo", 1, reason="safety first: it passed every rule")
    return copy


def take(browser: Browser, site: Site, picture: Picture) -> None:
    """Photograph the top of a page, with few colours: it is downloaded by everybody who reads."""
    assert site.token is not None
    with a_window(browser, site, scheme=picture.scheme, size=SIZE) as window:
        sign_in(window, None, site.token)
        data = window.open(picture.path).screenshot()
        assert not window.found, window.found
    IMAGES.mkdir(exist_ok=True)
    place = IMAGES / picture.file
    few = Image.open(BytesIO(data)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(place, optimize=True)
    print(f"{place.relative_to(ROOT)} {place.stat().st_size // 1024} KiB")  # noqa: T201


def main() -> None:
    switch_telemetry_off()
    path = chromium_path()
    if path is None:
        raise SystemExit("there is no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="lori-pictures-") as folder:
        home = demo_home(Path(folder))
        with served(home) as site, a_browser(path) as browser:
            for picture in PICTURES:
                take(browser, site, picture)


if __name__ == "__main__":
    main()
