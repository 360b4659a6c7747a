"""What a sequence's page says before its first table: a few plain sentences, each with how it is known.

Proved and measured are never told alike: a proof names its level and its limits, a measurement its
interval and its rows. What was not measured is said to be so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dashboard.pages.words import MINUS
from lori_core.config import Read
from registry.decided import shown_version
from registry.decisions import BARE_BASE
from registry.matrix_view import GuardsView
from registry.score_changes import Change, NotComparable
from registry.score_curves import Earlier
from registry.sequence_records import Loss, ReadSummary, SequenceHead, SequenceView

Tone = Literal["proved", "measured", "missing", "undefined", "fail", "info"]

READS: dict[Read, str] = {
    "isolated": "each task reads its own entries alone",
    "inherited": "each task reads its own entries and those of the tasks before it",
    "cumulative": "every task reads all of B as it stands now and no task id is needed",
}
"""What a read mode means."""

FEW = 6
"""Names that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One sentence, and how it is known."""

    tone: Tone
    mark: str
    """The word of its mark."""
    text: str


def lead(view: SequenceView, learned: Sequence[str]) -> tuple[Said, ...]:
    """What a newcomer reads first: what it knows, what was lost, what the other reads and guards say."""
    said = [knows(view.head, learned)]
    served = next(each for each in view.reads if each.trained)
    said.append(lost(view.head, served))
    said += [
        contrast(each)
        for each in view.reads
        if not each.trained and each.worst is not None and each.measured
    ]
    if view.served_guards is not None:
        said += guarded(view.served_guards)
    return tuple(said)


def knows(head: SequenceHead, learned: Sequence[str]) -> Said:
    """Which tasks it has learned."""
    if not head.learned:
        text = f"Nothing is learned yet of its {_count(head.tasks, 'declared task')}."
        return Said(tone="missing", mark="nothing yet", text=text)
    rest = head.tasks - head.learned
    more = f"; {_count(rest, 'more')} declared" if rest else ""
    text = f"Knows {_count(head.learned, 'task')}: {_listed(learned)}{more}."
    return Said(tone="info", mark="knows", text=text)


def lost(head: SequenceHead, served: ReadSummary) -> Said:
    """What the newest version cost the earlier tasks, as they are served."""
    mode = f"under the {served.read} read, as it serves"
    if head.learned < 2:
        text = "Nothing can be forgotten yet: no task was learned after another."
        return Said(tone="undefined", mark="undefined", text=text)
    if served.all_proved:
        text = (
            f"Nothing was forgotten: given its task id, {_each(head.learned - 1)} answers bit for bit"
            f" as when it was learned ({mode}). Zero forgetting holds with the task id given, in the"
            " reference runtime."
        )
        return Said(tone="proved", mark="proved", text=text)
    if served.worst is None:
        text = f"What was forgotten is not known: no earlier task was measured {mode}."
        return Said(tone="missing", mark="not measured", text=text)
    return _told(served, mode)


def contrast(other: ReadSummary) -> Said:
    """What another read mode says, beside the one that serves."""
    mode = f"Under the {other.read} read, where {READS[other.read]},"
    if other.all_proved:
        text = f"{mode} nothing was forgotten either, with the task id given, in the reference runtime."
        return Said(tone="proved", mark="proved", text=text)
    assert other.worst is not None
    return _told(other, mode, first=True)


def guarded(view: GuardsView) -> list[Said]:
    """What each guard scores where it scores least, beside its own adapter."""
    said = []
    for found in view.worst:
        if found is None:
            continue
        guard, task, score = found
        text = (
            f"Guard {guard} scores {100 * score.value:.1f}"
            f" [{100 * score.low:.1f}, {100 * score.high:.1f}], n {score.n}, under the adapter that serves {task}, where it is"
            " lowest: its own column holds for its own users alone."
        )
        if guard != task:
            said.append(Said(tone="measured", mark="measured", text=text))
    return said


def serving(head: SequenceHead) -> str:
    """What serves, in a few words."""
    if head.fault is not None:
        logged = head.logged_champion
        return "unknown" if logged is None else f"{shown_version(logged)}, by the log alone"
    if head.champion is None:
        return "nothing yet"
    return "the bare base" if head.champion == BARE_BASE else f"version {head.champion}"


def points(change: Change) -> str:
    """A change with its interval and rows, in plain text."""
    return (
        f"{100 * change.value:.1f} points"
        f" [{100 * change.low:.1f}, {100 * change.high:.1f}], n {change.n}"
    ).replace("-", MINUS)


def known(earlier: Earlier) -> str:
    """How many earlier tasks are proved, and what is not known of the rest."""
    rest = [
        (earlier.same_bits, "of the same bits, without a certificate that covers them"),
        (earlier.measured, "measured"),
        (earlier.missing, "not measured"),
        (earlier.incomparable, "not comparable (other rows, or another metric)"),
    ]
    told = [f"{earlier.proved} of {_count(earlier.total, 'earlier task')} proved"]
    return ", ".join([*told, *(f"{count} {what}" for count, what in rest if count)])


def _told(summary: ReadSummary, mode: str, *, first: bool = False) -> Said:
    """The worst loss as it is known; `mode` stands before it where it comes `first`."""
    worst = summary.worst
    assert worst is not None
    tone: Tone = "measured"
    mark, chosen = "measured", ""
    if worst.change.basis in ("proved", "none"):  # of the rest, nothing is known
        text, tone, mark = known(summary.earlier), "missing", "not all measured"
    elif worst.change.basis == "same_bits":
        text, tone, mark = known(summary.earlier), "info", "same bits"
    else:
        text = _fell(worst)
        left = summary.earlier.missing + summary.earlier.incomparable
        text += f" ({known(summary.earlier)})" if left else ""
        chosen = _chosen(worst, summary.earlier)
    if not first:
        return Said(tone=tone, mark=mark, text=f"{text}, {mode}.{chosen}")
    return Said(tone=tone, mark=mark, text=f"{mode} {text[0].lower()}{text[1:]}.{chosen}")


def _fell(worst: Loss) -> str:
    change = worst.change
    assert not isinstance(change, NotComparable)
    paired = "" if change.basis == "paired" else " (rows not paired)"
    if change.value <= 0:
        return (
            f"No task lost anything that was seen: the nearest to it, {worst.task}, moved by"
            f" {points(change.turned)}{paired} from its best"
        )
    figure = f"{points(change)}{paired} since its best, at version {worst.best_at}"
    if change.low <= 0:
        return f"No loss is shown at this n: the largest seen, of {worst.task}, is {figure}, and its interval holds zero"
    return f"Most was lost by {worst.task}: {figure}"


def _chosen(worst: Loss, earlier: Earlier) -> str:
    """What a figure that was picked out of several has to say of itself; empty where nothing was picked."""
    change = worst.change
    assert not isinstance(change, NotComparable)
    told = earlier.proved + earlier.same_bits + earlier.measured
    since = earlier.total + 1 - worst.position  # versions at which it could be at its best
    picked = [f"the largest of {told} earlier tasks"] if told > 1 else []
    picked += [f"against the best of {since} versions"] if since > 1 else []
    if change.value <= 0 or not picked:
        return ""
    return f" It is {', '.join(picked)}: the interval is not corrected for having been chosen."


def _each(count: int) -> str:
    return "the one earlier task" if count == 1 else f"each of the {count} earlier tasks"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 or noun == "more" else f"{count} {noun}s"


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) <= FEW:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[: FEW - 2])}, … and {names[-1]}"
