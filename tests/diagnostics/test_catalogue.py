"""The registry: every cause, every time, and no evidence that makes a check raise."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runaudit.causes import CAUSES
from runaudit.diagnostics.catalogue import CHECKS, examine_all
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.facts import (
    BoxCensus,
    Configuration,
    Curves,
    DatasetFacts,
    ImageCensus,
    LogScan,
    RunFacts,
    WeightFacts,
)
from tests.diagnostics import cases


def test_every_cause_has_one_check_in_the_order_of_the_causes():
    assert tuple(check.cause for check in CHECKS) == CAUSES


def test_a_healthy_run_passes_every_check_that_there_is():
    results = examine_all(cases.healthy())
    assert {result.cause: result.reason for result in results if result.outcome != "passed"} == {}


def test_nothing_passes_without_evidence():
    results = examine_all(cases.without_everything())
    assert {result.outcome for result in results} <= {"not_run", "inconclusive"}
    reasons = {result.cause: result.reason for result in results}
    assert reasons["overfitting"] == cases.ABSENT["curves"]
    assert reasons["metric_mismatch"] == cases.ABSENT["evaluation"]
    assert reasons["class_imbalance"] == cases.ABSENT["dataset"]
    assert reasons["checkpoint_integrity"] == cases.ABSENT["checkpoint"]


cells = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=0, max_value=1),
    st.just(0.0),
)
arguments = st.dictionaries(
    st.sampled_from(
        [
            "lr0",
            "lrf",
            "optimizer",
            "warmup_epochs",
            "close_mosaic",
            "batch",
            "nbs",
            "cos_lr",
            "imgsz",
            "single_cls",
            "adam",
            "model",
            "pretrained",
            "resume",
            "weights",
            "cfg",
            "batch_size",
            "device",
            "amp",
            "fraction",
            "sync_bn",
            "max_det",
            "anchor_t",
            "fliplr",
            "flipud",
            "degrees",
            "hsv_h",
            "mosaic",
            "scale",
            "perspective",
        ]
    ),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 10**30),
        st.floats(),
        st.sampled_from(["auto", "SGD", "AdamW", "nonsense", "1e-3", "", "nan", "yolo11n.pt", "yolov5s.yaml", "0,1"]),
        st.lists(st.integers(), max_size=2),
    ),
)


@st.composite
def curves(draw: st.DrawFn) -> Curves:
    size = draw(st.integers(0, 40))
    column = st.lists(cells, min_size=size, max_size=size).map(tuple)
    ascending = tuple(range(1, size + 1))
    anything = st.lists(st.integers(-3, 10**20), min_size=size, max_size=size).map(tuple)
    return Curves(
        source="results.csv",
        lines=tuple(range(2, size + 2)),
        epochs=draw(st.one_of(st.just(ascending), anything)),
        train_losses=draw(st.dictionaries(st.sampled_from(["box", "cls", "rle"]), column)),
        val_losses=draw(st.dictionaries(st.sampled_from(["box", "cls", "dfl"]), column)),
        metrics=draw(st.dictionaries(st.sampled_from(["map50", "map50_95", "top1", "recall"]), column)),
        learning_rates=draw(st.dictionaries(st.sampled_from(["pg0", "pg1"]), column)),
        seconds=draw(st.one_of(st.none(), column)),
    )


class_names = st.dictionaries(
    st.integers(0, 9), st.sampled_from(["cat", "Cat", "dog", "0", "class1", "", "left", "right", "b", "d"]), max_size=8
)
counts = st.integers(0, 10**6)


@st.composite
def weights(draw: st.DrawFn) -> WeightFacts:
    layers = draw(st.integers(0, 60))
    channels = draw(st.integers(layers, 6000))
    return WeightFacts(
        batch_norms=layers,
        channels=channels,
        dead_channels=draw(st.integers(0, channels)),
        untouched_batch_norms=draw(st.integers(0, layers)),
        initial_batch_norms=draw(st.integers(0, layers)),
        constant_count=draw(st.integers(0, 3)),
        class_bias=draw(st.sampled_from([(), ((-9.0, -9.0),), ((-9.0, -9.0), (-8.0, 1e30), (0.0, 0.0))])),
    )


@st.composite
def censuses(draw: st.DrawFn) -> ImageCensus:
    return ImageCensus(
        images=draw(counts),
        formats=draw(st.dictionaries(st.sampled_from(["JPEG", "PNG"]), counts)),
        channels=draw(st.dictionaries(st.sampled_from(["grey", "colour", "cmyk"]), counts)),
        bits=draw(st.dictionaries(st.sampled_from([1, 8, 16]), counts)),
        orientations=draw(st.dictionaries(st.integers(1, 8), counts)),
        unfinished=draw(counts),
    )


@st.composite
def box_censuses(draw: st.DrawFn) -> BoxCensus:
    side = st.floats(0, 700)
    return cases.boxes(
        draw(st.lists(st.tuples(side, side), min_size=1, max_size=3)),
        repeat=draw(st.integers(0, 40)),
        crowd=draw(st.lists(st.integers(0, 400), max_size=2)),
    )


logs = st.builds(
    lambda events, gpu, memory, peak, batch, images: cases.log(
        *events, gpu=gpu, memory_mib=memory, peak_memory_gb=peak, batch=batch, scans=images
    ),
    st.lists(
        st.tuples(
            st.sampled_from(["out_of_memory", "cuda_error", "batch_reduced", "nan_recovery", "process_ended"]),
            st.sampled_from(["CUDA out of memory", "Killed", "KeyboardInterrupt", "DataLoader worker"]),
        ),
        max_size=3,
    ),
    st.sampled_from(["Tesla T4", "GeForce GTX 1660 Ti", ""]),
    st.one_of(st.none(), st.integers(0, 10**6)),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.integers(-1, 10**30)),
    st.sampled_from([(), (LogScan(split="train", found=0, place="train.log:3"),)]),
)


@st.composite
def runs(draw: st.DrawFn) -> RunFacts:
    found = draw(st.one_of(st.none(), curves()))
    size = len(found.epochs) if found is not None else 0
    values = draw(arguments)
    return RunFacts(
        folder="",
        framework=draw(st.sampled_from(["yolov5", "yolov9", "ultralytics"])),
        task=draw(st.sampled_from(["detect", "classify", "pose"])),
        curves=found,
        configuration=Configuration(sources=("args.yaml",), values=values, places={}),
        checkpoint=draw(
            st.one_of(
                st.none(),
                st.just(cases.checkpoint()),
                st.just(cases.checkpoint(epoch=3, optimizer_present=True, updates=12)),
                st.just(cases.checkpoint(foreign_globals=("posix.system",))),
                st.just(cases.checkpoint(anchors=(((10.0, 13.0), (1e9, 1e-9)),), parameters=10**12)),
                st.builds(
                    lambda rows: cases.checkpoint(train_results={"epoch": tuple(rows), "train/box_loss": tuple(rows)}),
                    st.lists(cells, max_size=5),
                ),
                st.builds(
                    lambda names, health, metrics, outputs, stride: cases.checkpoint(
                        names=names,
                        weight_health=health,
                        train_metrics={"metrics/mAP50-95(B)": metrics, "metrics/mAP50(B)": metrics},
                        model_yaml={"nc": outputs},
                        stride=stride,
                    ),
                    class_names,
                    weights(),
                    st.floats(),
                    st.one_of(st.none(), st.integers(-1, 10)),
                    st.lists(st.floats(), max_size=3).map(tuple),
                ),
            )
        ),
        epochs_planned=draw(st.one_of(st.none(), st.integers(0, 500))),
        epochs_run=size,
        best_epoch=None,
        best_row=draw(st.one_of(st.none(), st.integers(0, size))),
        log=draw(st.one_of(st.none(), logs)),
        status=draw(st.sampled_from(["finished", "early_stopped", "interrupted", "resumed", "inconsistent"])),
    )


@st.composite
def datasets(draw: st.DrawFn) -> DatasetFacts:
    classes = draw(st.integers(0, 8))
    instances = st.lists(st.integers(0, 5000), min_size=classes, max_size=classes).map(tuple)
    splits = {}
    for name in draw(st.lists(st.sampled_from(["train", "val", "test"]), unique=True)):
        images = draw(st.integers(0, 10_000))
        missing = draw(st.integers(0, images))
        splits[name] = cases.split(
            draw(instances),
            images=images,
            labelled=draw(st.integers(0, images)),
            background=images,
            missing_labels=missing,
            stray_labels=draw(st.integers(0, missing)),
            stray_folders=draw(st.sampled_from([(), ("a/*.txt",)])),
            rejected_by=draw(st.dictionaries(st.sampled_from(["label_mixed", "image_unreadable", "other"]), counts)),
            label_ids=draw(st.dictionaries(st.integers(0, 12), st.integers(1, 5000))),
            zero_area_rows=draw(st.integers(0, 100)),
            image_census=draw(st.one_of(st.none(), censuses())),
            box_census=draw(st.one_of(st.none(), box_censuses())),
        )
    flips = draw(st.sampled_from([None, (0, 2, 1), (1, 2, 0), (7, -3)]))
    return DatasetFacts(source="data.yaml", names=draw(class_names), splits=splits, flip_index=flips)


@st.composite
def evaluations(draw: st.DrawFn) -> EvaluationFacts:
    classes = draw(st.integers(1, 8))
    instances = tuple(draw(st.lists(st.integers(0, 500), min_size=classes, max_size=classes)))
    values = tuple(draw(st.lists(st.floats(0, 1), min_size=classes, max_size=classes)))
    return cases.evaluation(
        draw(st.floats(0, 1)),
        half_width=draw(st.floats(0, 0.5)),
        instances=instances,
        class_map=values,
        class_half_width=draw(st.floats(0, 0.3)),
        **draw(st.sampled_from([{}, {"ci95": {}}, {"split": "test"}])),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    run=runs(),
    dataset=st.one_of(st.none(), datasets()),
    evaluation=st.one_of(st.none(), evaluations()),
)
def test_no_evidence_makes_a_check_raise(
    run: RunFacts, dataset: DatasetFacts | None, evaluation: EvaluationFacts | None
) -> None:
    results = examine_all(Evidence(run, dataset=dataset, evaluation=evaluation))
    assert tuple(result.cause for result in results) == CAUSES
    assert results == examine_all(Evidence(run, dataset=dataset, evaluation=evaluation))
    ranked = rank(explain_away(results))
    assert len(ranked) == sum(result.finding is not None for result in results)
    for result in results:
        assert result.reason
        assert result.effect is None or math.isfinite(result.effect)
        impact = result.finding.impact if result.finding is not None else None
        if impact is not None and impact.value is not None and impact.ci95 is not None:
            assert 0 <= impact.ci95[0] <= impact.value <= impact.ci95[1] <= 1
