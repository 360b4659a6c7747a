"""A policy that can never refuse, or never pass at the rows at hand: said before anything is learned.

"Never pass" is what the rules themselves would answer if not one answer changed: the best that a
guard or an earlier task can do without becoming better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lori_core.config import Protection
from registry.decisions import GatePolicy
from registry.gating.policy import reach
from registry.gating.statistics import Comparison, Question, Rows, answer, rows_to_tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Something about a policy that its owner should know."""

    rule: str
    """`guard`, `forgetting`, `learning`, `plasticity`, `certificate`, or `gate` for all together."""
    problem: Literal["never refuses", "never passes"]
    why: str
    """One sentence."""
    needed: Mapping[str, int]
    """Task -> the test rows it would need."""


def oddities(
    policy: GatePolicy,
    *,
    tasks: Sequence[str],
    rows: Mapping[str, tuple[int, ...]],
    protection: Protection,
) -> tuple[Oddity, ...]:
    """Rules of a policy that cannot refuse, or cannot pass.

    Args:
        policy: as the sequence file says.
        tasks: in order.
        rows: task -> its test rows; harmful and harmless ones apart where the metric is `refusal`.
        protection: of the sequence.
    """
    lax = list(_never_refuses(policy, protection))
    found = [*lax, *_never_passes(policy, tasks, rows)]
    measured = policy.read == "cumulative" or protection == "overlap"
    asked = {"guard", "learning", "certificate", *(("forgetting",) if measured else ())}
    if asked <= {each.rule for each in lax}:
        why = "no rule of this policy can refuse a new version whose files and cells are whole"
        found.append(Oddity(rule="gate", problem="never refuses", why=why, needed={}))
    return tuple(found)


def _never_refuses(policy: GatePolicy, protection: Protection) -> Sequence[Oddity]:
    said: dict[str, str] = {}
    if not policy.guards:
        said["guard"] = "no `guards` are named: nothing watches what a new task does to safety"
    elif policy.max_guard_drop >= 1:
        said["guard"] = "max_guard_drop is 1: a guard may drop from everything to nothing"
    if policy.max_forgetting >= 1:
        said["forgetting"] = "max_forgetting is 1: a task may be forgotten altogether"
    if policy.min_learning <= -1:
        said["learning"] = "min_learning is -1: a task may learn nothing and lose everything"
    if policy.max_plasticity_gap is not None and policy.max_plasticity_gap >= 1:
        said["plasticity"] = "max_plasticity_gap is 1: no gap is larger"
    if policy.certificate == "G0":
        most = reach(protection, policy.read)
        said["certificate"] = (
            f"certificate G0 asks for no proof, and {most} is what the {policy.read} read can reach"
            if most > "G0"
            else "certificate G0 asks for no proof: overlapping masks have none to give"
        )
    return [
        Oddity(rule=rule, problem="never refuses", why=why, needed={}) for rule, why in said.items()
    ]


def _never_passes(
    policy: GatePolicy,
    tasks: Sequence[str],
    rows: Mapping[str, tuple[int, ...]],
) -> Sequence[Oddity]:
    found: list[Oddity] = []
    families = {
        "guard": (policy.guards, policy.max_guard_drop),
        "forgetting": (tasks[:-1] if policy.read == "cumulative" else (), policy.max_forgetting),
    }
    for rule, (watched, limit) in families.items():
        asked = [task for task in watched if task in rows]
        if short := _too_few(asked, rows, limit, policy.confidence):
            needs = ", ".join(f"{task} {n}" for task, n in sorted(_known(short).items()))
            nothing = f"no number of rows bounds {limit:g}"
            why = (
                f"with no answer changed, too few test rows to bound a drop of {limit:.1%} at "
                f"{policy.confidence:.0%} ({len(asked)} asked together): only a score that rises "
                f"can pass; {f'rows needed: {needs}' if needs else nothing}"
            )
            warned = policy.underpowered == "warn"
            if not warned:
                found.append(
                    Oddity(rule=rule, problem="never passes", why=why, needed=_known(short))
                )
    return found


def _too_few(
    tasks: Sequence[str], rows: Mapping[str, tuple[int, ...]], limit: float, confidence: float
) -> dict[str, int]:
    """Task -> rows it would need, of those whose rule cannot pass when nothing changes; 0: no number."""
    questions = [Question((_unchanged(task, rows[task]),), limit) for task in tasks]
    answers = answer(questions, confidence)
    return {
        task: rows_to_tell(question, given) or 0
        for task, question, given in zip(tasks, questions, answers, strict=True)
        if given.verdict != "pass"
    }


def _known(short: Mapping[str, int]) -> dict[str, int]:
    return {task: n for task, n in short.items() if n}


def _unchanged(task: str, parts: tuple[int, ...]) -> Comparison:
    same = tuple(Rows((1.0,) * n, (1.0,) * n) for n in parts)
    return Comparison((task, task), same)
