"""The benchmarks on a few sample images: that they measure what they say; how fast anything is, is not tested."""
import csv
import itertools
import json
import os
import statistics
import sys

import pytest
import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import levers, precision, scaling, throughput, waiting
from benchmarks.measure import TRAININGS, Counter, Stopwatch, in_fresh_process, train_watched
from common.cli import UserError
from tests.conftest import REPOSITORY, run_here
from tests.simulated_graph import WAIT

CPU = torch.device("cpu")


@pytest.fixture
def rows(monkeypatch, capsys, sample_data):
    """rows(module, word, …): the lines that a benchmark prints of the problems, split at two spaces."""
    def call(module, *words):
        # in this process, because importing torch in another takes longer than these measurements
        if hasattr(module, "in_fresh_process"):
            monkeypatch.setattr(module, "in_fresh_process", lambda work, *arguments: work(*arguments))
        monkeypatch.setattr(sys, "argv", [module.__name__, "--data", str(sample_data), "--device", "cpu", *map(str, words)])
        module.main()
        lines = capsys.readouterr().out.splitlines()
        return [[cell.strip() for cell in line.split("  ") if cell] for line in lines if line.startswith(("p", "hw_p"))]
    return call


def test_throughput_compares_both_loops_of_all_problems(rows):
    found = rows(throughput, "--limit", 6, "--batch-size", 2, "--rounds", 1, "--seconds", 0, "--workers", 0)
    assert [row[0] for row in found] == 2 * list(TRAININGS)
    for _, reference, here, ratio, spread, *_ in found[:4]:
        assert float(ratio) == pytest.approx(float(here) / float(reference), rel=0.15)
        assert spread == f"{ratio} – {ratio}", "of one round"
    assert [row[1] for row in found[4:]] == ["2", "2", "4", "4"], "a step of digits has images of both domains"


def test_scaling_trains_each_part_of_the_data(rows):
    found = rows(scaling, "--problem", "p4", "--preset", "sample", "--limit", 64)
    assert [row[1] for row in found] == ["8", "16", "32", "64"]
    kib = 2 * 3 * 28 * 28 / 1024        # an image of each domain; training and test images alike
    assert [float(row[4]) for row in found] == [pytest.approx(2 * n * kib / 1024, abs=0.5) for n in (8, 16, 32, 64)]


def test_precision_compares_seeds_and_does_not_train_twice(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(precision.SHORT, "p4", ("--preset", "sample", "--source-epochs", 1, "--epochs", 1))
    words = ("--problem", "p4", "--runs", tmp_path / "runs", "--seeds", 2, "--limit", 16)
    (row,) = rows(precision, *words)
    assert row[:2] == ["p4", "target accuracy"] and len(row) == 6
    weights = sorted((tmp_path / "runs").glob("*/weights.pt"))
    assert [path.parent.name for path in weights] == [f"p4_{p}_seed{s}" for p in ("bfloat16", "float32") for s in (0, 1)]
    before = [path.stat().st_mtime_ns for path in weights]
    assert rows(precision, *words) == [row]
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_waiting_times_the_first_batch_and_a_grader(rows):
    start, labels = rows(waiting, "--problem", "p4", "--images", 3)
    # in this process, where all is imported already, the wait itself may round to 0.0
    assert start[0] == "p4" and float(start[1]) < float(start[2]), "waited less than this process has computed since its start"
    assert labels[:2] == ["hw_p4.sh", "shipped"] and float(labels[2]) > 0


def test_a_stopwatch_counts_the_steps_after_its_warm_up():
    watch = Stopwatch(CPU, warm_up=2, seconds=100)
    assert list(watch(range(10))) == list(range(10)) and watch.steps == 8 and watch.taken > 0
    assert len(list((watch := Stopwatch(CPU, warm_up=2, seconds=0))(range(10)))) == 3 and watch.steps == 1


def test_arithmetic_and_traffic_of_a_matrix_product():
    counter = Counter()
    one, other = torch.ones(5, 7), torch.ones(7, 11)
    for _ in counter(["a batch", "another"]):
        one @ other
    assert counter.flops == 2 * 5 * 7 * 11
    assert counter.traffic == 4 * (5 * 7 + 7 * 11 + 5 * 11)


def test_a_fresh_process_is_another_one_and_hands_errors_on():
    assert in_fresh_process(os.getpid) != os.getpid()
    with pytest.raises(ValueError, match="invalid literal"):
        in_fresh_process(int, "x")


class Device(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU in the first two steps: reading a number, sending one."""

    def __call__(self, batches):
        with self:
            yield from itertools.islice(batches, 2)

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        assert operation.name() not in WAIT
        return operation(*arguments, **(options or {}))


@pytest.mark.parametrize("problem", TRAININGS)
@pytest.mark.parametrize("preset", ["report", "tuned"])
def test_a_step_never_waits_for_the_device(problem, preset, sample_data, monkeypatch):
    monkeypatch.setattr(AveragedModel, "update_parameters", lambda *_: None)        # of the first step alone
    short = {"p3": ("--steps-per-epoch", 2), "p4": ("--steps-per-epoch", 2, "--source-epochs", 1)}.get(problem, ())
    train_watched(problem, Device(), "--data", sample_data, "--limit", 8, "--batch-size", 4, "--preset", preset, *short)


SHORT = "--preset sample --limit 60 --source-epochs 1 --epochs"


@pytest.mark.parametrize("study", levers.STUDIES)
def test_levers_trains_each_line_and_makes_its_table(study, sample_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(levers, "run_jobs", run_here)
    module, short = ("p3_dann.train", f"--mode dann {SHORT} 2") if "dann" in study else ("p4_adda.train", f"{SHORT} 1")
    lines = (levers.Line("nothing: all", "all", short, module=module),
             levers.Line("pseudo-labels", "pseudo-weight_0", f"{short} --pseudo-weight 0", levers.OF_GRAY, module))
    monkeypatch.setitem(levers.STUDIES, study, levers.STUDIES[study]._replace(lines=lines))
    words = ["levers", study, "--data", sample_data, "--runs", tmp_path / "runs", "--out", tmp_path / "out.csv", "--seeds", 2]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    levers.main()

    def accuracies(name, key="target_accuracy"):
        files = [tmp_path / f"runs/{name}_seed{seed}/summary.json" for seed in (0, 1)]
        return [100 * json.loads(file.read_text())[key] for file in files]

    def change(less, more):
        return f"({statistics.mean(more) - statistics.mean(less):+.1f})"
    both, less = accuracies("usps-mnistm_all"), accuracies("usps-mnistm_pseudo-weight_0")
    both_is, less_is = (f"{statistics.mean(each):.1f} ± {statistics.stdev(each):.1f}" for each in (both, less))
    header, _, first, second = capsys.readouterr().out.splitlines()[-4:]
    if "levers" in study:
        assert header == f"| {'DANN' if 'dann' in study else 'ADDA'} without | USPS → MNIST-M | MNIST-M → SVHN | SVHN → USPS |"
        assert first.startswith(f"| nothing: all | {both_is} | ")
        assert second == f"| pseudo-labels | {less_is} {change(both, less)} | – | – |"
    else:
        before = accuracies("usps-mnistm_pseudo-weight_0", "source_only_accuracy")
        assert header == "| the adversary alone | USPS → MNIST-M | MNIST-M → SVHN | SVHN → USPS |"
        assert second == f"| pseudo-labels | {statistics.mean(before):.1f} → {less_is} {change(before, less)} | – | – |"
    with open(tmp_path / "out.csv", newline="") as file:
        rows = {row["command"]: row for row in csv.DictReader(file)}
    assert len(rows) == 4 and {row["seeds"] for row in rows.values()} == {"2"}
    command = levers.command_of(lines[0], "usps", "mnistm")
    assert 100 * float(rows[command]["mean"]) == pytest.approx(statistics.mean(both), abs=1e-2)
    with pytest.raises(UserError, match=f"no finished run of {command}"):
        levers.markdown(study, [row for row in rows.values() if row["command"] != command])


@pytest.mark.parametrize("study", levers.STUDIES)
def test_the_page_on_adaptation_has_the_studies_tables(study):
    with open(REPOSITORY / "docs" / f"{study}.csv", newline="") as file:
        table = levers.markdown(study, list(csv.DictReader(file)))
    page = (REPOSITORY / "docs" / "adaptation.md").read_text(encoding="utf-8")
    assert "\n".join(table) in page
