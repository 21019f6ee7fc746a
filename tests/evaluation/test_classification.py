"""Our validation of classifiers against `model.val()` of the installed version, and how folders meet classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runaudit.errors import CheckpointError, DatasetError, InputError
from runaudit.evaluation.classification import align, evaluate_classifier
from runaudit.evaluation.classification_network import rebuild_classifier
from runaudit.evaluation.facts import ClassificationFacts
from runaudit.evaluation.framework import framework
from runaudit.runs.checkpoint import read_checkpoint
from tests.evaluation.classifiers import (
    NAMES,
    classification_run,
    classifier_facts,
    narrow_classifier,
    random_classifier,
    read_tree,
    write_tree,
)
from tests.evaluation.jobs import write_weights
from tests.runs.corpus import CORPUS

IMGSZ = 64
ALL = dict.fromkeys(NAMES, 9)


@pytest.fixture(scope="module")
def network() -> Any:
    return random_classifier()


def measured(
    folder: Path, data: Path, network: Any, names: tuple[str, ...] = NAMES, split: str = "val", **arguments: Any
) -> ClassificationFacts:
    """Our validation, from the files that the ingest child would leave."""
    facts, index = read_tree(data, folder / "labels.safetensors")
    return evaluate_classifier(
        classification_run(classifier_facts(names), **{"imgsz": IMGSZ} | arguments),
        weights=write_weights(network, folder / "weights.safetensors"),
        index=index,
        labels=folder / "labels.safetensors",
        folder_names=facts.names,
        device="cpu",
        split=split,  # type: ignore[arg-type]
    )


def theirs(folder: Path, data: Path, network: Any, names: tuple[str, ...] = NAMES) -> Any:
    """The framework's own validation of the same network, saved as it saves checkpoints."""
    network.names, network.args, network.task = dict(enumerate(names)), {"imgsz": IMGSZ}, "classify"
    best = folder / "best.pt"
    torch.save({"model": network, "epoch": -1, "train_args": {"task": "classify", "imgsz": IMGSZ}}, best)
    return (
        framework()
        .YOLO(best, task="classify")
        .val(data=str(data), imgsz=IMGSZ, device="cpu", plots=False, verbose=False, project=str(folder), name="val")
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"), {"train": dict.fromkeys(NAMES, 1), "val": ALL})


def test_agrees_with_val_of_the_installed_version(network: Any, data: Path, tmp_path: Path) -> None:
    ours = measured(tmp_path, data, network)
    reference = theirs(tmp_path, data, network)
    assert ours.images == 36 and not ours.skipped and ours.left_out == 0
    assert 0.1 < ours.top1 < 0.9, "the comparison means something only if some are right and some are wrong"
    assert (ours.top1, ours.top5) == pytest.approx((reference.top1, reference.top5), abs=1e-6)
    matrix = reference.confusion_matrix.matrix
    assert [entry.correct for entry in ours.per_class] == [int(matrix[i][i]) for i in range(4)]
    assert [entry.predicted for entry in ours.per_class] == [int(matrix[i].sum()) for i in range(4)]
    assert {(pair.labelled, pair.predicted): pair.images for pair in ours.confusions} == {
        (NAMES[true], NAMES[chosen]): int(matrix[chosen][true])
        for chosen in range(4)
        for true in range(4)
        if chosen != true and matrix[chosen][true]
    }
    assert ours.settings["imgsz"] == IMGSZ and ours.aligned == "name" and ours.own_order_top1 is None


def test_folders_that_a_split_lacks_move_no_class(network: Any, tmp_path: Path) -> None:
    data = write_tree(tmp_path / "data", {"train": ALL, "val": dict.fromkeys(NAMES[1:], 8)})
    ours = measured(tmp_path, data, network)
    assert ours.top1 == pytest.approx(theirs(tmp_path, data, network).top1, abs=1e-6)
    assert [entry.images for entry in ours.per_class] == [0, 8, 8, 8]
    assert ours.per_class[0].recall is None
    assert ours.own_order_top1 is not None and ours.own_order_top1 != ours.top1


def test_images_of_folders_that_the_model_lacks_are_left_out(network: Any, tmp_path: Path) -> None:
    data = write_tree(tmp_path / "data", {"train": ALL, "val": ALL | {"amber": 5}})
    ours = measured(tmp_path, data, network)
    assert (ours.images, ours.left_out) == (36, 5)
    assert ours.top1 == pytest.approx(theirs(tmp_path, data, network).top1, abs=1e-6)


def test_names_without_any_in_common_go_by_place(network: Any, data: Path, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    ours = measured(tmp_path, data, network, names)
    assert ours.aligned == "position"
    assert ours.top1 == pytest.approx(theirs(tmp_path, data, network, names).top1, abs=1e-6)
    assert ours.top1 == measured(tmp_path, data, network).top1


def test_align() -> None:
    folders = {0: "cat", 1: "dog", 2: "owl"}
    assert align(folders, {0: "dog", 1: "cat"}).class_of == {0: 1, 1: 0, 2: -1}
    assert align(folders, {0: "x", 1: "y"}).class_of == {0: 0, 1: 1, 2: -1}
    assert align(folders, {0: "item"}, single_cls=True).class_of == {0: 0, 1: 0, 2: 0}
    codes = align({0: "n01440764", 1: "n01443537"}, {0: "goldfish", 1: "tench"})
    assert (codes.class_of, codes.by) == ({0: 1, 1: 0}, "name")


def test_without_images_of_known_classes(network: Any, tmp_path: Path) -> None:
    data = write_tree(tmp_path / "data", {"train": {"blue": 1}, "val": {"amber": 2}})
    with pytest.raises(DatasetError, match="2 images are of folders") as caught:
        measured(tmp_path, data, network)
    assert caught.value.error_code == "no_labelled_validation_images"


def test_images_that_can_not_be_decoded_are_named(network: Any, tmp_path: Path) -> None:
    data = write_tree(tmp_path / "data", {"train": {"blue": 1}, "val": ALL})
    broken = data / "val" / "blue" / "0.jpg"
    header = broken.read_bytes()
    # All tables are there, but the scan has no data: the header can be read, the pixels can't.
    broken.write_bytes(header[: header.index(b"\xff\xda")] + b"\xff\xd9")
    ours = measured(tmp_path, data, network)
    assert ours.images == 35
    assert [note.place for note in ours.skipped] == ["val/blue/0.jpg"]
    assert "can't be decoded" in ours.skipped[0].detail


def test_the_same_inputs_give_the_same_facts(network: Any, data: Path, tmp_path: Path) -> None:
    first, second = (measured(tmp_path, data, network).model_copy(update={"seconds": {}}) for _ in range(2))
    assert first == second
    low, high = first.ci95["top1"]
    assert 0 <= low < first.top1 < high <= 1


def test_imgsz_of_the_run(network: Any, data: Path, tmp_path: Path) -> None:
    assert measured(tmp_path, data, network, imgsz=None).settings["imgsz"] == 224
    with pytest.raises(InputError, match="imgsz is 'large'"):
        measured(tmp_path, data, network, imgsz="large")


def refused(folder: Path, data: Path, network: Any, **changes: Any) -> CheckpointError:
    facts, index = read_tree(data, folder / "labels.safetensors")
    with pytest.raises(CheckpointError) as caught:
        evaluate_classifier(
            classification_run(classifier_facts(**changes)),
            weights=write_weights(network, folder / "weights.safetensors"),
            index=index,
            labels=folder / "labels.safetensors",
            folder_names=facts.names,
            device="cpu",
        )
    return caught.value


def test_outputs_are_counted_in_the_network_and_not_in_its_description(
    network: Any, data: Path, tmp_path: Path
) -> None:
    facts, index = read_tree(data, tmp_path / "labels.safetensors")
    head = [[-1, 1, "Classify", [4]]]
    checkpoint = classifier_facts(model_yaml=narrow_classifier() | {"nc": 7, "head": head})
    ours = evaluate_classifier(
        classification_run(checkpoint, imgsz=IMGSZ),
        weights=write_weights(network, tmp_path / "weights.safetensors"),
        index=index,
        labels=tmp_path / "labels.safetensors",
        folder_names=facts.names,
        device="cpu",
    )
    assert len(ours.per_class) == 4 and ours.top1 == measured(tmp_path, data, network).top1


def test_networks_that_are_not_rebuilt(network: Any, data: Path, tmp_path: Path) -> None:
    foreign = refused(tmp_path, data, network, model_class="models.yolo.ClassificationModel")
    assert foreign.error_code == "architecture_unsupported" and "models.yolo" in foreign.detail
    assert refused(tmp_path, data, network, model_yaml=None).error_code == "architecture_unsupported"
    grey = narrow_classifier() | {"channels": 1}
    assert refused(tmp_path, data, network, model_yaml=grey).error_code == "architecture_unsupported"
    wider = narrow_classifier() | {"nc": 5}
    assert refused(tmp_path, data, network, model_yaml=wider).error_code == "weights_mismatch"
    detector = narrow_classifier() | {"head": [[[0, 1, 2], 1, "Detect", [4]]]}
    assert refused(tmp_path, data, network, model_yaml=detector).error_code == "architecture_unsupported"


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "classes"), [("yolov8n-cls_8.1.6_Kamkus.pt", 37), ("yolov8n-cls_8.3.48_MohammadYusuf.pt", 5)]
)
def test_classifiers_of_older_versions_are_rebuilt(tmp_path: Path, name: str, classes: int) -> None:
    weights = tmp_path / "weights.safetensors"
    checkpoint = read_checkpoint(CORPUS / "checkpoints" / name, source=name, weights_out=weights)
    rebuilt = rebuild_classifier(checkpoint, weights, torch.device("cpu"))
    assert rebuilt.classes == classes == len(checkpoint.names)
    probabilities = rebuilt.module(torch.zeros(2, 3, 224, 224))[0]
    assert probabilities.shape == (2, classes)
    assert torch.allclose(probabilities.sum(1), torch.ones(2))
