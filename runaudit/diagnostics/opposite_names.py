"""Class names that an augmentation turns into one another: left and right, up and down, b and d, red and green.

A pair counts only if both names are there and differ in the opposite words alone. So `left_turn` without `right_turn`
is no pair, nor is `right` without `left`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from itertools import combinations
from typing import Final, Literal

Change = Literal["fliplr", "flipud", "rotation", "hue"]
Pairs = tuple[tuple[int, int], ...]
"""class ids, the lower one first"""

_ACROSS: Final = (
    *(("left", "right"), ("l", "r"), ("lh", "rh"), ("lhs", "rhs"), ("lt", "rt"), ("port", "starboard")),
    *(("clockwise", "counterclockwise"), ("clockwise", "anticlockwise"), ("clockwise", "counter clockwise")),
    *(("clockwise", "anti clockwise"), ("cw", "ccw"), ("slash", "backslash")),
    *(("links", "rechts"), ("linke", "rechte"), ("linker", "rechter"), ("linkes", "rechtes"), ("linken", "rechten")),
    *(("izquierda", "derecha"), ("izquierdo", "derecho"), ("izq", "der")),
    *(("gauche", "droite"), ("gauche", "droit")),
    *(("sinistra", "destra"), ("sinistro", "destro"), ("sx", "dx")),
    *(("esquerda", "direita"), ("esquerdo", "direito"), ("esq", "dir")),
    *(("lewo", "prawo"), ("lewy", "prawy"), ("lewa", "prawa"), ("lewe", "prawe")),
    *(("лево", "право"), ("левый", "правый"), ("левая", "правая"), ("левое", "правое"), ("слева", "справа")),
    *(("sol", "sağ"), ("sol", "sag"), ("vänster", "höger"), ("venstre", "højre"), ("kiri", "kanan")),
    *(("trái", "phải"), ("trai", "phai"), ("يسار", "يمين"), ("왼", "오른"), ("좌", "우"), ("左", "右")),
    *(("←", "→"), ("⬅", "➡"), ("⇐", "⇒"), ("<", ">"), ("(", ")"), ("[", "]"), ("/", "\\")),
    *(("↖", "↗"), ("↙", "↘"), ("↰", "↱"), ("↩", "↪")),
)
"""Turned into one another by a mirror upright, in the languages that data sets are most often named in."""

_ALONG: Final = (
    *(("up", "down"), ("upward", "downward"), ("upwards", "downwards"), ("thumbsup", "thumbsdown"), ("top", "bottom")),
    *(("upper", "lower"), ("oben", "unten"), ("hoch", "runter"), ("arriba", "abajo"), ("haut", "bas")),
    *(("superior", "inferior"), ("cima", "baixo"), ("su", "giù"), ("верх", "низ"), ("вверх", "вниз")),
    *(("위", "아래"), ("上", "下"), ("↑", "↓"), ("⬆", "⬇"), ("↖", "↙"), ("↗", "↘"), ("^", "v")),
)
"""Turned into one another by a mirror that lies flat."""

_COLOURS: Final = (
    ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    ("rot", "orange", "gelb", "grün", "blau", "lila", "rosa"),
    ("rojo", "naranja", "amarillo", "verde", "azul", "morado", "rosa"),
    ("roja", "naranja", "amarilla", "verde", "azul", "morada", "rosa"),
    ("rouge", "orange", "jaune", "vert", "bleu", "violet", "rose"),
    ("红", "橙", "黄", "绿", "蓝", "紫"),
)
"""Told apart by their hue alone; black, white, grey and brown are not."""

_CHARACTERS: Final[dict[Change, tuple[tuple[str, str], ...]]] = {
    "fliplr": (("b", "d"), ("p", "q")),
    "flipud": (("b", "p"), ("d", "q"), ("M", "W"), ("m", "w"), ("n", "u")),
    "rotation": (("6", "9"), ("b", "q"), ("d", "p"), ("n", "u"), ("M", "W"), ("m", "w")),
}
"""Single characters of the same shape, in the case in which they have it."""

_DIGITS: Final = frozenset(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
_BOUNDARY = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")
_WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s.,:;-]")
_SHORT = 3
"""Latin words up to this length count only as whole words: `l` is in too many others."""


def opposite_pairs(names: Mapping[int, str], change: Change) -> Pairs:
    """The pairs of classes that `change` makes of one another, each once, in the order of their ids.

    `rotation` is one by half a turn, which does to words of direction what both mirrors do.
    """
    said = {index: _normalised(name) for index, name in names.items()}
    ids: dict[str, int] = {}
    for index, words in said.items():
        ids.setdefault(words, index)
    found: set[tuple[int, int]] = set()
    for first, second in _words_of(change):
        for index, words in said.items():
            other = ids.get(_replaced(words, first, second))
            if other is not None and other != index and words != said[other]:
                found.add((min(index, other), max(index, other)))
    verbatim = {name.strip(): index for index, name in names.items()}
    for one, another in _CHARACTERS.get(change, ()):
        if one in verbatim and another in verbatim:
            found.add((min(verbatim[one], verbatim[another]), max(verbatim[one], verbatim[another])))
    return tuple(sorted(found))


def characters(names: Mapping[int, str]) -> tuple[int, ...]:
    """The classes that are single letters or digits, or digits in English words; their mirror images are no writing."""
    return tuple(
        index
        for index, name in sorted(names.items())
        if (len(name.strip()) == 1 and name.strip().isalnum()) or name.strip().lower() in _DIGITS
    )


def _words_of(change: Change) -> tuple[tuple[str, str], ...]:
    if change == "hue":
        return tuple(pair for colours in _COLOURS for pair in combinations(colours, 2))
    return {"fliplr": _ACROSS, "flipud": _ALONG, "rotation": (*_ACROSS, *_ALONG)}[change]


def _normalised(name: str) -> str:
    """Lower-case words with one space between: `TurnLeft`, `turn_left` and `turn-left` are the same."""
    spaced = _BOUNDARY.sub(" ", unicodedata.normalize("NFKC", name[:200]))
    return " ".join(_WORDS.findall(spaced.casefold()))


def _replaced(words: str, first: str, second: str) -> str:
    """`words` with `first` replaced by `second`; unchanged where it is not in it."""
    if first not in words:
        return words
    if len(first) <= _SHORT and first.isalpha() and first.isascii():
        return " ".join(second if word == first else word for word in words.split(" "))
    return words.replace(first, second)
