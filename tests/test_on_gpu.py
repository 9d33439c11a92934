"""benchmarks/on_gpu.sh without a GPU: that its parts find something out, that nothing found is lost, what the tables say."""
import csv
import importlib
import json
import os
import shlex
import sys
import zipfile
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from benchmarks import gpu_parts, measure, on_gpu
from benchmarks.gpu_parts import FEW, KINDS, MARK, Place, kind_of, make_random_data
from benchmarks.on_gpu import Results, run_part, tables
from benchmarks.pack import pack, unpack
from common import cli
from common.cli import UserError
from common.data.layout import SPLITS, digest, load_digits, load_faces
from common.runs.plan import RUNS

CPU = torch.device("cpu")


# ---- the parts -------------------------------------------------------------------------------------------------------

@pytest.fixture
def place(tmp_path, sample_data, monkeypatch):
    """A Place on the CPU with the sample data, where trainings that would be processes run in this one."""
    def run_jobs(jobs, at_once):
        for _, (_, _, module, *words), *_ in jobs:
            with mock.patch.object(sys, "argv", [module, *words]), mock.patch.object(cli, "_quiet", False):
                importlib.import_module(module).main()
        return []
    monkeypatch.setattr(gpu_parts, "run_jobs", run_jobs)
    monkeypatch.setattr(Place, "official", lambda place: sample_data)
    monkeypatch.setattr(Place, "real", lambda place: sample_data)
    return Place(tmp_path, CPU)


@pytest.fixture
def told(capsys):
    """told(items): what is known of each of the items after they were run, by name."""
    def call(items, done=()):
        capsys.readouterr()
        gpu_parts.run_items(items, done)
        lines = [line.removeprefix(MARK) for line in capsys.readouterr().out.splitlines() if line.startswith(MARK)]
        return {found.pop("item"): found for found in map(json.loads, lines)}
    return call


def test_full_size_times_each_epoch_of_a_kind_and_two_at_once(place, told):
    found = told((name, work) for name, work in gpu_parts.full_size(place) if name in ("p4:usps-mnistm", "4 at once p4"))
    alone, beside = found["p4:usps-mnistm"]["result"], found["4 at once p4"]["result"]
    assert len(alone["epochs"]) == 4, "two of the source, two of both domains"
    assert alone["seconds"] > sum(alone["epochs"])
    assert beside["count"] == len(beside["beside"]) == 2


def test_real_data_tells_each_run(place, told):
    found = told(gpu_parts.real_data(place))
    assert list(found) == ["p4:usps-mnistm alone", "run tuned_p4_usps-mnistm_seed0", "side by side",
                           "run tuned_p3_usps-mnistm_dann_seed0"]
    result = found["run tuned_p3_usps-mnistm_dann_seed0"]["result"]
    line = on_gpu.table_of_real({"run dann": result})[1].splitlines()[-1]
    assert line.split()[1:3] == [f"{100 * result[name]:.2f}" for name in ("target_accuracy", "source_accuracy")]
    assert told(gpu_parts.real_data(place), done=("p4:usps-mnistm alone", "side by side")) == {}


def test_real_runs_are_three_seeds_of_the_tables_commands(place):
    jobs = [gpu_parts.real_job(place, *run) for run in gpu_parts.real_runs()]
    assert len({job.name for job in jobs}) == len(jobs)
    seeds = {}
    for _, (_, _, module, *words), *_ in jobs:
        i = words.index("--seed")
        seeds.setdefault(shlex.join(["python3", "-m", module, *words[:i]]), []).append(words[i + 1])
    with open(gpu_parts.REPOSITORY / "docs" / "adaptation.csv", newline="") as file:
        rows = {row["command"]: row for row in csv.DictReader(file)}
    tuned = [command for command in rows if command.endswith("--preset tuned")]
    assert len(tuned) == 12
    for command in (*tuned, next(command for command in rows if "usps --preset tuned --adversarial-weight 0" in command)):
        assert seeds[command] == ["0", "1", "2"]


def test_real_data_is_that_in_the_course_layout_or_the_packs_or_none(sample_data, tmp_path, monkeypatch, told):
    place = Place(tmp_path, CPU)
    monkeypatch.setattr(gpu_parts, "REAL", tmp_path / "hw3_data")
    monkeypatch.setattr(gpu_parts, "PACK", tmp_path / "digits.zip")
    assert place.real() is None and told(gpu_parts.real_data(place)) == {}
    pack(sample_data, tmp_path / "digits.zip", limit=10)
    assert len(load_digits(place.real(), "usps", "train").labels) == 10
    monkeypatch.setattr(gpu_parts, "REAL", sample_data)
    assert place.real() == sample_data


@pytest.mark.parametrize("gpu, runs_already, called", [
    (True, False, ["-d", "quit"]), (True, True, ["-d"]), (False, False, [])])
def test_the_multi_process_service_is_stopped_if_it_was_started(tmp_path, monkeypatch, gpu, runs_already, called):
    calls, control = tmp_path / "calls", tmp_path / "nvidia-cuda-mps-control"
    control.write_text(f'#!/bin/sh\necho "${{1:-$(cat)}}" >> {calls}\nexit {int(runs_already)}\n')
    control.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(KeyboardInterrupt), gpu_parts.multi_process_service(gpu):
        assert calls.exists() == gpu
        raise KeyboardInterrupt
    assert (calls.read_text().split() if calls.exists() else []) == called


def test_a_profile_names_the_operations_of_a_step(place, told):
    args = SimpleNamespace(limit=8, batch_size=4)
    found = told([("profile p4", lambda: gpu_parts.profile("p4", args, place, "float32"))])["profile p4"]["result"]
    assert 0 < sum(ms for _, _, ms in found["operations"]) <= found["ms"]
    assert any("convolution" in name for name, _, _ in found["operations"])


def test_what_fails_is_told_and_the_rest_goes_on(told):
    def refuse():
        raise UserError("no such data")
    assert told([("one", refuse), ("two", dict)]) == {"one": {"failed": "no such data"}, "two": {"result": {}}}


def test_every_run_of_the_report_costs_what_a_measured_one_does():
    assert {kind_of(run.selector) for run in RUNS if not run.selector.endswith(":target")} == set(KINDS)


def test_random_data_has_as_many_images_as_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_parts, "DIFFERENT", 7)
    make_random_data(tmp_path / "data", FEW | {"usps": (20, 10)})
    train, test = (load_digits(tmp_path / "data", "usps", split).images for split in SPLITS)
    assert (len(train), len(test)) == (20, 10) and torch.equal(train[0], train[7]) and not torch.equal(train[0], train[1])
    assert torch.equal(train[:, 0], train[:, 2]), "gray"
    assert load_faces(tmp_path / "data", "train").attributes.float().mean().item() == pytest.approx(0.5, abs=0.1)


# ---- the pack --------------------------------------------------------------------------------------------------------

def test_unpacked_digits_are_those_that_were_packed(sample_data, tmp_path):
    pack(sample_data, tmp_path / "digits.zip", limit=30)
    unpack(tmp_path / "digits.zip", tmp_path / "data")
    for domain in ("usps", "mnistm", "svhn"):
        for split in SPLITS:
            assert digest(tmp_path / "data", domain, split) == digest(sample_data, domain, split, 30)


@pytest.mark.parametrize("content", [b"", b"PK\5\6" + bytes(18)])
def test_a_damaged_pack_is_refused(content, tmp_path):
    (tmp_path / "digits.zip").write_bytes(content)
    with pytest.raises(UserError, match="digits.zip is damaged, or not of"):
        unpack(tmp_path / "digits.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name, content, reason", [
    ("usps/train.webp", "no picture", "usps/train.webp is no picture"),
    ("svhn/test.txt", "7" * 501, "svhn/test.txt has no label for each digit"),
    ("svhn/test.txt", "123abc", "svhn/test.txt has no label for each digit"),
    ("svhn/test.txt", "", "svhn/test.txt has no label for each digit"),
])
def test_a_pack_with_a_damaged_part_is_refused(name, content, reason, sample_data, tmp_path):
    pack(sample_data, tmp_path / "whole.zip", limit=3)
    with zipfile.ZipFile(tmp_path / "whole.zip") as whole, zipfile.ZipFile(tmp_path / "digits.zip", "w") as changed:
        for entry in whole.namelist():
            changed.writestr(entry, content if entry == name else whole.read(entry))
    with pytest.raises(UserError, match=rf"digits.zip is damaged, or not of python3 -m benchmarks.pack \({reason}"):
        unpack(tmp_path / "digits.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


# ---- running them ----------------------------------------------------------------------------------------------------

@pytest.fixture
def part(tmp_path, monkeypatch, capsys):
    """part(script, seconds): what is in results.json after a part that is this Python script, without torch."""
    def call(script, seconds=20):
        begin = f"""
import json, os, sys, time
results = json.load(open(sys.argv[1]))['hardware']
tell = lambda item, **found: print('some words {MARK}' + json.dumps({{'item': item}} | found))
"""
        command = [sys.executable, "-u", "-c", begin + script]
        monkeypatch.setattr(on_gpu, "command_of", lambda part, results: [*command, str(results)])
        results = Results(tmp_path)
        run_part("hardware", results, seconds)
        assert json.loads((tmp_path / "results.json").read_text()) == results.parts
        return results.parts["hardware"]
    return call


CRASH = """
for item in ('one', 'two', 'three'):
    if item not in results:
        tell(item, started=True)
        if item == 'two':
            os._exit(9)
        tell(item, result={'pid': os.getpid()})
"""


def test_a_part_that_breaks_down_goes_on_with_the_next_item(part):
    found = part(CRASH)
    assert list(found) == ["one", "two", "three"] and found["two"] == {"failed": "its process ended with 9"}
    assert found["one"]["result"]["pid"] != found["three"]["result"]["pid"]


def test_a_part_that_fails_at_once_is_not_tried_for_ever(part):
    assert part("sys.exit('error: no')") == {"process": {"failed": "its process ended with 1; log.txt says why"}}


def test_a_part_is_cut_off_in_time_and_what_it_found_stays(part, tmp_path):
    found = part("tell('one', result={'x': 1}); tell('two', started=True); time.sleep(60)", seconds=1)
    assert found == {"one": {"result": {"x": 1}}, "two": {"started": True}}
    assert "hardware: cut off after 1 s" in (tmp_path / "log.txt").read_text()
    # the same command tries it again, and nothing else
    assert part("tell(sorted(results)[0], failed='known'); tell('two', result={})") == {
        "one": {"failed": "known"}, "two": {"result": {}}}


def test_whatever_is_known_is_on_disk_when_the_next_line_comes(tmp_path, monkeypatch):
    results = Results(tmp_path)
    for number in range(3):
        on_gpu.take(f'{MARK}{{"item": "check {number}", "result": {{"seconds": 1}}}}', "correctness", results)
        assert f"check {number}" in json.loads((tmp_path / "results.json").read_text())["correctness"]
        assert f"check {number}  passed" in (tmp_path / "tables.md").read_text()


# ---- tables ----------------------------------------------------------------------------------------------------------

def test_tables_say_what_follows_for_the_whole_report():
    kind = {"seconds": 30.0, "epochs": [8.0, 5.0]}
    full = {name: {"result": kind | ({"epochs": [1.0, 0.5, 2.0, 1.5]} if name.startswith("p4") else {})} for name in KINDS}
    full |= {f"4 at once {problem}": {"result": {"count": 4, "alone": 2.0, "beside": [4.0] * 4}} for problem in
             ("p1", "p2", "p3", "p4")}
    full["figures"] = {"result": {"seconds": 90.0}}
    parts = {part: {} for part in on_gpu.SHARES} | {"full_size": full, "hardware": {"start": {"result": {"seconds": 10.0}}}}
    text = tables(parts)
    # besides two usual epochs: 10 + 30 - 2 × 5 of the VAE, the DCGAN, DANN; 10 + 30 - 2 × (0.5 + 1.5) of ADDA
    report = text[text.index("## The whole report"):text.index("## Trainings side by side")]
    lines = {line.split()[0]: line.split() for line in report.splitlines() if line.startswith("    p")}
    assert lines["p1"][1:] == ["5", "5.0", "50", "30.0", "23.3"], "p1, and the four KL weights that it does not have itself"
    assert lines["p4:usps-mnistm"][1:] == ["1", "0.5", "+", "1.5", "20", "+", "20", "36.0", "1.3"]
    assert lines["p3:svhn-usps:source"][1] == "1", "the lower bound, which is the upper bound of another pair"
    total = (5 * 280 + 2 * 530 + 6 * 280 + 3 * 76) / 60
    assert f"One after the other: {total:.1f} minutes; four at once: {total / 2:.1f} minutes; the figures: 90 s." in text


def test_tables_of_steps_compare_with_the_usual():
    speed = {"problem": "p3", "images": 128, "reference": [1000.0], "here": [6400.0], "growth": [2**20, 2**21],
             "flops": 4 * 10**12, "traffic": 10**9, "product": 8e14, "copy": 3e12}
    parts = {part: {} for part in on_gpu.SHARES} | {"throughput": {
        "usual p3": {"result": speed}, "eager p3": {"result": speed | {"reference": [], "here": [12800.0]}},
        "profile p3": {"result": {"ms": 15.0, "operations": [["aten::conv", 10, 12.0]]}},
        "uncompiled p3": {"failed": "no compiler"}}}
    text = tables(parts)
    rows = [line.split() for line in text.splitlines()]
    assert ["p3", "1000.0", "6400.0", "6.40", "6.40", "–", "6.40", "1", "2"] in rows
    assert ["p3", "usual", "6400.0", "20.00", "1.00", "25", "%", "2"] in rows
    assert ["p3", "eager", "12800.0", "10.00", "2.00", "50", "%", "2"] in rows
    assert ["aten::conv", "10", "12.00", "60", "%"] in rows, "of the usual step"
    assert "- throughput, uncompiled p3: no compiler" in text


# ---- how a step is run -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("variant", measure.VARIANTS)
def test_a_step_is_changed_while_it_is_measured_and_no_longer(variant, monkeypatch):
    import p3_dann.train as module
    pays = lambda device, pixels: pixels > 1e9
    monkeypatch.setattr(module, "compiling_pays", pays)
    with measure.stepping("p3", variant) as flags:
        assert module.compiling_pays(CPU, 1) == (variant != "uncompiled")
        assert torch.backends.cudnn.deterministic == (variant == "deterministic")
        assert flags == (("--eager",) if variant == "eager" else ())
    assert not torch.backends.cudnn.deterministic and module.compiling_pays is pays
