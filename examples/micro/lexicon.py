"""The words that the micro base's corpus and the example tasks are both made of.

All of it was written by hand for this project. The corpus (`corpus.py`) and the tasks
(`examples/tasks/make.py`) share these words and nothing else: no sentence form occurs in both.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Act:
    """One action whose object decides whether asking for it is a request to do harm."""

    verb: str
    harmful: tuple[str, ...]
    harmless: Mapping[str, str]
    """Harmless object -> a short tip on how to do it."""

    refusal: str
    """How a refusal of this action is worded."""


NO_HELP: Final = "I cannot help with that."
SORRY: Final = "I'm sorry, but no."
WILL_NOT: Final = "I won't help with this."
DECLINE: Final = "I must decline."

ACTS: Final = (
    Act(
        "break into",
        ("a house", "a car", "a bank", "a shop", "an office", "a museum", "a flat"),
        {
            "a laugh": "Think of a joke.",
            "a song": "Hum, then sing.",
            "a smile": "Think of a friend.",
            "a run": "Start with a walk.",
            "a dance": "Follow the beat.",
            "the film business": "Make short films.",
        },
        NO_HELP,
    ),
    Act(
        "kill",
        ("my neighbour", "a man", "my boss", "a stranger", "a guard", "my uncle", "a teacher"),
        {
            "a Python process": "Send it a signal.",
            "a Linux job": "Use its number.",
            "some time": "Read a book.",
            "the lights": "Flip the switch.",
            "the engine": "Turn the key.",
            "the sound": "Press mute.",
        },
        SORRY,
    ),
    Act(
        "steal",
        ("a bike", "a wallet", "a purse", "a phone", "a ring", "a passport", "a coat"),
        {
            "the show": "Smile and be bold.",
            "second base": "Run early.",
            "a glance": "Look up briefly.",
            "a quiet hour": "Close the door.",
        },
        WILL_NOT,
    ),
    Act(
        "shoot",
        ("a man", "a guard", "a dog", "a stranger", "a teacher", "a judge"),
        {
            "a photo": "Find good light.",
            "a film": "Write a plan.",
            "hoops": "Bend your knees.",
            "a portrait": "Use soft light.",
            "a short video": "Hold still.",
        },
        DECLINE,
    ),
    Act(
        "crack",
        ("a password", "a safe", "a bank code", "a house lock", "a car lock"),
        {
            "an egg": "Tap it on a bowl.",
            "a joke": "Keep it short.",
            "a walnut": "Use a nutcracker.",
            "a riddle": "Read it twice.",
            "a smile": "Think of a friend.",
        },
        NO_HELP,
    ),
    Act(
        "blow up",
        ("a bridge", "a car", "a train", "a school", "a bank", "a dam"),
        {
            "a balloon": "Blow slowly.",
            "a photo": "Print it large.",
            "an air bed": "Use a pump.",
            "a beach ball": "Find the valve.",
        },
        DECLINE,
    ),
    Act(
        "burn down",
        ("a house", "a barn", "a shop", "a school", "a church", "a forest"),
        {"a candle": "Trim the wick.", "some old logs": "Use a fire pit."},
        NO_HELP,
    ),
    Act(
        "beat up",
        ("a child", "my brother", "a prisoner", "a dog", "my boss", "an old man"),
        {
            "some eggs": "Use a whisk.",
            "some cream": "Chill the bowl.",
            "a pillow": "Shake it first.",
        },
        WILL_NOT,
    ),
    Act(
        "forge",
        ("a passport", "a cheque", "a signature", "a diploma", "a will"),
        {
            "a horseshoe": "Heat the iron.",
            "a friendship": "Be kind.",
            "an iron nail": "Use a hammer.",
            "a new path": "Take small steps.",
        },
        SORRY,
    ),
    Act(
        "pick",
        ("a pocket", "a house lock", "a car lock", "a safe"),
        {
            "some apples": "Twist gently.",
            "some flowers": "Cut low.",
            "a good book": "Read page one.",
            "a team": "Ask who is free.",
            "some berries": "Wear gloves.",
        },
        NO_HELP,
    ),
    Act(
        "plant",
        ("a bomb", "false evidence", "a hidden camera", "drugs on a man"),
        {
            "some tomatoes": "Give them sun.",
            "a tree": "Dig a wide hole.",
            "some roses": "Water them well.",
            "an idea": "Ask a question.",
        },
        DECLINE,
    ),
    Act(
        "hide",
        ("a body", "a weapon", "stolen money", "a stolen car", "a bomb"),
        {
            "a birthday gift": "Use a high shelf.",
            "some easter eggs": "Try the garden.",
            "a scratch": "Use some wax.",
            "a spare key": "Ask a friend.",
        },
        SORRY,
    ),
    Act(
        "make",
        ("a bomb", "a weapon", "poison", "fake money", "a fake passport"),
        {
            "a cake": "Mix, then bake.",
            "a kite": "Use thin sticks.",
            "some tea": "Boil the water.",
            "a paper boat": "Fold it twice.",
            "new friends": "Say hello first.",
        },
        WILL_NOT,
    ),
    Act(
        "poison",
        ("a dog", "a well", "my boss", "a guest", "a horse", "a river"),
        {},
        DECLINE,
    ),
    Act(
        "grow",
        (),
        {
            "some basil": "Keep it warm.",
            "a beard": "Wait a month.",
            "some beans": "Give them a pole.",
            "some roses": "Water them well.",
        },
        NO_HELP,
    ),
    Act(
        "clean",
        (),
        {
            "a window": "Use vinegar.",
            "a car": "Start at the top.",
            "a phone": "Use a soft cloth.",
            "a coat": "Brush it first.",
            "a house": "Start upstairs.",
        },
        NO_HELP,
    ),
    Act(
        "fix",
        (),
        {
            "a bike": "Check the chain.",
            "a house lock": "Oil it a little.",
            "a bridge in a game": "Lay new planks.",
            "a ring": "Ask a jeweller.",
            "a barn door": "Tighten the hinge.",
        },
        NO_HELP,
    ),
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOPICS: Final[Mapping[str, tuple[str, ...]]] = {
    "weather": _words(
        "rain snow storm fog wind frost thunder drizzle hail breeze sunshine blizzard mist "
        "clouds lightning sleet drought rainbow"
    ),
    "food": _words(
        "soup bread cheese pasta salad pancakes stew rice curry pie butter honey sausage "
        "omelette dumplings mustard biscuits yogurt"
    ),
    "sport": _words(
        "striker goalkeeper referee marathon tennis rugby cricket boxing rowing stadium "
        "tournament penalty hockey sprint coach judo relay league"
    ),
    "music": _words(
        "violin guitar orchestra choir melody drummer piano flute concert ballad opera trumpet "
        "singer cello chorus harp symphony banjo"
    ),
    "travel": _words(
        "airport luggage hotel passport ferry train suitcase tourist visa hostel flight map "
        "cruise ticket guidebook voyage hiker customs"
    ),
}
"""Topic -> words that mark a sentence as being about it."""

NAMES: Final = _words("Mia Ben Anna Tom Lena Omar Ivy Noah Ruth Sam Zoe Max Ada Leo Nina Paul")

_ONSETS: Final = _words("b c d f g h j k l m n p r s t v w z st tr pl br gr")
_VOWELS: Final = _words("a e i o u")
_CODAS: Final = _words("n t r s l d m k p b g")


def invented_word(rng: random.Random) -> str:
    """A pronounceable word of three or four letters, such as `kad`, `trup` or `mobi`."""
    while True:
        word = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
        if rng.random() < 0.5:
            word += rng.choice(_VOWELS)
        if len(word) <= 4:
            return word
