"""Finished runs as a table: one row for all runs of one command that differ in nothing but their seed.

    python3 -m common.results runs/report runs/tuned --out docs/results.csv

The csv says how many seeds, the mean and the sample standard deviation of the run's test metric, and the command. For
adapted digits it also has what can be known without target labels, and hence used to choose settings: the mean entropy
of the predictions for the target's training images (nats), and how often two seeds agree on them (percent).
"""
import csv
import itertools
import shlex
import statistics
from pathlib import Path

from common.cli import CommandParser, UserError, run_command, say, written_whole
from common.training import read_json

METRICS = ("target_accuracy", "test_mse", "diversity")      # the first that a summary has is the run's test metric
PLACE_FLAGS = {"--run": 1, "--data": 1, "--seed": 1, "--device": 1, "--resume": 0, "--tensorboard": 0, "--quiet": 0,
               "-q": 0}         # and how many values each takes
COLUMNS = ("command", "metric", "seeds", "mean", "standard_deviation", "agreement_percent", "entropy_nats", "train_images",
           "epochs", "minutes_each", "hardware", "git_revision")


def command_of(config):
    """The training command of a run's config.json without what only says where, on what device and with what seed."""
    words = iter(config["command"])
    kept = []
    for word in words:
        values = PLACE_FLAGS.get(word)
        if values is None:
            kept.append(word)
        else:
            next(itertools.islice(words, values, values), None)     # leaves its values out as well
    return shlex.join(kept)


def agreement(folders):
    """How often two runs give a target's training image the same digit: the mean share over all pairs of run folders.

    None where there are no two files target_train.csv.
    """
    labels = []
    for path in (folder / "target_train.csv" for folder in folders):
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                labels.append([row["label"] for row in csv.DictReader(file)])
    shares = [statistics.mean(a == b for a, b in zip(one, other)) for one, other in itertools.combinations(labels, 2)]
    return statistics.mean(shares) if shares else None


def metric_of(summary):
    """The name of a run's test metric, from the content of its summary.json."""
    return next(name for name in METRICS if name in summary)


def row_of(command, folders):
    """One row of the table, by column, for the run folders of one command."""
    configs = [read_json(folder / "config.json") for folder in folders]
    summaries = [read_json(folder / "summary.json") for folder in folders]
    metric = metric_of(summaries[0])
    values = [summary[metric] for summary in summaries]
    mean = lambda name: statistics.mean(summary[name] for summary in summaries)
    shared = agreement(folders)
    return dict(
        command=command, metric=metric, seeds=len(folders), mean=f"{statistics.mean(values):.4f}",
        standard_deviation=f"{statistics.stdev(values):.4f}" if len(values) > 1 else "",
        agreement_percent="" if shared is None else f"{100 * shared:.1f}",
        entropy_nats=f"{mean('target_entropy'):.3f}" if "target_entropy" in summaries[0] else "",
        train_images=summaries[0]["train_images"], epochs=summaries[0]["epochs"],
        minutes_each=f"{mean('train_seconds') / 60:.1f}",
        hardware=", ".join(sorted({config["hardware"] for config in configs})),
        git_revision=", ".join(sorted({str(config["git_revision"]) for config in configs})))


def main():
    parser = CommandParser(description="Write a csv with one row for all finished runs of one command.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="DIR", help="folder of run folders")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="csv to write")
    args = parser.parse_args()
    groups = {}
    for summary in sorted(path for folder in args.runs for path in folder.glob("*/summary.json")):
        command = command_of(read_json(summary.parent / "config.json"))
        groups.setdefault(command, []).append(summary.parent)
    if not groups:
        raise UserError(f"{', '.join(map(str, args.runs))}: no finished run; give the folder that holds the run folders")
    rows = [row_of(command, folders) for command, folders in sorted(groups.items())]
    with written_whole(args.out) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    say(f"{args.out}: {len(rows)} commands, {sum(map(len, groups.values()))} runs")


if __name__ == "__main__":
    run_command(main)
