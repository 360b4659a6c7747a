"""What a step makes of a child that died between keeping its result and saying so."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.plan import Plan
from flows.progress import Narrator
from flows.running import Running, as_running
from flows.stage_process import StageProcess
from flows.stage_protocol import RESULT, StageCrashed, StageProgress
from flows.steps import Order, in_child
from lori_core.config import BaseConfig, DataSource, ResourcesConfig, SequenceConfig, TaskConfig
from lori_core.digests import write_json
from registry.desks import acting, opened
from registry.store import open_registry

sys.path.insert(1, str(Path(__file__).parents[1] / "registry"))  # MLflow's stand-ins

from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

FACTS = {"files": {}, "found": 7}


class DiesWithItsResult(StageProcess):
    """A child that is killed right after it kept the result."""

    def run(
        self,
        stage: str,
        folder: Path,
        spec: Mapping[str, object],
        on_progress: Callable[[StageProgress], None],
        needs: ResourcesConfig | None = None,
    ) -> dict[str, Any]:
        folder.mkdir(parents=True)
        write_json(folder / RESULT, FACTS)
        raise StageCrashed(stage, str(self.log), "the training process was killed")


def test_a_result_whose_child_died_is_used_and_its_stage_counts_as_finished(tmp_path: Path) -> None:
    source = DataSource(path="rows.jsonl")
    task = TaskConfig(name="safety", train=source, test=source)
    config = SequenceConfig(sequence="assistant", base=BaseConfig(path="base"), tasks=(task,))
    order = Order(stage="certify", key="c" * 64, sequence="assistant", task="safety", spec={})
    home = tmp_path / ".lori"
    store = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=store, aliases=FakeAliases()) as registry:
        run = Running(
            home,
            Plan(tmp_path / "sequence.yaml", config, ()),
            "b" * 64,
            registry,
            opened(registry, acting(registry)).desk,
            DiesWithItsResult(home, "assistant"),
            Narrator(quiet=True),
        )
        with as_running(run):
            with pytest.raises(StageCrashed):
                in_child(order)
            assert [each.state for each in registry.stages("assistant")] == ["failed"]
            assert in_child(order)["found"] == 7
            assert in_child(order)["found"] == 7
        told = [(attempt.state, attempt.attempt) for attempt in registry.stages("assistant")]
        assert told == [("failed", 1), ("finished", 2)]
