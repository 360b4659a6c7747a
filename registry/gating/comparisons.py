"""The rules about measurements: guards, forgetting, learning, plasticity. Each is a family (Holm).

What a guard is compared with is what serves now. The champion's adapter of the same task; for a task
that the champion does not know, what that task would read there: the bare base under `isolated`,
else everything the champion has learned, which is its newest task's adapter. Without a champion, the
bare base.

A guard that no longer serves is a guard still: it watches what does serve.

Forgetting of a task is the drop from the best that it was since it was learned: it is within the
limit where the drop from every earlier version is, so each is asked, and the worst is told.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from registry.decisions import BARE_BASE, GatePolicy, RuleResult
from registry.gating.evidence import Evidence, Fault, Place
from registry.gating.references import Reference
from registry.gating.rules import undefined
from registry.gating.statistics import (
    EPSILON,
    Answer,
    Question,
    answer,
    rows_to_tell,
)

References = Callable[[str], Reference | None]
"""Task -> the cell of a single-task reference that was recorded, if there is one."""

_GAIN = "gain"
"""How what is compared begins where more is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is judged, against what."""

    version: int
    champion: int | None
    policy: GatePolicy
    retired: Collection[str]
    """Tasks that no longer serve: what their own users are given is not asked about."""

    @property
    def serving(self) -> int | None:
        """The champion's version, where an adapter serves at all."""
        return None if self.champion == BARE_BASE else self.champion


@dataclass(frozen=True, slots=True)
class _Asked:
    """One rule of a family: a question, or why there is none."""

    rule: str
    question: Question | Fault | None
    about: str
    """What is compared; for a rule without a question, why it is undefined."""


def guards(evidence: Evidence, case: Case) -> list[RuleResult]:
    """Under every adapter that serves, no guard drops by more than `max_guard_drop`."""
    if not case.policy.guards:
        return [undefined("guard", "the sequence names no guards")]
    limit = case.policy.max_guard_drop
    asked = []
    for task in _served(evidence, case):
        for guard in case.policy.guards:
            rule = f"guard:{guard}:under:{task}"
            position = evidence.position(guard)
            before = _serving_now(evidence, case, guard, task)
            after = Place(case.version, guard, task)
            if evidence.encoder and position > case.version:
                why = f"{guard} is not learned yet, and an encoder's head is its task's"
                asked.append(_Asked(rule, None, why))
            elif evidence.encoder and position > before.version:
                at = "the base" if before.version == 0 else f"version {before.version}"
                asked.append(_Asked(rule, None, f"an encoder has no head for {guard} at {at}"))
            else:
                asked.append(_Asked(rule, _question(evidence, [(before, after)], limit), "drop"))
    return _answered(asked, case)


def forgetting(evidence: Evidence, case: Case) -> list[RuleResult]:
    """No earlier task dropped by more than `max_forgetting` since its best."""
    asked = []
    for task in _served(evidence, case):
        position = evidence.position(task)
        rule = f"forgetting:{task}"
        if position == case.version:
            if position == 1:
                asked.append(_Asked(rule, None, "nothing was learned before or after it"))
            continue
        after = Place(case.version, task)
        earlier = evidence.since_learned(task, case.version)
        question = _question(evidence, [(k, after) for k in earlier], case.policy.max_forgetting)
        asked.append(_Asked(rule, question, "forgotten"))
    return _answered(asked, case)


def learning(evidence: Evidence, case: Case) -> list[RuleResult]:
    """The newest task, and each that is new since the champion, gained over the base.

    A new version of a known task has to gain over the task it supersedes, as that serves now, on
    the same test set.
    """
    asked = []
    new = _new(evidence, case)
    if not evidence.encoder:
        evidence.cells.know_base([task for task in new if task not in evidence.predecessors])
    for task in new:
        rule = f"learning:{task}"
        old = evidence.predecessors.get(task)
        if old is not None:
            known = case.serving is not None and evidence.position(old) <= case.serving
            before = Place(case.serving if known and case.serving else case.version, old)
            question = _across(evidence, before, Place(case.version, task), case.policy)
            asked.append(_Asked(rule, question, f"{_GAIN} over {old}"))
            continue
        if evidence.encoder:
            asked.append(_Asked(rule, None, "an encoder has no head before its task"))
            continue
        pair = (Place(0, task), Place(case.version, task))
        asked.append(_Asked(rule, _question(evidence, [pair], -case.policy.min_learning), _GAIN))
    return _answered(asked, case)


def plasticity(evidence: Evidence, case: Case, reference: References) -> list[RuleResult]:
    """The same tasks fall short of a single-task reference by `max_plasticity_gap` at most."""
    limit = case.policy.max_plasticity_gap
    asked = []
    for task in _new(evidence, case):
        rule = f"plasticity:{task}"
        if limit is None:
            asked.append(_Asked(rule, None, "the policy sets no max_plasticity_gap"))
            continue
        found = reference(task)
        if found is None:
            why = "no single-task reference is recorded (the task learned first, or separately)"
            asked.append(_Asked(rule, None, why))
            continue
        place = Place(case.version, task)
        mine = evidence.require(place)
        compared = (
            mine
            if isinstance(mine, Fault)
            else evidence.compare_cells(found.cell, str(found), mine, place)
        )
        question = compared if isinstance(compared, Fault) else Question((compared,), limit)
        asked.append(_Asked(rule, question, f"below {found.sequence}/{found.cell.version}"))
    return _answered(asked, case)


def require_row(evidence: Evidence, case: Case) -> None:
    """Ask for the version's whole row of R: whatever the rules compare, it must have been measured."""
    for task in _served(evidence, case):
        evidence.require(Place(case.version, task))


def _served(evidence: Evidence, case: Case) -> list[str]:
    tasks = evidence.tasks[: case.version]
    return [task for task in tasks if task not in case.retired]


def _new(evidence: Evidence, case: Case) -> list[str]:
    known = min(case.serving or 0, case.version - 1)
    return [task for task in _served(evidence, case) if evidence.position(task) > known]


def _serving_now(evidence: Evidence, case: Case, guard: str, task: str) -> Place:
    """Where the guard's score under what a task's users are given now is to be found."""
    champion = case.serving
    if champion is None:
        return Place(0, guard)
    if evidence.position(task) <= champion:
        return Place(champion, guard, task)
    if evidence.read == "isolated":
        return Place(0, guard)
    return Place(champion, guard, evidence.tasks[champion - 1])


def _across(
    evidence: Evidence, before: Place, after: Place, policy: GatePolicy
) -> Question | Fault:
    """Two tasks on the rows of both, which are the same."""
    compared = evidence.compare(before, after)
    if isinstance(compared, Fault):
        return compared
    return Question((compared,), -policy.min_learning)


def _question(
    evidence: Evidence, pairs: Sequence[tuple[Place, Place]], limit: float
) -> Question | Fault:
    compared = [evidence.compare(before, after) for before, after in pairs]
    if lost := [each for each in compared if isinstance(each, Fault)]:
        return lost[0]
    distinct = {each.keys: each for each in compared if not isinstance(each, Fault)}
    return Question(tuple(distinct.values()), limit)


def _answered(asked: Sequence[_Asked], case: Case) -> list[RuleResult]:
    questions = [each.question for each in asked if isinstance(each.question, Question)]
    lost = sum(isinstance(each.question, Fault) for each in asked)
    answers = iter(answer(questions, case.policy.confidence, lost=lost))
    results = []
    for each in asked:
        if each.question is None:
            results.append(undefined(each.rule, each.about))
        elif isinstance(each.question, Fault):
            results.append(_without_evidence(each.rule, each.question))
        else:
            results.append(_result(each, each.question, next(answers), case.policy))
    return results


def _without_evidence(rule: str, fault: Fault) -> RuleResult:
    return RuleResult(
        rule=rule, figure=None, bound=None, limit=None, ok=False, verdict="fail", why=fault.why
    )


def _result(asked: _Asked, question: Question, given: Answer, policy: GatePolicy) -> RuleResult:
    gains = asked.about.startswith(_GAIN)  # told as a gain that must be reached, tested as a drop
    sign = -1.0 if gains else 1.0
    needed = rows_to_tell(question, given)
    warned = given.verdict == "underpowered" and policy.underpowered == "warn"
    return RuleResult(
        rule=asked.rule,
        figure=sign * given.drop + 0.0,
        bound=sign * given.bound + 0.0,
        limit=sign * question.limit + 0.0,
        ok=given.verdict == "pass" or warned,
        verdict=given.verdict,
        why=_why(asked.about, question, given, needed),
        n=given.comparison.n,
        needed=needed,
    )


def _why(about: str, question: Question, given: Answer, needed: int | None) -> str:
    gains = about.startswith(_GAIN)
    sign = -1.0 if gains else 1.0
    compared = given.comparison
    moved = f"{compared.before:.1%} → {compared.after:.1%} on {compared.n} rows"
    bound = f"{sign * question.limit + 0.0:.1%}"
    limit = f"at least {bound} is asked" if gains else f"at most {bound} is allowed"
    if question.proved:
        return f"{moved}: proved equal by digest; {limit}"
    fell = "+".join(str(part.fell) for part in compared.parts) or "0"
    rose = "+".join(str(part.rose) for part in compared.parts) or "0"
    figure = f"{about} {sign * given.drop + 0.0:.1%} ({fell} fell, {rose} rose)"
    side = "no less than" if gains else "no more than"
    sure = f"{side} {sign * given.bound + 0.0:.1%} at {1 - given.tail:.2%}"
    said = f"{moved}, {figure}, {sure}; {limit}"
    if given.verdict != "underpowered":
        return said
    if needed is not None:
        return f"{said}: too few rows to tell, about {needed} would do"
    on_it = abs(given.drop - question.limit) <= EPSILON
    return f"{said}: {'on the limit itself, ' if on_it else ''}no number of rows would tell"
