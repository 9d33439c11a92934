"""Commands as their users meet them: help, quiet, colours, summary lines, TensorBoard, the list of runs."""
import csv
import importlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from common import cli
from common.results import metric_of
from common.runs import __main__ as runs
from common.training.run import Run
from tests.conftest import REPOSITORY, SMALL

MODULES = [f"{problem}.{part}" for problem in SMALL for part in ("train", "inference", "figures")]
MODULES += [f"common.{name}" for name in ("report.__main__", "results", "runs.__main__", "sample_data", "download", "ship")]
MODULES += ["hw_faces", "hw_report", "hw_grade", "hw_shipped"]
MODULES += [f"benchmarks.{name}" for name in ("throughput", "scaling", "precision", "waiting", "pack", "on_gpu")]
SCRIPTS = ("hw_report.sh", "hw_setup.sh", "tests/run.sh", "p3_dann/run.sh")     # the other problems' call the same program


@pytest.fixture(autouse=True)
def loud():
    """--quiet holds for the process, and these tests share one."""
    yield
    cli._quiet = False


def assert_fits_a_screen(text):
    lines = text.splitlines()
    assert text.startswith(("usage: ", "bash tests/run.sh")) and len(lines) <= 50 and max(map(len, lines)) <= 100, text


@pytest.mark.parametrize("module", MODULES)
def test_help_fits_a_screen(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main()
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "--quiet" in shown
    assert_fits_a_screen(shown)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_of_scripts_fits_a_screen(script):
    result = subprocess.run(["bash", REPOSITORY / script, "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and result.stderr == ""
    assert_fits_a_screen(result.stdout)


def test_help_shows_groups_and_defaults(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        importlib.import_module("p1_vae.train").main()
    shown = capsys.readouterr().out
    for line in ("the run:", "data:", "hyper-parameters [value in preset report|tuned|sample]:",
                 "(default: report)", "passes over the training faces [50|50|3]", "--[no-]vertical-flip", "[yes|no|no]"):
        assert line in shown


def test_a_run_says_what_it_did_and_where_it_is(train, tmp_path, capfd):
    train("p1_vae", tmp_path / "run", "--epochs", "2")
    output, errors = capfd.readouterr()
    first, second, last = output.splitlines()
    assert "epoch 1/2: reconstruction " in first and first.endswith(" left)") and second.endswith(" 0 s left)")
    assert last.startswith(f"{tmp_path / 'run'}: done in ") and "test_mse" in last and "weights.pt" in last
    assert "\033" not in output and errors == "", "no colours and no progress bars where there is no terminal"


def test_quiet_prints_nothing(train, tmp_path, capfd):
    train("p1_vae", tmp_path / "run", "--epochs", "1", "--quiet")
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream, no_color, coloured", [(Terminal, "", True), (Terminal, "1", False), (io.StringIO, "", False)])
def test_colours_on_a_terminal_alone(monkeypatch, stream, no_color, coloured):
    def fail():
        raise cli.UserError("this is wrong")
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(SystemExit) as ended:
        cli.run_command(fail)
    assert ended.value.code == 1
    assert sys.stderr.getvalue() == ("\033[31merror:\033[0m this is wrong\n" if coloured else "error: this is wrong\n")


def test_a_progress_bar_shows_loss_and_time_left(train, tmp_path, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    train("p1_vae", tmp_path / "run", "--epochs", "1")
    bar = screen.getvalue().replace("\r", "\n")
    assert "run 1/1" in bar and "<" in bar and "reconstruction=" in bar


def test_tensorboard_holds_the_rows_of_metrics_csv(train, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")
    train("p1_vae", tmp_path / "run", "--epochs", "2", "--tensorboard")
    log = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("reconstruction", "kl", "test_mse"):
        assert [scalar.value for scalar in log.Scalars(name)] == pytest.approx([float(row[name]) for row in rows])
        assert [scalar.step for scalar in log.Scalars(name)] == [1, 2]


def test_tensorboard_that_is_not_there_is_one_clear_line(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(cli.UserError, match=f"needs the package tensorboard; {sys.executable} -m pip install tensorboard"):
        train("p1_vae", tmp_path / "run", "--epochs", "1", "--tensorboard")
    assert not (tmp_path / "run" / "config.json").exists()


def call_runs(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["runs", *map(str, words)])
    runs.main()
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_runs_are_listed_and_compared(train, tmp_path, monkeypatch, capsys):
    train("p3_dann", tmp_path / "a", *SMALL["p3_dann"])
    train("p1_vae", tmp_path / "b", "--epochs", "1")
    train("p1_vae", tmp_path / "c", "--epochs", "2", "--seed", "7")
    (tmp_path / "c" / "summary.json").unlink()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text("{")
    capsys.readouterr()
    header, a, b, c, d = call_runs(monkeypatch, capsys, tmp_path)
    assert header == list(runs.HEADER)
    assert a[:9] == ["a", "p3_dann", "usps-mnistm", "dann", "sample", "0", "3/3", "target", "accuracy"]
    assert b[:7] == ["b", "p1_vae", "–", "–", "sample", "0", "1/1"] and b[7:9] == ["test", "mse"]
    assert c[5:9] == ["7", "2/2", "not", "finished"] and d[:4] == ["d", "cannot", "be", "read"]

    lines = call_runs(monkeypatch, capsys, "--compare", tmp_path / "b", tmp_path / "c")
    assert ["seed", "0", "7"] in lines and ["epochs", "1", "2"] in lines
    assert not any(line[:1] == ["lr"] for line in lines), "what is the same is not listed"
    assert any(line[:2] == ["test", "mse"] and line[3] == "–" for line in lines)


def test_runs_behind_links_are_listed_once(tmp_path):
    (tmp_path / "scratch" / "b").mkdir(parents=True)
    (tmp_path / "scratch" / "b" / "config.json").write_text("{")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text("{")
    (tmp_path / "runs" / "b").symlink_to("../scratch/b")
    (tmp_path / "runs" / "back").symlink_to("..")
    (tmp_path / "linked").symlink_to("runs")
    for folder in ("runs", "linked"):
        assert [row[0] for row in runs.list_runs(tmp_path / folder)] == ["a", "b"]


def test_the_listed_metric_is_the_one_that_a_run_names(tmp_path):
    run = SimpleNamespace(device=torch.device("cpu"), folder=tmp_path, epoch=1, seconds=1.0, lock=open(os.devnull))  # noqa: SIM115
    for words, listed in (((), "loss"), (("test_accuracy",), "test_accuracy")):
        Run.finish(run, *words, loss=0.25, test_accuracy=0.5)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert next(iter(runs._metrics(summary))) == listed and set(runs._metrics(summary)) == {"loss", "test_accuracy"}
    assert metric_of(summary) == "test_accuracy", "in the csv of results too"
    with pytest.raises(cli.UserError, match="has no number"):
        metric_of(summary | {"listed": "gone"})


def test_no_runs_is_one_clear_line(tmp_path):
    with pytest.raises(cli.UserError, match="holds no run folders"):
        runs.list_runs(tmp_path)
