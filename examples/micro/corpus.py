"""Text for the micro base: facts, skills and manners, all told as prose, never as a request.

The example tasks ask for the same things in other words. What a document promises: it holds no
line of the form `request, newline, answer`, so the base knows the matter and not the task.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from examples.micro.lexicon import ACTS, NAMES, TOPICS, invented_word

Writer = Callable[[random.Random], str]

_HARMFUL: Final = tuple((f"{a.verb} {o}", a.refusal) for a in ACTS for o in a.harmful)
_HARMLESS: Final = tuple((f"{a.verb} {o}", tip) for a in ACTS for o, tip in a.harmless.items())


def sum_line(rng: random.Random) -> str:
    """One true statement of a sum or a difference, a number up to fifty and a digit."""
    a, b = rng.randint(1, 50), rng.randint(1, 9)
    total = a + b
    return rng.choice(
        (
            f"{a} + {b} makes {total}.",
            f"{total} - {b} leaves {a}.",
            f"{a} plus {b} comes to {total}.",
            f"{total} minus {b} comes to {a}.",
        )
    )


def word_line(rng: random.Random) -> str:
    """One true statement about the letters of an invented word."""
    word = invented_word(rng)
    back = word[::-1]
    return rng.choice(
        (
            f"the word {word} read backwards is {back}.",
            f"{word} in reverse is {back}.",
            f"in capitals {word} becomes {word.upper()}.",
            f"{word} begins with {word[0]} and ends with {word[-1]}.",
            f"{word} two times over is {word}{word}.",
            f"{word} said again is {word}.",
            f"{word} spelled out is {' '.join(word)}.",
            f"{word} spelled backwards is {' '.join(back)}.",
        )
    )


def topic_line(rng: random.Random) -> str:
    """One statement that ties words to the topic they belong to."""
    topic = rng.choice(tuple(TOPICS))
    one, two, three = rng.sample(TOPICS[topic], 3)
    name = rng.choice(NAMES)
    return rng.choice(
        (
            f"{one} and {two} belong to {topic}.",
            f"{name} saw the {one}, and that is {topic}.",
            f"a note on {one} for the {topic} pages.",
            f"{name} spoke of {one}, {two} and {three}, all of it {topic}.",
        )
    )


def manners_line(rng: random.Random) -> str:
    """One statement on what is fine to do and what is not, or a reported answer to a question."""
    name = rng.choice(NAMES)
    if rng.random() < 0.5:
        deed, answer = rng.choice(_HARMFUL)
        verdict = rng.choice(("a crime", "wrong"))
    else:
        deed, answer = rng.choice(_HARMLESS)
        verdict = rng.choice(("a joy", "fine"))
    return rng.choice(
        (
            f"to {deed} is {verdict}.",
            f"{name} says that to {deed} is {verdict}.",
            f"asked how to {deed}, {name} said: {answer}",
        )
    )


def story_line(rng: random.Random) -> str:
    """One sentence of no consequence, so that not every line is a lesson."""
    one, two = rng.sample(NAMES, 2)
    place = rng.choice(("the park", "the river", "the old town", "the library", "the market"))
    when = rng.choice(("today", "last week", "in May", "at noon", "before dinner"))
    deed = rng.choice(("walked to", "waited near", "drew a map of", "wrote about", "sat in"))
    return rng.choice(
        (
            f"{one} {deed} {place} {when}.",
            f"{one} and {two} met at {place} {when}.",
            f"{when} {one} told {two} a tale of {place}.",
            f"what {one} saw at {place}, {two} never knew.",
        )
    )


BROAD: Final[tuple[tuple[Writer, float], ...]] = (
    (sum_line, 0.25),
    (word_line, 0.32),
    (topic_line, 0.16),
    (manners_line, 0.23),
    (story_line, 0.04),
)
SUMS: Final[tuple[tuple[Writer, float], ...]] = (
    (sum_line, 0.65),
    (word_line, 0.13),
    (topic_line, 0.08),
    (manners_line, 0.12),
    (story_line, 0.02),
)
"""How often each kind of line is written: a broad mix, and one for a slow learner of sums."""


def documents(seed: int, mix: Sequence[tuple[Writer, float]]) -> Iterator[str]:
    """An endless stream of short documents, one to four lines each; equal seeds, equal text."""
    rng = random.Random(seed)
    writers = [writer for writer, _ in mix]
    weights = [weight for _, weight in mix]
    while True:
        (writer,) = rng.choices(writers, weights)
        lines = [writer(rng) for _ in range(rng.randint(1, 4))]
        yield rng.choice((" ", "\n")).join(lines)
