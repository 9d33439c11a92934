"""The folder of a run, which a training loop writes and goes on from.

A run folder holds everything of a run:

    config.json      settings, versions, seed, git revision, device
    metrics.csv      one row an epoch
    samples/         image grids, where the problem draws them
    tensorboard/     the same rows as event files, with --tensorboard
    checkpoint.pt    what --resume needs: the state after the last finished epoch
    checkpoint_before.pt    the same of the epoch before, used where checkpoint.pt is damaged
    .lock            held while a process trains into the folder
    weights.pt       what inference and figures need, written at the end
    target_train.csv    what DANN and ADDA call the target's training images
    summary.json     test metrics and cost, written last: a run that has it and its weights is finished
"""
import contextlib
import csv
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

from common.cli import UserError, duration, lock, progress, say, some_of, warn
from common.data.layout import digests, is_sample_data
from common.files import PART, REPOSITORY, make_folder, read_json, visible, write_json, written_whole
from common.requirements import install
from common.training.device import hardware_name
from common.training.distributed import from_first, is_first
from common.training.recording import recording
from common.training.settings import OF_THIS_CALL, differing
from common.training.weights import is_finite, load_checked, reason_of, save_file

WHEN_STOPPED = "the finished epochs are saved; the same command with --resume continues from there"
CHECK_EVERY = 50        # steps on a GPU between two looks at the losses, each of which makes the host wait for the device
CHECKPOINTS = ("checkpoint.pt", "checkpoint_before.pt")
WRITTEN = {*CHECKPOINTS, "config.json", "metrics.csv", "samples", "tensorboard", ".lock", "weights.pt", "summary.json",
           "target_train.csv"}


class Run:
    """The folder of one run.

    Args: the `settings` of read_settings; `epochs` in all; `parts`, by name, everything with a state_dict that training
    changes (models, optimizers, schedulers). With `resume`, parts and random state become those of the checkpoint, or of
    the one before where that is damaged. Raises UserError if the folder holds a run but `resume` is off, or files that are
    no run's, if another process trains into it, if it cannot be written, if both its checkpoints are unreadable, or if
    --tensorboard was given but that package is not there.

    `epoch` counts the epochs done; `finished` says that there is nothing left to do. Of several processes, one alone `writes`
    into the folder, and loads the checkpoint for all.
    """

    def __init__(self, settings, epochs, parts):
        self.settings, self.folder, self.epochs, self.parts = settings, settings["run"], epochs, parts
        self.device = torch.device(settings["device"])
        self.epoch, self.seconds, self.rows = 0, 0.0, []
        self.writes = is_first()
        torch.manual_seed(settings["seed"])     # again, so that how many numbers the first weights took changes nothing later
        self.finished, state = from_first(self._open() if self.writes else None)
        if state and not self.writes:
            self._go_on_from(state)

    def _open(self):
        """Make the folder, or go on with the run in it. Returns `finished`, and the content of the checkpoint, if any."""
        settings = self.settings
        self.checkpoints = [self.folder / name for name in CHECKPOINTS]
        started, summary = any(path.is_file() for path in self.checkpoints), self.folder / "summary.json"
        if (started or summary.is_file()) and not settings["resume"]:
            raise UserError(f"{self.folder} already holds a run; add --resume to continue it, or choose another --run")
        self.finished = is_finished(self.folder)
        if self.finished:
            check_folder(self.folder)
            self._demand_same_data(digests(settings))
            say(f"{self.folder}: finished already, nothing to do")
            return True, None
        if summary.is_file():
            fault = f"{self.folder / 'weights.pt'} is missing" if has_summary(self.folder) else f"{summary} is damaged"
            if not started:
                check_folder(self.folder)
                raise UserError(f"{fault}, and there is no checkpoint to go on from; choose another --run")
            warn(f"warning: {fault}; it is made again from the checkpoint")
        summary_writer = _find_tensorboard() if settings["tensorboard"] else None
        try:
            # which may be a link itself, as to a cluster's scratch disk, but has no links that would be written through
            make_folder(self.folder)
            if link := next((path for path in self.folder.iterdir() if path.is_symlink() and path.name in WRITTEN), None):
                raise UserError(f"{link} is a link; a run writes into its own folder only, so choose another --run")
            check_folder(self.folder)
            self.lock = lock(self.folder / ".lock", f"another process trains into {self.folder}; wait for it or stop it, "
                                                    "or choose another --run")
            (self.folder / "samples").mkdir(exist_ok=True)
            for leftover in self.folder.rglob(f"{PART}*"):      # of a process that was killed
                leftover.unlink()
        except OSError as error:
            raise UserError(f"cannot write to the folder {self.folder}: {error.strerror}; choose another --run") from None
        data = digests(settings)
        if started:
            self._demand_same_data(data)
            state = self._restore()
        else:
            state = None
            write_json(self.folder / "config.json", describe_run(settings) | {"epochs": self.epochs, "data_digests": data})
        self._write_metrics()
        self._events = None
        if summary_writer:
            # written anew from the rows, so that a run that was stopped and resumed leaves no epoch out and none twice
            shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
            self._events = summary_writer(self.folder / "tensorboard")
            for row in self.rows:
                self._write_events(row)
        return False, state

    def _demand_same_data(self, data):
        config = self.folder / "config.json"
        if not config.is_file():
            raise UserError(f"{self.folder} lacks its config.json, which says what was trained; choose another --run")
        before = read_json(config, settings=dict).get("data_digests", data)
        if changed := [split for split in data if before.get(split) != data[split]]:
            raise UserError(f"{self.folder} was started on other data than {self.settings['data']} holds now "
                            f"({', '.join(changed)}); restore that data, or choose another --run")

    def _restore(self):
        damaged = {}
        for path in filter(Path.is_file, self.checkpoints):
            try:
                state = load_checked(path)
                self._demand_own(state, path)
                self._go_on_from(state)
                break
            except UserError:
                raise
            except Exception as error:      # a damaged file can fail anywhere in the unpickler, in any way
                damaged[path] = reason_of(error)
        else:
            path, reason = damaged.popitem()
            raise UserError(f"cannot continue from {path} ({reason}); start again in another --run")
        for path, reason in damaged.items():
            warn(f"warning: {path} is damaged ({reason}); continuing from the one before")
            path.unlink()       # so that it never takes the place of the good one
        say(f"{self.folder}: going on after epoch {self.epoch} of {self.epochs}")
        return state

    def _demand_own(self, state, path):
        """Raise UserError if the content of a checkpoint is not of the run that config.json describes."""
        if names := differing(state.get("settings", {}), self.settings):
            raise UserError(f"{path} was made with other settings than config.json has beside it ({some_of(names)}); move "
                            "the folder away, or choose another --run")
        if missing := self.parts.keys() - state["parts"].keys():
            raise UserError(f"{path} is from another version, without {some_of(sorted(missing))}; move the folder away, or "
                            "choose another --run")

    def _go_on_from(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        torch.set_rng_state(state["random_cpu"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.epoch, self.seconds, self.rows = state["epoch"], state["seconds"], state["rows"]

    def batches(self, indices, averages):
        """Iterate over the batches of one epoch behind a progress bar that shows the losses so far.

        Where steps are recorded, as usually on a GPU, the loop's body sees only the first three: what it does with the third is
        replayed for the others (see recording.py).

        Raises UserError soon after a loss is no finite number: at once on a CPU, within CHECK_EVERY steps on a GPU.
        """
        self._epoch_started = time.perf_counter()
        bar = progress(indices, f"{self.folder.name} {self.epoch + 1}/{self.epochs}")
        check_every = CHECK_EVERY if self.device.type == "cuda" else 1
        shown = 0.0
        with recording(self.device, averages, self.settings["eager"]) as step:
            for number, batch in enumerate(bar, start=1):
                yield from step(batch)
                if number % check_every == 0:
                    self._check(averages)
                    if not bar.disable and time.perf_counter() - shown > 1:
                        bar.set_postfix({name: f"{value:.3g}" for name, value in averages.means().items()}, refresh=False)
                        shown = time.perf_counter()
            self._check(averages)

    def _check(self, averages):
        steps = averages.read()
        for number, losses in enumerate(steps, start=averages.count - len(steps) + 1):
            self._demand_finite(f"step {number} of epoch {self.epoch + 1}", losses)

    def _demand_finite(self, where, values):
        if not all(map(math.isfinite, values.values())):
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            raise UserError(f"{self.folder}: not all losses are finite at {where}: {shown}; "
                            f"{'earlier epochs are saved; ' if self.epoch else ''}try a smaller learning rate or --precision "
                            "float32 in a new run")

    def end_epoch(self, **metrics):
        """Count the epoch; write its row to metrics.csv, and the checkpoint.

        Raises UserError, with the checkpoints left as they were, if a metric or anything in the parts is not finite.
        """
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        where = f"the end of epoch {self.epoch + 1}"
        self._demand_finite(where, metrics | {f"weights of {name}": math.nan for name in parts if not is_finite(parts[name])})
        self.epoch += 1
        self.seconds += time.perf_counter() - self._epoch_started
        self.rows.append({"epoch": self.epoch} | metrics | {"seconds": round(self.seconds, 1)})
        if not self.writes:
            return
        cuda = self.device.type == "cuda"
        save_file(self.checkpoints[0], dict(
            settings=of_the_run(self.settings), epoch=self.epoch, seconds=self.seconds, rows=self.rows, parts=parts,
            random_cpu=torch.get_rng_state(),
            random_cuda=torch.cuda.get_rng_state(self.device) if cuda else None), before=self.checkpoints[1])
        self._write_metrics()
        if self._events:
            self._write_events(self.rows[-1])
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        left = duration(self.seconds / self.epoch * (self.epochs - self.epoch))
        say(f"{self.folder.name} epoch {self.epoch}/{self.epochs}: {shown} ({duration(self.seconds)}, {left} left)")

    def _write_events(self, row):
        for name, value in row.items():
            if name not in ("epoch", "seconds"):
                self._events.add_scalar(name, value, row["epoch"])
        self._events.flush()

    def _write_metrics(self):
        with written_whole(self.folder / "metrics.csv") as path, open(path, "w", newline="") as file:
            names = dict.fromkeys(name for row in self.rows for name in row)      # a phase may have columns of its own
            writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def meta(self):
        """What a weights file says of its run: the settings (but no folder of this machine) and the git revision."""
        settings = of_the_run(self.settings)
        del settings["data"]
        return settings | dict(sample_data=is_sample_data(self.settings["data"]), git_revision=git_revision())

    def finish(self, listed=None, **metrics):
        """Write summary.json with the test `metrics`: the run is finished.

        `listed`: the name of the one that lists and tables of runs show, by default the first.
        """
        memory = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None
        write_json(self.folder / "summary.json", {"listed": listed or next(iter(metrics), None)} | metrics | dict(
            epochs=self.epoch, train_seconds=round(self.seconds, 1), gpu_peak_mib=memory and round(memory)))
        self.lock.close()
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, float))
        say(f"{self.folder}: done in {duration(self.seconds)}, {shown}; weights.pt, metrics.csv and summary.json are written",
            "green")


def _find_tensorboard():
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(f"--tensorboard needs the package tensorboard; {install('tensorboard')}, or leave that flag out"
                        ) from None
    return SummaryWriter


def of_the_run(settings):
    """The settings that stay those of a run, by name: without those of this call alone."""
    return {name: value for name, value in settings.items() if name not in OF_THIS_CALL}


def describe_run(settings):
    """What config.json says: the settings, and where and with what they were run."""
    return dict(
        command=["python3", "-m", f"{settings['problem']}.train", *sys.argv[1:]],
        settings=of_the_run(settings),
        sample_data=is_sample_data(settings["data"]), hardware=hardware_name(torch.device(settings["device"])),
        git_revision=git_revision(),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        # torch names its build as well ("+cu126"), which its package's metadata may leave out
        versions={"python": platform.python_version(), "torch": torch.__version__}
        | {name: version(name) for name in ("torchvision", "numpy")})


def git_revision():
    """The revision of this repository, with "+" where files were changed since; None outside a git checkout of it."""
    # variables that git's hooks set name the repository that they are run for
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        top, revision, changes = (
            subprocess.run(["git", "-C", REPOSITORY, *words], capture_output=True, check=True, env=environment).stdout
            for words in (("rev-parse", "--show-toplevel"), ("rev-parse", "--short", "HEAD"),
                          ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError):
        return None
    if Path(os.fsdecode(top).rstrip("\n")).resolve() != REPOSITORY:
        return None         # these files lie in somebody else's repository
    return revision.decode().strip() + ("+" if changes else "")


def has_summary(folder):
    """Whether `folder` has the summary.json of a run, and that is not damaged."""
    with contextlib.suppress(UserError):
        read_json(folder / "summary.json", "epochs", "train_seconds")
        return True
    return False


def is_finished(folder):
    """Whether the run in `folder` is finished: it has its weights and a sound summary.json, which is written last."""
    return has_summary(folder) and (folder / "weights.pt").is_file()


def check_folder(folder):
    """Raise UserError if a run that begins or goes on in `folder`, which may be missing, would replace what is no run's.

    That is, where it holds anything but hidden files and what a run leaves that is stopped early or late.
    """
    names = visible(folder)
    if not names or set(CHECKPOINTS).intersection(names) or names == ["samples"] and (folder / ".lock").is_file():
        return
    try:
        read_json(folder / "config.json", "command", "hardware", settings=dict, versions=dict)
    except UserError:
        raise UserError(f"{folder} holds no run of ours but other files ({some_of(names)}); choose another folder") from None
    if "weights.pt" in names and "summary.json" not in names:
        raise UserError(f"{folder} holds the weights of a run without its checkpoints, which would be replaced; choose another "
                        "folder")
