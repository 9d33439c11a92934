"""Finished runs as a table: one row for all runs of one command that differ in nothing but their seed.

    python3 -m common.results runs/report runs/tuned --out docs/results.csv

The csv says how many seeds, the mean and the sample standard deviation of the run's test metric, and the command; of ADDA
also the mean accuracy before it adapts. For adapted digits it has what can be known without target labels, and hence used to
choose settings: the mean entropy of the predictions for the target's training images (nats), and how often two seeds agree
on them (percent). The minutes of a run are given where all ran on the same hardware.
"""
import csv
import itertools
import math
import shlex
import statistics
from typing import NamedTuple

from common.cli import CommandParser, UserError, any_path, one_line, path_to_write, run_command, say, some_of
from common.data.csv_files import read_labels
from common.files import read_json, written_whole
from common.training.settings import PLACE

# the run's test metric, where its summary does not say which is listed: the first of these that it has
METRICS = ("target_accuracy", "test_mse", "diversity")
PLACE_FLAGS = {"--run": 1, "--data": 1, "--seed": 1, "--device": 1, "--resume": 0, "--tensorboard": 0, "--eager": 0,
               "--quiet": 0, "-q": 0}         # and how many values each takes
COLUMNS = ("command", "metric", "seeds", "mean", "standard_deviation", "source_only_mean", "agreement_percent",
           "entropy_nats", "train_images", "epochs", "minutes_each", "hardware", "git_revision")


def command_of(config):
    """The training command of a run's config.json without what only says where, on what device and with what seed."""
    words = map(str, config["command"])
    kept = []
    for word in words:
        flag, joined, _ = word.partition("=")       # --seed 1 or --seed=1
        values = PLACE_FLAGS.get(flag)
        if values is None:
            kept.append(word)
        elif not joined:
            next(itertools.islice(words, values, values), None)     # leaves its values out as well
    return shlex.join(kept)


def unlike(config, other):
    """In what two runs of one command are not the same training, by the content of their config.json: names, sorted.

    They may differ in the seed and the place. Of versions whose presets differ, the command is the same and a setting is not;
    one that a run's version lacks is taken for off, whatever its neutral value. Of the data, what both say counts.
    """
    ours, theirs = config["settings"], other["settings"]
    settings = {name for name in ours.keys() | theirs.keys() if (ours.get(name) or None) != (theirs.get(name) or None)}
    ours, theirs = (content.get("data_digests") or {} for content in (config, other))
    splits = {split for split in ours.keys() & theirs.keys() if ours[split] != theirs[split]}
    return sorted(settings - {"seed", "problem", *PLACE} | splits)


class Finished(NamedTuple):
    """What the table takes from the folder of a finished run."""
    config: dict
    summary: dict
    metric: str         # the run's test metric
    labels: dict        # of the target's training images, by name; empty where the run has none

    @classmethod
    def read(cls, folder):
        """Raises UserError if the folder holds no finished run of ours."""
        config = read_json(folder / "config.json", "git_revision", command=list, hardware=str, settings=dict)
        if not isinstance(config["settings"].get("seed"), int):
            raise UserError("its config.json has no seed")
        summary = read_json(folder / "summary.json", train_images=int, epochs=int, train_seconds=(int, float))
        labels = folder / "target_train.csv"
        return cls(config, summary, metric_of(summary), read_labels(labels) if labels.is_file() else {})


def is_number(value):
    """Whether a value from a json file is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def metric_of(summary):
    """The name of a run's test metric, from the content of its summary.json. Raises UserError if it has no number for one."""
    for name in (str(summary.get("listed")), *METRICS):
        if is_number(summary.get(name)):
            return name
    raise UserError(f"summary.json has no number for {', '.join(METRICS[:-1])} or {METRICS[-1]}")


def agreement(runs):
    """How often two runs give a target's training image the same digit, 0 to 1: the mean over all pairs of runs.

    None where no two have labels, or the images' names differ, by which they are compared.
    """
    labels = [run.labels for run in runs if run.labels]
    if any(one.keys() != labels[0].keys() for one in labels):
        return None
    equal = [statistics.mean(one[name] == other[name] for name in one) for one, other in itertools.combinations(labels, 2)]
    return statistics.mean(equal) if equal else None


def row_of(command, metric, runs):
    """One row of the table, by column, for the runs of one command, each a Finished."""
    values = [run.summary[metric] for run in runs]
    agreed = agreement(runs)

    def mean(name):
        """None where a run does not have it."""
        found = [run.summary.get(name) for run in runs]
        return statistics.mean(found) if all(map(is_number, found)) else None

    def cell(number, form):
        return "" if number is None else format(number, form)

    def all_of(values):
        """What the runs have, each once; usually it is one."""
        return ", ".join(map(str, sorted(set(values))))
    hardware, seconds = all_of(run.config["hardware"] for run in runs), mean("train_seconds")
    return dict(
        command=command, metric=metric, seeds=len(runs), mean=f"{statistics.mean(values):.4f}",
        standard_deviation=cell(statistics.stdev(values) if len(values) > 1 else None, ".4f"),
        source_only_mean=cell(mean("source_only_accuracy"), ".4f"),
        agreement_percent=cell(None if agreed is None else 100 * agreed, ".1f"),
        entropy_nats=cell(mean("target_entropy"), ".3f"),
        train_images=all_of(run.summary["train_images"] for run in runs),
        epochs=all_of(run.summary["epochs"] for run in runs),
        # a mean over runs on a CPU and on a GPU would be neither's
        minutes_each=cell(seconds and seconds / 60 if hardware == runs[0].config["hardware"] else None, ".1f"),
        hardware=hardware, git_revision=all_of(str(run.config["git_revision"]) for run in runs))


def table_of(folders):
    """The rows, see `row_of`, for the finished runs whose run folders lie in one of the `folders`, sorted by command.

    What is no run of ours is left out and named, and so is one that had other settings or data than those before it of its
    command, or has a seed that is there already. Raises UserError if there is no finished run.
    """
    groups = {}
    for run_folder in sorted({path.parent for folder in folders for path in folder.glob("*/summary.json")}):
        try:
            run = Finished.read(run_folder)
            group = groups.setdefault((command_of(run.config), run.metric), {})
            for there, other in group.items():
                if names := unlike(run.config, other.config):
                    raise UserError(f"{there} has the same command, but not the same {some_of(names)}")
                if run.config["settings"]["seed"] == other.config["settings"]["seed"]:
                    raise UserError(f"{there} has the same command and seed, and is counted")
            group[run_folder] = run
        except UserError as error:
            say(one_line(f"Left out {run_folder}: {error}"))
    if not groups:
        raise UserError(f"{', '.join(map(str, folders))}: no finished run; give the folder that holds the run folders")
    return [row_of(command, metric, [*group.values()]) for (command, metric), group in sorted(groups.items())]


def write_table(rows, path):
    """Write the `rows` of table_of as a csv, whole or not at all. Raises UserError where `path` cannot be written."""
    with written_whole(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    parser = CommandParser(description="Write a csv with one row for all finished runs of one command.")
    parser.add_argument("runs", type=any_path, nargs="+", metavar="DIR", help="folder of run folders")
    parser.add_argument("--out", type=path_to_write, required=True, metavar="FILE.csv", help="csv to write")
    args = parser.parse_args()
    rows = table_of(args.runs)
    write_table(rows, args.out)
    say(f"{args.out}: {len(rows)} commands, {sum(row['seeds'] for row in rows)} runs")


if __name__ == "__main__":
    run_command(main)
