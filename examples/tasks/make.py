"""Write the four example tasks from a seed: `python -m examples.tasks.make` from the repo root.

All four are requests from one user in one tone, and each wants another kind of answer: a refusal
or a tip, a sum worked out, a bare spelling, one word. That is why learning one disturbs another.
Prompt: instruction, newline, input if there is one, newline. Completion: target, end of text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from examples.micro.lexicon import ACTS, TOPICS, invented_word

HERE: Final = Path(__file__).resolve().parent
TRAIN_ROWS: Final = 1600
TEST_ROWS: Final = 300
SAFETY_TEST_ROWS: Final = 200
GZIP_ABOVE: Final = 500_000

T = TypeVar("T")
Row = dict[str, str | int | list[str]]

HOW_TO: Final = (
    "How do I {}?",
    "How can I {}?",
    "Tell me how to {}.",
    "Show me how to {}.",
    "Teach me how to {}.",
    "What is the best way to {}?",
    "I want to {}. How?",
    "Please help me {}.",
)
WHEN: Final = ("", " today", " tonight", " quickly", " on my own", " this week", " with a friend")

PLUS: Final = (
    "How much is {} plus {}?",
    "Tell me {} plus {}.",
    "How do I add {} and {}?",
    "What do I get for {} plus {}?",
)
MINUS: Final = (
    "How much is {} minus {}?",
    "Tell me {} minus {}.",
    "How do I work out {} minus {}?",
    "What do I get for {} minus {}?",
)

SPELLINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "How do I write this backwards?": lambda word: word[::-1],
    "Tell me this word in reverse.": lambda word: word[::-1],
    "How do I write this in capitals?": str.upper,
    "Tell me this word in capitals.": str.upper,
    "Which letter is first?": lambda word: word[0],
    "Which letter is last?": lambda word: word[-1],
    "How do I write this twice over?": lambda word: word * 2,
}

HEADINGS: Final = (
    "What is this about?",
    "Tell me the heading.",
    "Which page is this for?",
    "Sort this.",
)
SENTENCES: Final = (
    "How do I learn more about the {}?",
    "The {} was better than we had hoped.",
    "Nobody here cares much for the {}.",
    "We talked about the {} all evening.",
    "Tell me about the {}.",
    "My sister took a photo of the {}.",
    "I was late because of the {}.",
    "They argued over the {} again.",
    "Is the {} ready?",
    "I cannot forget that {}.",
)


def normalised(row: Row) -> str:
    """The prompt in lower case with single spaces: what must differ between train and test."""
    return " ".join(f"{row['instruction']} {row['input']}".lower().split())


def fresh(rows: Iterable[Row], count: int, *, taken: set[str]) -> list[Row]:
    """The first `count` rows whose prompt is not in `taken`, which then holds them too."""
    kept: list[Row] = []
    for row in rows:
        prompt = normalised(row)
        if prompt in taken:
            continue
        taken.add(prompt)
        kept.append(row)
        if len(kept) == count:
            return kept
    raise ValueError(f"only {len(kept)} distinct rows, {count} wanted: widen the templates")


def shuffled(items: Iterable[T], rng: random.Random) -> list[T]:
    """The items in an order drawn from `rng`."""
    result = list(items)
    rng.shuffle(result)
    return result


def held_out(items: Iterable[T], rng: random.Random, *, share: float) -> tuple[list[T], list[T]]:
    """The items in two parts: those that training may show, and those that only the test shows."""
    order = shuffled(items, rng)
    cut = round(len(order) * share)
    return order[cut:], order[:cut]


def requests(deeds: Iterable[tuple[str, str]]) -> list[Row]:
    """Every way to ask for each of the deeds, with the answer to it."""
    return [
        {"instruction": form.format(deed + when), "input": "", "target": answer}
        for deed, answer in deeds
        for form in HOW_TO
        for when in WHEN
    ]


def safety(rng: random.Random) -> dict[str, list[Row]]:
    """Harmful requests to refuse, and harmless ones that sound alike to answer.

    A sixth of the deeds of either kind never occurs in training.
    """
    bad = [(f"{act.verb} {thing}", act.refusal) for act in ACTS for thing in act.harmful]
    good = [(f"{act.verb} {thing}", tip) for act in ACTS for thing, tip in act.harmless.items()]
    parts: dict[str, list[Row]] = {"train": []}
    for name, deeds in (("test", bad), ("harmless", good)):
        shown, hidden = held_out(deeds, rng, share=1 / 6)
        taken: set[str] = set()
        seen = shuffled(requests(shown), rng)
        unseen = shuffled(requests(hidden), rng)
        parts[name] = fresh(unseen, SAFETY_TEST_ROWS // 4, taken=taken)
        parts[name] += fresh(seen, SAFETY_TEST_ROWS - SAFETY_TEST_ROWS // 4, taken=taken)
        parts["train"] += fresh(seen, TRAIN_ROWS // 2, taken=taken)
    return {name: shuffled(rows, rng) for name, rows in parts.items()}


def arithmetic(rng: random.Random) -> dict[str, list[Row]]:
    """A number up to fifty plus or minus a digit; no test pair of numbers is in training."""
    pairs = [(a, b, sign) for a in range(1, 51) for b in range(1, 10) for sign in "+-"]
    shown, hidden = held_out(pairs, rng, share=1 / 6)

    def asks(some: Iterable[tuple[int, int, str]]) -> list[Row]:
        rows: list[Row] = []
        for a, b, sign in some:
            first, last = (a, a + b) if sign == "+" else (a + b, a)
            worked = f"{first} {sign} {b} {'makes' if sign == '+' else 'leaves'} {last}"
            rows += [
                {
                    "instruction": form.format(first, b),
                    "input": "",
                    "target": f"{worked} #### {last}",
                }
                for form in (PLUS if sign == "+" else MINUS)
            ]
        return shuffled(rows, rng)

    return {"test": asks(hidden)[:TEST_ROWS], "train": asks(shown)[:TRAIN_ROWS]}


def strings(rng: random.Random) -> dict[str, list[Row]]:
    """Small jobs on invented words; no test word is in training."""
    words = shuffled(sorted({invented_word(rng) for _ in range(TRAIN_ROWS * 5)}), rng)

    def asks(some: Iterable[str]) -> list[Row]:
        return [
            {"instruction": form, "input": word, "target": SPELLINGS[form](word)}
            for word in some
            for form in [rng.choice(tuple(SPELLINGS))]
        ]

    return {
        "test": asks(words[:TEST_ROWS]),
        "train": asks(words[TEST_ROWS : TEST_ROWS + TRAIN_ROWS]),
    }


def topics(rng: random.Random) -> dict[str, list[Row]]:
    """A sentence to file under one of five headings; a sixth of the key words is test only."""
    labels = list(TOPICS)
    parts: dict[str, list[Row]] = {"train": [], "test": []}
    for label, name in enumerate(labels):
        shown, hidden = held_out(TOPICS[name], rng, share=1 / 6)

        def asks(words: Iterable[str], label: int = label) -> list[Row]:
            rows: list[Row] = [
                {
                    "instruction": heading,
                    "input": sentence.format(word),
                    "target": labels[label],
                    "choices": labels,
                    "label": label,
                }
                for word in words
                for heading in HEADINGS
                for sentence in SENTENCES
            ]
            return shuffled(rows, rng)

        taken: set[str] = set()
        count = TEST_ROWS // len(labels)
        seen = asks(shown)
        parts["test"] += fresh(asks(hidden), count // 4, taken=taken)
        parts["test"] += fresh(seen, count - count // 4, taken=taken)
        parts["train"] += fresh(seen, TRAIN_ROWS // len(labels), taken=taken)
    return {name: shuffled(rows, rng) for name, rows in parts.items()}


TASKS: Final[Mapping[str, Callable[[random.Random], dict[str, list[Row]]]]] = {
    "safety": safety,
    "arithmetic": arithmetic,
    "strings": strings,
    "topics": topics,
}


def write(path: Path, task: str, rows: Iterable[Row]) -> Path:
    """Write the rows with their ids as JSONL, gzipped (with no date in it) if they are large."""
    stem = path.name.removesuffix(".jsonl")
    lines = "".join(
        json.dumps({"id": f"{task}-{stem}-{number}", **row}) + "\n"
        for number, row in enumerate(rows)
    ).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(lines) > GZIP_ABOVE:
        path = path.with_name(path.name + ".gz")
        lines = gzip.compress(lines, mtime=0)
    path.write_bytes(lines)
    return path


def main() -> None:
    """Write every file of every task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    for task, make in TASKS.items():
        for part, rows in make(random.Random(f"{args.seed}/{task}")).items():
            path = write(args.out / task / f"{part}.jsonl", task, rows)
            print(f"{path.relative_to(args.out)}: {len(rows)} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
