"""args.yaml, or opt.yaml with hyp.yaml, as one set of values with places."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.errors import YamlError
from runaudit.runs.configuration import read_configuration


def test_args_yaml_is_read_with_the_line_of_each_key(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("task: detect\nepochs: 3\nfreeze: null\nsave_dir: C:\\runs\\train\n")
    configuration = read_configuration(tmp_path)
    assert configuration is not None
    assert configuration.sources == ("args.yaml",)
    assert configuration.values == {"task": "detect", "epochs": 3, "freeze": None, "save_dir": "C:\\runs\\train"}
    assert configuration.places["epochs"] == "args.yaml:2"


def test_opt_and_hyp_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "opt.yaml").write_text("weights: yolov5n.pt\nhyp:\n  lr0: 0.01\n  extra: 1\nepochs: 5\n")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\nbox: 0.05\n")
    configuration = read_configuration(tmp_path)
    assert configuration is not None
    assert configuration.sources == ("opt.yaml", "hyp.yaml")
    assert configuration.values == {"weights": "yolov5n.pt", "epochs": 5, "lr0": 0.01, "box": 0.05, "extra": 1}
    assert configuration.places["epochs"] == "opt.yaml:5"
    assert configuration.places["lr0"] == "hyp.yaml:1"
    assert configuration.places["extra"] == "opt.yaml:4"


def test_opt_may_name_its_hyperparameter_file_or_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "opt.yaml").write_text("hyp: data/hyps/hyp.yaml\nepochs: 5\n")
    configuration = read_configuration(tmp_path)
    assert configuration is not None
    assert configuration.values == {"hyp": "data/hyps/hyp.yaml", "epochs": 5}
    (tmp_path / "opt.yaml").write_text("hyp: {lr0: 0.02}\nepochs: 5\n")
    configuration = read_configuration(tmp_path)
    assert configuration is not None
    assert configuration.values["lr0"] == 0.02


def test_a_folder_without_configuration_gives_none(tmp_path: Path) -> None:
    assert read_configuration(tmp_path) is None


def test_python_objects_in_args_yaml_are_refused_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("task: detect\nmodel: !!python/object/apply:os.system ['touch x']\n")
    with pytest.raises(YamlError) as caught:
        read_configuration(tmp_path)
    assert (caught.value.error_code, caught.value.place) == ("yaml_tag", "args.yaml:2")
