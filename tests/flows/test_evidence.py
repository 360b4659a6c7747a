"""`lori evidence`: one signed folder for an auditor, and the check of one."""

import json
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from flows import evidencing
from flows.cli import lori
from flows.evidencing import write_evidence
from flows.recorded import recorded
from registry.accounts import owner
from registry.store import open_registry
from tests.flows import filed
from tests.flows.conftest import Lab

BUNDLE = {"bundle.json", "bundle.html", "signature.json"}


@pytest.mark.slow
def test_a_bundle_is_written_signed_and_checked(adopted: Lab) -> None:
    answer = adopted.lori("evidence", "team/2", "--to", "bundle")
    assert answer.returncode == 0, answer.stderr
    folder = adopted.folder / "bundle"
    assert {path.name for path in folder.iterdir()} == BUNDLE
    key = adopted.home / "keys" / "evidence.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    bundle = json.loads((folder / "bundle.json").read_text())
    assert bundle["subject"]["version"] == 2
    first, second = bundle["data"]
    assert (first["license"], first["purpose"]) == ("MIT", "names <colours>")
    assert second["license"] is None
    assert set(first["adopted"]) == {"adapter_model.safetensors", "adapter_config.json"}
    assert first["audit"]["rows"] == {"test": 16}
    assert bundle["certificate"]["level"] == "G2"
    assert [(g["guard"], g["under"]) for g in bundle["guards"]] == [("color", "size")]
    assert bundle["gate"] is not None
    assert any("Adopted, not trained here: color, size" in line for line in bundle["limits"])
    page = (folder / "bundle.html").read_text()
    assert "names &lt;colours&gt;" in page
    whole = adopted.lori("evidence", "--check", "bundle")
    assert (whole.returncode, "this home's key" in whole.stdout) == (0, True)
    (folder / "bundle.html").write_text(page.replace("G2", "G3"))
    broken = adopted.lori("evidence", "--check", "bundle")
    assert broken.returncode == 1
    assert "bundle.html: is not what was signed" in broken.stderr
    assert broken.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_key_of_ones_own_signs_and_is_asked_for(adopted: Lab) -> None:
    for name in ("mine", "other"):
        path = adopted.folder / f"{name}.pem"
        path.write_bytes(
            Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        path.chmod(0o600)
    assert adopted.lori("evidence", "team/1", "--to", "b", "--key", "mine.pem").returncode == 0
    assert not (adopted.home / "keys" / "evidence.pem").exists()
    mine = adopted.lori("evidence", "--check", "b", "--key", "mine.pem")
    assert (mine.returncode, "the key given" in mine.stdout) == (0, True)
    other = adopted.lori("evidence", "--check", "b", "--key", "other.pem")
    assert (other.returncode, "signed by" in other.stderr) == (1, True)
    unknown = adopted.lori("evidence", "--check", "b")
    assert unknown.returncode == 1
    assert "signed by a key nobody here vouched for: give --key" in unknown.stderr
    whole = adopted.lori("evidence", "--check", "b", "--any-key")
    assert (whole.returncode, "not this home's" in whole.stdout) == (0, True)
    assert adopted.lori("evidence", "team/1", "--to", "ours").returncode == 0  # with the home's key
    stranger = adopted.lori("evidence", "--check", "b")
    assert (stranger.returncode, "nobody here vouched for" in stranger.stderr) == (1, True)
    (adopted.folder / "b" / "bundle.html").write_text("another")
    assert adopted.lori("evidence", "--check", "b", "--any-key").returncode == 1


@pytest.mark.slow
def test_broken_bits_are_written_down_signed_and_an_error(adopted: Lab) -> None:
    (stored,) = (
        path.parent
        for path in adopted.home.rglob("certificate.json")
        if json.loads(path.read_text())["version"] == 2
    )
    (stored / "lori.safetensors").write_bytes(b"other")
    answer = adopted.lori("evidence", "team/2", "--to", "bundle")
    assert answer.returncode == 1
    assert "team/2 is not what was certified" in answer.stderr.splitlines()[-1]
    bundle = json.loads((adopted.folder / "bundle" / "bundle.json").read_text())
    assert not bundle["integrity"]["ok"]
    assert adopted.lori("evidence", "--check", "bundle").returncode == 0, "the bundle is whole"


@pytest.mark.parametrize("asked_by", [None, "vic", "nobody signed in"])
def test_a_bundle_says_who_asked_and_whose_process_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_by: str | None
) -> None:
    monkeypatch.setattr(evidencing, "gather", _gathered)
    monkeypatch.setattr(evidencing, "audits_of", lambda found, number: {})
    monkeypatch.setattr("dashboard.evidence.page.evidence_page", lambda bundle: "")
    (tmp_path / "bundle").mkdir()
    with open_registry(tmp_path / "home") as registry:
        filed.declare(registry)
        write_evidence(
            recorded(registry, filed.NAME), 1, tmp_path / "bundle", None, asked_by=asked_by
        )
    made_by = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["made_by"]
    us = owner().name
    assert made_by == (us if asked_by is None else f"{asked_by}, by the dashboard of {us}")


def _gathered(*asked: object, by: str, **options: object) -> dict[str, object]:
    return {"made_by": by, "integrity": {"faults": []}}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["tiny/1", "--check", "x"],
        ["tiny/1", "--any-key"],
        ["--check", "x", "--any-key", "--key", "k"],
    ],
)
def test_either_a_version_or_a_bundle(arguments: list[str]) -> None:
    answer = CliRunner().invoke(lori, ["evidence", *arguments])
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)


def test_a_bundle_that_is_none_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "home"))
    nowhere = CliRunner().invoke(lori, ["evidence", "--check", str(tmp_path / "x")])
    assert (nowhere.exit_code, nowhere.stderr.count("\n")) == (2, 1)
    (tmp_path / "empty").mkdir()
    empty = CliRunner().invoke(lori, ["evidence", "--check", str(tmp_path / "empty")])
    assert (empty.exit_code, "signature.json: missing" in empty.stderr) == (1, True)
    assert not (tmp_path / "home").exists()
    shutil.rmtree(tmp_path / "empty")
