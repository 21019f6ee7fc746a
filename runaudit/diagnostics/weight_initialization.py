"""Were pretrained weights really transferred; are layers dead or untouched; does the start fit the run?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.fitted import LIMITS as FITTED
from runaudit.diagnostics.fitted import Thresholds as FittedThresholds
from runaudit.diagnostics.fitted import far_too_small, fits_training_images
from runaudit.diagnostics.history import History, history_of
from runaudit.diagnostics.learning import LIMITS as LEARNING
from runaudit.diagnostics.learning import Thresholds as LearningThresholds
from runaudit.diagnostics.learning import best_metric, chance_level, has_learnt
from runaudit.diagnostics.lost_metric import Lost, lost_metric
from runaudit.diagnostics.optimizer_steps import steps_of
from runaudit.diagnostics.origin import Origin, origin_of
from runaudit.diagnostics.published_weights import start_from_published
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import CheckpointFacts, RunFacts, WeightFacts

CAUSE: Final = "weight_initialization"


@dataclass(frozen=True)
class Thresholds:
    initial: float = threshold(
        0.5,
        "Share of batch-norm layers with all scales within 0.05 of a new layer's. benchmarks/weight_health.py: at most "
        "0.11 in the 13 corpus checkpoints that were transferred or learnt (the highest after 5 epochs, its "
        "new "
        "head), 0 in both examples, 1.0 in the one that never learnt.",
    )
    untouched: int = threshold(
        0, "Batch-norm layers with the statistics of a new layer: none in the same 16, all in a network never trained."
    )
    constant: int = threshold(
        0, "Weights of one value only: none in the same 16, nor in new networks of YOLOv8 to v10, 11, 12 and 26."
    )
    dead: float = threshold(
        0.01, "Share of dead channels: at most 0.001 in the same 16, that of a run which diverged; ten times as much."
    )
    dead_major: float = threshold(
        0.1,
        "A tenth of the network's channels carries nothing. Fewer are major where the model lost 2 points of mAP50-95 "
        "or more, beyond the interval, since the run reported it, and on its training images too.",
    )
    learning: LearningThresholds = LEARNING
    first: float = threshold(
        0.01,
        "diagnostics.md B10: mAP50-95 of the first epoch. Below it nothing is concluded: 23 of 60 pretrained corpus "
        "runs "
        "begin lower, since a new head takes longer than an epoch on few images.",
    )
    fifth: float = threshold(
        0.01,
        "mAP50-95 in the fifth epoch, where the checkpoint is of another size than the model: 0.0 in the one such run "
        "of "
        "the corpus.",
    )
    few_images: int = threshold(10_000, "diagnostics.md B10: fewer training images are too few to start from nothing.")
    few_epochs: int = threshold(300, "diagnostics.md B8(c): epochs that YOLOv5 advises without weights.")
    fitted: FittedThresholds = FITTED


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    run, checkpoint = evidence.run, evidence.run.checkpoint
    origin, history = origin_of(run), history_of(run)
    if checkpoint is not None and checkpoint.nonfinite_tensors:
        return inconclusive(
            CAUSE, "The weights hold NaN or infinity, which hides their history: see numerical_divergence."
        )
    health = checkpoint.weight_health if checkpoint is not None else None
    if checkpoint is not None and health is not None and health.batch_norms:
        answer = _of_weights(evidence, checkpoint, health, origin, history)
        if answer is not None:
            return answer
    answer = _of_start(evidence, origin, history)
    if answer is not None:
        return answer
    if health is None or not health.batch_norms:
        return not_run(CAUSE, _why_no_weights(evidence))
    return _sound(run, origin, history, health)


def _why_no_weights(evidence: Evidence) -> str:
    checkpoint = evidence.run.checkpoint
    if checkpoint is None:
        return why_absent(evidence, "checkpoint")
    if checkpoint.problem is not None:
        return f"The weights can't be read: {checkpoint.problem.detail}"
    return "The checkpoint has no batch-norm layer to look at."


def _of_weights(
    evidence: Evidence, checkpoint: CheckpointFacts, health: WeightFacts, origin: Origin, history: History | None
) -> CheckResult | None:
    """What the tensors themselves show to be wrong; None if nothing."""
    if health.untouched_batch_norms > LIMITS.untouched:
        return _untouched(evidence.run, checkpoint, health)
    if health.constant_count > LIMITS.constant:
        return _constant(evidence.run, checkpoint, health)
    if health.initial_batch_norms >= LIMITS.initial * health.batch_norms:
        return _initial(evidence, checkpoint, health, origin, history)
    if health.channels and health.dead_channels >= LIMITS.dead * health.channels:
        return _dead(evidence.run, checkpoint, health, lost_metric(evidence))
    return None


def _untouched(run: RunFacts, checkpoint: CheckpointFacts, health: WeightFacts) -> CheckResult:
    every = health.untouched_batch_norms == health.batch_norms
    return found(
        CAUSE,
        "critical" if every else "major",
        "The network was never trained: its batch-norm statistics are those of a new one"
        if every
        else f"{health.untouched_batch_norms} of {health.batch_norms} batch-norm layers never saw an image",
        "Their running mean is 0 and their variance 1 throughout, which the first training step changes. The wrong "
        "file "
        "was saved, or these layers take no part in training.",
        evidence=(
            Measurement(
                "batch-norm layers with new statistics",
                health.untouched_batch_norms,
                LIMITS.untouched,
                n=health.batch_norms,
                source=checkpoint.source,
            ),
            *_class_prior(checkpoint, health),
        ),
        impact=Impact("lowers", grade="observational"),
        remedies=(_BEST, start_from_published(run)),
        effect=health.untouched_batch_norms / health.batch_norms,
        n=health.batch_norms,
    )


def _constant(run: RunFacts, checkpoint: CheckpointFacts, health: WeightFacts) -> CheckResult:
    return found(
        CAUSE,
        "major",
        f"{health.constant_count} layers have weights of one value only",
        f"{health.constant_layers[0] if health.constant_layers else 'A layer'}, for one: all its channels compute the "
        "same, and gradients can't tell them apart.",
        evidence=(
            Measurement(
                "layers of one value",
                health.constant_count,
                LIMITS.constant,
                n=checkpoint.tensors,
                source=checkpoint.source,
            ),
            *(Measurement("layer", name, source=checkpoint.source) for name in health.constant_layers[:5]),
        ),
        impact=Impact("lowers", grade="observational"),
        remedies=(start_from_published(run),),
        effect=float(health.constant_count),
        n=checkpoint.tensors,
    )


def _initial(
    evidence: Evidence, checkpoint: CheckpointFacts, health: WeightFacts, origin: Origin, history: History | None
) -> CheckResult:
    """Batch-norm scales still as in a new network: nothing was transferred, and little was learnt."""
    run, learnt = evidence.run, _learnt(evidence, history)
    expected = origin.start == "pretrained"
    severity: Severity = "critical" if learnt is False else "major" if expected else "minor"
    title = (
        f"The weights of {origin.weights} were not transferred"
        if expected
        else "The network is still close to its random start"
    )
    return found(
        CAUSE,
        severity,
        title,
        "Trained networks have batch-norm scales far from 1; in most layers here they are within 0.05 of it, as they "
        "are "
        "created. "
        + (
            "Weights that were transferred would show theirs; the checkpoint to start from may itself not have been "
            "trained."
            if expected
            else "Started from random weights, it took too few steps, or steps too small, to learn."
        ),
        evidence=(
            Measurement(
                "share of batch-norm layers as new",
                round(health.initial_batch_norms / health.batch_norms, 4),
                LIMITS.initial,
                n=health.batch_norms,
                source=checkpoint.source,
            ),
            *best_metric(run, history),
            *_class_prior(checkpoint, health),
        ),
        impact=Impact("lowers", grade="observational"),
        remedies=(start_from_published(run), _WARM_UP) if not expected else (_RIGHT_CFG, start_from_published(run)),
        effect=health.initial_batch_norms / health.batch_norms,
        n=health.batch_norms,
    )


def _dead(run: RunFacts, checkpoint: CheckpointFacts, health: WeightFacts, lost: Lost | None) -> CheckResult:
    """Graver where the model does much worse than when it was measured: the channels died since."""
    share = health.dead_channels / health.channels
    return found(
        CAUSE,
        "major" if share >= LIMITS.dead_major or lost is not None else "minor",
        f"{health.dead_channels} of {health.channels} channels are dead",
        "Their batch-norm scale is below 0.001 and their shift at most 0: they give the same for any image. Steps that "
        "were too large do this, or pruning." + (f" {lost.sentence}" if lost is not None else ""),
        evidence=(
            Measurement(
                "share of dead channels", round(share, 4), LIMITS.dead, n=health.channels, source=checkpoint.source
            ),
            *((lost.measurement,) if lost is not None else ()),
        ),
        impact=lost.impact if lost is not None else Impact("lowers", grade="observational"),
        remedies=(_AS_MEASURED,) if lost is not None else (start_from_published(run), _WARM_UP),
        effect=share,
        n=health.channels,
    )


def _of_start(evidence: Evidence, origin: Origin, history: History | None) -> CheckResult | None:
    """What arguments and curves show to be wrong; None if nothing."""
    if origin.start == "scratch" and _learnt(evidence, history) is False:
        return _from_nothing(evidence, origin, history, "and learnt next to nothing")
    if origin.start == "scratch" and _too_little(evidence):
        return _from_nothing(evidence, origin, history, "and doesn't do well on its own training images")
    if origin.other_size and history is not None and _metric(history, 4, LIMITS.fifth):
        return _other_size(evidence, origin, history)
    return None


def _learnt(evidence: Evidence, history: History | None) -> bool | None:
    """Whether anything was learnt: by the curves, or by the training images, which an overfitted model knows."""
    training = evidence.training
    if training is not None and training.metrics.map50_95 >= LIMITS.learning.learnt:
        return True
    return has_learnt(evidence.run, history)


def _on_training_images(evidence: Evidence) -> tuple[Measurement, ...]:
    training = evidence.training
    if training is None:
        return ()
    value, ends = round(training.metrics.map50_95, 4), training.ci95.get("map50_95")
    return (Measurement("mAP50-95 on training images", value, LIMITS.learning.learnt, ends, training.images),)


def _too_little(evidence: Evidence) -> bool:
    """Few images and few epochs, and a network that is large enough to fit them doesn't."""
    train = evidence.dataset.splits.get("train") if evidence.dataset is not None else None
    if train is None or not 0 < train.images < LIMITS.few_images or (evidence.run.epochs_run or 0) >= LIMITS.few_epochs:
        return False
    return fits_training_images(evidence) is False and not far_too_small(evidence.run)


def _from_nothing(evidence: Evidence, origin: Origin, history: History | None, result: str) -> CheckResult:
    run = evidence.run
    train = evidence.dataset.splits.get("train") if evidence.dataset is not None else None
    images = train.images if train is not None and train.images else None
    steps = steps_of(evidence)
    few = images is not None and images < LIMITS.few_images
    counted = (
        (Measurement("training images", images, LIMITS.few_images, source=train.source),)
        if train is not None and images is not None
        else ()
    )
    taken = (Measurement("optimizer steps", steps, n=run.epochs_run),) if steps is not None else ()
    return found(
        CAUSE,
        "major",
        f"The run started from random weights {result}",
        f"{origin.structure or 'The model'} was named without a checkpoint to start from"
        + (f", and {images} images are few to start from nothing." if few else ".")
        + " Detectors are trained for 300 epochs on 100,000 images to get by without one.",
        evidence=(
            *best_metric(run, history),
            *_on_training_images(evidence),
            *counted,
            *taken,
            Measurement(
                "model", origin.structure, source=run.configuration.places.get("model") if run.configuration else None
            ),
        ),
        impact=Impact("lowers", grade="observational"),
        remedies=(start_from_published(run), _WARM_UP),
        effect=None,
        n=run.epochs_run,
    )


def _other_size(evidence: Evidence, origin: Origin, history: History) -> CheckResult:
    run = evidence.run
    return found(
        CAUSE,
        "major" if _learnt(evidence, history) is False else "minor",
        f"The checkpoint {origin.weights} is of another size than the model {origin.structure}",
        "Only layers of the same shape are taken over, which leaves the network close to a random start; the fifth "
        "epoch "
        "still finds nothing.",
        evidence=(
            Measurement(
                "mAP50-95 in the fifth epoch",
                float(history.metric[4]),
                LIMITS.fifth,
                n=history.size,
                source=history.place(4),
            ),
            Measurement(
                "checkpoint to start from",
                origin.weights,
                threshold=origin.structure,
                source=run.configuration.places.get("weights") if run.configuration else None,
            ),
        ),
        impact=Impact("lowers", grade="observational"),
        remedies=(_RIGHT_CFG,),
        effect=None,
        n=history.size,
    )


def _metric(history: History, index: int, limit: float) -> bool:
    """The metric of that row is there and below `limit`."""
    return history.metric_name == "map50_95" and history.size > index and bool(history.metric[index] < limit)


def _sound(run: RunFacts, origin: Origin, history: History | None, health: WeightFacts) -> CheckResult:
    healthy = (
        f"No layer is dead, constant or untouched, and {health.batch_norms - health.initial_batch_norms} of "
        f"{health.batch_norms} batch-norm layers carry the marks of training"
    )
    share, layers = health.initial_batch_norms / health.batch_norms, health.batch_norms
    if origin.start == "scratch":
        return passed(CAUSE, f"{healthy}; it was named without a checkpoint to start from.", effect=share, n=layers)
    if origin.start == "pretrained" and history is not None and _early(run, history):
        return passed(
            CAUSE,
            f"{healthy}; started from {origin.weights}, the first epoch reached {float(history.metric[0]):.3f}.",
            effect=share,
            n=layers,
        )
    base = f"those of {origin.weights}" if origin.weights else "any weights"
    return inconclusive(
        CAUSE,
        f"{healthy}. Whether {base} were transferred can't be told without the checkpoint that the run started from.",
        effect=share,
        n=layers,
    )


def _early(run: RunFacts, history: History) -> bool:
    """The first epoch already finds something."""
    limit = LIMITS.first if history.metric_name == "map50_95" else chance_level(run, history)
    return limit is not None and bool(history.epochs[0] == 1 and history.metric[0] >= limit)


def _class_prior(checkpoint: CheckpointFacts, health: WeightFacts) -> tuple[Measurement, ...]:
    """The largest distance of a class bias from what ultralytics sets it to: log(5 / nc / (640 / stride)^2).

    ultralytics nn/modules/head.py `Detect.bias_init`. Shown beside a finding only: after 5 epochs of a slow start a
    sound corpus run is still within 0.01 of it.
    """
    if not health.class_bias or len(health.class_bias) != len(checkpoint.stride) or not checkpoint.names:
        return ()
    if not all(1 <= stride <= 1024 for stride in checkpoint.stride):  # a stranger's numbers: their square may be 0
        return ()
    initial = [math.log(5 / len(checkpoint.names) / (640 / stride) ** 2) for stride in checkpoint.stride]
    pairs = zip(health.class_bias, initial, strict=True)
    moved = max(max(abs(low - start), abs(high - start)) for (low, high), start in pairs)
    return (Measurement("class biases moved by, at most", round(moved, 4), source=checkpoint.source),)


_RIGHT_CFG = Remedy(
    "Use the model yaml that belongs to the checkpoint",
    "Of the same version and size, or none at all: the checkpoint holds its own. The training log says how many "
    "tensors "
    "were transferred (`Transferred 349/355 items`).",
)
_WARM_UP = Remedy(
    "Warm up for longer",
    "A rate that rises slowly lets batch norm and a new head settle before the first large steps.",
    {"warmup_epochs": 5.0},
)
_AS_MEASURED = Remedy(
    "Take the checkpoint as training left it",
    "What was done to the weights since (pruning, conversion, an edit) took these channels. Prune less, and train on "
    "for some epochs afterwards, or validate after each such step.",
)
_BEST = Remedy("Hand in weights/best.pt of the finished run", "Not the checkpoint that it was to start from.")

CHECK = Check(
    cause=CAUSE,
    title="Weight initialisation",
    question=__doc__ or "",
    statistic=(
        "From the checkpoint's tensors: batch-norm layers with the running statistics or the scales of a new layer, "
        "dead "
        "channels, weights of one value. From arguments and curves: a start from a model's yaml with a metric at "
        "chance, "
        "and a checkpoint of another size than the model with a fifth epoch that finds nothing."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Pruned networks have dead channels by design.",
        "`YOLO(yaml).load(checkpoint)` leaves the arguments of a start from random weights: it is only called one "
        "where "
        "the run learnt nothing.",
        "A run that overfits scores near nothing in validation too: one that knows its training images has learnt.",
        "A low mAP in the first epoch is no sign: many pretrained runs on few images begin so.",
        "Whether weights were transferred is never concluded without the base checkpoint, a high first epoch, or "
        "scales "
        "that no transferred network has.",
    ),
    references=("diagnostics.md B10", "yolo.md A3, A4"),
    examine=examine,
)
