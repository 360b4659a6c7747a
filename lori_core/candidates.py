"""The answers `accuracy` chooses among: the strings the model was trained to emit.

Some rows are learned with the text of the right choice as their target ("Sports"), others with its
place ("answer3", "option1") while `choices` holds the texts. A model is asked among strings of the
kind it has learned.
"""

import re
from dataclasses import dataclass

from lori_core.errors import BadInput
from lori_core.prompts import Example

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<place>[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The answers a row allows."""

    texts: tuple[str, ...]
    """What the model may emit."""

    right: int
    """Index of the right one."""


def candidates(example: Example) -> Candidates:
    """`choices` when the target is among them, else the target's stem with 1..n.

    Raises:
        BadInput: no choices; a target that is neither one of them nor a stem with a number from 1
            to n; or a label that says otherwise than the target. Names the row.

    Source: the two forms of Hu et al., "LLM-Adapters", 2023, arXiv:2304.01933 (answer1..n), and
    of Wang et al., "Orthogonal Subspace Learning for Language Model Continual Learning", 2023,
    arXiv:2310.14152 (label texts).
    """
    at = f"row {example.id!r}"
    choices, target = example.choices, example.completion
    if not choices:
        raise BadInput(f"{at} has no `choices`", "them in every row that `accuracy` scores")
    if target in choices:
        texts, right = choices, choices.index(target)
    else:
        found = _NUMBERED.fullmatch(target)
        if found is None or int(found["place"]) > len(choices):
            raise BadInput(
                f"{at}: target {target!r}",
                f"one of {', '.join(map(repr, choices))}, or a word with 1 to {len(choices)}",
            )
        texts = tuple(f"{found['stem']}{place}" for place in range(1, len(choices) + 1))
        right = int(found["place"]) - 1
    if example.label is not None and example.label != right:
        raise BadInput(
            f"{at}: label {example.label} and target {target!r} (which is {right})",
            "both to name the same choice",
        )
    return Candidates(texts, right)
