"""Find the number an answer gives, in the form of GSM8K (`#### 1,234`) or as its last number.

Source: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021, arXiv:2110.14168. Its
own check compares text; here `16`, `16.00` and `$16` are the same number.
"""

import re
from decimal import Decimal

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+"
# A sign belongs to the number unless something ends right before it: 7-3 ends in 3, not in -3.
_NUMBER = re.compile(rf"(?P<sign>(?<![\w.)\]}}%])-)?(?:\$ ?(?P<inside>-)?)?(?P<digits>{_DIGITS})")
_MINUS = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-"})


def final_number(text: str) -> Decimal | None:
    """The number an answer ends in, or None when it holds none.

    That is the first number after the first `####` that has one on its line (what follows it is
    the model running on), else the last number of the text. Commas between groups of three, a
    dollar sign and a minus are understood; `7-3` ends in 3.

    >>> final_number("She pays 3 x $500. #### $1,500.00 for all 3")
    Decimal('1500.00')
    >>> final_number("so it was -2 degrees")
    Decimal('-2')
    """
    text = text.translate(_MINUS)
    for part in text.split("####")[1:]:
        line = part.lstrip(" ").split("\n", 1)[0]
        if first := _NUMBER.search(line):
            return _value(first)
    found = list(_NUMBER.finditer(text))
    return _value(found[-1]) if found else None


def _value(found: re.Match[str]) -> Decimal:
    digits = Decimal(found["digits"].replace(",", ""))
    return -digits if found["sign"] or found["inside"] else digits
