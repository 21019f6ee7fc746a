"""Faults that are planted in a copy of the data or of the run folder after training; none of them needs a training."""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASS_BIAS: Final = re.compile(r"[._](one2one_)?cv3\.\d+\.2\.bias$")
BLOCK: Final = re.compile(r"model\.\d+\.cv2\.conv\.weight")

Row = list[float]
"""class id, centre x, centre y, width, height, as shares of the image"""
Plant = Callable[[Path, Path, int, np.random.Generator], None]
"""changes the run folder and the data folder by a severity from 1 to 3"""


@dataclass(frozen=True)
class Fault:
    """A way to plant a cause. `measure` is what it must change to count: see `score.verified`.

    `seen`: the training would have validated on it, so that results.csv has to show its effect; else it came later.
    """

    cause: str
    variant: str
    plant: Plant
    measure: str = "lowers"
    seen: bool = True


def _images(data: Path, split: str = "val") -> list[Path]:
    return sorted((data / "images" / split).iterdir())


def _labels(data: Path, split: str = "val") -> list[Path]:
    return sorted((data / "labels" / split).glob("*.txt"))


def _rows(file: Path) -> list[Row]:
    return [[float(value) for value in line.split()] for line in file.read_text().splitlines()]


def _write_rows(file: Path, rows: list[Row]) -> None:
    lines = (" ".join([str(int(row[0])), *(f"{value:.6f}" for value in row[1:])]) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines))


def _change_pixels(data: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    for file in _images(data):
        picture = np.asarray(cv2.imread(str(file)), dtype=np.float32)
        cv2.imwrite(str(file), np.clip(change(picture), 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])


def _darken(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    share = (0.45, 0.3, 0.15)[severity - 1]
    _change_pixels(data, lambda picture: picture * share)


def _blur(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    sigma = (1.2, 1.8, 2.6)[severity - 1]
    _change_pixels(data, lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma))


def _wash_out(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    share = (0.4, 0.25, 0.15)[severity - 1]
    _change_pixels(data, lambda picture: 190 + (picture - 128) * share)


def _grain(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    spread = (25, 40, 60)[severity - 1]
    _change_pixels(data, lambda picture: picture + rng.normal(0, spread, size=picture.shape))


def _drop(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    drop_labels(data, (0.12, 0.25, 0.4)[severity - 1], rng)


def drop_labels(data: Path, share: float, rng: np.random.Generator, split: str = "val") -> None:
    """Leave out each box of the split with a probability of `share`."""
    for file in _labels(data, split):
        _write_rows(file, [row for row in _rows(file) if rng.uniform() >= share])


def _swap(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    swap_classes(data, (0.08, 0.15, 0.3)[severity - 1], rng)


def swap_classes(data: Path, share: float, rng: np.random.Generator, split: str = "val") -> None:
    """Give each box of the split another class with a probability of `share`."""
    classes = _class_count(data)
    for file in _labels(data, split):
        rows = _rows(file)
        for row in rows:
            if rng.uniform() < share:
                row[0] = (row[0] + rng.integers(1, classes)) % classes
        _write_rows(file, rows)


def _misplace(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    share = (0.15, 0.3, 0.5)[severity - 1]
    for file in _labels(data):
        rows = _rows(file)
        for row in rows:
            if rng.uniform() < share:
                angle, size = rng.uniform(0, 2 * math.pi), 0.35
                row[1] = float(np.clip(row[1] + size * row[3] * math.cos(angle), row[3] / 2, 1 - row[3] / 2))
                row[2] = float(np.clip(row[2] + size * row[4] * math.sin(angle), row[4] / 2, 1 - row[4] / 2))
        _write_rows(file, rows)


def _loosen(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    scale = (1.15, 1.25, 1.4)[severity - 1]
    for file in _labels(data):
        rows = _rows(file)
        for row in rows:
            left, right = max(0.0, row[1] - row[3] * scale / 2), min(1.0, row[1] + row[3] * scale / 2)
            top, bottom = max(0.0, row[2] - row[4] * scale / 2), min(1.0, row[2] + row[4] * scale / 2)
            row[1:] = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        _write_rows(file, rows)


def _invent(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    share = (0.15, 0.3, 0.5)[severity - 1]
    classes = _class_count(data)
    for file in _labels(data):
        rows = _rows(file)
        for _ in range(int(rng.binomial(len(rows), share))):
            width, height = rng.uniform(0.1, 0.25, size=2)
            x, y = rng.uniform(width / 2, 1 - width / 2), rng.uniform(height / 2, 1 - height / 2)
            rows.append([float(rng.integers(classes)), x, y, width, height])
        _write_rows(file, rows)


def _class_count(data: Path) -> int:
    return sum(line.startswith("  ") for line in (data / "data.yaml").read_text().splitlines())


def _permute(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    classes = _class_count(data)
    turned = list(range(classes))
    if severity == 1:
        turned[0], turned[1] = 1, 0
    else:
        turned = turned[1:] + turned[:1]
    splits = ("val",) if severity < 3 else ("train", "val")
    for file in (file for split in splits for file in _labels(data, split)):
        rows = _rows(file)
        for row in rows:
            row[0] = turned[int(row[0])]
        _write_rows(file, rows)


def _lose_label_files(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    share = (0.2, 0.4, 0.7)[severity - 1]
    elsewhere = data / "labels_old" / "val"
    elsewhere.mkdir(parents=True)
    for file in _labels(data):
        if rng.uniform() < share:
            shutil.move(file, elsewhere / file.name)


def _out_of_bounds(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    share = (0.2, 0.4, 0.7)[severity - 1]
    for file in _labels(data):
        if rng.uniform() < share:
            _write_rows(file, [[row[0], *(value * 160 for value in row[1:])] for row in _rows(file)])


def _few_images(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    keep = (10, 6, 3)[severity - 1]
    for image in _images(data)[keep:]:
        image.unlink()
        (data / "labels" / "val" / f"{image.stem}.txt").unlink()


def _turn_by_exif(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    """Pixels stay, and a tag says that they lie on their side: the labels were drawn by a tool that ignored it."""
    share = (0.2, 0.4, 0.8)[severity - 1]
    for file in _images(data):
        if rng.uniform() < share:
            picture = Image.open(file).convert("RGB")
            exif = Image.Exif()
            exif[0x0112] = 6
            picture.save(file, quality=92, exif=exif)


def _truncate(_run: Path, data: Path, severity: int, rng: np.random.Generator) -> None:
    share = (0.2, 0.4, 0.7)[severity - 1]
    for file in _images(data):
        if rng.uniform() < share:
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 3])


def _leak_exactly(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    _leak(data, severity, quality=None)


def _leak_recompressed(_run: Path, data: Path, severity: int, _rng: np.random.Generator) -> None:
    _leak(data, severity, quality=70)


def _leak(data: Path, severity: int, *, quality: int | None) -> None:
    """Training images take the place of a share of the validation images, under new names."""
    share = (0.3, 0.5, 0.8)[severity - 1]
    validation, training = _images(data), _images(data, "train")
    for number, image in enumerate(validation[: round(share * len(validation))]):
        source = training[number % len(training)]
        image.unlink()
        (data / "labels" / "val" / f"{image.stem}.txt").unlink()
        target = image.with_name(f"frame_{number:04d}.jpg")
        if quality is None:
            shutil.copy(source, target)
        else:
            cv2.imwrite(str(target), cv2.imread(str(source)), [cv2.IMWRITE_JPEG_QUALITY, quality])
        shutil.copy(data / "labels" / "train" / f"{source.stem}.txt", data / "labels" / "val" / f"{target.stem}.txt")


def _embellish(run: Path, _data: Path, severity: int, _rng: np.random.Generator) -> None:
    """results.csv claims more than the checkpoint gives."""
    more = (0.04, 0.1, 0.25)[severity - 1]
    rewrite_metrics(run, lambda column, value: min(0.995, value + more) if "mAP" in column else value)


def _alter_rows(run: Path, _data: Path, severity: int, rng: np.random.Generator) -> None:
    """Validation losses of some rows, or of all, made nicer by a tenth in results.csv; the checkpoint remembers."""
    share = (0.1, 0.3, 1.0)[severity - 1]
    with (run / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for place in rng.choice(len(rows), size=max(1, round(share * len(rows))), replace=False):
        row = rows[place]
        row.update({column: f"{0.9 * float(row[column]):.5f}" for column in row if column.strip().startswith("val/")})
    with (run / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _break_off(run: Path, _data: Path, severity: int, _rng: np.random.Generator) -> None:
    """A checkpoint whose copy broke off: the end of the file, and with it the index of the archive, is missing."""
    file = run / "weights" / "best.pt"
    content = file.read_bytes()
    file.write_bytes(content[: int((0.98, 0.7, 0.3)[severity - 1] * len(content))])


def rewrite_metrics(run: Path, change: Callable[[str, float], float]) -> None:
    """Write results.csv again with each metric replaced by `change(column, value)`."""
    with (run / "results.csv").open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        for column in row:
            if column.startswith("metrics/"):
                row[column] = f"{change(column, float(row[column])):.5f}"
    with (run / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _shift_confidence(run: Path, _data: Path, severity: int, _rng: np.random.Generator) -> None:
    """The class layers' bias lowered: the ranking of detections stays, and few reach the default threshold."""
    _lower_class_bias(run, (1.5, 2.5, 3.5)[severity - 1])


def _lower_class_bias(run: Path, lower: float) -> None:
    """Of every head: a YOLO26 is audited by its second one, `one2one_cv3`."""

    def change(name: str, tensor: Any) -> Any:
        return tensor - lower if CLASS_BIAS.search(name) else tensor

    edit_checkpoint(run / "weights" / "best.pt", change)


def _kill_channels(run: Path, _data: Path, severity: int, rng: np.random.Generator) -> None:
    """Normalisation layers of the backbone with a share of their channels at zero."""
    share = (0.15, 0.3, 0.5)[severity - 1]

    def change(name: str, tensor: Any) -> Any:
        if ".bn.weight" in name and int(name.split(".")[1]) < 8:
            tensor = tensor.clone()
            tensor[rng.uniform(size=len(tensor)) < share] = 0
        return tensor

    edit_checkpoint(run / "weights" / "best.pt", change)


def _poison(run: Path, _data: Path, severity: int, _rng: np.random.Generator) -> None:
    """NaN in the weights of the last block, the second, or the first layer."""
    weights = run / "weights" / "best.pt"
    blocks: list[str] = []

    def remember(name: str, tensor: Any) -> Any:
        blocks.extend([name] if BLOCK.fullmatch(name) else [])
        return tensor

    def change(name: str, tensor: Any) -> Any:
        if name == (blocks[-1], blocks[1], "model.0.conv.weight")[severity - 1]:
            tensor = tensor.clone()
            tensor.view(-1)[0] = float("nan")
        return tensor

    edit_checkpoint(weights, remember)
    edit_checkpoint(weights, change)


def rewrite_checkpoint_metrics(path: Path, change: Callable[[str, float], float]) -> None:
    """Write the checkpoint again with each metric that it stores replaced by `change(column, value)`.

    Only for checkpoints of this benchmark, which this program trained: they are unpickled.
    """
    import torch  # noqa: PLC0415

    content = torch.load(path, map_location="cpu", weights_only=False)
    stored = content.get("train_metrics") or {}
    content["train_metrics"] = {
        name: change(name, value) if name.startswith("metrics/") else value for name, value in stored.items()
    }
    results = content.get("train_results") or {}
    content["train_results"] = {
        name: [round(change(name, value), 5) for value in column] if name.startswith("metrics/") else column
        for name, column in results.items()
    }
    torch.save(content, path)


def edit_checkpoint(path: Path, change: Callable[[str, Any], Any]) -> None:
    """Write the checkpoint again with each tensor of its network replaced by `change(name, tensor)`.

    Only for checkpoints of this benchmark, which this program trained: they are unpickled.
    """
    import torch  # noqa: PLC0415

    content = torch.load(path, map_location="cpu", weights_only=False)
    for key in ("model", "ema"):
        if content.get(key) is not None:
            tensors = content[key].state_dict()
            content[key].load_state_dict({name: change(name, tensor) for name, tensor in tensors.items()})
    torch.save(content, path)


def _log_out_of_memory(run: Path, _data: Path, severity: int, _rng: np.random.Generator) -> None:
    """A console log in which the GPU's memory did not suffice: batch halved, or the training ended by it."""
    lines = [
        "Ultralytics 8.4.190 Python-3.11.7 torch-2.10.0 CUDA:0 (NVIDIA GeForce GTX 1650, 3904MiB)",
        "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size",
        "       1/40      3.71G      1.312      2.113      1.102         88        160",
    ]
    if severity == 1:
        lines.append("WARNING CUDA out of memory with batch=16. Reducing to batch=8 and retrying (1/3).")
    else:
        lines += [
            "Traceback (most recent call last):",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.20 GiB. GPU 0 has a total capacity of "
            "3.81 GiB of which 312.00 MiB is free.",
        ]
    (run / "train.log").write_text("\n".join(lines) + "\n")
    if severity > 1:
        rows = (run / "results.csv").read_text().splitlines()
        (run / "results.csv").write_text("\n".join(rows[: 1 + (20, 8)[severity - 2]]) + "\n")


FAULTS: Final = (
    Fault("distribution_shift", "dark", _darken),
    Fault("distribution_shift", "blur", _blur),
    Fault("distribution_shift", "washed-out", _wash_out),
    Fault("distribution_shift", "grain", _grain),
    Fault("annotation_errors", "dropped", _drop),
    Fault("annotation_errors", "swapped", _swap),
    Fault("annotation_errors", "misplaced", _misplace),
    Fault("annotation_errors", "loose", _loosen),
    Fault("annotation_errors", "invented", _invent),
    Fault("class_mapping", "permuted", _permute),
    Fault("label_files", "lost", _lose_label_files),
    Fault("label_files", "out-of-bounds", _out_of_bounds, "dropped"),
    Fault("validation_set_too_small", "cut", _few_images, "widens"),
    Fault("image_format", "exif", _turn_by_exif),
    Fault("image_format", "truncated", _truncate, "dropped"),
    Fault("metric_mismatch", "embellished", _embellish, "unreproduced", seen=False),
    Fault("confidence_threshold", "shifted", _shift_confidence, "f1", seen=False),
    Fault("weight_initialization", "dead", _kill_channels, seen=False),
    Fault("numerical_divergence", "nan-weights", _poison, seen=False),
    Fault("hardware_limits", "memory", _log_out_of_memory, "recorded", seen=False),
    Fault("checkpoint_integrity", "altered", _alter_rows, "recorded", seen=False),
    Fault("checkpoint_integrity", "broken-off", _break_off, "recorded", seen=False),
)


def _slightly_darker(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """A difference that training's own hsv_v covers."""
    _change_pixels(data, lambda picture: picture * 0.92)


def _a_little_noise(_run: Path, data: Path, _severity: int, rng: np.random.Generator) -> None:
    """One label in a hundred gone: less than careful annotators leave out."""
    for file in _labels(data):
        _write_rows(file, [row for row in _rows(file) if rng.uniform() >= 0.01])


def _backgrounds(_run: Path, data: Path, _severity: int, rng: np.random.Generator) -> None:
    """Some images without objects, rightly without labels."""
    for number in range(8):
        grey = rng.uniform(60, 190, size=3) + rng.normal(0, 8, size=(120, 160, 3))
        name = f"empty_{number}"
        cv2.imwrite(str(data / "images" / "val" / f"{name}.jpg"), np.clip(grey, 0, 255).astype(np.uint8))
        (data / "labels" / "val" / f"{name}.txt").write_text("")


def _as_png(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """The same pixels in another format."""
    for file in _images(data):
        cv2.imwrite(str(file.with_suffix(".png")), np.asarray(cv2.imread(str(file))))
        file.unlink()


def _twins_within_validation(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """A few validation images twice: not leakage, for training has none of them."""
    for file in _images(data)[:4]:
        shutil.copy(file, file.with_name(f"again_{file.name}"))
        label = data / "labels" / "val" / f"{file.stem}.txt"
        shutil.copy(label, label.with_name(f"again_{label.name}"))


def _half_the_images(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """Fewer images that still suffice."""
    for image in _images(data)[1::2]:
        image.unlink()
        (data / "labels" / "val" / f"{image.stem}.txt").unlink()


def _lopsided_half(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """Half of validation, in which the last two classes are rare, though training had as many of them as of others."""
    of_class = {file: [int(row[0]) for row in _rows(file)] for file in _labels(data)}
    rare = sorted({number for numbers in of_class.values() for number in numbers})[-2:]
    by_rarity = sorted(of_class, key=lambda file: sum(number in rare for number in of_class[file]))
    dropped = {file.stem for file in by_rarity[len(by_rarity) // 2 :]}
    for file in [*_images(data), *_labels(data)]:
        if file.stem in dropped:
            file.unlink()


def _few_dead_channels(run: Path, _data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """One channel of each layer of the deep half at zero, as pruned by training itself."""

    def change(name: str, tensor: Any) -> Any:
        if ".bn.weight" in name and 4 <= int(name.split(".")[1]) < 8 and len(tensor) >= 32:
            tensor = tensor.clone()
            tensor[tensor.abs().argmin()] = 0
        return tensor

    edit_checkpoint(run / "weights" / "best.pt", change)


def _slightly_unsure(run: Path, _data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """The class layers' bias a little lower: the best threshold moves, and the default still serves."""
    _lower_class_bias(run, 0.2)


def _rounded(run: Path, _data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """results.csv with two decimals, as a person who copies a table leaves it."""
    rewrite_metrics(run, lambda _column, value: round(value, 2))


def _moved(run: Path, _data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """args.yaml that names other places and another machine than the checkpoint: the folder was moved."""
    file = run / "args.yaml"
    replaced = {
        "workers": "8",
        "device": "'0'",
        "name": "exp7",
        "project": "runs/detect",
        "save_dir": "runs/detect/exp7",
    }
    lines = [line.split(":", 1) for line in file.read_text().splitlines()]
    file.write_text("".join(f"{key}: {replaced.get(key, value.strip())}\n" for key, value in lines))


def _upright(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """An orientation tag that says that nothing has to be turned."""
    for file in _images(data):
        picture = Image.open(file).convert("RGB")
        exif = Image.Exif()
        exif[0x0112] = 1
        picture.save(file, quality=92, exif=exif)


def _log_of_a_full_card(run: Path, _data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """A console log of a GPU that was nearly full, and sufficed."""
    lines = [
        "Ultralytics 8.4.190 Python-3.11.7 torch-2.10.0 CUDA:0 (NVIDIA RTX A4000, 16376MiB)",
        "AMP: checks passed",
        "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size",
        *(
            f"     {epoch:3d}/40      15.1G      1.312      1.113      1.002         88        128"
            for epoch in (1, 2, 40)
        ),
        "40 epochs completed in 0.031 hours.",
    ]
    (run / "train.log").write_text("\n".join(lines) + "\n")


def _loss_spike(run: Path, _data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """One epoch in the first third with twice the loss, from which the run recovered; the checkpoint records it too."""
    import torch  # noqa: PLC0415

    with (run / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    place = len(rows) // 3
    for column in rows[place]:
        if column.strip().startswith("train/"):
            rows[place][column] = f"{2 * float(rows[place][column]):.5f}"
    with (run / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    weights = run / "weights" / "best.pt"
    content = torch.load(weights, map_location="cpu", weights_only=False)
    for name, recorded in (content.get("train_results") or {}).items():
        if name.startswith("train/") and len(recorded) > place:
            recorded[place] *= 2
    torch.save(content, weights)


def _renamed_synonyms(_run: Path, data: Path, _severity: int, _rng: np.random.Generator) -> None:
    """The same classes under other spellings: capitals and underscores."""
    file = data / "data.yaml"
    lines = [
        f"  {line.split(':')[0].strip()}: {line.split(':')[1].strip().title().replace(' ', '_')}"
        if line[:1] == " "
        else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")


CONTROLS: Final = (
    Fault("", "slightly-darker", _slightly_darker, "nothing"),
    Fault("", "a-little-noise", _a_little_noise, "nothing"),
    Fault("", "backgrounds", _backgrounds, "nothing"),
    Fault("", "png", _as_png, "nothing"),
    Fault("", "twins", _twins_within_validation, "nothing"),
    Fault("", "half", _half_the_images, "nothing"),
    Fault("", "lopsided", _lopsided_half, "nothing"),
    Fault("", "few-dead-channels", _few_dead_channels, "nothing", seen=False),
    Fault("", "slightly-unsure", _slightly_unsure, "nothing", seen=False),
    Fault("", "rounded", _rounded, "nothing", seen=False),
    Fault("", "moved", _moved, "nothing", seen=False),
    Fault("", "upright", _upright, "nothing"),
    Fault("", "full-card", _log_of_a_full_card, "nothing", seen=False),
    Fault("", "loss-spike", _loss_spike, "nothing", seen=False),
    Fault("", "respelt", _renamed_synonyms, "nothing", seen=False),
)
"""healthy runs that look a little like faulty ones; nothing may be found that matters"""
CONFUSABLE: Final[dict[str, tuple[str, ...]]] = {
    "class_imbalance": ("cells", "lopsided"),
    "distribution_shift": ("slightly-darker", "all-dark"),
    "annotation_errors": ("a-little-noise",),
    "data_leakage": ("twins",),
    "class_mapping": ("respelt",),
    "label_files": ("backgrounds",),
    "image_format": ("png", "upright"),
    "validation_set_too_small": ("half",),
    "overfitting": ("few-images",),
    "underfitting": ("traffic", "parcels"),
    "learning_rate": ("short", "loss-spike"),
    "batch_size": ("batch-16",),
    "insufficient_epochs": ("short", "long"),
    "hardware_limits": ("full-card",),
    "numerical_divergence": ("loss-spike",),
    "weight_initialization": ("few-dead-channels",),
    "model_architecture": ("imgsz-160",),
    "augmentation": ("flip-harmless",),
    "confidence_threshold": ("slightly-unsure",),
    "metric_mismatch": ("rounded",),
    "checkpoint_integrity": ("moved",),
}
"""cause -> the controls (or data sets, or clean trainings) that a careless rule would take for it"""
LEAKS: Final = (
    Fault("data_leakage", "exact", _leak_exactly, "inflates"),
    Fault("data_leakage", "recompressed", _leak_recompressed, "inflates"),
)
"""planted in the runs that overfit, where they inflate mAP"""
DOUBLES: Final = (
    ("overfitting", "dark"),
    ("underfitting", "misplaced"),
    ("class_imbalance", "dropped"),
    ("learning_rate-low", "truncated"),
    ("insufficient_epochs-killed", "lost"),
    ("insufficient_epochs", "exif"),
    ("batch_size-large", "cut"),
    ("model_architecture-imgsz", "washed-out"),
    ("weight_initialization-random", "permuted"),
)
"""a fault that is trained and a variant that is planted in its run besides"""
