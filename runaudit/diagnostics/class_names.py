"""Two lists of class names side by side: the same, spelt differently, in another order, or of other classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NameComparison:
    """Ids by how their names differ. `moved`: this name stands under another id on the other side. `other`: it stands
    nowhere there. `respelt`: the same but for case, white space and the signs between words. `only_model` and
    `only_data`: ids that the other side lacks.
    """

    moved: tuple[int, ...]
    other: tuple[int, ...]
    respelt: tuple[int, ...]
    only_model: tuple[int, ...]
    only_data: tuple[int, ...]

    @property
    def same(self) -> bool:
        return not (self.moved or self.other or self.only_model or self.only_data)


def compare_names(model: Mapping[int, str], data: Mapping[int, str]) -> NameComparison:
    """Compare the names of a checkpoint with those of data.yaml."""
    normal_model = {index: normalised(name) for index, name in model.items()}
    normal_data = {index: normalised(name) for index, name in data.items()}
    shared = sorted(set(model) & set(data))
    differing = [index for index in shared if normal_model[index] != normal_data[index]]
    names_of_model, names_of_data = set(normal_model.values()), set(normal_data.values())
    moved = [i for i in differing if normal_data[i] in names_of_model or normal_model[i] in names_of_data]
    return NameComparison(
        moved=tuple(moved),
        other=tuple(index for index in differing if index not in set(moved)),
        respelt=tuple(index for index in shared if index not in set(differing) and model[index] != data[index]),
        only_model=tuple(sorted(set(model) - set(data))),
        only_data=tuple(sorted(set(data) - set(model))),
    )


def normalised(name: str) -> str:
    """Without case, white space, underscores and hyphens: what people write differently for one class."""
    return "".join(sign for sign in name.casefold() if not sign.isspace() and sign not in "_-")


def says_nothing(names: Mapping[int, str]) -> bool:
    """Whether the names are the framework's placeholders: each its own id, `0` or `class0`."""
    return all(normalised(name) in (str(index), f"class{index}") for index, name in names.items())
