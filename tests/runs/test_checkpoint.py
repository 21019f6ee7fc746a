"""Honest checkpoints: facts as stored, tensors bit by bit as torch gives them."""

from __future__ import annotations

import collections
import hashlib
import pathlib
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.model_yaml import checked_model_yaml
from tests.hostile.pickles import Call, Name, New, checkpoint, checkpoint_zip, network, pickled, weight
from tests.runs.corpus import CORPUS

torch = pytest.importorskip("torch")
tasks = pytest.importorskip("ultralytics.nn.tasks")
safetensors_torch = pytest.importorskip("safetensors.torch")

MODELS = {
    "yolov8n.yaml": 3,
    "yolo11n.yaml": 1,
    "yolo26n.yaml": 2,
    "yolov10n.yaml": 2,
    "yolov9t.yaml": 2,
    "yolov5n.yaml": 4,
}


def _narrow(cfg: str, classes: int) -> Any:
    """A detector of the given family, an eighth as wide as its nano size so that tests stay fast."""
    description = tasks.yaml_model_load(cfg)
    for scale in description.get("scales", {}).values():
        scale[1] = 0.125
    torch.manual_seed(1)
    model = tasks.DetectionModel(description, ch=3, nc=classes, verbose=False)
    model.names = {number: f"class {number}" for number in range(classes)}
    model.args = {"task": "detect", "imgsz": 64}
    model.task = "detect"
    return model


def _stripped(model: Any) -> dict[str, Any]:
    """What ultralytics' strip_optimizer leaves (utils/torch_utils.py, 8.4)."""
    model.half()
    for parameter in model.parameters():
        parameter.requires_grad = False
    return {
        **{"date": "2026-11-24T08:00:00", "version": "8.4.190", "license": "AGPL-3.0", "docs": "x", "epoch": -1},
        **{"best_fitness": None, "model": model, "ema": None, "updates": None, "optimizer": None, "scaler": None},
        "train_args": {"task": "detect", "imgsz": 64, "lr0": 0.01, "freeze": None, "classes": [0, 1]},
        "train_metrics": {"metrics/mAP50(B)": 0.5, "fitness": np.float64(0.25)},
        "train_results": {"epoch": [1, 2], "time": [1.5, 3.0], "train/box_loss": [float("nan"), 1.0]},
    }


def _read(path: Path) -> CheckpointFacts:
    return read_checkpoint(path, source=path.name, weights_out=path.with_suffix(".safetensors"))


def _assert_identical(path: Path, expected: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = safetensors_torch.load_file(path)
    assert set(loaded) == set(expected)
    for name, value in expected.items():
        assert loaded[name].dtype == value.dtype and loaded[name].shape == value.shape
        contiguous = value.detach().contiguous().reshape(-1)
        assert torch.equal(loaded[name].reshape(-1).view(torch.uint8), contiguous.view(torch.uint8)), name
    return loaded


@pytest.mark.parametrize(("cfg", "classes"), MODELS.items())
def test_stripped_detector_is_read_bit_by_bit(cfg: str, classes: int, tmp_path: Path) -> None:
    model = _narrow(cfg, classes)
    path = tmp_path / "best.pt"
    torch.save(_stripped(model), path)
    facts = _read(path)
    assert facts.problem is None and facts.foreign_globals == ()
    assert (facts.framework, facts.task, facts.version) == ("ultralytics", "detect", "8.4.190")
    assert facts.model_class == "ultralytics.nn.tasks.DetectionModel"
    assert facts.names == model.names
    assert facts.stride == tuple(model.stride.tolist())
    assert facts.finished and facts.epoch == -1 and facts.updates is None and facts.best_fitness is None
    assert facts.train_args == {"task": "detect", "imgsz": 64, "lr0": 0.01, "freeze": None, "classes": [0, 1]}
    assert facts.train_metrics == {"metrics/mAP50(B)": 0.5, "fitness": 0.25}
    assert facts.train_results["epoch"] == (1.0, 2.0)
    assert np.isnan(facts.train_results["train/box_loss"][0])
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and facts.size == path.stat().st_size
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert facts.tensors == len(model.state_dict()) and facts.nonfinite_tensors == ()
    assert facts.weights == "best.safetensors"
    loaded = _assert_identical(path.with_suffix(".safetensors"), model.state_dict())
    assert facts.model_yaml is not None
    fresh = tasks.DetectionModel(checked_model_yaml(facts.model_yaml), ch=3, nc=classes, verbose=False)
    fresh.half().load_state_dict(loaded, strict=True)


@pytest.mark.parametrize(("cfg", "classes"), MODELS.items())
def test_a_new_network_shows_as_new_and_one_forward_pass_of_training_shows_in_its_statistics(
    cfg: str, classes: int, tmp_path: Path
) -> None:
    model = _narrow(cfg, classes)
    torch.save(_stripped(model), tmp_path / "new.pt")
    health = _read(tmp_path / "new.pt").weight_health
    assert health is not None and health.batch_norms > 40
    assert health.untouched_batch_norms == health.initial_batch_norms == health.batch_norms
    assert (health.dead_channels, health.constant_count) == (0, 0)
    prior = [float(np.log(5 / classes / (640 / stride) ** 2)) for stride in (8, 16, 32)]
    np.testing.assert_allclose([low for low, _ in health.class_bias], prior, atol=0.005)  # half precision
    model.float().train()
    with torch.no_grad():
        model(torch.rand(2, 3, 64, 64))
    torch.save(_stripped(model), tmp_path / "seen.pt")
    seen = _read(tmp_path / "seen.pt").weight_health
    assert seen is not None and seen.untouched_batch_norms == 0 and seen.initial_batch_norms == seen.batch_norms


def test_unstripped_checkpoint_gives_the_ema(tmp_path: Path) -> None:
    """As the trainer writes last.pt: an EMA, an optimizer with tensors of its own, numpy scalars."""
    model, ema = _narrow("yolov8n.yaml", 2), _narrow("yolov8n.yaml", 2)
    with torch.no_grad():
        for parameter in ema.parameters():
            parameter.mul_(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    path = tmp_path / "last.pt"
    torch.save(
        {
            **{"epoch": 7, "best_fitness": np.float64(0.125), "model": None, "ema": ema, "updates": 321},
            **{"optimizer": optimizer.state_dict(), "train_args": {"task": "detect"}, "version": "8.3.40"},
        },
        path,
    )
    facts = _read(path)
    assert facts.problem is None
    assert (facts.epoch, facts.best_fitness, facts.updates, facts.optimizer_present) == (7, 0.125, 321, True)
    assert not facts.finished
    _assert_identical(path.with_suffix(".safetensors"), ema.state_dict())


def test_tensors_of_every_layout_and_type(tmp_path: Path) -> None:
    """channels_last weights, shared storages, offsets, scalars, empty tensors, bfloat16, and NaN by name."""
    convolution = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    model = torch.nn.Sequential(collections.OrderedDict(a=convolution, b=torch.nn.BatchNorm2d(4)))
    base = torch.arange(24, dtype=torch.float64)
    for name, tensor in {
        **{"double": base[2:8], "strided": base[::3], "turned": base.reshape(4, 6).t(), "empty": torch.zeros(0, 3)},
        **{"brain": torch.randn(5).bfloat16(), "bits": torch.tensor([True, False]), "small": torch.arange(3).char()},
        **{"short": torch.arange(3).short(), "int": torch.arange(3).int(), "byte": torch.arange(3).byte()},
        **{"bad": torch.tensor([1.0, float("nan")]), "bad_brain": torch.tensor([float("inf")]).bfloat16()},
    }.items():
        model.register_buffer(f"{name}_", tensor)
    model.register_buffer("hidden", torch.ones(2), persistent=False)
    model.register_buffer("absent", None)
    path = tmp_path / "any.pt"
    torch.save({"model": model}, path)
    facts = _read(path)
    assert facts.problem is None
    assert set(facts.nonfinite_tensors) == {"bad_", "bad_brain_"}
    _assert_identical(path.with_suffix(".safetensors"), model.state_dict())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(protocol: int, tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    path = tmp_path / "any.pt"
    torch.save({"model": model}, path, pickle_protocol=protocol)
    assert _read(path).problem is None
    _assert_identical(path.with_suffix(".safetensors"), model.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_format_before_torch_1_6(tmp_path: Path) -> None:
    model = _narrow("yolov8n.yaml", 2)
    path = tmp_path / "old.pt"
    torch.save(_stripped(model), path, _use_new_zipfile_serialization=False)
    facts = _read(path)
    assert facts.problem is None and facts.framework == "ultralytics"
    _assert_identical(path.with_suffix(".safetensors"), model.state_dict())


def _legacy_yolov5(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network whose classes live in modules named as YOLOv5's, which are gone when it is read."""
    package, yolo = types.ModuleType("models"), types.ModuleType("models.yolo")
    cls = type("DetectionModel", (torch.nn.Module,), {"__module__": "models.yolo"})
    yolo.DetectionModel = cls  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models", package)
    monkeypatch.setitem(sys.modules, "models.yolo", yolo)
    model = cls()
    model.add_module("model", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Module()))
    model.model[1].register_buffer("anchors", torch.arange(12.0).reshape(2, 3, 2))
    model.yaml = {"nc": 2, "anchors": [[10, 13]], "backbone": [], "head": []}
    model.names = ["cat", "dog"]
    model.stride = torch.tensor([8.0, 16.0])
    return model


def test_legacy_yolov5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _legacy_yolov5(monkeypatch)
    path = tmp_path / "best.pt"
    options = {"weights": "yolov5n.pt", "save_dir": pathlib.PurePosixPath("runs/train/exp"), "epochs": 100}
    torch.save(
        {
            **{"epoch": 4, "best_fitness": np.array([0.5]), "model": model.half(), "ema": None, "updates": 9},
            **{"optimizer": None, "opt": options, "git": {"commit": "x"}, "date": "2024-07-27"},
        },
        path,
    )
    monkeypatch.undo()
    facts = _read(path)
    assert facts.problem is None
    assert (facts.framework, facts.task, facts.version, facts.date) == ("yolov5", "detect", None, "2024-07-27")
    assert facts.names == {0: "cat", 1: "dog"} and facts.stride == (8.0, 16.0)
    assert facts.train_args["save_dir"] == "runs/train/exp" and facts.train_args["epochs"] == 100
    assert facts.best_fitness == 0.5
    loaded = _assert_identical(path.with_suffix(".safetensors"), model.state_dict())
    assert "model.1.anchors" in loaded


def test_namespaces_paths_dill_and_getattr() -> None:
    """What older versions and their forks leave in a checkpoint, read through to plain data."""
    namespace = New(Name("ultralytics.yolo.utils", "IterableSimpleNamespace"), {"imgsz": 640, "data": "a.yaml"})
    windows = Call(Name("pathlib", "WindowsPath"), ("C:\\", "runs", "exp"))
    dill_set = Call(Call(Name("dill._dill", "_load_type"), ("set",)), (["buffer"],))
    forward = Call(Name("builtins", "getattr"), (Name("ultralytics.nn.modules", "Detect"), "forward"))
    values = checkpoint(
        network(weight(), _non_persistent_buffers_set=dill_set, forward=forward),
        train_args=namespace,
        opt={"p": windows},
    )
    facts = _read_bytes(checkpoint_zip(pickled(values)))
    assert facts.problem is None and facts.foreign_globals == ()
    assert facts.train_args == {"imgsz": 640, "data": "a.yaml"}
    options = _read_bytes(checkpoint_zip(pickled({**values, "train_args": None})))
    assert options.train_args == {"p": "C:\\/runs/exp"}
    spaced = New(Name("argparse", "Namespace"), {"epochs": 3})
    assert _read_bytes(checkpoint_zip(pickled({**values, "train_args": spaced}))).train_args == {"epochs": 3}


def _read_bytes(content: bytes) -> CheckpointFacts:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.pt"
        path.write_bytes(content)
        return _read(path)


def test_a_nano_detector_is_parsed_in_a_fifth_of_a_second(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save(_stripped(tasks.DetectionModel("yolov8n.yaml", verbose=False)), path)
    _read(path)

    def seconds() -> float:
        start = time.process_time()
        _read(path)
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.2


@pytest.mark.corpus
@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*.pt")), ids=lambda path: str(path.relative_to(CORPUS)))
def test_corpus_checkpoint(path: Path, tmp_path: Path) -> None:
    facts = read_checkpoint(path, source=path.name, weights_out=tmp_path / "weights.safetensors")
    if "TRUNCATED" in path.name:
        assert facts.problem is not None and facts.problem.code == "checkpoint_truncated"
        return
    assert facts.problem is None and facts.foreign_globals == ()
    assert facts.framework == ("ultralytics" if facts.version else "yolov5")
    assert facts.finished and facts.names and facts.stride and facts.model_yaml and facts.nonfinite_tensors == ()
    loaded = safetensors_torch.load_file(tmp_path / "weights.safetensors")
    assert len(loaded) == facts.tensors > 100
    if facts.framework == "yolov5":
        assert any(name.endswith(".anchors") for name in loaded)
        return
    classes = {"classify": tasks.ClassificationModel, "detect": tasks.DetectionModel}
    assert facts.task in classes
    fresh = classes[facts.task](checked_model_yaml(facts.model_yaml), ch=3, nc=len(facts.names), verbose=False)
    fresh.half().load_state_dict(loaded, strict=True)
