"""Rebuilds a classifier from a checked description and plain tensors, with the installed package's classes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import JsonValue
from torch import nn

from runaudit.evaluation.construction import restore_activations, unsupported
from runaudit.evaluation.framework import framework
from runaudit.evaluation.loading import load_strictly, read_tensors, readied
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.model_yaml import checked_model_yaml

CLASSIFIER: Final = "ultralytics.nn.tasks.ClassificationModel"
"""the one model class that is built; YOLOv5's classifiers are of other blocks"""


@dataclass(frozen=True)
class Classifier:
    """A classifier ready for inference: fused, float32, in evaluation mode, on its device; it tells `classes` apart."""

    module: nn.Module
    classes: int
    device: torch.device


def rebuild_classifier(checkpoint: CheckpointFacts, weights: Path, device: torch.device) -> Classifier:
    """Build the network that `checkpoint` describes, load `weights` (safetensors) strictly, and fuse it.

    Raises CheckpointError with the code `architecture_unsupported` (another class of model, an input that is not RGB, a
    description that the installed version can't build) or `weights_mismatch` (tensors that don't fit the description),
    or what `checked_model_yaml` raises for a description that is not plain.
    """
    if checkpoint.model_class != CLASSIFIER:
        raise unsupported(checkpoint, f"classifiers of the class {checkpoint.model_class} can't be rebuilt here")
    if checkpoint.model_yaml is None:
        raise unsupported(checkpoint, "it says nothing of its layers")
    module = _unloaded(checkpoint, checked_model_yaml(checkpoint.model_yaml))
    restore_activations(checkpoint, module)
    load_strictly(module, read_tensors(weights, checkpoint.source), checkpoint.source)
    # Not the description's nc: its last row may name another number, and that one is built.
    classes = int(module.model[-1].linear.out_features)
    return Classifier(module=readied(module, device), classes=classes, device=device)


def _unloaded(checkpoint: CheckpointFacts, description: dict[str, JsonValue]) -> Any:
    """The network with its initial weights. Raises CheckpointError `architecture_unsupported`."""
    if description.get("channels", 3) != 3:
        # The framework's data set of class folders gives RGB, whatever the network takes.
        raise unsupported(checkpoint, f"its input has {description['channels']} channels; classifiers see RGB")
    try:
        module = framework().nn.tasks.ClassificationModel(cfg=deepcopy(description), ch=3, verbose=False)
    # The installed package parses the description; whatever it can't build, it can't build.
    except Exception as error:
        raise unsupported(checkpoint, f"the installed ultralytics can't build it ({error!s:.300})") from error
    if not isinstance(module.model[-1], framework().nn.modules.head.Classify):
        raise unsupported(checkpoint, "its last layer is not a classification head")
    return module
