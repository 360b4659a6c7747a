from dataclasses import replace
from fractions import Fraction

import pytest

from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    GateConfig,
    ResourcesConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)
from lori_core.errors import BadInput
from lori_core.validation import BOUNDS, Bound, nearest, validate_sequence

ROWS = DataSource(path="/data/rows.jsonl")
TEST_ROWS = DataSource(path="/data/test.jsonl")


def a_task(name: str = "math", **changes: object) -> TaskConfig:
    return replace(TaskConfig(name=name, train=ROWS, test=TEST_ROWS), **changes)  # type: ignore[arg-type]


def a_sequence(*tasks: TaskConfig, **changes: object) -> SequenceConfig:
    config = SequenceConfig(sequence="s", base=BaseConfig(path="/base"), tasks=tasks)
    return replace(config, **changes)  # type: ignore[arg-type]


def refusal(config: SequenceConfig) -> str:
    with pytest.raises(BadInput) as caught:
        validate_sequence(config, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml: ")
    assert "\n" not in message
    return message.removeprefix("f.yaml: ")


def test_a_plain_sequence_passes() -> None:
    validate_sequence(a_sequence(a_task("a"), a_task("b"), guards=("a",)))


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        (ResourcesConfig(gpus=2), "tasks.math.resources.processes is 1 with gpus 2"),
        (ResourcesConfig(gpus=1, processes=2), "tasks.math.resources.processes is 2 with gpus 1"),
        (
            ResourcesConfig(processes=5),
            "tasks.math.resources.processes is 5 for micro-batches of 4",
        ),
        (ResourcesConfig(max_hours=0.0), "tasks.math.resources.max_hours is 0.0"),
        (ResourcesConfig(gpus=-1), "tasks.math.resources.gpus is -1"),
    ],
)
def test_resources_that_cannot_be_are_refused(needs: ResourcesConfig, told: str) -> None:
    training = TrainingConfig(train_batch_size=8, gradient_accumulation_steps=2)
    assert refusal(a_sequence(a_task(training=training, resources=needs))).startswith(told)


# Bounds


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "words"),
    [
        (Bound(1), [1, 2, 1e9], [0, 0.999, float("inf"), float("nan")], "at least 1"),
        (Bound(0, low_open=True), [1e-300, 5], [0, -1], "above 0"),
        (Bound(0, 1, high_open=True), [0, 0.999], [1, -1e-9], "at least 0 and below 1"),
        (Bound(-1, 1), [-1, 1], [1.1, -1.1], "at least -1 and at most 1"),
    ],
)
def test_a_bound_admits_what_its_words_say(
    bound: Bound, inside: list[float], outside: list[float], words: str
) -> None:
    assert str(bound) == words
    assert [bound.admits(value) for value in (*inside, *outside)] == [True] * len(inside) + [
        False
    ] * len(outside)


def test_every_bound_is_about_a_key_there_is() -> None:
    kinds = (
        AdapterConfig,
        TrainingConfig,
        DataSource,
        TaskConfig,
        ResourcesConfig,
        GateConfig,
        SequenceConfig,
    )
    keys = {(kind.__name__, name) for kind in kinds for name in kind.__dataclass_fields__}
    assert set(BOUNDS) <= keys


def test_bounds_hold_for_configs_made_in_code_too() -> None:
    broken = a_sequence(a_task(training=TrainingConfig(learning_rate=float("nan"))))
    assert refusal(broken).startswith("tasks.math.training.learning_rate is nan")


def test_epochs_have_a_beginning_and_an_end() -> None:
    bound = BOUNDS["TrainingConfig", "num_train_epochs"]
    assert bound.admits(0.001)
    assert not bound.admits(1e-300)
    assert bound.admits(10_000)
    assert not bound.admits(10_001)
    assert not bound.admits(1e300)


def test_the_nearest_word_is_close_or_none() -> None:
    assert nearest("acuracy", ("accuracy", "refusal")) == "accuracy"
    assert nearest("bleu", ("accuracy", "refusal")) is None


# Names


def test_task_names_differ() -> None:
    message = refusal(a_sequence(a_task("a"), a_task("b"), a_task("a")))
    assert message.startswith("tasks 1 and 3 are both named 'a': expected a name of its own")


@pytest.mark.parametrize("name", ["Math", "a b", "-x", "é"])
def test_bad_names_are_refused_where_they_stand(name: str) -> None:
    assert refusal(a_sequence(a_task(name))).startswith(f"tasks.1: task name {name!r}: expected")
    message = refusal(a_sequence(a_task(), sequence=name))
    assert message.startswith(f"sequence name {name!r}: expected")


def test_a_sequence_without_tasks_is_refused() -> None:
    assert refusal(a_sequence()) == "tasks is empty: expected at least one task. Add one."


# Adapter


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (
            AdapterConfig(target_modules=()),
            "adapter.target_modules is []: expected different names",
        ),
        (AdapterConfig(target_modules=("q", "q")), "adapter.target_modules is ['q', 'q']"),
        (
            AdapterConfig(target_modules=("self_attn.q_proj",)),
            "adapter.target_modules: 'self_attn.q_proj': expected the last part of a layer's name",
        ),
        (
            AdapterConfig(protection="separate"),
            "adapter.read is 'inherited' under `protection: separate`: expected `isolated`.",
        ),
        (
            AdapterConfig(protection="overlap", read="isolated"),
            "adapter.read is 'isolated' under `protection: overlap`: expected `cumulative`.",
        ),
        (
            AdapterConfig(method="lora"),
            "adapter.method is 'lora' under `protection: disjoint`: expected `protection: separate`",
        ),
        (
            AdapterConfig(method="lora", protection="separate", read="isolated", sparsity=0.9),
            "adapter.sparsity is 0.9 with `method: lora`: expected none.",
        ),
    ],
)
def test_adapter_settings_that_contradict_each_other(adapter: AdapterConfig, message: str) -> None:
    assert refusal(a_sequence(a_task(), adapter=adapter)).startswith(message)


# Tasks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": DataSource()}, "tasks.math.train has neither path and dataset: expected one"),
        ({"train": DataSource(path="a.csv", dataset="d")}, "tasks.math.train has both path and"),
        (
            {"test": DataSource(path="rows.txt")},
            "tasks.math.test.path rows.txt: expected a file ending in .jsonl, .jsonl.gz, .csv",
        ),
        ({"test": DataSource(path="a.csv", split="test")}, "tasks.math.test.split beside `path`"),
        ({"test": DataSource(dataset="d")}, "tasks.math.test.split is missing"),
        (
            {"validation": TEST_ROWS},
            "tasks.math.validation is the same as test: expected rows that are not used to measure",
        ),
        ({"prompt": "{q}"}, "tasks.math.prompt without `completion`: expected both or neither."),
        ({"completion": "{a}"}, "tasks.math.completion without `prompt`"),
        (
            {"prompt": "{q", "completion": "{a}"},
            "tasks.math.prompt: template '{q': lone `{` at character 1: expected fields as {name}",
        ),
        (
            {"prompt": "Q", "completion": "{a}"},
            "tasks.math.prompt 'Q': expected at least one field",
        ),
        (
            {"metric": "acuracy"},
            "tasks.math.metric 'acuracy': expected one of accuracy, exact_match, exact_number, "
            "pass_at_k, refusal, or package.module:function. Did you mean `accuracy`?",
        ),
        ({"metric": "my.module"}, "tasks.math.metric 'my.module': expected one of"),
        ({"metric": "pass_at_k"}, "tasks.math.metric pass_at_k runs code that the model wrote"),
        ({"metric": "refusal"}, "tasks.math.metric refusal without `over_refusal`"),
        ({"over_refusal": "none"}, "tasks.math.over_refusal with metric exact_match"),
        ({"k": 5}, "tasks.math.k is 5 with metric exact_match: expected 1."),
        (
            {"training": TrainingConfig(train_batch_size=10, gradient_accumulation_steps=4)},
            "tasks.math.training.gradient_accumulation_steps is 4: expected a divisor of "
            "train_batch_size 10.",
        ),
    ],
)
def test_a_task_that_cannot_be_learned_says_why(changes: dict[str, object], message: str) -> None:
    assert refusal(a_sequence(a_task(**changes))).startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "mine:score"},
        {"metric": "my.package.scores:rouge"},
        {"metric": "pass_at_k", "k": 5, "allow_code_execution": True},
        {"metric": "refusal", "over_refusal": "none"},
        {"metric": "refusal", "over_refusal": DataSource(path="harmless.parquet")},
        {"prompt": "{q}", "completion": "{a}"},
        {"train": DataSource(dataset="d", split="train", name="main", revision="v1", limit=5)},
        {"training": TrainingConfig(train_batch_size=12, gradient_accumulation_steps=4)},
    ],
)
def test_what_a_task_may_say(changes: dict[str, object]) -> None:
    validate_sequence(a_sequence(a_task(**changes)))


def test_plain_lora_takes_no_sparsity_of_a_task() -> None:
    adapter = AdapterConfig(method="lora", protection="separate", read="isolated")
    gate = GateConfig(read="isolated")
    config = a_sequence(a_task(sparsity=0.5), adapter=adapter, gate=gate)
    assert refusal(config).startswith("tasks.math.sparsity with `method: lora`")


# Guards and gate


def test_a_guard_is_a_task() -> None:
    message = refusal(a_sequence(a_task("safety"), guards=("safty",)))
    assert message == "guards: 'safty' is no task: expected one of safety. Did you mean `safety`?"
    assert refusal(a_sequence(a_task("a"), guards=("a", "a"))).startswith("guards ['a', 'a']")


@pytest.mark.parametrize(
    ("adapter", "reach"),
    [
        (AdapterConfig(read="cumulative"), "G1"),
        (AdapterConfig(protection="overlap", read="cumulative"), "G0"),
    ],
)
def test_a_gate_asks_for_no_certificate_that_cannot_be_had(
    adapter: AdapterConfig, reach: str
) -> None:
    message = refusal(a_sequence(a_task(), adapter=adapter))
    assert f"reaches {reach}: expected at most {reach}." in message


def test_separate_adapters_have_nothing_to_inherit_at_the_gate() -> None:
    adapter = AdapterConfig(protection="separate", read="isolated")
    assert refusal(a_sequence(a_task(), adapter=adapter)).startswith("gate.read is 'inherited'")


# Capacity


@pytest.mark.parametrize("planned", [1, 2, 3, 7, 10, 49, 1000])
def test_as_many_tasks_fit_as_are_planned_and_not_one_more(planned: int) -> None:
    adapter = AdapterConfig(tasks_planned=planned)
    tasks = [a_task(f"t{i}") for i in range(planned + 1)]
    validate_sequence(a_sequence(*tasks[:planned], adapter=adapter))
    message = refusal(a_sequence(*tasks, adapter=adapter))
    assert f"(task {planned + 1}, 't{planned}', brings the sum of 1 - sparsity to" in message


@pytest.mark.parametrize(
    "sparsities", [[0.5, 0.5], [0.9] * 10, [0.2, 0.8], [0.5, 0.75, 0.76], [0.7, 0.7, 0.7], [0.0]]
)
def test_tasks_of_their_own_sparsity_fit_exactly_when_their_shares_do(
    sparsities: list[float],
) -> None:
    needed = sum(1 - Fraction(str(sparsity)) for sparsity in sparsities)
    tasks = [a_task(f"t{i}", sparsity=sparsity) for i, sparsity in enumerate(sparsities)]
    if needed <= 1:
        validate_sequence(a_sequence(*tasks))
    else:
        assert "tasks need more entries of B than there are" in refusal(a_sequence(*tasks))


def test_overlapping_and_separate_adapters_hold_any_number_of_tasks() -> None:
    tasks = [a_task(f"t{i}", sparsity=0.0) for i in range(20)]
    gate = GateConfig(read="cumulative", certificate="G0")
    overlap = AdapterConfig(protection="overlap", read="cumulative")
    validate_sequence(a_sequence(*tasks, adapter=overlap, gate=gate))
    separate = AdapterConfig(protection="separate", read="isolated")
    validate_sequence(a_sequence(*tasks, adapter=separate, gate=GateConfig(read="isolated")))
