"""The report as a plan of runs: what is trained, what a run must be to count, several at once, stopped and gone on with."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import common.sample_data
import hw_report
import p4_adda.train
from common.adaptation import AUGMENTATION, PAIRS
from common.cli import UserError, lock
from common.files import read_json
from common.report.section import check_out
from common.runs.plan import DEFINING, KNOWN, same_trainings, select
from common.training.settings import read_settings
from tests.conftest import REPOSITORY, SMALLEST, assert_same_weights, call_training, draw_nothing, run_here, train_here

SMALL = ("--preset", "sample", "--limit", "30", "--epochs", "1", "--batch-size", "8")


def call(monkeypatch, capsys, *words):
    """Call hw_report.py in this process; returns the lines that it printed."""
    monkeypatch.setattr(sys, "argv", ["hw_report.py", *map(str, words)])
    capsys.readouterr()
    hw_report.main()
    return capsys.readouterr().out.splitlines()


def refusal(monkeypatch, capsys, *words):
    """The one line with which it refuses a command line."""
    with pytest.raises((SystemExit, UserError)) as ended:
        call(monkeypatch, capsys, *words)
    return str(ended.value) if isinstance(ended.value, UserError) else capsys.readouterr().err.strip()


def trained(folder, **settings):
    """A finished run folder that says it has these settings: the content of a config.json."""
    config = json.loads((folder / "config.json").read_text())
    return {name: config["settings"][name] for name in settings} == settings


def linked(source, copy):
    """A copy of a folder of data whose files may be replaced or removed, but not written to; real copies take seconds."""
    shutil.copytree(source, copy, copy_function=os.link)


# ---- what is selected ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words, selected", [
    (["p4"], ["p4:usps-mnistm", "p4:mnistm-svhn", "p4:svhn-usps", "p4:collapse"]),
    (["p4:svhn-usps"], ["p4:svhn-usps"]),
    (["p3:usps-mnistm"], ["p3:usps-mnistm:source", "p3:usps-mnistm:dann", "p3:usps-mnistm:target"]),
    (["p3:usps-mnistm:target", "p1:kl1"], ["p1:kl1", "p3:usps-mnistm:target"]),
    (["p2:uniform"], ["p2:uniform"]),
])
def test_selectors(words, selected):
    assert [run.selector for run in select(words)] == selected


@pytest.mark.parametrize("word", ["p5", "p", "p4:usps", "p4:usps-mnistm:dann", "p3:dann", ""])
def test_a_selector_of_nothing_is_refused(word):
    with pytest.raises(UserError, match="there is no such run"):
        select([word])


def test_each_run_has_a_folder_of_its_own_and_is_defined_by_its_settings():
    assert len({run.folder for run in KNOWN}) == len(KNOWN)
    assert len({(run.problem, *sorted(run.defining.items())) for run in KNOWN}) == len(KNOWN)
    assert DEFINING == {"source", "target", "mode", "noise", "kl_weight"}


@pytest.mark.parametrize("flag", ["--source=usps", "--target", "--mode", "--noise", "--kl-weight", "--run", "--resume", "--noi",
                                  "--epo", "--lim", "--see", "--dat"])
def test_what_defines_a_run_and_what_is_abbreviated_is_refused(flag, sample_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [flag] if "=" in flag else [flag, "1"]
    line = refusal(monkeypatch, capsys, "--data", sample_data, "--preset", "sample", *words)
    assert line.startswith("error: ") and flag.split("=")[0] in line and "\n" not in line
    if flag.strip("-").split("=")[0].replace("-", "_") in DEFINING:
        assert "--only" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [lambda flag, value: [f"--{flag}", value], lambda flag, value: [f"--{flag}={value}"]])
def test_flags_with_space_or_equals_mean_the_same(form, sample_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = call(monkeypatch, capsys, *form("data", sample_data), *form("preset", "tuned"), *form("only", "p2"),
                 *form("seeds", "2"), "--dry-run")
    assert lines == [f"runs/tuned/p2_dcgan_{noise}{seed}: to be trained" for noise in ("uniform", "gaussian")
                     for seed in ("", "_seed1")]
    assert not list(tmp_path.iterdir())


def test_a_dry_run_where_no_data_is_yet_says_what_the_first_call_would_train(sample_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common.sample_data, "make_sample_data", lambda root: root.symlink_to(sample_data) is None)
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "--dry-run", "--only", "p2") == [
        "sample_data: to be made", *(f"runs/sample/p2_dcgan_{noise}: to be trained" for noise in ("uniform", "gaussian"))]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words, without", [
    (("--preset", "report", "--only", "p3"), {"p3_usps-mnistm_target", "p3_mnistm-svhn_target", "p3_svhn-usps_target"}),
    (("--preset", "report", "--only", "p3:usps-mnistm", "p3:mnistm-svhn:source"), {"p3_usps-mnistm_target"}),
    (("--preset", "report", "--only", "p3:usps-mnistm"), set()),
    (("--preset", "report", "--only", "p3", "p3:usps-mnistm:target"), {"p3_mnistm-svhn_target", "p3_svhn-usps_target"}),
    (("--preset", "report", "--only", "p3", "--rotation", "10"), set()),
    (("--preset", "tuned", "--only", "p3"), set()),
])
def test_bounds_that_are_the_same_training_are_trained_once(words, without, sample_data, tmp_path, monkeypatch, capsys):
    lines = call(monkeypatch, capsys, "--data", sample_data, "--runs", tmp_path, "--dry-run", *words)
    planned = {line.split(":")[0].split("/")[-1] for line in lines}
    assert {f"p3_{'-'.join(pair)}_target" for pair in PAIRS[:1 if "p3" not in words else 3]} - planned == without
    assert "p3_usps-mnistm_source" in planned


def test_a_domain_that_no_pair_begins_with_has_an_upper_bound_of_its_own():
    assert same_trainings("p3:usps-emnist:target", {row.name: row.neutral for row in AUGMENTATION}) == []


def test_the_bounds_of_a_domain_are_the_same_training(sample_data, tmp_path, monkeypatch):
    words = ("--preset", "report", "--limit", 8, "--batch-size", 4, "--epochs", 1, "--image-size", 6)
    found = []
    for pair, mode, tested in (("usps mnistm", "target", "target_accuracy"), ("mnistm svhn", "source", "source_accuracy")):
        source, target = pair.split()
        run = call_training(monkeypatch, sample_data, "p3_dann", tmp_path / mode, "--source", source, "--target", target,
                            "--mode", mode, *map(str, words))
        found.append(read_json(run / "summary.json")[tested])
    assert_same_weights(tmp_path / "target", tmp_path / "source")
    assert found[0] == found[1]


def test_a_setting_goes_to_the_problems_that_have_it(sample_data, tmp_path, monkeypatch, capsys):
    words = ("--data", sample_data, "--preset", "sample", "--runs", tmp_path, "--dry-run", "--image-size", "12")
    assert len(call(monkeypatch, capsys, *words, "--only", "p3", "p4")) == 13
    assert "--image-size applies to none of the chosen runs" in refusal(monkeypatch, capsys, *words, "--only", "p4")


def test_each_training_is_called_with_what_makes_it_that_run(sample_data, tmp_path, monkeypatch, capsys):
    jobs = {}
    monkeypatch.setattr(hw_report, "drawing_jobs", lambda *_: ())
    monkeypatch.setattr(hw_report, "run_jobs", lambda these, _: jobs.update({job.name: job.command for job in these}) or ())
    call(monkeypatch, capsys, "--data", sample_data, "--preset", "tuned", "--runs", tmp_path / "runs", "--out",
         tmp_path / "out", "--seeds", "2", "--limit", "30", "--image-size", "12", "--no-vertical-flip")
    expected = {"p1_vae": ("p1_vae", "--preset"), "p1_vae_kl1": ("p1_vae", "--kl-weight 1.0")}
    expected |= {f"p1_vae_kl{weight}": ("p1_vae", f"--kl-weight {weight}") for weight in ("0.02", "0.05", "0.1", "0.25")}
    expected |= {f"p2_dcgan_{noise}": ("p2_dcgan", f"--noise {noise}") for noise in ("uniform", "gaussian")}
    for source, target in (("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps")):
        words = f"--source {source} --target {target}"
        expected |= {f"p3_{source}-{target}_{mode}": ("p3_dann", f"{words} --mode {mode}")
                     for mode in ("source", "dann", "target")}
        expected[f"p4_{source}-{target}"] = "p4_adda", words
    expected |= {f"{name}_seed1": value for name, value in expected.items() if not name.startswith("p1")}
    assert jobs.keys() == expected.keys()
    for name, (problem, words) in expected.items():
        flags = " ".join(jobs[name][2:]) + " "
        assert jobs[name][2] == f"{problem}.train" and f"--run {tmp_path / 'runs' / name} " in flags
        assert f"--data {sample_data} --preset tuned " in flags and f"{words} " in flags
        assert f"--seed {1 if name.endswith('_seed1') else 0} " in flags and "--limit 30 " in flags
        assert ("--image-size 12 " in flags) == (problem == "p3_dann")
        assert ("--no-vertical-flip " in flags) == (problem in ("p1_vae", "p2_dcgan"))


@pytest.fixture
def in_process(monkeypatch):
    """All jobs are done in this process, and the models that come with the code are not drawn."""
    monkeypatch.setattr(hw_report, "run_jobs", run_here)
    monkeypatch.setattr(hw_report, "draw_shipped", lambda *_: None)


@pytest.fixture
def undrawn(monkeypatch):
    """Runs are trained, and nothing is drawn of them."""
    draw_nothing(monkeypatch)


# ---- what a folder must hold to count --------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def done(sample_data, tmp_path_factory):
    """A folder with the run p4:usps-mnistm, trained by hw_report.py and not drawn yet, and its words."""
    folder = tmp_path_factory.mktemp("done")
    linked(sample_data, folder / "data")
    words = ("--data", "data", *SMALLEST, "--only", "p4:usps-mnistm")
    train_here(folder, *words)
    return folder, words


@pytest.fixture
def again(done, tmp_path, monkeypatch):
    """A copy of that folder, the current one."""
    linked(done[0] / "data", tmp_path / "moved/data")
    shutil.copytree(done[0] / "runs", tmp_path / "moved/runs")
    monkeypatch.chdir(tmp_path / "moved")
    return done[1]


def test_a_finished_run_counts_in_a_moved_project_with_data_of_another_name(again, in_process, tmp_path, monkeypatch, capsys):
    (tmp_path / "moved" / "data").rename(tmp_path / "moved" / "digits_of_2026")
    words = [word.replace("data", "digits_of_2026") if word == "data" else word for word in again]
    assert call(monkeypatch, capsys, *words, "--dry-run") == ["runs/sample/p4_usps-mnistm: finished"]
    assert call(monkeypatch, capsys, *words)[-1].endswith("report/index.html"), "drawn from the data where it is now"


@pytest.mark.parametrize("words, reason", [
    (["--limit", "31"], "limit = 30, not 31"),
    (["--epochs", "2"], "epochs = 1, not 2"),
    (["--seed", "1"], "seed = 0, not 1"),
    (["--lr", "0.5"], "lr = 0.001, not 0.5"),
    (["--no-standardise"], "standardise = yes, not no"),
    (["--preset", "tuned"], "preset = sample, not tuned"),
])
def test_a_run_with_other_settings_does_not_count(again, words, reason, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in (Path("runs")).rglob("*") if path.is_file()}
    line = refusal(monkeypatch, capsys, *again, "--runs", "runs/sample", *words)
    assert line.startswith("runs/sample/p4_usps-mnistm holds a run with ") and reason in line
    assert "--runs" in line and "--again" in line
    assert {path: path.read_bytes() for path in before} == before


def without(folder, *names):
    """Make the run in that folder one of a version that did not know these settings."""
    config = json.loads((folder / "config.json").read_text())
    for name in names:
        del config["settings"][name]
    (folder / "config.json").write_text(json.dumps(config))


def test_a_run_that_did_not_know_a_setting_counts_where_its_neutral_value_is_asked_for(again, in_process, monkeypatch, capsys):
    run = Path("runs/sample/p4_usps-mnistm")
    without(run, "permute_colours", "inversion")       # neutral in preset sample, too
    assert call(monkeypatch, capsys, *again, "--dry-run") == [f"{run}: finished"]
    assert call(monkeypatch, capsys, *again)[-1].endswith("report/index.html")
    drawn = json.loads(Path("report/results.json").read_text())["p4_adda"]
    assert drawn["usps-mnistm_target_accuracy"] is not None, "its figures are drawn"
    without(run, "conditional")                 # without it until then, and with it in preset sample
    assert "conditional = no, not yes; " in refusal(monkeypatch, capsys, *again)


def test_a_run_with_a_setting_that_has_left_counts_if_it_was_off(again, in_process, monkeypatch, capsys):
    config = Path("runs/sample/p4_usps-mnistm/config.json")
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"settings": content["settings"] | {"left_since": 0.0}}))
    assert call(monkeypatch, capsys, *again, "--dry-run") == ["runs/sample/p4_usps-mnistm: finished"]
    config.write_text(json.dumps(content | {"settings": content["settings"] | {"left_since": 0.7}}))
    assert "left since = 0.7, a setting that is gone; " in refusal(monkeypatch, capsys, *again)


def test_a_run_that_did_not_know_a_setting_without_a_neutral_value_does_not_count(again, monkeypatch, capsys):
    without(Path("runs/sample/p4_usps-mnistm"), "encoder_lr")
    assert "encoder lr = unknown, not 0.001; " in refusal(monkeypatch, capsys, *again)


def test_other_data_under_the_same_path_does_not_count(again, monkeypatch, capsys):
    os.replace("data/digits/usps/train/00003.png", "data/digits/usps/train/00004.png")
    shutil.copy("data/digits/usps/train/00005.png", "data/digits/usps/train/00003.png")
    assert "data of usps/train" in refusal(monkeypatch, capsys, *again)


def test_again_moves_the_old_run_aside(again, in_process, tmp_path, monkeypatch, capsys):
    old = (tmp_path / "moved/runs/sample/p4_usps-mnistm/weights.pt").read_bytes()
    call(monkeypatch, capsys, *again, "--limit", "32", "--again")
    assert (tmp_path / "moved/runs/sample/set_aside/p4_usps-mnistm_1/weights.pt").read_bytes() == old
    assert trained(tmp_path / "moved/runs/sample/p4_usps-mnistm", limit=32)
    assert trained(tmp_path / "moved/runs/sample/set_aside/p4_usps-mnistm_1", limit=30)


@pytest.mark.parametrize("finished", [False, True])
def test_data_that_changed_since_a_stop_ends_the_resume(again, finished, tmp_path, monkeypatch, capsys):
    run = tmp_path / "moved/runs/sample/p4_usps-mnistm"
    if not finished:
        (run / "summary.json").unlink()         # as if it had been stopped
    os.replace("data/digits/mnistm/train/00003.png", "data/digits/mnistm/train/00004.png")
    shutil.copy("data/digits/mnistm/train/00005.png", "data/digits/mnistm/train/00003.png")
    command = [sys.executable, "-m", "p4_adda.train", "--source", "usps", "--target", "mnistm", "--run", run, "--resume",
               "--data", "data"]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    assert result.returncode == 1
    assert result.stderr == (f"error: {run} was started on other data than {tmp_path / 'moved/data'} holds now (mnistm/train); "
                             "restore that data, or choose another --run\n")


def test_a_damaged_summary_is_written_again(again, tmp_path, monkeypatch, capsys):
    run = tmp_path / "moved/runs/sample/p4_usps-mnistm"
    before = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text("{")
    assert call(monkeypatch, capsys, *again, "--dry-run") == ["runs/sample/p4_usps-mnistm: goes on after epoch 2"]
    command = [sys.executable, "-m", "p4_adda.train", "--source", "usps", "--target", "mnistm", "--run", run, "--resume",
               "--data", "data"]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    warning = f"warning: {run}/summary.json is damaged; it is made again from the checkpoint\n"
    assert (result.returncode, result.stderr) == (0, warning)
    assert json.loads((run / "summary.json").read_text()) == before


@pytest.mark.parametrize("place, line", [
    ("runs/p4_usps-mnistm", "runs/p4_usps-mnistm holds no run of ours but other files (mine.txt); choose another folder"),
    ("report", "report holds no report of ours but other files (mine.txt); give another --out"),
])
def test_a_folder_of_somebody_elses_is_refused_before_anything_is_done(sample_data, tmp_path, monkeypatch, capsys, place, line):
    monkeypatch.chdir(tmp_path)
    Path(place).mkdir(parents=True)
    (Path(place) / "mine.txt").write_text("mine")
    assert refusal(monkeypatch, capsys, "--data", sample_data, "--runs", "runs", "--only", "p4:usps-mnistm", *SMALL) == line
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.txt"]


@pytest.mark.parametrize("names", [[], [".DS_Store"], ["sections/", "figures/", "left_out.json"],
                                   ["figures/", "shipped.json", "commands.json"], ["sections/p1_vae.json", "notes.txt"]])
def test_a_report_or_its_beginnings_may_be_gone_on_with(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    check_out(tmp_path)


# ---- parts of the data -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("there, sections, notes", [
    ("digits", ["p4_adda"], ["Left out p1, p2: data has no face"]),
    ("face", ["p2_dcgan"], ["Left out p4 svhn-usps: data has no svhn and no usps"]),
])
def test_what_the_data_lacks_is_left_out_and_the_rest_becomes_a_page(
        sample_data, in_process, tmp_path, there, sections, notes, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    linked(sample_data / there, tmp_path / "data" / there)
    shutil.copy(sample_data / "SAMPLE_DATA.txt", tmp_path / "data")
    only = ("p1", "p2", "p4:svhn-usps") if there == "digits" else ("p2:uniform", "p4:svhn-usps")
    lines = call(monkeypatch, capsys, "--data", "data", *SMALL, "--only", *only)
    page = (tmp_path / "report/index.html").read_text()
    assert sorted(path.stem for path in (tmp_path / "report/sections").iterdir()) == sections
    for note in notes:
        assert note in lines and note in page


def test_data_for_nothing_is_one_line(tmp_path, monkeypatch, capsys):
    assert refusal(monkeypatch, capsys, "--data", tmp_path) == (
        f"{tmp_path} holds no data for the chosen runs; bash hw_download.sh downloads it")


# ---- several at once -------------------------------------------------------------------------------------------------

def test_runs_side_by_side_have_the_weights_of_one_alone(again, undrawn, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))     # as the one, which was trained in this process
    call(monkeypatch, capsys, *again, "p3:usps-mnistm:source", "--jobs", "2", "--runs", "both")
    assert Path("both/p3_usps-mnistm_source/summary.json").is_file()
    assert_same_weights(Path("runs/sample/p4_usps-mnistm"), Path("both/p4_usps-mnistm"))


def test_a_run_that_is_killed_stops_no_other_and_goes_on_the_next_time(
        sample_data, in_process, undrawn, tmp_path, monkeypatch, capsys):
    words = ("--data", sample_data, *SMALL, "--jobs", "2", "--runs", "runs", "--only", "p4:svhn-usps", "p4:usps-mnistm",
             "--source-epochs", "15")
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(["bash", REPOSITORY / "hw_report.sh", *map(str, words)], cwd=tmp_path, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs/p4_svhn-usps/checkpoint.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    pids = subprocess.run(["pgrep", "-f", f"p4_adda.train.*{tmp_path.name}|p4_adda.train.*runs/p4_svhn-usps"],
                          capture_output=True, text=True).stdout.split()
    mine = [int(pid) for pid in pids if os.path.realpath(f"/proc/{pid}/cwd") == str(tmp_path.resolve())]
    for pid in mine:
        os.kill(pid, signal.SIGKILL)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 1 and mine
    assert error.splitlines()[-1].startswith("error: 1 of 3 jobs failed: p4_svhn-usps; "), error
    assert (tmp_path / "runs/p4_usps-mnistm/summary.json").is_file(), "the other went on"
    drawn = json.loads((tmp_path / "report/results.json").read_text())["p4_adda"]
    assert drawn["usps-mnistm_target_accuracy"] is not None and drawn["svhn-usps_target_accuracy"] is None
    monkeypatch.chdir(tmp_path)
    assert "runs/p4_svhn-usps: going on after epoch" in "\n".join(call(monkeypatch, capsys, *words))
    assert (tmp_path / "runs/p4_svhn-usps/summary.json").is_file()


def test_two_reports_at_once_into_one_folder(again, monkeypatch, capsys):
    with lock(Path("runs/sample/.lock"), "taken"):
        line = refusal(monkeypatch, capsys, *again)
    assert line == "another hw_report.sh trains into runs/sample; wait for it or stop it, or give another --runs"


@pytest.mark.parametrize("preset, weights", [
    ("sample", ["", "_kl1"]),
    ("report", ["", "_kl0.02", "_kl0.05", "_kl0.1", "_kl0.25"]),
    ("tuned", ["", "_kl0.02", "_kl0.05", "_kl0.1", "_kl0.25", "_kl1"]),
])
def test_the_vae_is_trained_once_for_each_weight_of_the_kl_divergence(preset, weights, sample_data, monkeypatch, capsys):
    lines = call(monkeypatch, capsys, "--data", sample_data, "--preset", preset, "--only", "p1", "--dry-run", "--runs", "R")
    assert lines == [f"R/p1_vae{weight}: to be trained" for weight in weights]


@pytest.mark.parametrize("preset, only, there", [("sample", "p4", True), ("report", "p4", False), ("tuned", "p4", False),
                                                 ("tuned", "p4:collapse", True)])
def test_the_reports_adaptation_is_one_of_the_runs_of_preset_sample(preset, only, there, sample_data, monkeypatch, capsys):
    lines = call(monkeypatch, capsys, "--data", sample_data, "--preset", preset, "--only", only, "--dry-run", "--runs", "R")
    assert ("R/p4_collapse: to be trained" in lines) == there


def test_a_flag_for_all_runs_leaves_alone_what_defines_one(sample_data, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hw_report.py", "--data", str(sample_data), "--preset", "sample", "--only", "p4",
                                      "--encoder-lr", "0.01", "--epochs", "2"])
    args, given = hw_report.read_arguments()
    args.runs = Path("R")
    trainings, _ = hw_report.plan(args, given)
    assert {one.folder.name: (one.settings["encoder_lr"], one.settings["epochs"]) for one in trainings} == {
        "p4_usps-mnistm": (0.01, 2), "p4_mnistm-svhn": (0.01, 2), "p4_svhn-usps": (0.01, 2), "p4_collapse": (0.005, 2)}
    for one in trainings:       # the command that trains it says the same
        words = hw_report.training_job(args, given, one, None, {}).command
        monkeypatch.setattr(sys, "argv", words[words.index("p4_adda.train"):])
        settings = read_settings("p4_adda", "", p4_adda.train.SETTINGS, p4_adda.train.FLAGS)
        assert (settings["encoder_lr"], settings["epochs"]) == (one.settings["encoder_lr"], 2)
