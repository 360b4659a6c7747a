import json
import subprocess
import sys
from pathlib import Path

import pytest

from lori_core.config import AdapterConfig, DataSource, SequenceConfig
from lori_core.errors import BadInput, InvalidSparsity, UnknownKey
from lori_core.sequence_file import (
    load_sequence,
    require_files,
    sequence_from_json,
    sequence_to_json,
)

DESIGN_EXAMPLE = """\
sequence: assistant
base: ./examples/micro
adapter: {r: 32, lora_alpha: 64, target_modules: all-linear, protection: disjoint, read: inherited, tasks_planned: 10, seed: 0}
training: {num_train_epochs: 1, train_batch_size: 32, learning_rate_dense: 5e-5, learning_rate: 5e-4, learning_rate_head: 1e-3, max_length: 512}
tasks:
  - name: safety
    train: {path: data/safety/train.jsonl}
    test: {path: data/safety/test.jsonl}
    over_refusal: {path: data/safety/harmless.jsonl}
    metric: refusal
  - name: math
    train: {dataset: openai/gsm8k, name: main, split: train}
    test: {dataset: openai/gsm8k, name: main, split: test}
    prompt: "{question}"
    completion: "{answer}"
    metric: exact_number
    training: {num_train_epochs: 3}
guards: [safety]
gate: {certificate: G2, max_guard_drop: 0.03, max_forgetting: 0.02, min_learning: 0.0, confidence: 0.95, read: inherited}
promotion: manual
"""


def one_task(extra: str = "", *, top: str = "", adapter: str = "{}", name: str = "math") -> str:
    """The smallest file, with lines added to its task or its top."""
    return (
        f"sequence: s\nbase: ./b\nadapter: {adapter}\n{top}"
        f"tasks:\n  - name: {name}\n    train: {{path: a.jsonl}}\n    test: {{path: b.jsonl}}\n{extra}"
    )


def load(text: str | bytes, folder: Path) -> SequenceConfig:
    file = folder / "sequence.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_sequence(file)


def refusal(text: str | bytes, folder: Path) -> str:
    """The one line a file is refused with, without the file's own path."""
    with pytest.raises(BadInput) as caught:
        load(text, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(": expected ") == 1
    assert message.startswith(str(folder / "sequence.yaml"))
    return message.removeprefix(str(folder / "sequence.yaml")).removeprefix(": ")


def test_the_design_documents_own_example_is_read_whole(tmp_path: Path) -> None:
    config = load(DESIGN_EXAMPLE, tmp_path)
    safety, math = config.tasks
    assert config.base.path == str(tmp_path / "examples/micro")
    assert safety.train == DataSource(path=str(tmp_path / "data/safety/train.jsonl"))
    assert safety.over_refusal == DataSource(path=str(tmp_path / "data/safety/harmless.jsonl"))
    assert math.train == DataSource(dataset="openai/gsm8k", name="main", split="train")
    assert config.training.learning_rate_dense == 0.00005
    assert (safety.training.num_train_epochs, math.training.num_train_epochs) == (1.0, 3.0)
    assert math.training.learning_rate == 0.0005
    assert (config.guards, config.gate.confidence) == (("safety",), 0.95)


def test_everything_but_names_base_and_rows_has_a_default(tmp_path: Path) -> None:
    config = load(one_task(), tmp_path)
    assert config.adapter == AdapterConfig()
    assert config.training == config.tasks[0].training


def test_a_sequence_survives_json(tmp_path: Path) -> None:
    config = load(DESIGN_EXAMPLE, tmp_path)
    assert sequence_from_json(json.loads(json.dumps(sequence_to_json(config)))) == config


def test_reading_a_file_loads_neither_torch_nor_transformers(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(DESIGN_EXAMPLE)
    script = (
        "import sys; from pathlib import Path; from lori_core.sequence_file import load_sequence; "
        "import lori_core.audit, lori_core.rows, lori_core.prompts, lori_core.task_rows; "
        "load_sequence(Path(sys.argv[1])); "
        "sys.exit(bool({'torch', 'transformers', 'datasets', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "s.yaml"], check=False)
    assert done.returncode == 0


# What is taken where a key is left out


@pytest.mark.parametrize(
    ("adapter", "read", "level"),
    [
        ("{}", "inherited", "G2"),
        ("{read: isolated}", "isolated", "G2"),
        ("{read: cumulative}", "cumulative", "G1"),
        ("{protection: overlap}", "cumulative", "G0"),
        ("{protection: separate}", "isolated", "G2"),
        ("{protection: separate, method: lora}", "isolated", "G2"),
    ],
)
def test_read_and_gate_follow_the_protection(
    adapter: str, read: str, level: str, tmp_path: Path
) -> None:
    config = load(one_task(adapter=adapter), tmp_path)
    assert (config.adapter.read, config.gate.read, config.gate.certificate) == (read, read, level)


@pytest.mark.parametrize(
    ("written", "number"),
    [("5e-5", 5e-5), ("5E-5", 5e-5), ("1", 1.0), (".5", 0.5), ("1.", 1.0), ("1e+0", 1.0)],
)
def test_numbers_are_numbers_however_they_are_written(
    written: str, number: float, tmp_path: Path
) -> None:
    config = load(one_task(top=f"training: {{learning_rate: {written}}}\n"), tmp_path)
    assert config.training.learning_rate == number


@pytest.mark.parametrize("word", ["no", "on", "y", "2024-01-01", "0x10", "1-2"])
def test_words_that_older_yaml_reads_as_something_else_stay_words(
    word: str, tmp_path: Path
) -> None:
    assert load(one_task(name=word), tmp_path).tasks[0].name == word


def test_a_base_is_a_folder_where_it_looks_like_one_and_else_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    bases = {
        "local": str(tmp_path / "local"),
        "./gone": str(tmp_path / "gone"),
        "../up": str(tmp_path.parent / "up"),
        "/abs/olute": "/abs/olute",
        "~/models/m": str(Path.home() / "models/m"),
        "a/b/c": str(tmp_path / "a/b/c"),
        "meta-llama/Meta-Llama-3-8B": "meta-llama/Meta-Llama-3-8B",
        "gpt2": "gpt2",
    }
    for written, expected in bases.items():
        text = one_task().replace("./b", written)
        assert load(text, tmp_path).base.path == expected


def test_a_base_may_carry_revision_and_dtype(tmp_path: Path) -> None:
    text = one_task().replace("./b", "{path: gpt2, revision: v1, dtype: bfloat16}")
    base = load(text, tmp_path).base
    assert (base.path, base.revision, base.dtype) == ("gpt2", "v1", "bfloat16")


def test_paths_are_relative_to_the_file_and_not_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/s.yaml").write_text(one_task())
    monkeypatch.chdir(tmp_path)
    config = load_sequence(Path("deep/s.yaml"))
    assert config.tasks[0].train.path == str(tmp_path / "deep/a.jsonl")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load(b"\xef\xbb\xbf" + one_task().encode(), tmp_path).sequence == "s"


# The file itself


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.yaml: no such file: expected a sequence file"):
        load_sequence(tmp_path / "gone.yaml")


def test_a_folder_is_no_sequence_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a folder: expected a sequence file .* Name the file"):
        load_sequence(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty: expected a sequence file (YAML). `lori init` writes one."),
        ("# nothing\n", " is empty: expected a sequence file"),
        ("- a\n- b\n", " holds a list: expected a mapping"),
        ("hello", " holds one value, 'hello': expected a mapping"),
        ("a: 1\nb: [2\n", " line 3: expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", " line 2: found character"),
        ("sequence: a\nsequence: b\n", " line 2: key `sequence` appears twice"),
        ("adapter:\n  r: 1\n  seed: 0\n  r: 2\n", " line 4: key `r` appears twice"),
        ("a: 1\n---\nb: 2\n", " line 2: a second document begins (`---`): expected one sequence"),
        ("a: !!python/object:os.system x\n", " line 1: a tag (`!`)"),
        ("a: 1\nb: !!bool maybe\n", " line 2: a tag (`!`); text that begins so needs quotes"),
        ("a: !!map [1]\n", " line 1: a tag (`!`)"),
        ("? !!set {x, y}\n: 1\n", " line 1: a tag (`!`)"),
        ("a: !!timestamp abc\n", " line 1: a tag (`!`)"),
        ("a: !mine x\n", " line 1: a tag (`!`)"),
        ("a: &x [*x]\n", " line 1: found unconstructable recursive node"),
        ("? [1, 2]\n: x\n", " line 1: a key must be text"),
        (b"sequence: s\nbase: \xff\n", " line 2: byte 0xff is not UTF-8: expected UTF-8 text"),
        ("sequence: s\nbase: \x01\n", "line 2: character U+0001"),
        ("a: " + "[" * 5000, ": nested too deeply: expected a sequence file"),
        ("a: !!int abc\n", " line 1: a tag (`!`)"),
    ],
)
def test_a_file_that_is_no_mapping_says_where(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "sequence.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BadInput) as caught:
        load_sequence(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Keys


@pytest.mark.parametrize(
    ("text", "where", "key", "nearest"),
    [
        (one_task(top="trainning: {}\n"), "", "trainning", "training"),
        (one_task(adapter="{lora_alfa: 1}"), "adapter", "lora_alfa", "lora_alpha"),
        (one_task("    metrik: accuracy\n"), "tasks.math", "metrik", "metric"),
        (
            one_task("    training: {learning_rat: 1}\n"),
            "tasks.math.training",
            "learning_rat",
            "learning_rate",
        ),
        (
            one_task("    validation: {pth: a.csv}\n"),
            "tasks.math.validation",
            "pth",
            "path",
        ),
        (one_task(top="gate: {confidense: 0.9}\n"), "gate", "confidense", "confidence"),
        (one_task(top="learning_rate: 1\n"), "", "learning_rate", "training: learning_rate"),
        (one_task(top="r: 8\n"), "", "r", "adapter: r"),
        (one_task("    max_length: 8\n"), "tasks.math", "max_length", "training: max_length"),
        (one_task(top="zzzz: 1\n"), "", "zzzz", None),
        (one_task(top="5: 1\n"), "", "5", None),
    ],
)
def test_an_unknown_key_names_the_nearest(
    text: str, where: str, key: str, nearest: str | None, tmp_path: Path
) -> None:
    message = refusal(text, tmp_path)
    place = f"{where}: " if where else ""
    assert message.startswith(f"{place}unknown key `{key}`: expected one of ")
    hint = f"Did you mean `{nearest}`?" if nearest else "Remove it."
    assert message.endswith(hint)
    with pytest.raises(UnknownKey):
        load(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: ./b\ntasks: []\n", "key `sequence` is missing: expected text."),
        ("sequence: s\ntasks: []\n", "key `base` is missing: expected a mapping of path"),
        ("sequence: s\nbase: ./b\n", "key `tasks` is missing: expected a list of mappings."),
        ("sequence: s\nbase: {}\ntasks: []\n", "base: key `path` is missing"),
        (
            "sequence: s\nbase: ./b\ntasks: [{name: a, train: {path: a.csv}}]\n",
            "tasks.a: key `test` is missing",
        ),
        ("sequence: s\nbase: ./b\ntasks: [{train: {}}]\n", "tasks.1: key `name` is missing"),
    ],
)
def test_a_missing_key_is_named(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(text, tmp_path).startswith(message)


# Types


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one_task(adapter="{r: '8'}"), "adapter.r is '8': expected a whole number."),
        (one_task(adapter="{r: 8.5}"), "adapter.r is 8.5: expected a whole number."),
        (one_task(adapter="{r: true}"), "adapter.r is true: expected a whole number."),
        (one_task(adapter="{r: null}"), "adapter.r is null: expected a whole number."),
        (
            one_task(adapter="{r: 99999999999999999999}"),
            "adapter.r is 99999999999999999999: expected",
        ),
        (one_task(adapter="{lora_alpha: .nan}"), "adapter.lora_alpha is nan: expected a number."),
        (one_task(adapter="{lora_alpha: .inf}"), "adapter.lora_alpha is inf: expected a number."),
        (one_task(adapter="{lora_alpha: yes}"), "adapter.lora_alpha is 'yes': expected a number."),
        (one_task(adapter="{sparsity: false}"), "adapter.sparsity is false: expected a number, or"),
        (one_task(adapter="{target_modules: q_proj}"), "adapter.target_modules is 'q_proj'"),
        (
            one_task(adapter="{target_modules: [1]}"),
            "adapter.target_modules[1] is 1: expected text",
        ),
        (one_task(adapter="[1]"), "adapter is [1]: expected a mapping of r, "),
        (one_task(adapter=""), "adapter is null: expected a mapping of r, "),
        (one_task("    allow_leak: 1\n"), "tasks.math.allow_leak is 1: expected true or false."),
        (one_task("    allow_leak: yes\n"), "tasks.math.allow_leak is 'yes'"),
        (one_task("    training: 3\n"), "tasks.math.training is 3: expected a mapping"),
        (one_task("    prompt: 3\n"), "tasks.math.prompt is 3: expected text, or null."),
        (one_task(top="guards: math\n"), "guards is 'math': expected a list of texts."),
        (one_task(top="eval_rows: all\n"), "eval_rows is 'all': expected a whole number, or null."),
        (one_task(name="12"), "tasks.1.name is 12: expected text."),
        (one_task(name="''"), "tasks.1.name is '': expected text."),
        (one_task().replace("{path: a.jsonl}", "a.jsonl"), "tasks.math.train is 'a.jsonl'"),
        (one_task().replace("./b", "7"), "base is 7: expected a folder, a hub id"),
        (one_task().replace("./b", "true"), "base is true: expected a folder"),
        (one_task().replace("{path: a.jsonl}", '{path: "a\\0.jsonl"}'), "tasks.math.train.path is"),
        ("sequence: s\nbase: ./b\ntasks: 3\n", "tasks is 3: expected a list of mappings."),
        ("sequence: s\nbase: ./b\ntasks: [a]\n", "tasks.1 is 'a': expected a mapping of name"),
    ],
)
def test_a_value_of_the_wrong_kind_is_shown(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(text, tmp_path).startswith(message)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (
            "{protection: disjont}",
            "adapter.protection is 'disjont': expected disjoint or overlap or separate. "
            "Did you mean `disjoint`?",
        ),
        ("{read: inherit}", "adapter.read is 'inherit'"),
        ("{when_full: grow}", "adapter.when_full is 'grow': expected refuse."),
        ("{protection: [disjoint]}", "adapter.protection is ['disjoint']"),
    ],
)
def test_a_word_outside_its_set_names_the_nearest(
    adapter: str, message: str, tmp_path: Path
) -> None:
    assert refusal(one_task(adapter=adapter), tmp_path).startswith(message)


def test_a_long_value_is_shown_short(tmp_path: Path) -> None:
    message = refusal(one_task(adapter=f"{{r: {'x' * 5000}}}"), tmp_path)
    assert len(message) < 200


# Bounds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one_task(adapter="{r: 0}"), "adapter.r is 0: expected a number, at least 1 and"),
        (one_task(adapter="{r: -4}"), "adapter.r is -4: expected a number, at least 1 and"),
        (one_task(adapter="{r: 100000}"), "adapter.r is 100000: expected a number, at least 1 and"),
        (
            one_task(adapter="{lora_alpha: 0}"),
            "adapter.lora_alpha is 0.0: expected a number, above",
        ),
        (one_task(adapter="{tasks_planned: 0}"), "adapter.tasks_planned is 0"),
        (
            one_task(adapter="{seed: -1}"),
            "adapter.seed is -1: expected a number, at least 0 and at",
        ),
        (
            one_task(top="training: {num_train_epochs: 0}\n"),
            "training.num_train_epochs is 0.0: expected a number, at least 0.0001 and at most 10000.",
        ),
        (
            one_task(top="training: {num_train_epochs: 1e300}\n"),
            "training.num_train_epochs is 1e+300: expected a number, at least 0.0001 and at most "
            "10000.",
        ),
        (one_task(top="training: {train_batch_size: 0}\n"), "training.train_batch_size is 0"),
        (
            one_task(top="training: {train_batch_size: 100000000000000000}\n"),
            "training.train_batch_size is 100000000000000000: expected a number, at least 1 and at "
            "most 1048576.",
        ),
        (
            one_task(top="training: {num_train_epochs: 1e-300}\n"),
            "training.num_train_epochs is 1e-300",
        ),
        (one_task(top="training: {learning_rate: -1e-3}\n"), "training.learning_rate is -0.001"),
        (one_task(top="training: {max_length: 7}\n"), "training.max_length is 7"),
        (one_task(top="training: {save_steps: 0}\n"), "training.save_steps is 0"),
        (
            one_task("    training: {max_grad_norm: 0}\n"),
            "tasks.math.training.max_grad_norm is 0.0",
        ),
        (one_task("    max_new_tokens: 0\n"), "tasks.math.max_new_tokens is 0"),
        (one_task("    k: 0\n"), "tasks.math.k is 0"),
        (
            one_task().replace("a.jsonl", "a.jsonl, limit: -5"),
            "tasks.math.train.limit is -5: expected a number, at least 1.",
        ),
        (one_task(top="eval_rows: 0\n"), "eval_rows is 0"),
        (
            one_task(top="gate: {confidence: 1}\n"),
            "gate.confidence is 1.0: expected a number, above",
        ),
        (one_task(top="gate: {confidence: 0.5}\n"), "gate.confidence is 0.5"),
        (one_task(top="gate: {max_forgetting: -0.1}\n"), "gate.max_forgetting is -0.1"),
        (one_task(top="gate: {max_guard_drop: 3}\n"), "gate.max_guard_drop is 3.0"),
    ],
)
def test_a_number_out_of_bounds_says_which_and_what_they_are(
    text: str, message: str, tmp_path: Path
) -> None:
    assert refusal(text, tmp_path).startswith(message)


@pytest.mark.parametrize("sparsity", ["1.0", "1", "-0.1", "2"])
def test_a_sparsity_that_leaves_nothing_is_refused(sparsity: str, tmp_path: Path) -> None:
    for text, key in (
        (one_task(adapter=f"{{sparsity: {sparsity}}}"), "adapter.sparsity"),
        (one_task(f"    sparsity: {sparsity}\n"), "tasks.math.sparsity"),
    ):
        assert refusal(text, tmp_path).startswith(f"{key} {float(sparsity)}: expected a share")
        with pytest.raises(InvalidSparsity):
            load(text, tmp_path)


# Files that a sequence needs


def test_the_first_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = load(one_task(), tmp_path)
    with pytest.raises(BadInput, match=r"base .*/b does not exist: expected the folder of a model"):
        require_files(config)
    (tmp_path / "b").mkdir()
    with pytest.raises(BadInput, match=r"holds no config\.json"):
        require_files(config)
    (tmp_path / "b/config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"task math: .*a\.jsonl: no such file: expected a file"):
        require_files(config)
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(BadInput, match=r"b\.jsonl: is a folder: expected a file of rows"):
        require_files(config)
    (tmp_path / "b.jsonl").rmdir()
    (tmp_path / "b.jsonl").write_text("{}")
    require_files(config)


def test_an_absurdly_long_path_is_merely_not_there(tmp_path: Path) -> None:
    config = load(one_task().replace("./b", "x" * 5000), tmp_path)
    assert config.base.path == "x" * 5000
    config = load(one_task().replace("./b", f"./{'x' * 5000}"), tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        require_files(config)


# Whatever stands in a file, the answer is a sequence or one line


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value within a value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def with_value(whole: object, path: tuple[str | int, ...], value: object) -> object:
    if not path:
        return value
    copy = dict(whole) if isinstance(whole, dict) else list(whole)  # type: ignore[call-overload]
    copy[path[0]] = with_value(copy[path[0]], path[1:], value)
    return copy


@pytest.mark.slow
def test_no_value_anywhere_gets_past_as_anything_but_one_line(tmp_path: Path) -> None:
    from lori_core.strict_yaml import read_mapping

    (tmp_path / "whole.yaml").write_text(DESIGN_EXAMPLE)
    whole = read_mapping(tmp_path / "whole.yaml")
    file = tmp_path / "changed.yaml"
    odd: list[object] = [None, True, -1, 1e999, "", "x\ny", [], {}, [None], {"a": {"b": []}}]
    messages = []
    for path in places(whole):
        for value in odd:
            file.write_text(json.dumps(with_value(whole, path, value)).replace("Infinity", ".inf"))
            try:
                load_sequence(file)
            except BadInput as error:
                messages.append(str(error))
    assert len(messages) > 400
    assert [line for line in messages if "\n" in line or not line.startswith(str(file))] == []
