"""Ask a version: the rows of a file in, a prediction and its scores out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from flows.recorded import Recorded
from flows.stages.bench import Bench, bench, shared_adapter
from lori_core.candidates import candidates
from lori_core.config import DataSource, Read, TaskConfig
from lori_core.effective import load_effective
from lori_core.encoding import (
    EncodedRow,
    collate_encoder,
    encode_completions,
    encode_prompts,
    encode_texts,
    pad_id,
)
from lori_core.errors import BadInput
from lori_core.generation import asking, bare_model, by_length, generate
from lori_core.likelihood import mean_log_likelihoods
from lori_core.metrics import metric_named
from lori_core.prompts import Example, render
from lori_core.rows import read_rows, row_places
from lori_core.task_rows import load_snapshot

BATCH = 64


class Prediction(TypedDict):
    """What a version says to one row."""

    id: str
    prediction: str
    scores: dict[str, float]
    """Candidate or label -> mean log-likelihood (causal) or probability (encoder); {} for text."""


def predict(
    found: Recorded,
    version: int,
    position: int,
    read: Read,
    rows: Path,
    on_rows: Callable[[int], None],
) -> list[Prediction]:
    """Answer every row of a file as a task reads a version.

    The rows have the form of the task's own; what would be the answer may be left out.

    Raises:
        BadInput: a row that cannot be rendered, or does not fit even when it is cut.
        DigestMismatch: a file of the version is not what was filed.
    """
    config = found.config()
    task = config.tasks[position - 1]
    work = bench(config, found.record.base_digest)
    examples = read_examples(task, rows, work)
    shared = shared_adapter(found.folders(version))
    effective = shared.effective(position, version, read)
    load_effective(work.model, effective)
    if work.family == "encoder":
        return _classify(work, task, examples, effective.labels, on_rows)
    folder = found.record.settings["metric_folder"]
    asks = metric_named(task.metric, Path(str(folder))).asks
    if asks != "choose":
        return _write(work, task, examples, on_rows)
    lesson = load_snapshot(task, found.data_folder(position), work.chat).train[0]
    return _choose(work, task, examples, lesson, on_rows)


def read_examples(task: TaskConfig, rows: Path, work: Bench) -> list[Example]:
    """The rows of a file in the task's own form."""
    source = DataSource(path=str(rows))
    read = read_rows(source)
    return [
        render(
            row,
            prompt=task.prompt,
            completion=task.completion,
            chat=work.chat,
            target_needed=False,
            where=place,
        )
        for row, place in zip(read, row_places(source, len(read)), strict=True)
    ]


def _classify(
    work: Bench,
    task: TaskConfig,
    examples: Sequence[Example],
    labels: Sequence[str],
    on_rows: Callable[[int], None],
) -> list[Prediction]:
    texts = [example.input or example.prompt.strip() for example in examples]
    encoded = encode_texts(texts, work.tokenizer, max_length=task.training.max_length)
    rows = [
        EncodedRow(example.id, tuple(ids), (0,), len(ids))
        for example, ids in zip(examples, encoded, strict=True)
    ]
    model = bare_model(work.model)
    scores: list[dict[str, float]] = [{}] * len(rows)
    with asking(model):
        for batch in by_length([len(row.input_ids) for row in rows], BATCH):
            inputs = collate_encoder([rows[place] for place in batch], pad_id(work.tokenizer))
            inputs.pop("labels")
            moved = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            shares = model(**moved).logits.float().softmax(-1).tolist()
            for place, share in zip(batch, shares, strict=True):
                scores[place] = dict(zip(labels, share, strict=True))
            on_rows(len(batch))
    return [_best(example.id, own) for example, own in zip(examples, scores, strict=True)]


def _write(
    work: Bench, task: TaskConfig, examples: Sequence[Example], on_rows: Callable[[int], None]
) -> list[Prediction]:
    written = generate(
        work.model,
        work.tokenizer,
        _prompts(work, task, examples, task.max_new_tokens),
        max_new_tokens=task.max_new_tokens,
        batch_size=BATCH,
        on_rows=on_rows,
    )
    return [
        Prediction(id=example.id, prediction=texts[0], scores={})
        for example, texts in zip(examples, written, strict=True)
    ]


def _choose(
    work: Bench,
    task: TaskConfig,
    examples: Sequence[Example],
    lesson: Example,
    on_rows: Callable[[int], None],
) -> list[Prediction]:
    allowed = [allowed_answers(example, lesson) for example in examples]
    texts = sorted({text for own in allowed for text in own})
    end = work.tokenizer.eos_token_id
    ends = () if end is None else (int(end),)
    tokens = {
        text: (*ids, *ends)
        for text, ids in zip(texts, encode_completions(texts, work.tokenizer), strict=True)
    }
    longest = max(len(ids) for ids in tokens.values())
    scores = mean_log_likelihoods(
        work.model,
        _prompts(work, task, examples, longest),
        [[tokens[text] for text in own] for own in allowed],
        pad=pad_id(work.tokenizer),
        batch_size=max(BATCH, max(len(own) for own in allowed)),
        on_rows=on_rows,
    )
    return [
        _best(example.id, dict(zip(own, means, strict=True)))
        for example, own, means in zip(examples, allowed, scores, strict=True)
    ]


def allowed_answers(example: Example, lesson: Example) -> tuple[str, ...]:
    """The answers a row may get: its own choices, in the form the task was taught to answer in.

    Args:
        example: the row.
        lesson: a training row of the task, which shows the form.
    """
    if example.completion and example.choices:
        return candidates(example).texts
    taught = candidates(lesson)
    choices = example.choices or lesson.choices or ()
    if lesson.completion in (lesson.choices or ()):
        return choices
    stem = taught.texts[0].removesuffix("1")
    return tuple(f"{stem}{place}" for place in range(1, len(choices) + 1))


def _prompts(
    work: Bench, task: TaskConfig, examples: Sequence[Example], new_tokens: int
) -> list[tuple[int, ...]]:
    readable = int(work.tokenizer.model_max_length)
    length = min(task.training.max_length + new_tokens, readable)
    encoded = encode_prompts(examples, work.tokenizer, max_length=length, new_tokens=new_tokens)
    for lost in encoded.dropped:
        raise BadInput(
            f"row {lost!r}: its prompt is longer than {length - new_tokens} tokens",
            "a prompt whose `input` can be cut to fit",
            "Shorten it.",
        )
    return [row.input_ids for row in encoded.rows]


def _best(row: str, scores: dict[str, float]) -> Prediction:
    return Prediction(id=row, prediction=max(scores, key=scores.__getitem__), scores=scores)
