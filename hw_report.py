"""The whole report: trains what has no finished run yet, several at once, draws all figures, writes OUT/index.html.

bash hw_report.sh calls this with the Python that it finds or sets up; bash p1_vae/run.sh does too, with --problem p1.

The way to the page: common/runs/plan.py says which runs there are; each is trained by a process of its own, python3 -m
p1_vae.train and so on (common/runs/jobs.py), which leaves a run folder; python3 -m p1_vae.figures draws a problem's runs into
OUT/figures and OUT/sections; common/report/page.py assembles OUT/index.html from these.
"""
import argparse
import functools
import importlib
import os
import shlex
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

# before the packages below: it says which are missing
from common.cli import (
    CommandParser,
    HelpFormatter,
    UsageError,
    UserError,
    any_path,
    is_quiet,
    lock,
    number,
    run_command,
    say,
    warn,
)

# isort: split
import torch

from common.data.layout import datasets_of, digest, digests, has_dataset
from common.files import RUN_FOLDERS, make_folder, read_json, write_json
from common.report.page import assemble
from common.report.section import check_out
from common.runs.jobs import Job, python, run_jobs
from common.runs.plan import DEFINING, PACKAGES, SEVERAL_SEEDS, ReportRun, differences, is_usual, same_trainings, select
from common.runs.read import read_metrics
from common.training.device import pick_device
from common.training.run import check_folder, is_finished
from common.training.settings import PRESETS, add_settings, full_settings, neutral_values, words_of
from hw_shipped import draw_shipped

TABLES = {problem: importlib.import_module(f"{package}.train").SETTINGS for problem, package in PACKAGES.items()}
digest_once = functools.cache(digest)           # most runs share their data
NEEDS_FIGURES_OF = {"p2": "p1", "p4": "p3"}     # whose numbers or pictures a section shows beside its own
MOST_AT_ONCE = 8        # trainings, where nothing else is asked for: each needs up to 2 GB of memory


class Help(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help whose lines are those of the description and of the list at its end."""


class Training(NamedTuple):
    """One run to be there: what the table calls it, where it lies, the settings that it is to have."""
    run: ReportRun
    folder: Path
    settings: dict

    def state(self):
        """How far it is: (epochs done, whether it is finished). Raises UserError if the folder holds another run, or
        files that are no run's."""
        config = self.folder / "config.json"
        check_folder(self.folder)
        if not config.is_file():
            return 0, False
        neutral = neutral_values(TABLES[self.run.problem])
        if wrong := differences(read_json(config, settings=dict), self.settings, digests(self.settings, digest_once), neutral):
            raise UserError(f"{self.folder} holds a run with {'; '.join(wrong)}; give another --runs, or --again to move it "
                            "aside and train anew")
        return len(read_metrics(self.folder)), is_finished(self.folder)


def read_arguments():
    """The command line: (arguments, the settings of trainings that were given, by name)."""
    script = f"{PACKAGES[sys.argv[2]]}/run.sh" if sys.argv[1:2] == ["--problem"] else "hw_report.sh"
    parser = CommandParser(
        prog=f"bash {script}", usage=f"bash {script} [flags]", formatter_class=Help,
        description="The whole report: trains what has no finished run yet, draws all figures, writes report/index.html.\n"
                    "Stop it at any moment; the same command continues.")
    parser.add_argument("--problem", choices=PACKAGES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=any_path, metavar="DIR",
                        help="data in the course layout (default: hw3_data; without it, sample data is made)")
    parser.add_argument("--preset", choices=PRESETS, metavar="P",
                        help="report, tuned or sample (default: report; sample for sample data)")
    parser.add_argument("--only", nargs="+", metavar="RUN",
                        help="train only some: p1 p2 p3 p4, or more specifically p4:svhn-usps p3:usps-mnistm:target p2:uniform")
    parser.add_argument("--runs", type=any_path, metavar="DIR", help=f"where run folders go (default: {RUN_FOLDERS}/PRESET)")
    parser.add_argument("--out", type=any_path, default=Path("report"), metavar="DIR",
                        help="where the report goes (default: report)")
    parser.add_argument("--seeds", type=number(int, 1, 1000), metavar="N",
                        help="p2, p3 and p4: N runs each, seeds 0 to N-1; tables show mean ± standard deviation")
    parser.add_argument("--jobs", type=number(int, 1, 1000), metavar="N", help="trainings at once (default: one a CPU core, "
                                                                              f"at most {MOST_AT_ONCE}; on GPUs 4 each)")
    parser.add_argument("--again", action="store_true", help="if a run has other settings, move it aside and train anew")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--tex", action="store_true", help="write report.tex too: tables and figures for LaTeX")
    group = parser.add_argument_group("every training")
    group.add_argument("--limit", type=number(int, 1), metavar="N", help="only the first N images of each split")
    group.add_argument("--seed", type=number(int, 0), metavar="N", help="seed of all random numbers (default: 0)")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    group.add_argument("--precision", choices=("float32", "bfloat16"), metavar="TYPE", help="float32 or bfloat16")
    group.add_argument("--tensorboard", action="store_true", help="write event files too")
    for name in sorted(DEFINING):
        parser.add_argument(f"--{name.replace('_', '-')}", action=Defining, help=argparse.SUPPRESS)
    knowing = {}
    for problem, table in TABLES.items():
        for setting in table:
            if setting.name not in DEFINING:
                knowing.setdefault(setting.name, []).append(problem)
                if len(knowing[setting.name]) == 1:
                    add_settings(Hidden(parser), [setting])
    names = ", ".join(f"--{name.replace('_', '-')} ({' '.join(problems)})" for name, problems in sorted(knowing.items()))
    parser.epilog = textwrap.fill(f"hyper-parameters, for all runs of the problems that have them: {names}. What they mean: "
                                  "python3 -m p1_vae.train --help, and so on.", 100, break_on_hyphens=False)
    args = parser.parse_args()
    given = {name: getattr(args, name) for name in (*knowing, "limit") if getattr(args, name) is not None}
    if args.seeds and args.seed is not None:
        raise UsageError(f"--seeds {args.seeds} chooses the seeds; leave --seed out")
    return args, given


class Hidden(NamedTuple):
    """Adds flags to a parser that its help leaves to the list at its end."""
    parser: argparse.ArgumentParser

    def add_argument(self, *names, **options):
        self.parser.add_argument(*names, **options | {"help": argparse.SUPPRESS})


class Defining(argparse.Action):
    """A flag that would make one run of the table another."""

    def __call__(self, parser, namespace, value, flag):
        parser.error(f"{flag} defines which runs there are; choose some with --only, such as p3:usps-mnistm:dann or p2:uniform")


def plan(args, given):
    """The Trainings that are selected and whose data is there, and a sentence on each problem or pair that is left out."""
    selected = select([args.problem] if args.problem and not args.only else args.only or PACKAGES)
    trainings, left_out = [], {}
    for run in selected:
        of_preset = full_settings(TABLES[run.problem], {"preset": args.preset})
        settings = of_preset | run.defining | {"data": str(args.data.resolve()), "problem": PACKAGES[run.problem]}
        settings |= {name: value for name, value in given.items() if name in settings and name not in run.defining}
        if not is_usual(run, of_preset) and run.selector not in (args.only or ()):
            continue
        if missing := [name for name in datasets_of(settings) if not has_dataset(args.data, name)]:
            what = f"{run.problem} {settings['source']}-{settings['target']}" if "source" in settings else run.problem
            left_out.setdefault(" and no ".join(missing), {})[what] = True
            continue
        for seed in range(args.seeds or 1) if run.problem in SEVERAL_SEEDS else (0,):
            name = run.folder + (f"_seed{seed}" if seed else "")
            trainings.append(Training(run, args.runs / name, settings | {"seed": args.seed or seed}))
    chosen = {training.run.selector for training in trainings}
    trainings = [training for training in trainings if training.run.selector in (args.only or ())
                 or not chosen.intersection(same_trainings(training.run.selector, training.settings))]
    known = {name for training in trainings for name in training.settings}
    if trainings and (unknown := [name for name in given if name not in known]):
        raise UsageError(f"--{unknown[0].replace('_', '-')} applies to none of the chosen runs")
    return trainings, [f"Left out {', '.join(runs)}: {args.data} has no {missing}" for missing, runs in left_out.items()]


def set_aside(folder):
    """Move a run folder to set_aside/ beside it, under a name that is free there. A link stays, and what it names is moved."""
    folder = folder.resolve() if folder.is_symlink() else folder
    place = folder.parent / "set_aside"
    place.mkdir(exist_ok=True)
    number = next(number for number in range(1, 10**6) if not (place / f"{folder.name}_{number}").exists())
    folder.rename(place / f"{folder.name}_{number}")
    say(f"{folder} is now {place / f'{folder.name}_{number}'}")


def find_states(trainings, again):
    """{Training: (epochs done, whether it is finished)}; with `again`, folders of other runs are moved aside.

    Raises UserError for the first folder that holds another run, unless `again`.
    """
    states = {}
    for training in trainings:
        try:
            states[training.folder] = training.state()
        except UserError:
            if not again:
                raise
            states[training.folder] = None
    for training in trainings:
        if states[training.folder] is None:
            set_aside(training.folder)
            states[training.folder] = 0, False
    return states


def share_machine(args, count):
    """How the machine is shared: (trainings at once, {variable: value} of each, the devices that they take in turn).

    A training's threads do not depend on --jobs, because its weights do depend on its threads.
    """
    if not torch.cuda.is_available() or args.device == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        at_once = min(cores, MOST_AT_ONCE)
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cores // at_once))}
        return min(args.jobs or at_once, count), threads, [args.device]
    devices = [args.device] if args.device else [f"cuda:{gpu}" for gpu in range(torch.cuda.device_count())]
    return min(args.jobs or 4 * len(devices), count), {}, devices


def training_job(args, given, training, device, environment):
    return Job(training.folder.name, [
        *python(f"{PACKAGES[training.run.problem]}.train"), "--data", str(args.data), "--preset", args.preset,
        "--run", str(training.folder), "--resume", "--seed", str(training.settings["seed"]),
        *words_of({name: given[name] for name in given if name in training.settings}), *words_of(training.run.defining),
        *words_of({"device": device, "precision": args.precision, "tensorboard": args.tensorboard or None}),
        *["--quiet"] * is_quiet()], environment=environment)


def drawing_jobs(args, trainings, jobs, folder):
    """The Jobs that draw each problem's section once its trainings, among `jobs`, are over. What they draw must have the
    settings of the trainings, which are written to files in `folder`."""
    problems = dict.fromkeys(training.run.problem for training in trainings)
    for problem in problems:
        mine = [training for training in trainings if training.run.problem == problem]
        like = folder / f"{problem}.json"
        write_json(like, {"settings": mine[0].settings, "neutral": neutral_values(TABLES[problem])})
        names = {training.folder.name for training in mine}
        yield Job(f"{problem} drawing", [
            *python(f"{PACKAGES[problem]}.figures"), "--runs", str(args.runs), "--out", str(args.out),
            "--like", str(like), *["--quiet"] * is_quiet()],
            after=(*(job.name for job in jobs if job.name in names),
                   *(f"{other} drawing" for other in problems if other == NEEDS_FIGURES_OF.get(problem))))


def repeating(args, given, problem):
    """The command that repeats one problem's part of this one."""
    only = [word for word in args.only or [problem] if word.split(":")[0] == problem]
    settings = {name: getattr(args, name) for name in ("data", "preset", "runs", "out", "seeds", "seed", "device", "precision")}
    return shlex.join(["bash", "hw_report.sh", "--only", *only, *words_of(settings | given)])


def main():
    args, given = read_arguments()
    check_out(args.out)
    with tempfile.TemporaryDirectory() as scratch:
        make_report(args, given, Path(scratch))


def make_report(args, given, scratch):
    """Train and draw, or say what would be done. `scratch` is a folder for files that nobody needs afterwards."""
    if args.data is None and not Path("hw3_data").is_dir():
        from common.sample_data import make_sample_data  # slow to import, and only the first call needs it

        args.data, args.preset = Path("sample_data"), args.preset or "sample"
        made = args.data
        if args.dry_run and not made.exists():
            args.data = scratch / made
        if make_sample_data(args.data):
            say(f"{made}: to be made" if args.dry_run else f"wrote the sample data to {made}")
    args.data, args.preset = args.data or Path("hw3_data"), args.preset or "report"
    if not args.data.is_dir():
        raise UsageError(f"--data {args.data} is not a folder; bash hw_download.sh makes one")
    args.runs = args.runs or RUN_FOLDERS / args.preset
    trainings, notes = plan(args, given)
    for note in notes:
        say(note)
    if not trainings:
        raise UserError(f"{args.data} holds no data for the chosen runs; bash hw_download.sh downloads it")

    states = find_states(trainings, args.again and not args.dry_run)
    todo = [training for training in trainings if not states[training.folder][1]]
    if args.dry_run:
        for training in trainings:
            epochs, finished = states[training.folder]
            state = "finished" if finished else f"goes on after epoch {epochs}" if epochs else "to be trained"
            say(f"{training.folder}: {state}")
        return
    for folder in (args.runs, args.out):
        make_folder(folder)
    with lock(args.runs / ".lock", f"another hw_report.sh trains into {args.runs}; wait for it or stop it, or give another "
                                   "--runs"):
        at_once, environment, devices = share_machine(args, len(todo))
        jobs = [training_job(args, given, training, devices[number % len(devices)], environment)
                for number, training in enumerate(todo)]
        jobs = [*drawing_jobs(args, trainings, jobs, scratch), *jobs]     # drawn as soon as its runs are there
        failed = run_jobs(jobs, max(1, at_once))
    write_json(args.out / "left_out.json", {"notes": notes})
    commands = args.out / "commands.json"
    write_json(commands, (read_json(commands) if commands.is_file() else {}) | {
        PACKAGES[problem]: repeating(args, given, problem) for problem in {training.run.problem for training in trainings}})
    try:
        draw_shipped(args.out, args.data, args.limit, pick_device(args.device or "auto"))
    except UserError as error:
        warn(f"warning: the models that come with the code are not shown: {error}")
    if list((args.out / "sections").glob("*.json")):
        assemble(args.out, args.tex)
    if failed:
        raise UserError(f"{len(failed)} of {len(jobs)} jobs failed: {', '.join(failed)}; their lines say why, and the same "
                        "command tries them again")


if __name__ == "__main__":
    run_command(main, "the finished epochs are saved; the same command continues from there")
