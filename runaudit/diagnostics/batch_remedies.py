"""What to do about a batch that is too small, too large, or larger than the data."""

from __future__ import annotations

import math

from runaudit.diagnostics.evidence import Evidence, Remedy
from runaudit.diagnostics.history import History
from runaudit.diagnostics.optimizer_steps import NOMINAL, Batch

LEAST = 16
"""Images a step where there were too many: the frameworks' default batch, without adding any up."""

_FREEZE_CODE = """\
for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.eval()  # after each model.train(): running statistics stay, scale and shift are still learnt
"""


def against_small_batch(evidence: Evidence, batch: Batch) -> tuple[Remedy, ...]:
    key = _key(evidence)
    synchronised = {"sync_bn": True} if evidence.run.framework != "ultralytics" else {}
    remedies = [
        Remedy(
            "Use a batch of 16",
            "The frameworks' default. If memory doesn't allow it, a smaller imgsz or a smaller model does.",
            {key: 16},
        )
    ]
    if batch.nominal < NOMINAL and evidence.run.framework == "ultralytics":
        remedies.append(
            Remedy(
                f"Add up gradients to {NOMINAL:g} images a step",
                f"Steps of {batch.effective} images are noisy; accumulation mends that, but not batch norm, which sees "
                "each batch by itself.",
                {"nbs": int(NOMINAL)},
            )
        )
    if batch.devices > 1 and not batch.synchronised:
        remedies.append(
            Remedy(
                "Synchronise batch norm over the devices",
                "Its statistics are then of the whole batch.",
                dict(synchronised),
                "model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)\n",
            )
        )
    remedies.append(
        Remedy(
            "Keep the pretrained statistics of batch norm",
            "In a training loop of one's own: fine-tuning with frozen statistics doesn't depend on the batch.",
            code=_FREEZE_CODE,
        )
    )
    return tuple(remedies)


def against_large_batch(evidence: Evidence, batch: Batch, history: History | None) -> tuple[Remedy, ...]:
    """Fewer images a step; or as many steps by more epochs, with a rate that fits the batch."""
    times = batch.effective / LEAST
    epochs = math.ceil((history.epochs[-1] if history is not None else batch.epochs or 1) * times)
    remedies = [
        fewer_images_a_step(evidence, LEAST, batch),
        Remedy(
            f"Train for {epochs} epochs",
            f"As many steps as {LEAST} images each would have made, if the batch is to stay.",
            {"epochs": int(epochs)},
        ),
    ]
    if batch.effective > NOMINAL:
        larger = min(batch.effective / NOMINAL, 8.0)
        remedies.append(
            Remedy(
                "Scale the learning rate with the batch",
                "By the linear rule for SGD, with a warm-up of five epochs or more; Adam takes the square root of it.",
                {"lr0": float(f"{0.01 * larger:.2g}"), "optimizer": "SGD", "warmup_epochs": 5.0},
                reference="https://arxiv.org/abs/1706.02677",
            )
        )
    return tuple(remedies)


def fewer_images_a_step(evidence: Evidence, size: int, batch: Batch | None) -> Remedy:
    """Steps of fewer images, as the framework lets them be set; YOLOv5 only down to 64, and then by epochs."""
    if evidence.run.framework == "ultralytics":
        return Remedy(
            "Take a step after each batch, of fewer images",
            "nbs is how many images gradients are added up to before a step; its default of 64 doesn't know the data.",
            {"batch": size, "nbs": size},
        )
    epochs = 10 * max(10, evidence.run.epochs_run or 0)
    why = "gradients of 64 images are added up whatever is asked for, so that only more epochs make more steps."
    if batch is not None and batch.size <= NOMINAL:
        return Remedy(f"Train for {epochs} epochs", f"They are short; {why}", {"epochs": epochs})
    return Remedy(
        f"Use a batch of at most {NOMINAL:g}, and more epochs",
        why[0].upper() + why[1:],
        {_key(evidence): min(int(NOMINAL), 4 * size), "epochs": epochs},
    )


def _key(evidence: Evidence) -> str:
    """The training argument that sets the batch."""
    return "batch" if evidence.run.framework == "ultralytics" else "batch_size"
