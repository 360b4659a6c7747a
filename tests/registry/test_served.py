"""A filed version as outsiders use it: MLflow's pyfunc, in a fresh process, pickle forbidden."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from registry_examples import TASKS

from lori_core.base_folder import Family
from lori_core.errors import BadInput, DigestMismatch
from registry.artifacts import stored_files
from registry.records import Json
from registry.served import Stored, open_served
from registry.store import Registry, open_registry

ROOT = Path(__file__).parents[2]
ASKED = [("", ""), ("safety", ""), ("math", "isolated"), ("safety", "cumulative"), ("code", "")]


def ask_in_a_fresh_process(home: Path, uri: str, prompts: list[str]) -> dict[str, list[str]]:
    """What the pyfunc answers for each of ASKED; nothing of this process is there to help."""
    script = (
        "import json, mlflow, pandas\n"
        f"model = mlflow.pyfunc.load_model({uri!r})\n"
        f"rows = pandas.DataFrame({{'prompt': {prompts!r}}})\n"
        "told = {}\n"
        f"for task, read in {ASKED!r}:\n"
        "    params = {'task': task, 'read': read, 'max_new_tokens': 5}\n"
        "    told[f'{task} {read}'] = model.predict(rows, params=params)\n"
        "print(json.dumps(told))\n"
    )
    told: dict[str, list[str]] = json.loads(run_alone(home, script))
    return told


def run_alone(home: Path, script: str) -> str:
    """The last line that a program says, which knows nothing but where MLflow's store is."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["causal", "encoder"])
def test_the_champion_answers_for_each_task_and_read_mode_as_plain_peft_does(
    filing_home: Path, tmp_path: Path, family: Family
) -> None:
    from served_cases import LABELS, PROMPTS, export, file_sequence, make_base, plain_answers

    base = make_base(tmp_path / "base", family)
    with open_registry(filing_home) as registry:
        shared = file_sequence(registry, base, family, tmp_path / "work")
        number = registry.version("assistant", 3).model_version
        assert number is not None
        registry.aliases().set_alias("lori-assistant", "champion", number)
        stored = registry.artifact_path("assistant", 3).parents[1]
    assert not list(stored.rglob("*.pkl"))
    assert not list(stored.rglob("model*.safetensors"))

    told = ask_in_a_fresh_process(filing_home, "models:/lori-assistant@champion", PROMPTS)
    for task, read in ASKED:
        position = TASKS.index(task or "code") + 1
        folder = tmp_path / f"peft-{task}-{read}"
        export(shared, base, family, position, 3, read or "inherited", folder)  # type: ignore[arg-type]
        labels = LABELS[position - 1]
        expected = plain_answers(base, family, folder, len(labels))
        if family == "encoder":
            expected = [labels[int(each)] for each in expected]
        assert told[f"{task} {read}"] == expected
    assert len({tuple(answers) for answers in told.values()}) > 1, "all alike would prove nothing"


@pytest.mark.slow
def test_the_bare_base_serves_as_a_version_of_the_same_model(
    filing_home: Path, tmp_path: Path
) -> None:
    from served_cases import PROMPTS, file_sequence, make_base, plain_answers

    base = make_base(tmp_path / "base", "causal")
    with open_registry(filing_home) as registry:
        file_sequence(registry, base, "causal", tmp_path / "work")
        number = registry.base_version("assistant")
    told = ask_in_a_fresh_process(filing_home, f"models:/lori-assistant/{number}", PROMPTS)
    expected = plain_answers(base, "causal", None, 2)
    assert list(told.values()) == [expected] * len(ASKED)


@pytest.mark.slow
def test_the_program_that_the_guide_shows_answers_as_plain_peft_does(
    filing_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import served_cases

    base = served_cases.make_base(tmp_path / "base", "causal")
    with open_registry(filing_home) as registry:
        shared = served_cases.file_sequence(registry, base, "causal", tmp_path / "work")
        number = registry.version("assistant", 3).model_version
        assert number is not None
        registry.aliases().set_alias("lori-assistant", "champion", number)
    guide = (ROOT / "docs/how-to/serve.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert '"max_new_tokens": 64' in program
    told = run_alone(filing_home, program.replace('"max_new_tokens": 64', '"max_new_tokens": 5'))

    served_cases.export(shared, base, "causal", 1, 3, "inherited", tmp_path / "peft")
    monkeypatch.setattr(served_cases, "PROMPTS", ["Is this safe to eat?\ntoadstool\n"])
    assert ast.literal_eval(told) == served_cases.plain_answers(
        base, "causal", tmp_path / "peft", 2
    )


class Shelf:
    """Finds versions by the digest of their manifest, in a registry's own folders."""

    def __init__(self, registry: Registry) -> None:
        self.asked: list[str] = []
        self.stored: dict[str, Stored] = {}
        for version in registry.versions("assistant"):
            folder = registry.artifact_path("assistant", version.version)
            manifest: Json = json.loads((folder.parent / "manifest.json").read_text("utf-8"))
            self.stored[version.manifest_sha256] = (manifest, folder)

    def __call__(self, manifest_sha256: str) -> Stored:
        self.asked.append(manifest_sha256)
        return self.stored[manifest_sha256]

    def newest(self) -> Stored:
        return list(self.stored.values())[-1]


@pytest.mark.slow
def test_nothing_is_served_that_is_not_what_was_filed(filing_home: Path, tmp_path: Path) -> None:
    from served_cases import file_sequence, make_base

    base = make_base(tmp_path / "base", "causal")
    with open_registry(filing_home) as registry:
        file_sequence(registry, base, "causal", tmp_path / "work")
        shelf = Shelf(registry)
    manifest, folder = shelf.newest()
    served = open_served(manifest, folder, shelf)
    served.answer(["a b"], task="code", max_new_tokens=1)
    assert shelf.asked == [], "its own task needs nothing of the earlier versions"
    with pytest.raises(BadInput, match=r"task 'sql' at assistant/3: expected one of safety, math"):
        served.answer(["a b"], task="sql")
    with pytest.raises(BadInput, match="read 'all'"):
        served.answer(["a b"], read="all")

    _, first = next(iter(shelf.stored.values()))
    weights = first / "lori.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DigestMismatch, match=r"assistant/1: lori\.safetensors"):
        open_served(manifest, folder, shelf).answer(["a b"], task="safety")
    weights.write_bytes(whole)

    digest, (other, place) = next(iter(shelf.stored.items()))
    shelf.stored[digest] = ({**other, "task": "evil"}, place)
    with pytest.raises(DigestMismatch, match=r"assistant/3: the manifest before"):
        open_served(manifest, folder, shelf).answer(["a b"], task="math", read="isolated")

    config = folder / "adapter" / "adapter_config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(DigestMismatch, match=r"assistant/3: adapter/adapter_config\.json"):
        open_served(manifest, folder, shelf)
    config.write_text(config.read_text()[:-1])

    model = base / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DigestMismatch, match=r"assistant/3: the base at"):
        open_served(manifest, folder, shelf)


def test_a_version_without_a_plain_adapter_says_so(files: Path) -> None:
    (files / "adapter" / "adapter_config.json").unlink()
    manifest = {
        "sequence": "assistant",
        "version": 1,
        "task": "safety",
        "files": {f.path: {"sha256": f.sha256, "size": f.size} for f in stored_files(files)},
    }

    def nothing(manifest_sha256: str) -> Stored:
        raise AssertionError

    with pytest.raises(BadInput, match="a plain PEFT folder `adapter/`"):
        open_served(manifest, files, nothing)
