"""Tools that a training loop calls: settings, device, precision, batches, the run folder.

A run folder holds everything of a run:

    config.json      settings, versions, seed, git revision, device
    metrics.csv      one row an epoch
    samples/         image grids, where the problem draws them
    tensorboard/     the same rows as event files, with --tensorboard
    checkpoint.pt    what --resume needs: the state after the last finished epoch
    checkpoint_before.pt    the same of the epoch before, used where checkpoint.pt is damaged
    .lock            held while a process trains into the folder
    weights.pt       what inference and figures need, written at the end
    summary.json     test metrics and cost, written last: a run that has one is finished
"""
import argparse
import csv
import io
import json
import math
import os
import pickle
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch
from torch.nn import functional as F

from common.cli import (
    PART,
    CommandParser,
    UsageError,
    UserError,
    duration,
    lock,
    progress,
    say,
    some_of,
    visible,
    warn,
    written_whole,
)
from common.data import digests, is_sample_data
from common.distributed import (
    from_first,
    is_first,
    mean,
    processes,
    share,
    share_size,
    start,
    use_own_gpu,
)
from common.requirements import install

PRESETS = ("report", "tuned", "sample")
YES_NO = {"True": "yes", "False": "no"}
OF_THIS_CALL = ("run", "resume", "tensorboard")        # flags that say nothing of what is trained
WHEN_STOPPED = "the finished epochs are saved; the same command with --resume goes on from there"
GENERAL = dict(preset="report", data="hw3_data", limit=None, seed=0, device="auto", precision="auto")
CHECK_EVERY = 50        # steps on a GPU between two looks at the losses, each of which makes the host wait for the device
CHECKPOINTS = ("checkpoint.pt", "checkpoint_before.pt")
MOST = 10**9            # for whole numbers on the command line


# ---- settings --------------------------------------------------------------------------------------------------------

def read_settings(problem, description, table, flags=()):
    """Read a training script's command line.

    Args: `problem`, the name of the script's package; `table`, a row for each hyper-parameter: (name, value in preset
    report, in tuned, in sample, help with unit and source), with its choices, or a number's bounds, as a sixth entry
    where it has some; what follows a semicolon in the help is for readers of the table. `flags`, further settings that
    must be given, as (name, choices, help).
    Returns every setting by name, with `problem`, and of this call alone `run` (Path), `resume` and `tensorboard` (bool);
    device and precision are resolved.
    With --resume on a run that was started, that run's settings hold. Raises UsageError if a flag contradicts them, or if
    several processes cannot share a batch equally.
    """
    start()
    given = vars(_parser(problem, description, table, flags).parse_args())
    given = {name: value for name, value in given.items() if value is not None}
    call = {name: given.pop(name) for name in OF_THIS_CALL}
    run, resume = call["run"], call["resume"]
    if "data" in given:
        given["data"] = str(Path(given["data"]).resolve())

    if resume and (run / "config.json").is_file():
        settings = read_json(run / "config.json", settings=dict)["settings"]
        if (theirs := settings.get("problem", problem)) != problem:
            raise UsageError(f"--resume: {run} is a run of {theirs}, not {problem}; choose another --run")
        names = [*GENERAL, *(name for name, *_ in (*flags, *table))]
        if unknown := [name for name in names if name not in settings]:
            raise UserError(f"--resume: {run} is of a version that did not know {', '.join(unknown)}; choose another --run")
        for name, value in given.items():
            # a run may move to another device and folder of data; anything else would make it another run
            if name not in ("device", "data") and settings[name] != value:
                raise UsageError(f"--resume: {run} was started with {name} = {settings[name]}, not {value}; leave that flag "
                                "out, or choose another --run")
        settings |= {name: given[name] for name in ("device", "data") if name in given}
    else:
        missing = [f"--{name}" for name, *_ in flags if name not in given]
        if missing:
            raise UsageError(f"{', '.join(missing)} must be given; see --help")
        settings = full_settings(table, {"data": str(Path("hw3_data").resolve())} | given)
    device = pick_device(settings["device"])
    settings |= {"problem": problem, "device": str(device), "precision": pick_precision(device, settings["precision"])}
    share_size(settings.get("batch_size", 0))
    return from_first(settings) | call      # another machine may lack the run folder


def full_settings(table, given):
    """The settings of a run by name: those `given`, and for the others the general ones and the preset's values."""
    column = 1 + PRESETS.index(given.get("preset", GENERAL["preset"]))
    return GENERAL | {row[0]: row[column] for row in table} | given


def _parser(problem, description, table, flags):
    needed = "".join(f" --{name} NAME" for name, *_ in flags)
    several = f"On N GPUs: torchrun --standalone --nproc_per_node=N -m -- {problem}.train [flags]; all share a batch."
    parser = CommandParser(usage=f"python3 -m {problem}.train --run DIR{needed} [flags]", first_group="the run",
                           description=f"{description} {several}")
    group = parser.first_group
    group.add_argument("--run", type=Path, required=True, metavar="DIR", help="the folder of this run")
    group.add_argument("--resume", action="store_true", help="go on with the run in that folder, if there is one")
    group.add_argument("--tensorboard", action="store_true", help="write event files to DIR/tensorboard too")
    group.add_argument("--preset", choices=PRESETS, metavar="NAME",
                       help=f"the hyper-parameters: {', '.join(PRESETS)} (default: report)")
    group.add_argument("--seed", type=number(int, 0), metavar="N", help="of all random numbers (default: 0)")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    group.add_argument("--precision", choices=("float32", "bfloat16"), metavar="TYPE",
                       help="float32 or bfloat16 (default: bfloat16 where the device is fast at it)")
    group = parser.add_argument_group("data")
    for name, choices, text in flags:
        group.add_argument(f"--{name}", choices=choices, metavar="NAME", help=f"{', '.join(choices)}: {text.split(';')[0]}")
    group.add_argument("--data", metavar="DIR", help="a folder in the course layout (default: hw3_data)")
    group.add_argument("--limit", type=number(int, 1), metavar="N",
                       help="only the first N images of each split (default: all)")
    add_settings(parser.add_argument_group(f"hyper-parameters [value in preset {'|'.join(PRESETS)}]"), table)
    return parser


def add_settings(group, table):
    """Add a flag for each row of a table of hyper-parameters (see `read_settings`) to an argument parser or a group."""
    for name, *values, text, allowed in (row if len(row) == 6 else (*row, None) for row in table):
        flag = f"--{name.replace('_', '-')}"
        text = f"{text.split(';')[0]} [{'|'.join(YES_NO.get(str(value), str(value)) for value in values)}]"
        if isinstance(values[0], bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif isinstance(values[0], str):
            group.add_argument(flag, choices=allowed, help=text, metavar="NAME")
        elif isinstance(values[0], int):
            group.add_argument(flag, type=number(int, *allowed or (1,)), help=text, metavar="N")
        else:
            group.add_argument(flag, type=number(float, *allowed or (0, math.inf)), help=text, metavar="X")


def number(kind, least, most=MOST):
    def convert(text):
        value = kind(text)
        if not least <= value <= most or value == math.inf:
            bounds = f"from {least} up" if most == math.inf else f"from {least} to {most:,}"
            raise argparse.ArgumentTypeError(f"{text} is not a number {bounds}")
        return value
    convert.__name__ = kind.__name__      # argparse names the type in its own message
    return convert


# ---- device ----------------------------------------------------------------------------------------------------------

def pick_device(name="auto"):
    """The torch.device of that name; "auto" is CUDA where there is one, else the CPU. Raises UserError if unusable."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        use_own_gpu(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"the device {name} cannot be used ({reason}); try --device cpu") from None
    torch.backends.cudnn.benchmark = True       # a run's batches have one shape, so the search for kernels pays
    return device


def pick_precision(device, name="auto"):
    """Either "float32" or "bfloat16"; "auto" is bfloat16 where the device multiplies it in hardware."""
    if name != "auto":
        return name
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        try:
            processor = Path("/proc/cpuinfo").read_text()
        except OSError:
            processor = ""
        fast = device.type == "cpu" and ("avx512_bf16" in processor or "amx_bf16" in processor)
    return "bfloat16" if fast else "float32"


def hardware_name(device):
    """The GPU's name, or how many threads of the CPU are used, with the number of processes where there are several."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {threads} thread{'s' * (threads > 1)}"
    return f"{processes()} × {name}" if processes() > 1 else name


def autocast(device, precision):
    """A context for forward passes in `precision`; it can be entered again and again."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


# ---- batches ---------------------------------------------------------------------------------------------------------

def shuffled_batches(count, batch_size, steps, device):
    """Random indices int64 [steps, batch_size] into `count` items, as one fresh permutation after the other.

    Each item appears before any appears again, so a small set is cycled evenly beside a larger one. Of several processes,
    each gets its share of every batch.
    """
    repeats = math.ceil(steps * batch_size / count)
    order = torch.cat([torch.randperm(count, device=device) for _ in range(repeats)])
    return share(order[:steps * batch_size].view(steps, batch_size), dim=1)


SCHEDULES = ("constant", "cosine", "one-cycle")


def make_schedule(optimizer, kind, steps):
    """A learning-rate schedule to be stepped after each of `steps` steps, of one of SCHEDULES.

    "cosine" falls to 0 along half a cosine (Loshchilov & Hutter 2017, eq. 5, without restarts). "one-cycle" rises from a 25th
    to the whole over the first twentieth, then does the same (Smith & Topin 2018, with PyTorch's cosines for lines).
    """
    schedulers, rates = torch.optim.lr_scheduler, [group["lr"] for group in optimizer.param_groups]
    if kind == "one-cycle" and steps <= 20:
        kind = "cosine"     # a twentieth of so few steps is no rise, and PyTorch divides by its length less one
    return {"constant": lambda: schedulers.LambdaLR(optimizer, lambda step: 1.0),
            "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, steps),
            "one-cycle": lambda: schedulers.OneCycleLR(optimizer, rates, steps, pct_start=0.05, cycle_momentum=False)}[kind]()


class Averages:
    """Means of losses over an epoch and over all processes.

    They wait on the device: reading each would make the host wait for each step. All processes must read at the same steps.
    """

    def __init__(self):
        self.sums, self.count, self._names, self._unread = {}, 0, (), []

    def add(self, **values):
        """Add the losses of one step, tensors of no dimension; the same names each time."""
        self._names = tuple(values)
        self._unread.append(torch.stack([value.detach() for value in values.values()]))

    def read(self):
        """Fetch what was added since the last call: a dict of floats for each step. The host waits for the device."""
        rows = mean(torch.stack(self._unread)).tolist() if self._unread else []
        steps = [dict(zip(self._names, row)) for row in rows]
        for step in steps:
            for name, value in step.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += len(steps)
        self._unread = []
        return steps

    def means(self):
        self.read()
        return {name: total / self.count for name, total in self.sums.items()}


def binary_cross_entropy(probabilities, targets):
    """F.binary_cross_entropy, but NaN gives a NaN loss, for which the run stops with a reason, rather than an assertion.

    On CUDA that assertion would also take the whole process with it.
    """
    not_a_number = 0 * probabilities.sum()      # or 0
    return F.binary_cross_entropy(probabilities.nan_to_num(), targets) + not_a_number


# ---- run folder ------------------------------------------------------------------------------------------------------

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
        torch.manual_seed(settings["seed"])
        self.finished, state = from_first(self._open() if self.writes else None)
        if state and not self.writes:
            self._go_on_from(state)

    def _open(self):
        """Make the folder, or go on with the run in it. Returns `finished`, and the content of the checkpoint, if any."""
        settings = self.settings
        self.finished = (self.folder / "summary.json").is_file()
        self.checkpoints = [self.folder / name for name in CHECKPOINTS]
        started = any(path.is_file() for path in self.checkpoints)
        if (self.finished or started) and not settings["resume"]:
            raise UserError(f"{self.folder} already holds a run; add --resume to go on with it, or choose another --run")
        if self.finished:
            check_folder(self.folder)
            say(f"{self.folder}: finished already, nothing to do")
            return True, None
        summary_writer = _find_tensorboard() if settings["tensorboard"] else None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if link := next((path for path in self.folder.iterdir() if path.is_symlink()), None):
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
        before = read_json(config, settings=dict).get("data_digests", data) if config.is_file() else data
        if changed := [split for split in data if before.get(split) != data[split]]:
            raise UserError(f"{self.folder} was started on other data than {self.settings['data']} holds now "
                            f"({', '.join(changed)}); bring that data back, or choose another --run")

    def _restore(self):
        damaged = {}
        for path in filter(Path.is_file, self.checkpoints):
            try:
                state = _load(path)
                self._go_on_from(state)
                break
            except Exception as error:      # a damaged file can fail anywhere in the unpickler, in any way
                damaged[path] = _reason(error)
        else:
            path, reason = damaged.popitem()
            raise UserError(f"cannot go on from {path} ({reason}); start again in another --run")
        for path, reason in damaged.items():
            warn(f"warning: {path} is damaged ({reason}); going on from the one before")
            path.unlink()       # so that it never takes the place of the good one
        say(f"{self.folder}: going on after epoch {self.epoch} of {self.epochs}")
        return state

    def _go_on_from(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        torch.set_rng_state(state["random_cpu"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.epoch, self.seconds, self.rows = state["epoch"], state["seconds"], state["rows"]

    def batches(self, indices, averages):
        """Iterate over the batches of one epoch behind a progress bar that shows the losses so far.

        Raises UserError soon after a loss is no finite number: at once on a CPU, within CHECK_EVERY steps on a GPU.
        """
        self._epoch_started = time.perf_counter()
        bar = progress(indices, f"{self.folder.name} {self.epoch + 1}/{self.epochs}")
        check_every = CHECK_EVERY if self.device.type == "cuda" else 1
        shown = 0.0
        for number, batch in enumerate(bar, start=1):
            yield batch
            if number % check_every == 0 or number == len(indices):
                self._check(averages)
                if not bar.disable and time.perf_counter() - shown > 1:
                    bar.set_postfix({name: f"{value:.3g}" for name, value in averages.means().items()}, refresh=False)
                    shown = time.perf_counter()

    def _check(self, averages):
        steps = averages.read()
        for number, losses in enumerate(steps, start=averages.count - len(steps) + 1):
            self._demand_finite(f"step {number} of epoch {self.epoch + 1}", losses)

    def _demand_finite(self, where, values):
        if not all(map(math.isfinite, values.values())):
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            raise UserError(f"{self.folder}: not all losses are finite at {where}: {shown}; the epochs before are saved, try "
                            "a smaller learning rate or --precision float32 in a new run")

    def end_epoch(self, **metrics):
        """Count the epoch; write its row to metrics.csv, and the checkpoint.

        Raises UserError, with the checkpoints left as they were, if a metric or anything in the parts is not finite.
        """
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        where = f"the end of epoch {self.epoch + 1}"
        self._demand_finite(where, metrics | {f"weights of {name}": math.nan for name in parts if not _is_finite(parts[name])})
        self.epoch += 1
        self.seconds += time.perf_counter() - self._epoch_started
        self.rows.append({"epoch": self.epoch} | metrics | {"seconds": round(self.seconds, 1)})
        if not self.writes:
            return
        cuda = self.device.type == "cuda"
        save_file(self.checkpoints[0], dict(
            epoch=self.epoch, seconds=self.seconds, rows=self.rows, parts=parts, random_cpu=torch.get_rng_state(),
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
        settings = {name: value for name, value in self.settings.items() if name not in (*OF_THIS_CALL, "data")}
        return settings | dict(sample_data=is_sample_data(self.settings["data"]), git_revision=git_revision())

    def finish(self, **metrics):
        """Write summary.json with the test `metrics`: the run is finished."""
        memory = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None
        write_json(self.folder / "summary.json", metrics | dict(
            epochs=self.epoch, train_seconds=round(self.seconds, 1), gpu_peak_mib=memory and round(memory)))
        self.lock.close()
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, float))
        say(f"{self.folder}: done in {duration(self.seconds)}, {shown}; weights.pt, metrics.csv and summary.json are there",
            "green")


def _find_tensorboard():
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(f"--tensorboard needs the package tensorboard; {install('tensorboard')}, or leave that flag out"
                        ) from None
    return SummaryWriter


def _is_finite(state):
    """Whether all tensors in a state_dict (dicts and lists of anything) are without NaN and infinity."""
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(_is_finite, state.values()))
    return not isinstance(state, (list, tuple)) or all(map(_is_finite, state))


def describe_run(settings):
    """What config.json says: the settings, and where and with what they were run."""
    return dict(
        command=["python3", "-m", f"{settings['problem']}.train", *sys.argv[1:]],
        settings={name: value for name, value in settings.items() if name not in OF_THIS_CALL},
        sample_data=is_sample_data(settings["data"]), hardware=hardware_name(torch.device(settings["device"])),
        git_revision=git_revision(),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        # torch names its build as well ("+cu126"), which its package's metadata may leave out
        versions={"python": platform.python_version(), "torch": torch.__version__}
        | {name: version(name) for name in ("torchvision", "numpy")})


def git_revision():
    """The revision of this repository, with "+" where files were changed since; None outside a git checkout of it."""
    root = Path(__file__).resolve().parent.parent
    # variables that git's hooks set name the repository that they are run for
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        top, revision, changes = (
            subprocess.run(["git", "-C", root, *words], capture_output=True, check=True, env=environment).stdout
            for words in (("rev-parse", "--show-toplevel"), ("rev-parse", "--short", "HEAD"),
                          ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError):
        return None
    if Path(os.fsdecode(top).rstrip("\n")).resolve() != root:
        return None         # these files lie in somebody else's repository
    return revision.decode().strip() + ("+" if changes else "")


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


def read_json(path, *names, **kinds):
    """Parse a json file of a run. Raises UserError if it is missing, damaged, or lacks one of `names`, or one of `kinds`, each
    with the type that it must have."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict) or not content.keys() >= {*names, *kinds} or not all(
            isinstance(content[name], kind) for name, kind in kinds.items()):
        raise UserError(f"{path} is damaged: expected a json object with {', '.join((*names, *kinds))}")
    return content


def read_metrics(folder):
    """The rows of a run's metrics.csv, each a dict of texts; none where it is not there yet. Raises UserError if it is none."""
    path = folder / "metrics.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def write_json(path, content):
    """Write a json file, whole or not at all; what is no finite number becomes null, as json has none."""
    with written_whole(path) as file:
        file.write_text(json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def finite(content):
    """The same nest of dicts, lists and plain values, with None for each number that is not finite."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


# ---- weights ---------------------------------------------------------------------------------------------------------

def save_file(path, content, before=None):
    """torch.save, whole or not at all. With `before`, the file that was at `path` is kept there."""
    buffer = io.BytesIO()       # torch.save would tell a full disk from no other fault
    torch.save(content, buffer)
    with written_whole(path) as part:
        part.write_bytes(buffer.getbuffer())
        if before and path.is_file():
            path.replace(before)


def load_file(path, *names):
    """The content of a file of torch.save, on the CPU: with `names`, a dict that has a dict by each of them.

    Raises UserError if it is missing, damaged, something else or holds code.
    """
    try:
        return _load(path, *names)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:      # a damaged file can fail anywhere in the unpickler, in any way
        raise UserError(f"{path} is damaged, or no file of PyTorch ({_reason(error)})") from None


def _load(path, *names):
    """As load_file, with the exception as it comes.

    Nothing but tensors and plain values is unpickled. torch.save writes a zip archive, which has a checksum (CRC-32) for
    each of its entries, but torch.load does not look at them.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {Path(name).name for name in archive.namelist()}
        if "data.pkl" not in parts or "constants.pkl" in parts:
            raise ValueError("it is a zip archive of something else, such as a program of torch.jit")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, which torch.save never does")
        if name := archive.testzip():
            raise ValueError(f"the checksum of {name} is wrong")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:      # torch's own words are advice to load it all the same
        raise ValueError("it holds other things than tensors and plain values, such as a whole module") from None
    if names and not (isinstance(content, dict) and all(isinstance(content.get(name), dict) for name in names)):
        is_checkpoint = isinstance(content, dict) and content.keys() >= {"parts", "epoch"}
        raise ValueError("it is a checkpoint, from which a run goes on; give the run's weights.pt" if is_checkpoint else
                         f"it lacks {' and '.join(names)}, which a run's weights.pt has")
    return content


def save_weights(path, meta, **modules):
    """Save the state of `modules` by name and `meta` (plain values: what inference must know) in one file."""
    save_file(path, {"meta": meta, "modules": {name: module.state_dict() for name, module in modules.items()}})


def load_weights(path, *names, **modules):
    """Load a file of save_weights into `modules`, set them to eval mode and return its meta, which must have `names`.

    Raises UserError if the file is missing, damaged (by its checksums) or another model's, or holds code.
    """
    try:
        state = _load(path, "meta", "modules")
        if missing := modules.keys() - state["modules"].keys():
            raise ValueError(f"it has no {', '.join(sorted(missing))}, but {', '.join(state['modules'])}")
        for name, module in modules.items():
            try:
                module.load_state_dict(state["modules"][name])
            except RuntimeError:        # whose first line says no more than that
                raise ValueError(f"the {name} in it has other layers or sizes") from None
            module.eval()
        if missing := set(names) - state["meta"].keys():
            raise ValueError(f"it does not say its {', '.join(sorted(missing))}")
        return state["meta"]
    except FileNotFoundError:
        raise UserError(f"the weights {path} do not exist") from None
    except Exception as error:      # a damaged or foreign file can fail anywhere in the unpickler, in any way
        raise UserError(f"{path} does not hold the weights of this model ({_reason(error)})") from None


def _reason(error):
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".: ")


def find_weights(given, shipped, advice):
    """The weights to use: the file `given` by the user, else the file `shipped` with the code if it is there.

    Raises UserError with `advice`, the commands that make the weights, if neither is there.
    """
    if given is not None:
        return Path(given)
    if not shipped.is_file():
        raise UserError(f"there are no trained weights at {shipped}; {advice}")
    return shipped
