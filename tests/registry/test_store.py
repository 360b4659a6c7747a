from dataclasses import replace
from pathlib import Path

import pytest
from registry_examples import cell, sequence_record, task_record

from lori_core.errors import BadInput, SequenceChanged
from registry.records import SequenceRecord
from registry.store import Registry, open_registry


def test_a_sequence_is_found_as_it_was_declared(registry: Registry) -> None:
    assert registry.sequence("assistant") == sequence_record()
    assert registry.sequences() == ("assistant",)
    assert registry.tasks("assistant") == tuple(task_record(k) for k in (1, 2, 3))


def test_declaring_again_changes_nothing(registry: Registry) -> None:
    registry.declare_sequence(sequence_record())
    registry.declare_task("assistant", task_record(1))
    assert registry.tasks("assistant") == tuple(task_record(k) for k in (1, 2, 3))


def test_an_unknown_sequence_is_refused_and_the_nearest_named(registry: Registry) -> None:
    with pytest.raises(BadInput, match="Did you mean `assistant`"):
        registry.versions("asistant")
    assert registry.find_sequence("asistant") is None


def test_an_empty_registry_says_how_to_begin(home: Path) -> None:
    with open_registry(home) as registry, pytest.raises(BadInput, match="`lori run FILE`"):
        registry.sequence("assistant")


def test_before_anything_is_learned_everything_may_change(registry: Registry) -> None:
    changed = replace(
        sequence_record(), base_digest="f" * 64, adapter={"r": 8}, tasks=("code", "safety")
    )
    registry.declare_sequence(changed)
    registry.declare_task("assistant", replace(task_record(3), position=1))
    registry.declare_task("assistant", replace(task_record(1), position=2, config={"n": 1}))
    assert registry.sequence("assistant") == changed
    assert [task.name for task in registry.tasks("assistant")] == ["code", "safety"]


def test_a_task_name_stands_at_one_position(registry: Registry) -> None:
    with pytest.raises(BadInput, match="each name once"):
        registry.declare_task("assistant", replace(task_record(1), position=3))


CHANGES: list[tuple[SequenceRecord, str]] = [
    (replace(sequence_record(), base_digest="f" * 64), "base"),
    (replace(sequence_record(), base={"revision": None, "dtype": "bfloat16"}), "base.dtype"),
    (replace(sequence_record(), adapter={**sequence_record().adapter, "r": 8}), "adapter.r"),
    (replace(sequence_record(), tasks=("math", "safety", "code")), "task 1"),
    (replace(sequence_record(), tasks=("math", "code")), "task 1"),
    (replace(sequence_record(), tasks=()), "task 1"),
]


@pytest.mark.parametrize(("changed", "part"), CHANGES)
def test_a_learned_sequence_refuses_a_change_and_names_it(
    learned: Registry, changed: SequenceRecord, part: str
) -> None:
    with pytest.raises(SequenceChanged) as refusal:
        learned.declare_sequence(changed)
    assert refusal.value.part == part
    assert learned.sequence("assistant") == sequence_record()


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        (replace(task_record(1), name="other"), "task 1"),
        (replace(task_record(1), data={**task_record(1).data, "test": "0"}), "'safety', data.test"),
        (replace(task_record(1), config={"metric": "accuracy"}), "'safety', metric"),
    ],
)
def test_a_learned_task_refuses_a_change_and_names_it(
    learned: Registry, changed: object, part: str
) -> None:
    with pytest.raises(SequenceChanged) as refusal:
        learned.declare_task("assistant", changed)  # type: ignore[arg-type]
    assert part in refusal.value.part
    assert learned.tasks("assistant")[0] == task_record(1)


def test_a_learned_sequence_may_move_its_base_grow_and_change_its_gate(learned: Registry) -> None:
    grown = replace(
        sequence_record(),
        base_path="/elsewhere/micro",
        settings={"promotion": "manual", "gate": {"max_guard_drop": 0.1}},
        tasks=("safety", "code", "math", "more"),
    )
    learned.declare_sequence(grown)
    learned.declare_task("assistant", replace(task_record(3), position=2))
    learned.declare_task("assistant", replace(task_record(2), position=3))
    learned.declare_task("assistant", replace(task_record(2), name="more", position=4))
    assert learned.sequence("assistant") == grown


def test_the_data_of_a_task_that_is_not_learned_may_change(learned: Registry) -> None:
    changed = replace(task_record(2), data={"train": "new"})
    learned.declare_task("assistant", changed)
    assert learned.tasks("assistant")[1] == changed


def test_a_cell_is_known_by_its_key_and_recorded_once(registry: Registry) -> None:
    assert registry.known_cell(cell(1, "safety").key) is None
    recorded = registry.record_cell(cell(1, "safety"))
    assert replace(recorded, created=None) == cell(1, "safety")
    assert registry.record_cell(cell(1, "safety")) == recorded
    assert registry.known_cell(cell(1, "safety").key) == recorded
    assert registry.cells("assistant") == (recorded,)


def test_a_known_cell_is_used_at_another_place_without_measuring(registry: Registry) -> None:
    first = registry.record_cell(cell(1, "safety"))
    second = registry.record_cell(replace(first, version=2))
    assert second.key == first.key
    assert [found.version for found in registry.cells("assistant")] == [1, 2]


def test_a_new_measurement_of_a_place_becomes_the_current_one(registry: Registry) -> None:
    registry.record_cell(cell(1, "safety", value=0.5))
    registry.record_cell(replace(cell(1, "safety", value=0.6), metric_version="2"))
    assert [(found.value, found.metric_version) for found in registry.cells("assistant")] == [
        (0.6, "2")
    ]


def test_a_cell_of_an_unknown_sequence_is_refused(registry: Registry) -> None:
    with pytest.raises(BadInput, match="sequence 'nope'"):
        registry.record_cell(replace(cell(1, "safety"), sequence="nope"))


def test_a_stage_counts_its_attempts_and_a_killed_one_has_failed(registry: Registry) -> None:
    first = registry.stage_started(
        "key", stage="calibrate", sequence="assistant", task="safety", pid=7, process_started=1.5
    )
    assert (first.attempt, first.state, first.pid, first.process_started) == (1, "running", 7, 1.5)
    second = registry.stage_started("key", stage="calibrate", sequence="assistant", task="safety")
    assert second.attempt == 2
    done = registry.stage_finished("key", detail={"digest": "abc"})
    assert registry.stage_finished("key", failed=True) == done
    assert [(run.state, run.finished is None) for run in registry.stages("assistant")] == [
        ("failed", False),
        ("finished", False),
    ]
    assert done.detail == {"digest": "abc"}
    assert done.finished is not None
    assert done.finished >= done.started


def test_a_stage_that_failed_with_its_result_kept_finishes_when_that_is_found(
    registry: Registry,
) -> None:
    registry.stage_started("key", stage="train", sequence="assistant", task="safety")
    failed = registry.stage_finished("key", failed=True)
    found = registry.stage_finished("key", detail={"folder": "train-key"})
    assert (found.attempt, found.state, found.detail) == (2, "finished", {"folder": "train-key"})
    assert (found.stage, found.task) == ("train", "safety")
    assert registry.stages("assistant") == (failed, found)
    assert registry.stage_finished("key") == found


def test_a_stage_that_never_began_cannot_end(registry: Registry) -> None:
    with pytest.raises(BadInput, match="a stage that was started"):
        registry.stage_finished("key")


def test_an_unknown_sequence_has_no_stages(registry: Registry) -> None:
    assert registry.stages("nope") == ()


def test_what_was_written_is_there_after_opening_again(home: Path) -> None:
    with open_registry(home) as registry:
        registry.declare_sequence(sequence_record())
        written = registry.record_cell(cell(0, "safety"))
    with open_registry(home) as registry:
        assert registry.cells("assistant") == (written,)


@pytest.mark.parametrize(("version", "said"), [(1, "with a filed version"), (9, "filed version")])
def test_a_version_that_is_not_there_is_refused(
    registry: Registry, version: int, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        registry.artifact_path("assistant", version)
    with pytest.raises(BadInput, match=f"version assistant/{version}"):
        registry.certificate("assistant", version)
