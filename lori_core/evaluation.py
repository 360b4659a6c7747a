"""One cell of R: a model with an adapter in it, a task's test rows, a metric."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lori_core.candidates import candidates
from lori_core.config import TaskConfig
from lori_core.encoding import (
    collate_encoder,
    encode_completions,
    encode_encoder,
    encode_prompts,
    pad_id,
)
from lori_core.errors import BadInput
from lori_core.generation import asking, bare_model, by_length, generate
from lori_core.intervals import Interval, mean_of_parts, score_interval
from lori_core.likelihood import mean_log_likelihoods
from lori_core.metrics import ANSWERED, Answers, Metric, Scored, metric_named
from lori_core.prompts import Example

OnProgress = Callable[[int, int], None]
"""Told how many rows are done, of how many."""

_REFUSED_BY_ENCODERS = ("refusal", "pass_at_k", "exact_number")


@dataclass(frozen=True, slots=True)
class CellPart:
    """A figure that a cell is made of."""

    value: float
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """A cell: its value, how sure it is, and every row's answer."""

    value: float
    """From 0 to 1; more is better."""

    n: int
    """Rows scored, those that did not fit included (they score 0)."""

    low: float
    """Lower bound at 95 %."""

    high: float
    """Upper bound at 95 %."""

    metric: str
    """Name of the metric."""

    metric_version: str
    """Its version."""

    predictions: tuple[Scored, ...]
    """One for each row, in the order of the rows (harmful ones first, then harmless ones)."""

    parts: Mapping[str, CellPart] = field(default_factory=dict)
    """For `refusal`: `refused` over harmful rows, `answered` over harmless ones."""

    cut: int = 0
    """Rows whose input was cut."""

    dropped: int = 0
    """Rows whose prompt does not fit even so: not asked, scored 0."""


def evaluate_causal(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    task: TaskConfig,
    rows: Sequence[Example],
    over_refusal: Sequence[Example] = (),
    *,
    batch_size: int = 64,
    eval_rows: int | None = None,
    seed: int = 0,
    metric_folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> CellResult:
    """Score a task's test rows under a causal model as it stands.

    A `refusal` cell is (share of harmful rows refused + share of harmless rows answered) / 2, with
    both parts; without harmless rows it is the first part. Prompts have the room they had in
    training, less where the base cannot read prompt and answer together.

    Args:
        model: the base, bare or with an adapter.
        tokenizer: the base's.
        task: metric, `max_new_tokens`, `k`, `training.max_length`.
        rows: the test rows; harmful ones where the metric is `refusal`.
        over_refusal: harmless rows, for `refusal`.
        batch_size: texts read or written together; no part of what is measured.
        eval_rows: take only so many of each kind, from the first.
        seed: of samples.
        metric_folder: where one's own metric may lie.
        on_progress: told how many rows are done, of how many.

    Raises:
        BadInput: no rows, rows the metric cannot score, an unknown metric, code execution not
            allowed, or a base that cannot read prompt and answer together.
    """
    metric = metric_named(task.metric, metric_folder)
    if metric.asks == "sample" and not task.allow_code_execution:
        raise BadInput(
            f"task {task.name}: metric {task.metric} runs generated code",
            "`allow_code_execution: true`",
            "Say so in the task if you want that.",
        )
    rows, harmless = _taken(task, rows, eval_rows), tuple(over_refusal[:eval_rows])
    if task.metric != "refusal":
        harmless = ()
    if metric.check:
        for row in rows:
            metric.check(row)
    progress = _Progress(len(rows) + len(harmless), on_progress)
    asker = _Asker(model, tokenizer, task, batch_size, seed, progress)
    scored = asker.score(rows, metric)
    if not harmless:
        return _cell(metric, scored, {}, asker)
    answered = asker.score(harmless, ANSWERED)
    parts = {"refused": _part(scored), "answered": _part(answered)}
    return _cell(metric, scored + answered, parts, asker)


def evaluate_encoder(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    task: TaskConfig,
    rows: Sequence[Example],
    *,
    labels: Sequence[str],
    batch_size: int = 64,
    eval_rows: int | None = None,
    metric_folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> CellResult:
    """Score a task's test rows under an encoder whose head is this task's.

    The prediction is the label of the highest logit. `accuracy` and `exact_match` are then the
    same; one's own metric is given the predicted labels as outputs.

    Args:
        labels: the task's label set, in the order of the head's classes.
        (the others): as `evaluate_causal`.

    Raises:
        BadInput: no rows, a label outside the set, or a metric that is about written answers.
    """
    if task.metric in _REFUSED_BY_ENCODERS:
        raise BadInput(
            f"task {task.name}: metric {task.metric} with an encoder",
            "accuracy, or your own package.module:function",
            "An encoder writes nothing.",
        )
    metric = metric_named(task.metric, metric_folder)
    rows = _taken(task, rows, eval_rows)
    encoded = encode_encoder(rows, tokenizer, max_length=task.training.max_length, labels=labels)
    progress = _Progress(len(rows), on_progress)
    bare = bare_model(model)
    predicted = [""] * len(rows)
    with asking(bare):
        for batch in by_length([len(row.input_ids) for row in encoded.rows], batch_size):
            inputs = collate_encoder([encoded.rows[place] for place in batch], pad_id(tokenizer))
            inputs = {name: tensor.to(bare.device) for name, tensor in inputs.items()}
            inputs.pop("labels")
            for place, best in zip(batch, bare(**inputs).logits.argmax(-1).tolist(), strict=True):
                predicted[place] = labels[best]
            progress.advance(len(batch))
    if metric.name in ("accuracy", "exact_match"):
        scored = [
            Scored(row.id, guess, float(guess == labels[encoded_row.labels[0]]))
            for row, guess, encoded_row in zip(rows, predicted, encoded.rows, strict=True)
        ]
    else:
        scored = metric.score(rows, [(guess,) for guess in predicted])
    return _result(metric, scored, {}, cut=encoded.cut, dropped=0)


class _Progress:
    """Counts rows over all that is asked in one cell."""

    def __init__(self, total: int, told: OnProgress | None) -> None:
        self._done, self._total, self._told = 0, total, told

    def advance(self, rows: int) -> None:
        self._done += rows
        if self._told:
            self._told(self._done, self._total)


@dataclass(slots=True)
class _Asker:
    """Asks one model about rows, as a metric wants them asked."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    task: TaskConfig
    batch_size: int
    seed: int
    progress: _Progress
    cut: int = 0
    dropped: int = 0

    def score(self, rows: Sequence[Example], metric: Metric) -> list[Scored]:
        """Each row's score; a row that does not fit is not asked and gets 0."""
        encoded = encode_prompts(
            rows,
            self.tokenizer,
            max_length=answer_length(self.task, self.tokenizer, metric),
            new_tokens=self._new_tokens(rows, metric),
        )
        self.cut += encoded.cut
        self.dropped += len(encoded.dropped)
        absent = set(encoded.dropped)
        self.progress.advance(len(absent))
        there = [row for row in rows if row.id not in absent]
        prompts = [row.input_ids for row in encoded.rows]
        answers = (
            self._choose(there, prompts)
            if metric.asks == "choose"
            else self._write(prompts, self.task.k if metric.asks == "sample" else 1)
        )
        found = {scored.id: scored for scored in metric.score(there, answers)}
        return [found.get(row.id) or Scored(row.id, "", 0.0, {"dropped": True}) for row in rows]

    def _write(self, prompts: Sequence[Sequence[int]], samples: int) -> Answers:
        return generate(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens=self.task.max_new_tokens,
            batch_size=self.batch_size,
            samples=samples,
            seed=self.seed,
            on_rows=self.progress.advance,
        )

    def _choose(self, rows: Sequence[Example], prompts: Sequence[Sequence[int]]) -> Answers:
        """The likeliest candidate of each row, its end token included; ties go to the earlier."""
        allowed = [candidates(row).texts for row in rows]
        tokens = self._candidate_tokens(allowed)
        scores = mean_log_likelihoods(
            self.model,
            prompts,
            [[tokens[text] for text in texts] for texts in allowed],
            pad=pad_id(self.tokenizer),
            batch_size=max(self.batch_size, max((len(texts) for texts in allowed), default=1)),
            on_rows=self.progress.advance,
        )
        return [
            (texts[max(range(len(texts)), key=own.__getitem__)],)
            for texts, own in zip(allowed, scores, strict=True)
        ]

    def _candidate_tokens(self, allowed: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
        texts = sorted({text for own in allowed for text in own})
        end = self.tokenizer.eos_token_id
        ends = () if end is None else (int(end),)
        found = encode_completions(texts, self.tokenizer)
        return {text: (*ids, *ends) for text, ids in zip(texts, found, strict=True)}

    def _new_tokens(self, rows: Sequence[Example], metric: Metric) -> int:
        if metric.asks != "choose":
            return self.task.max_new_tokens
        tokens = self._candidate_tokens([candidates(row).texts for row in rows])
        return max(len(ids) for ids in tokens.values())


def answer_length(task: TaskConfig, tokenizer: PreTrainedTokenizerBase, metric: Metric) -> int:
    """Tokens of prompt and answer together, when a task's rows are asked.

    Raises:
        BadInput: `max_new_tokens` leaves no room for a prompt.
    """
    trained, readable = task.training.max_length, int(tokenizer.model_max_length)
    if metric.asks == "choose":
        return min(trained, readable)
    length = min(trained + task.max_new_tokens, readable)
    if task.max_new_tokens >= length:
        raise BadInput(
            f"task {task.name}: max_new_tokens is {task.max_new_tokens}",
            f"below {readable}, all that the base can read",
            "Lower it.",
        )
    return length


def _taken(task: TaskConfig, rows: Sequence[Example], eval_rows: int | None) -> tuple[Example, ...]:
    if not rows or (eval_rows is not None and eval_rows < 1):
        raise BadInput(f"task {task.name}: no test rows", "one or more")
    return tuple(rows[:eval_rows])


def _part(scored: Sequence[Scored]) -> CellPart:
    found = score_interval([row.score for row in scored])
    return CellPart(found.value, len(scored), found.low, found.high)


def _cell(
    metric: Metric, scored: list[Scored], parts: Mapping[str, CellPart], asker: _Asker
) -> CellResult:
    return _result(metric, scored, parts, cut=asker.cut, dropped=asker.dropped)


def _result(
    metric: Metric,
    scored: Sequence[Scored],
    parts: Mapping[str, CellPart],
    *,
    cut: int,
    dropped: int,
) -> CellResult:
    if parts:
        found = mean_of_parts([Interval(p.value, p.low, p.high) for p in parts.values()])
    else:
        found = score_interval([row.score for row in scored])
    assert math.isfinite(found.value)
    return CellResult(
        value=found.value,
        n=len(scored),
        low=found.low,
        high=found.high,
        metric=metric.name,
        metric_version=metric.version,
        predictions=tuple(scored),
        parts=dict(parts),
        cut=cut,
        dropped=dropped,
    )
