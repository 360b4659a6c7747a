from pathlib import Path

import pytest

from flows.schedules import watch_folder
from flows.watchable import refuse_unwatchable
from lori_core.errors import BadInput
from registry.arrivals import Arrivals
from registry.store import open_registry


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("/srv/home", "it is the home /srv/home or in it"),
        ("/srv/home/data/rows", "it is the home /srv/home or in it"),
        ("/srv", "it contains the home"),
        ("/", "it contains the home"),
        ("/proc/self", "/proc is the kernel's"),
        ("/sys", "/sys is the kernel's"),
        ("/dev/shm/drop", "/dev is the kernel's"),
        ("/data/drop/accepted", "what was dropped into /data/drop, which is watched, is put there"),
        ("/data/drop/refused", "what was dropped into /data/drop, which is watched, is put there"),
        ("/data/drop/more", "it is in /data/drop, which is watched"),
        ("/data", "it contains /data/drop, which is watched"),
    ],
)
def test_a_folder_of_somebody_else_is_not_watched(place: str, says: str) -> None:
    with pytest.raises(BadInput) as refusal:
        refuse_unwatchable(Path(place), Path("/srv/home"), [Path("/data/drop")])
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("place", ["/data/drop", "/data/dropped", "/srv/drop", "/srv/home2"])
def test_a_folder_of_its_own_is_watched_and_the_same_one_again(place: str) -> None:
    refuse_unwatchable(Path(place), Path("/srv/home"), [Path("/data/drop")])


def test_it_is_refused_before_prefect_is_asked_and_links_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with open_registry(tmp_path / "home") as registry:
        (tmp_path / "home" / "drop").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "home" / "drop")
        with pytest.raises(BadInput, match="the home"):
            watch_folder(registry, tmp_path / "link", 0)
        (tmp_path / "drop").mkdir()
        (tmp_path / "drop" / "refused").mkdir()
        Arrivals(registry).watch(str(tmp_path / "drop"), 0, "tests")
        with pytest.raises(BadInput, match="is put there"):
            watch_folder(registry, tmp_path / "drop" / "refused", 0)
