"""What tensors show of their history: new, dead, constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runaudit.runs.tensors import ElementType, Tensor
from runaudit.runs.weight_health import weight_health

FLOAT = ElementType("float32", "<f4", is_float=True)
BFLOAT = ElementType("bfloat16", "<u2", is_float=True)


def tensor(values: Any) -> Tensor:
    return Tensor(FLOAT, np.asarray(values, dtype=np.float32))


def norm(name: str, scale: Any, shift: Any, mean: Any, variance: Any) -> dict[str, Tensor]:
    parts = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    return {f"{name}.bn.{part}": tensor(values) for part, values in parts.items()}


NEW = norm("new", [1, 1], [0, 0], [0, 0], [1, 1])
TRAINED = norm("trained", [0.7, 2.0], [0.1, -0.4], [0.3, 1.0], [2.0, 0.1])


def test_new_and_trained_layers_are_told_apart() -> None:
    facts = weight_health(NEW | TRAINED)
    assert (facts.batch_norms, facts.channels) == (2, 4)
    assert (facts.untouched_batch_norms, facts.initial_batch_norms, facts.dead_channels) == (1, 1, 0)


def test_a_layer_that_saw_images_but_learnt_nothing_has_new_scales_only() -> None:
    facts = weight_health(norm("a", [1.01, 0.97], [0.01, 0.0], [0.3, 1.0], [2.0, 0.1]))
    assert (facts.untouched_batch_norms, facts.initial_batch_norms) == (0, 1)


def test_a_channel_is_dead_only_if_its_shift_is_not_positive() -> None:
    facts = weight_health(norm("a", [0.0, 0.0, 1e-4, 0.5], [0.0, 0.3, -1.0, -1.0], [1, 1, 1, 1], [1, 1, 1, 2]))
    assert facts.dead_channels == 2


def test_weights_of_one_value_are_constant_but_a_single_element_or_a_vector_is_not() -> None:
    tensors = {
        "zero.weight": tensor(np.zeros((4, 3, 3, 3))),
        "fine.weight": tensor(np.arange(12).reshape(3, 4)),
        "one.weight": tensor([[2.0]]),
        "vector": tensor([1.0, 1.0]),
        "half.weight": Tensor(BFLOAT, np.full((2, 2), 0x3F80, dtype=np.uint16)),
    }
    facts = weight_health(tensors)
    assert (facts.constant_count, facts.constant_layers) == (2, ("zero.weight", "half.weight"))


def test_bfloat16_scales_are_read_as_numbers() -> None:
    tensors = NEW | {"new.bn.weight": Tensor(BFLOAT, np.full(2, 0x3F80, dtype=np.uint16))}  # 1.0
    assert weight_health(tensors).initial_batch_norms == 1
    tensors = NEW | {"new.bn.weight": Tensor(BFLOAT, np.full(2, 0x4000, dtype=np.uint16))}  # 2.0
    assert weight_health(tensors).initial_batch_norms == 0


def test_class_biases_come_by_level() -> None:
    tensors = {f"model.22.cv3.{level}.2.bias": tensor([-level, -level - 1]) for level in (2, 0, 1)}
    assert weight_health(tensors).class_bias == ((-1.0, 0.0), (-2.0, -1.0), (-3.0, -2.0))
    assert weight_health(tensors | {"model.22.cv3.1.2.bias": tensor([np.nan])}).class_bias == ()


@pytest.mark.parametrize("part", ["weight", "bias", "running_var"])
def test_a_layer_with_a_part_missing_or_of_another_shape_is_left_out(part: str) -> None:
    missing = {name: value for name, value in NEW.items() if not name.endswith(part)}
    assert weight_health(missing).batch_norms == 0
    assert weight_health(NEW | {f"new.bn.{part}": tensor([1.0])}).batch_norms == 0


values = arrays.arrays(
    np.float32, st.lists(st.integers(0, 3), max_size=3).map(tuple), elements=st.floats(width=32, allow_nan=True)
)


@given(
    st.dictionaries(
        st.sampled_from(["a.weight", "a.bias", "a.running_mean", "a.running_var", "model.1.cv3.0.2.bias", "b"]), values
    )
)
def test_any_tensors_give_counts(found: dict[str, np.ndarray]) -> None:
    facts = weight_health({name: Tensor(FLOAT, array) for name, array in found.items()})
    assert 0 <= facts.dead_channels <= facts.channels
    assert max(facts.untouched_batch_norms, facts.initial_batch_norms) <= facts.batch_norms <= 1
