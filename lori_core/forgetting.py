"""What a sequence of tasks gained and lost, from its matrix of scores. For everyone to use.

R[k, i] is the score on task i's test rows after k tasks were learned; k = 0 is the bare base. Tasks
are numbered 1..T, and K <= T of them have been learned so far. `None` stands for what was not
measured: it is never read as 0, and every average runs over the terms that exist. A figure without
any term is None, never 0.0 and never NaN (after one task there is nothing yet to forget).

    >>> r = ScoreMatrix(
    ...     tasks=("safety", "math"),
    ...     rows=(
    ...         (0.10, 0.20),  # the base
    ...         (0.90, 0.25),  # after safety
    ...         (0.85, 0.60),  # after safety and math
    ...     ),
    ... )
    >>> round(r.average_accuracy(), 4), round(r.forgetting(), 4), round(r.forward_transfer(), 4)
    (0.725, 0.05, 0.05)

Published code disagrees about these words: forgetting is also taken as first minus last score, or
with a maximum that includes the last row (and then can never be negative), and transfer is also
divided by T. The formulas here are those of the papers named at each method.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lori_core.errors import BadInput


@dataclass(frozen=True, slots=True)
class ScoreMatrix:
    """R, with the base row first: `rows[k][i - 1]` is R[k, i], or None when it was not measured.

    Scores are numbers where more is better, all in one unit (fractions or points alike: every
    figure comes out in the unit of the scores).

    Raises:
        BadInput: (a ValueError) no task, names that repeat, fewer than 1 or more than T + 1 rows,
            a row that is not T long, or a score that is not a finite number.
    """

    tasks: tuple[str, ...]
    """Names of the tasks, in the order they are learned."""

    rows: tuple[tuple[float | int | None, ...], ...]
    """One row for the base and one for each task learned so far."""

    def __post_init__(self) -> None:
        count = len(self.tasks)
        if count < 1 or len(set(self.tasks)) < count:
            raise BadInput(f"tasks {tuple(self.tasks)!r}", "one or more different names")
        if not 1 <= len(self.rows) <= count + 1:
            raise BadInput(
                f"{len(self.rows)} rows of scores for {count} tasks",
                f"from 1 (the base alone) to {count + 1}",
            )
        for k, row in enumerate(self.rows):
            if len(row) != count:
                raise BadInput(f"row {k} holds {len(row)} scores", f"{count}, one for each task")
            for name, score in zip(self.tasks, row, strict=True):
                if score is not None and not _finite(score):
                    raise BadInput(f"row {k}, task {name!r}: score {score!r}", "a number or None")

    @property
    def learned(self) -> int:
        """K, how many tasks have been learned: one fewer than there are rows."""
        return len(self.rows) - 1

    def score(self, k: int, i: int) -> float | None:
        """R[k, i]: task i (from 1) after k tasks (0 is the base). None if it was not measured."""
        if not 0 <= k <= self.learned or not 1 <= i <= len(self.tasks):
            raise BadInput(
                f"R[{k}, {i}]", f"k from 0 to {self.learned}, i from 1 to {len(self.tasks)}"
            )
        score = self.rows[k][i - 1]
        return None if score is None else float(score)

    def missing(self) -> tuple[tuple[int, int], ...]:
        """The (k, i) on and below the diagonal, base row included, that were not measured.

        Report their number beside every figure: what is missing was left out of the averages.
        """
        return tuple(
            (k, i)
            for k in range(self.learned + 1)
            for i in range(1, (k or len(self.tasks)) + 1)
            if self.score(k, i) is None
        )

    def average_accuracy(self) -> float | None:
        """AA_K = (1/K) · Σ_{i≤K} R[K, i]: the learned tasks after the last one. More is better.

        Each task weighs the same, however many test rows it has (the macro average).

        Source: Lopez-Paz & Ranzato, "Gradient Episodic Memory for Continual Learning", 2017,
        arXiv:1706.08840, their ACC; Chaudhry et al. 2018, arXiv:1801.10112, their A_k.
        """
        return self._accuracy_after(self.learned)

    def learning_accuracy(self) -> float | None:
        """LA = (1/K) · Σ_{i≤K} R[i, i]: each task just after it was learned. More is better.

        Source: Riemer et al., "Learning to Learn without Forgetting by Maximizing Transfer and
        Minimizing Interference", 2019, arXiv:1810.11910.
        """
        return _mean(self.score(i, i) for i in range(1, self.learned + 1))

    def average_incremental_accuracy(self) -> float | None:
        """AIA = (1/K) · Σ_{k=1..K} AA_k: average accuracy over the whole history. More is better.

        Source: Rebuffi et al., "iCaRL: Incremental Classifier and Representation Learning", 2017,
        arXiv:1611.07725.
        """
        return _mean(self._accuracy_after(k) for k in range(1, self.learned + 1))

    def backward_transfer(self) -> float | None:
        """BWT = (1/(K-1)) · Σ_{i<K} (R[K, i] - R[i, i]). Negative: later tasks cost earlier ones.

        None after fewer than two tasks. The last task has no term.

        Source: Lopez-Paz & Ranzato 2017, arXiv:1706.08840.
        """
        return _mean(self.backward_transfer_terms().values())

    def backward_transfer_terms(self) -> dict[str, float]:
        """Task -> R[K, i] - R[i, i], for each earlier task whose two cells were measured."""
        terms: dict[str, float] = {}
        for i in range(1, self.learned):
            then, now = self.score(i, i), self.score(self.learned, i)
            if then is not None and now is not None:
                terms[self.tasks[i - 1]] = now - then
        return terms

    def forgetting(self) -> float | None:
        """F = (1/(K-1)) · Σ_{i<K} (max_{l=i..K-1} R[l, i] - R[K, i]). Less is better.

        The loss since the best a task ever was, from its own row to the row before last; negative
        when the last row is the best yet. None after fewer than two tasks.

        Source: Chaudhry et al., "Riemannian Walk for Incremental Learning: Understanding Forgetting
        and Intransigence", 2018, arXiv:1801.10112.
        """
        return _mean(self.forgetting_terms().values())

    def forgetting_terms(self) -> dict[str, float]:
        """Task -> its forgetting, for each earlier task with a last score and one to compare.

        The maximum runs over the cells that exist.
        """
        terms: dict[str, float] = {}
        for i in range(1, self.learned):
            now = self.score(self.learned, i)
            before = [self.score(k, i) for k in range(i, self.learned)]
            known = [score for score in before if score is not None]
            if now is not None and known:
                terms[self.tasks[i - 1]] = max(known) - now
        return terms

    def forward_transfer(self) -> float | None:
        """FWT = (1/(T-1)) · Σ_{i≥2} (R[i-1, i] - R[0, i]). Positive: earlier tasks helped.

        What was learned before task i, over the bare base on the same prompts. (The paper's
        baseline is a randomly initialised network; for an adapter it is the pretrained base.)
        The first task has no term.

        Source: Lopez-Paz & Ranzato 2017, arXiv:1706.08840.
        """
        return _mean(self.forward_transfer_terms().values())

    def forward_transfer_terms(self) -> dict[str, float]:
        """Task -> R[i-1, i] - R[0, i], for each task from the second whose two cells exist."""
        terms: dict[str, float] = {}
        for i in range(2, min(len(self.tasks), len(self.rows)) + 1):
            base, before = self.score(0, i), self.score(i - 1, i)
            if base is not None and before is not None:
                terms[self.tasks[i - 1]] = before - base
        return terms

    def summary(self) -> dict[str, float | None]:
        """All six figures by name, in the order tables show them."""
        return {
            "average_accuracy": self.average_accuracy(),
            "learning_accuracy": self.learning_accuracy(),
            "average_incremental_accuracy": self.average_incremental_accuracy(),
            "backward_transfer": self.backward_transfer(),
            "forgetting": self.forgetting(),
            "forward_transfer": self.forward_transfer(),
        }

    def _accuracy_after(self, k: int) -> float | None:
        """AA_k: the mean over the tasks learned by version k."""
        return _mean(self.score(k, i) for i in range(1, k + 1))


def _mean(terms: Iterable[float | None]) -> float | None:
    """The mean of the terms that exist, exactly rounded; None when there is none."""
    known = [term for term in terms if term is not None]
    return math.fsum(known) / len(known) if known else None


def _finite(score: object) -> bool:
    return isinstance(score, int | float) and math.isfinite(score)
