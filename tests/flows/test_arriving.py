"""From what was submitted to what is learned under which settings; nothing is trained here."""

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.arrival_plan import plan_of
from flows.arriving import Sent, examine, free_name, prepare, queue_up
from flows.plan import read_plan
from flows.stage_protocol import StageCrashed
from flows.submitted_file import FROM_VARIABLE, file_document
from lori_core.errors import BadInput, NoRoom
from registry.accounts import Accounts, owner
from registry.retention import delete_version
from tests.flows.arriving_cases import Desk, a_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with a_desk(tmp_path) as found:
        yield found


def names(desk: Desk) -> list[str]:
    return [each.task for each in desk.arrivals.arrivals() if each.state != "cancelled"]


def test_each_new_task_of_a_file_waits_in_the_order_of_the_file(desk: Desk) -> None:
    submission = desk.send(desk.file("color", "size"), priority=3)
    assert submission.state == "accepted"
    assert [(each.task, each.new) for each in submission.outcome] == [
        ("color", True),
        ("size", True),
    ]
    first, second = desk.arrivals.arrivals()
    assert (first.task, first.state, first.queue, first.priority) == ("color", "waiting", "cpu", 3)
    assert second.submission_id == submission.id


def test_the_plan_of_the_first_arrival_is_that_of_a_file_with_one_task(desk: Desk) -> None:
    file = desk.file("color", "size", more="guards: [size, color]\nlicense: MIT\npromotion: auto")
    desk.send(file)
    alone = desk.file(
        "color", more="guards: [color]\nlicense: MIT\npromotion: auto", as_="one.yaml"
    )
    expected = read_plan(alone, desk.home)
    plan = plan_of(desk.registry, desk.home, desk.arrivals.arrival(1))
    assert plan.data == expected.data
    assert plan.task_record(1) == expected.task_record(1)
    assert plan.sequence_record("b") == expected.sequence_record("b")
    assert json.loads(Path(str(plan.config.tasks[0].train.path)).read_text().splitlines()[0])


def test_learned_in_another_order_than_the_file_each_follows_what_is_there(desk: Desk) -> None:
    desk.send(desk.file("color", "size", more="guards: [color]"))
    desk.send(desk.file("animal", as_="urgent.yaml"), priority=9)
    color, size, animal = desk.arrivals.arrivals()
    assert desk.learn(animal).config.guards == ()
    assert desk.learn(color).config.guards == ("color",)
    plan = desk.learn(size)
    assert [task.name for task in plan.config.tasks] == ["animal", "color", "size"]
    assert [each.task for each in desk.registry.versions("tiny")] == ["animal", "color", "size"]
    again = desk.send(desk.file("color", "size", as_="later.yaml"))
    assert [(each.version, each.new) for each in again.outcome] == [(2, False), (3, False)]


def test_the_same_task_twice_is_one_arrival_however_it_comes(desk: Desk) -> None:
    desk.send(desk.file("color"))
    second = desk.send(desk.file("color", more="guards: [color]"), source="schedule")
    assert [(each.arrival, each.new) for each in second.outcome] == [(1, False)]
    grown = desk.send(desk.file("color", "size"))
    assert [(each.arrival, each.new) for each in grown.outcome] == [(1, False), (2, True)]
    alone = desk.send(desk.task("size"), source="api")
    assert [(each.arrival, each.new) for each in alone.outcome] == [(2, False)]


def test_again_learns_it_under_the_next_free_name(desk: Desk) -> None:
    desk.send(desk.file("color"))
    desk.learn(desk.arrivals.arrival(1))
    desk.send(desk.file("color", "size"), again=True)
    desk.send(desk.file("color"), again=True)
    assert names(desk) == ["color", "color-2", "size", "color-3"]
    plan = plan_of(desk.registry, desk.home, desk.arrivals.arrival(2))
    assert [task.name for task in plan.config.tasks] == ["color", "color-2"]
    assert plan.data[0] == plan.data[1]


def test_a_name_never_grows_beyond_what_a_name_may_be() -> None:
    long = "a" * 64
    assert free_name(long, {long}) == "a" * 62 + "-2"
    assert free_name("a", {"a", "a-2"}) == "a-3"


def test_a_task_file_takes_what_its_sequence_has(desk: Desk) -> None:
    desk.send(desk.file("color", more="gate: {min_learning: 0.25}\npromotion: auto"))
    desk.send(desk.task("size", guards=["color"]))
    desk.learn(desk.arrivals.arrival(1))
    plan = plan_of(desk.registry, desk.home, desk.arrivals.arrival(2))
    assert plan.config.guards == ("color",)
    assert plan.config.gate.min_learning == 0.25
    assert plan.config.promotion == "auto"
    assert plan.config.tasks[1].training.num_train_epochs == 3
    desk.learn(desk.arrivals.arrival(2))
    desk.send(desk.task("animal", promotion="manual"))
    plan = plan_of(desk.registry, desk.home, desk.arrivals.arrival(3))
    assert (plan.config.guards, plan.config.promotion) == (("color",), "manual")
    assert plan.config.tasks[2].training.num_train_epochs == 3


def test_what_was_submitted_is_learned_whatever_becomes_of_the_files(desk: Desk) -> None:
    file = desk.file("color")
    before = read_plan(file, desk.home)
    desk.send(file)
    file.write_text("sequence: other")
    (desk.folder / "rows" / "color-train.jsonl").unlink()
    plan = plan_of(desk.registry, desk.home, desk.arrivals.arrival(1))
    assert plan.data == before.data


def test_rows_that_were_kept_elsewhere_are_told_plainly(desk: Desk) -> None:
    desk.send(desk.file("color"))
    arrival = desk.arrivals.arrival(1)
    [kept] = (desk.home / "data").glob("*/train.jsonl")
    kept.unlink()
    with pytest.raises(BadInput, match="share one home"):
        plan_of(desk.registry, desk.home, arrival)


def test_a_learned_task_whose_rows_changed_is_refused_as_lori_run_does(desk: Desk) -> None:
    desk.send(desk.file("color"))
    desk.learn(desk.arrivals.arrival(1))
    path = desk.folder / "rows" / "color-train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    reason = desk.refused(desk.file("color", "size"))
    assert "those of task 'color' are not the ones it was learned with" in reason
    assert "supersedes: color" in reason


def test_an_arrival_whose_task_is_learned_has_nothing_to_learn(desk: Desk) -> None:
    desk.send(desk.file("color"))
    arrival = desk.arrivals.arrival(1)
    desk.learn(arrival)
    plan = plan_of(desk.registry, desk.home, arrival)
    assert [task.name for task in plan.config.tasks] == ["color"]
    other = replace(arrival, data={**arrival.data, "train": "0" * 64})
    with pytest.raises(BadInput, match="not the ones it was learned with"):
        plan_of(desk.registry, desk.home, other)


def test_one_name_for_two_different_tasks_is_refused(desk: Desk) -> None:
    desk.send(desk.file("color"))
    path = desk.folder / "rows" / "color-test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    reason = desk.refused(desk.file("color"))
    assert "task 'color': rows.test is" in reason
    assert "lori cancel 1" in reason


def test_what_waits_and_what_comes_share_base_and_adapter(desk: Desk) -> None:
    desk.send(desk.file("color"))
    assert "adapter.seed is 1, but 0 in arrival 1" in desk.refused(
        desk.file("size", adapter=", seed: 1")
    )


def test_what_waits_counts_for_what_fits(desk: Desk) -> None:
    desk.send(desk.file("color", "size", "animal"))
    full = desk.refused(desk.file("one", "two"))
    assert "need more entries of B" in full
    assert full.endswith("and none is left: begin a new sequence.")
    assert "Raise" not in full  # the adapter's settings stay
    desk.arrivals.cancel(3, "tests")
    assert desk.send(desk.file("one", "two")).state == "accepted"


def test_what_can_be_done_about_a_full_sequence_depends_on_whether_it_is_known(desk: Desk) -> None:
    names = ("color", "size", "animal", "one", "two")
    anew = desk.refused(desk.file(*names))
    assert anew.endswith("Raise `sparsity` or `tasks_planned`, or start a new sequence.")
    desk.send(desk.file("color", adapter=", sparsity: 0.7"))
    desk.learn(desk.arrivals.arrival(1))
    with pytest.raises(NoRoom) as told:
        read_plan(desk.file(*names[:4], adapter=", sparsity: 0.7"), desk.home)
    assert str(told.value).endswith(
        "'tiny' keeps its `tasks_planned`, and each task its entries, retired or not: give 'one' a "
        "`sparsity` of its own, 0.9 at least, or begin a new sequence."
    )
    given = desk.file(*names[:4], adapter=", sparsity: 0.7")
    given.write_text(given.read_text().replace("name: one", "name: one\n    sparsity: 0.9"))
    assert len(read_plan(given, desk.home).config.tasks) == 4


def test_a_deleted_version_may_be_learned_again(desk: Desk) -> None:
    desk.send(desk.file("color"))
    desk.learn(desk.arrivals.arrival(1))
    delete_version(desk.registry, "tiny", 1, actor=owner(), reason="wrong rows")
    assert [each.new for each in desk.send(desk.file("color")).outcome] == [True]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"file": "x.yaml", "text": "sequence: [1"}, "x.yaml line 1"),
        ({"file": "x.yaml", "text": "- 1"}, "a mapping of keys"),
        ({"tasks": []}, "key `sequence` is missing"),
        ({"sequence": "Tiny Ones"}, "Try `tiny-ones`"),
        ({"sequence": "unknown", "task": {"name": "a"}}, "is not known here"),
        ({"sequence": "tiny", "task": 3}, "task is 3"),
        ({"sequence": "tiny", "task": {"name": "a"}, "adapter": {}}, "unknown key `adapter`"),
        (
            {"sequence": "tiny", "task": {"name": "a", "train": {"path": "a.jsonl"}}},
            "`test` is missing",
        ),
        ({"sequence": "tiny", "task": {}, "tasks": []}, "unknown key `task`"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    desk: Desk, document: dict[str, object], says: str
) -> None:
    desk.send(desk.file("color"))
    assert says in desk.refused(document)
    assert says in desk.refused(document, source="api")


def test_a_refused_submission_keeps_no_rows(desk: Desk) -> None:
    file = desk.file("color", "size")
    (desk.folder / "rows" / "size-train.jsonl").write_text("not json\n")
    assert "size-train.jsonl line 1" in desk.refused(file)
    assert not (desk.home / "data").exists()


def test_from_outside_only_files_of_the_named_folders_are_read(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.jsonl"
    outside.write_text((desk.folder / desk.rows("color", "train")).read_text())
    (desk.folder / "rows" / "link.jsonl").symlink_to(outside)
    desk.send(desk.file("size"))
    for path in (str(outside), "rows/link.jsonl", f"../{outside.parent.name}/secret.jsonl"):
        sent = desk.task("color")
        sent["task"] = {**dict(sent["task"]), "train": {"path": path}}  # type: ignore[call-overload]
        for source in ("api", "event", "folder"):
            assert "named from outside" in desk.refused(sent, source=source)  # type: ignore[arg-type]
    assert desk.send({**desk.task("animal")}, source="api").state == "accepted"
    monkeypatch.setenv(FROM_VARIABLE, str(outside.parent))
    assert "named from outside" in desk.refused(desk.task("color"), source="api")


def test_from_outside_no_code_runs(desk: Desk) -> None:
    desk.send(desk.file("size"))
    for more in ({"metric": "evil:run"}, {"metric": "pass_at_k", "allow_code_execution": True}):
        sent = desk.task("color")
        sent["task"] = {**dict(sent["task"]), **more}  # type: ignore[call-overload]
        assert "would run code" in desk.refused(sent, source="api")
        assert "would run code" in desk.refused(sent, source="folder")


def test_who_may_not_promote_has_no_worker_do_it(desk: Desk) -> None:
    accounts = Accounts(desk.registry, owner())
    accounts.create("ann", "admin")
    accounts.create("tom", "trainer")
    desk.sender = "ann"
    desk.send(desk.file("color", more="promotion: auto"))
    for desk.sender, source in (("tom", "api"), ("os:tom", "folder"), ("ann", "event")):
        lax = desk.task("size", gate={"max_guard_drop": 1.0})
        assert "gate.max_guard_drop of 'tiny'" in desk.refused(lax, source=source)  # type: ignore[arg-type]
        new = desk.file("size", name="other", more="promotion: auto")
        assert "Have an admin submit it" in desk.refused(new, source=source)  # type: ignore[arg-type]
    desk.sender = "tom"
    assert desk.send(desk.task("size"), source="api").state == "accepted"
    assert "promotion of 'tiny'" in desk.refused(desk.task("animal", promotion="approval"))
    desk.sender = "ann"
    strict = desk.task("shape", gate={"max_guard_drop": 0.01}, promotion="auto")
    assert desk.send(strict, source="api").state == "accepted"


def test_metrics_of_ones_own_lie_beside_one_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.send(desk.file("size"))
    (desk.folder / "far").mkdir()
    for folder, name in ((desk.folder, "near_metric"), (desk.folder / "far", "far_metric")):
        (folder / f"{name}.py").write_text("def score(prompts, outputs, rows):\n    return []\n")

    def sent(task: str, metric: str) -> dict[str, object]:
        found = desk.task(task)
        return {**found, "task": {**dict(found["task"]), "metric": metric}}  # type: ignore[call-overload]

    assert desk.send(sent("color", "near_metric:score")).state == "accepted"
    monkeypatch.delitem(sys.modules, "near_metric")  # `lori submit` is a process of its own
    far = sent("animal", "far_metric:score")
    for split in ("train", "test"):
        far["task"][split] = {"path": str(desk.folder / desk.rows("animal", split))}  # type: ignore[index]
    received = desk.arrivals.receive(
        far, source="command", folder=str(desk.folder / "far"), submitted_by="x"
    )
    assert "near_metric" in str(prepare(desk.registry, desk.home, received).reason)
    assert desk.send(sent("animal", "near_metric:score")).state == "accepted"


def test_prepared_twice_a_submission_makes_no_second_arrival(desk: Desk) -> None:
    received = desk.arrivals.receive(
        file_document(desk.file("color")), source="api", folder=str(desk.folder), submitted_by="x"
    )
    first = prepare(desk.registry, desk.home, received)
    assert prepare(desk.registry, desk.home, received) == first
    assert names(desk) == ["color"]


def test_a_queue_is_prepared_without_anything_heavy(desk: Desk) -> None:
    desk.send(desk.file("color"))
    script = (
        "import sys; from pathlib import Path; import flows.arriving, flows.arrival_plan\n"
        "heavy = [n for n in ('torch', 'transformers', 'prefect', 'mlflow') if n in sys.modules]\n"
        "sys.exit(', '.join(heavy) or None)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def test_what_lori_submit_settled_meanwhile_is_not_refused_after_it(
    desk: Desk,
) -> None:
    received = desk.arrivals.receive(
        file_document(desk.file("color")),
        source="command",
        folder=str(desk.folder),
        submitted_by="x",
    )
    prepared = examine(desk.registry, desk.home, Sent(received.document, "command", desk.folder))
    faster = queue_up(desk.registry, desk.home, received, prepared)
    (desk.folder / "rows" / "color-train.jsonl").unlink()
    assert prepare(desk.registry, desk.home, received) == faster


def test_nobody_stumbles_twice_over_one_submission(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise KeyError("forgotten")

    monkeypatch.setattr("flows.arriving.read_wish", stumble)
    with pytest.raises(KeyError):
        desk.send(desk.task("color"))
    assert desk.arrivals.received() == ()
    assert "a fault of ours, KeyError" in str(desk.arrivals.submission(1).reason)
    assert "forgotten" not in str(desk.arrivals.submission(1).reason)


def test_why_a_submission_is_refused_says_the_place_and_no_word_of_a_row(desk: Desk) -> None:
    desk.send(desk.file("color"))
    sent = desk.task("animal")
    path = Path(sent["task"]["train"]["path"])  # type: ignore[index]
    path = path if path.is_absolute() else desk.folder / path
    path.write_text('{"id": "secret-1", "prompt": ["secret words"], "completion": "secret"}\n')
    reason = desk.refused(sent)
    assert "line 1: expected" in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        StageCrashed("inspect", "x.log", "the training process was ended by signal 15"),
        StageCrashed("inspect", "x.log", "the training process ended by itself with exit code 143"),
    ],
)
def test_a_full_disk_or_a_worker_that_leaves_costs_no_submission(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise trouble

    with monkeypatch.context() as now:
        now.setattr("flows.arriving.keep_rows", stumble)
        assert desk.send(desk.file("color")).state == "received"
    [waits] = desk.arrivals.received()
    assert prepare(desk.registry, desk.home, waits).state == "accepted"


def test_a_base_that_ends_its_child_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise StageCrashed("inspect", "x.log", "the training process was killed (out of memory?)")

    monkeypatch.setattr("flows.arriving.keep_rows", stumble)
    assert "out of memory" in desk.refused(desk.file("color"))


def test_relative_folders_start_where_the_home_lies(desk: Desk) -> None:
    desk.send(desk.file("size"))
    desk.rows("color", "train"), desk.rows("color", "test")
    sources = {split: {"path": f"color-{split}.jsonl"} for split in ("train", "test")}
    received = desk.arrivals.receive(
        {"sequence": "tiny", "task": {"name": "color", **sources}},
        source="api",
        folder="rows",
        submitted_by="x",
    )
    assert prepare(desk.registry, desk.home, received).state == "accepted"
