"""The curve checks on real runs of strangers: false alarms counted, clear cases found. Nothing is tuned on them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import CheckResult
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.runs.facts import RunFacts
from runaudit.runs.run import read_run
from tests.diagnostics import cases

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus"))
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not (CORPUS / "runs").is_dir(), reason="the corpus of real runs is not here"),
]

INTERRUPTED = ["0x90Vold__Plant-Disease-Detection__2", "1enT__CV-practice__1"]
TOO_FEW_EPOCHS = [
    "AbhishekNegi001__helmet-detection__1",
    "Absolute-Tech-for-DualityAi-track__Yolov8x_with-minimum_accuracy__1",
    "Ali4real__AI-based-crop-maintenance-system__1",
    "FishStalkers__yolov5_obb__1",
    "FishStalkers__yolov5_obb__2",
]
"""As INDEX.md reads them with high confidence."""
STILL_IMPROVING = ["1527171__HandRaisingDetector-YOLO12n__1", "duytk123__Test__2"]
"""So are these, of 100 and 50 epochs. What twice as many bring is an extrapolation, whose interval begins near 0; 200
epochs brought the first 0.027 (its second run)."""
NOT_REAL = ["4fthaab__cartify_ai__1", "AJ-C22__CourtVision__1"]


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RunFacts, dict[str, CheckResult]]]:
    scratch = tmp_path_factory.mktemp("weights")
    found = {}
    for folder in sorted((CORPUS / "runs").iterdir()):
        run = read_run(folder, weights_out=scratch / f"{folder.name}.safetensors")
        results = examine_all(cases.curves_only(run))
        found[folder.name] = (run, {result.cause: result for result in results})
    return found


def test_no_overfitting_alarm_above_minor_where_the_map_holds(examined):
    assert not [name for name, (_, results) in examined.items() if results["overfitting"].outcome == "failed"]


def test_no_overfitting_alarm_at_all_where_the_final_map_is_within_two_percent_of_its_best(examined):
    alarms = [
        name
        for name, (run, results) in examined.items()
        if results["overfitting"].outcome == "warned" and _left(run) >= 0.98
    ]
    assert alarms == []


def _best(run: RunFacts) -> float:
    assert run.curves is not None
    return max(cell for cell in run.curves.metrics["map50_95"] if cell is not None)


def _left(run: RunFacts) -> float:
    curves = run.curves
    assert curves is not None
    values = np.asarray([cell for cell in curves.metrics.get("map50_95", ()) if cell is not None])
    return float(values[-1] / values.max()) if values.size and values.max() > 0 else 0.0


@pytest.mark.parametrize("name", INTERRUPTED)
def test_interrupted_runs_are_found(examined, name: str):
    result = examined[name][1]["insufficient_epochs"]
    assert result.outcome == "failed" and "interrupted" in result.reason


@pytest.mark.parametrize("name", TOO_FEW_EPOCHS)
def test_runs_of_too_few_epochs_are_found(examined, name: str):
    assert examined[name][1]["insufficient_epochs"].outcome == "failed"


@pytest.mark.parametrize("name", STILL_IMPROVING)
def test_runs_that_still_improve_are_found_first(examined, name: str):
    results = list(examined[name][1].values())
    first = rank(explain_away(results))[0]
    assert first.cause == "insufficient_epochs" and first.outcome == "warned"


def test_the_projected_gain_holds_what_twice_the_epochs_really_brought(examined):
    """The one run of the corpus that was trained again for twice as long."""
    short, long = (examined[f"1527171__HandRaisingDetector-YOLO12n__{number}"] for number in (1, 2))
    brought = _best(long[0]) - _best(short[0])
    ends = short[1]["insufficient_epochs"].ci95
    assert ends is not None and ends[0] <= brought <= ends[1]


@pytest.mark.parametrize("name", NOT_REAL)
def test_files_that_are_no_run_are_found(examined, name: str):
    assert examined[name][1]["checkpoint_integrity"].outcome == "failed"


def test_a_validation_loss_of_nan_is_no_divergence(examined):
    result = examined["AJ-C22__CourtVision__1"][1]["numerical_divergence"]
    assert result.outcome == "warned"


def test_negative_and_zero_losses_are_no_divergence(examined):
    for name in ("vbalab__YOLO26s-pose-hands__1", "Bryce399__PetWatch---Yolov9__1"):
        assert examined[name][1]["numerical_divergence"].outcome == "passed"


def test_no_real_run_is_said_to_have_diverged(examined):
    """INDEX.md names none that did."""
    alarms = [
        name
        for name, (_, results) in examined.items()
        if "failed" in (results["learning_rate"].outcome, results["numerical_divergence"].outcome)
    ]
    assert alarms == []
