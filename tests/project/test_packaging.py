"""The promises of the packaging: our import names are ours, the bounds are honest, nothing phones home."""

import importlib.metadata
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OUR_NAMES = ["flows", "dashboard", "registry", "lori_core"]


def pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return dict(line.lower().split("==") for line in lines if "==" in line)


@pytest.mark.parametrize("name", OUR_NAMES)
def test_no_other_distribution_owns_our_package_names(name: str) -> None:
    owners = set(packages_distributions().get(name, []))
    assert owners <= {"lori-pipeline"}, (
        f"`import {name}` may load {owners}: install lori-pipeline into a fresh environment"
    )


def test_every_constraint_lies_within_the_range_pyproject_states() -> None:
    pins = constraints()
    project = pyproject()
    stated = [*project["dependencies"], *project["optional-dependencies"]["dev"]]  # type: ignore[misc, index]
    for requirement in map(Requirement, stated):
        pin = pins.get(requirement.name.lower())
        if requirement.name != "lori-pipeline":
            assert pin is not None, f"{requirement.name} has no pin in constraints.txt"
            assert requirement.specifier.contains(pin), f"{requirement} does not admit {pin}"


def test_the_installed_torch_is_the_one_ci_pins() -> None:
    assert importlib.metadata.version("torch").split("+")[0] == constraints()["torch"]


def test_prefects_server_imports_with_the_pinned_fastapi() -> None:
    import prefect.server.api.server as server  # pip check passes even when this fails

    assert callable(server.create_app)
