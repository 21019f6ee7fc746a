"""Names that a mirror, a turn or another hue makes of one another, in many languages; and names that only look so."""

from __future__ import annotations

import pytest

from runaudit.diagnostics.opposite_names import characters, opposite_pairs

ACROSS = [
    ("turn_left", "turn_right"),
    ("TurnLeft", "turn-right"),
    ("hand_l", "hand_r"),
    ("leftarrow", "rightarrow"),
    ("Linkskurve", "Rechtskurve"),
    ("linke Hand", "rechte Hand"),
    ("giro izquierda", "giro derecha"),
    ("ojo_izquierdo", "ojo_derecho"),
    ("virage à gauche", "virage à droite"),
    ("pied gauche", "pied droit"),
    ("mano sinistra", "mano destra"),
    ("esquerda", "direita"),
    ("левый глаз", "правый глаз"),
    ("左转", "右转"),
    ("왼손", "오른손"),
    ("sol_el", "sağ_el"),
    ("arrow ←", "arrow →"),
    ("b", "d"),
    ("p", "q"),
]


@pytest.mark.parametrize("pair", ACROSS, ids=" ".join)
def test_names_that_a_mirror_exchanges(pair: tuple[str, str]):
    assert opposite_pairs({0: "stop", 3: pair[1], 5: pair[0]}, "fliplr") == ((3, 5),)
    assert opposite_pairs({0: "stop", 3: pair[0]}, "fliplr") == ()


@pytest.mark.parametrize(
    "names",
    [
        ["glass", "grass", "light", "right"],
        ["left", "wrong", "right-angle"],
        ["left_car", "right_truck"],
        ["B", "D", "P", "Q"],
        ["cleft", "clear"],
        ["airport", "starboard"],
        ["left", "left"],
        ["", "  "],
    ],
)
def test_names_that_only_look_like_sides(names: list[str]):
    assert opposite_pairs(dict(enumerate(names)), "fliplr") == ()


def test_up_and_down_are_exchanged_by_the_other_mirror_only():
    names = {0: "arrow_up", 1: "arrow_down", 2: "上", 3: "下"}
    assert opposite_pairs(names, "flipud") == ((0, 1), (2, 3))
    assert opposite_pairs(names, "fliplr") == ()


def test_half_a_turn_exchanges_both_and_some_digits():
    names = {0: "left", 1: "right", 2: "up", 3: "down", 4: "6", 5: "9", 6: "b", 7: "q"}
    assert opposite_pairs(names, "rotation") == ((0, 1), (2, 3), (4, 5), (6, 7))


def test_colours_are_exchanged_by_the_hue_and_black_is_not_one():
    names = {0: "red light", 1: "green light", 2: "black car", 3: "red car", 4: "luz verde", 5: "luz roja"}
    assert opposite_pairs(names, "hue") == ((0, 1), (4, 5))


def test_letters_and_digits_are_writing():
    assert characters({0: "A", 1: "7", 2: "ten", 3: "Zero", 4: "ab", 5: "-", 6: "nine"}) == (0, 1, 3, 6)
