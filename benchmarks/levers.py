"""What each part of preset `tuned` contributes, and what ADDA's adversary does alone: short trainings.

    python3 -m benchmarks.levers levers --data hw3_data --runs runs/levers --out docs/levers.csv
    python3 -m benchmarks.levers dann_levers --data hw3_data --runs runs/dann_levers --out docs/dann_levers.csv
    python3 -m benchmarks.levers adversary --data hw3_data --runs runs/adversary --out docs/adversary.csv

If it is stopped, the same command continues with what is not finished. The csv is common.results', and its rows make the table
that is printed.
"""
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from common.adaptation import PAIRS, pair_name
from common.cli import CommandParser, UserError, any_path, number, path_to_write, run_command, say
from common.files import demand_folder_of
from common.results import table_of, write_table
from common.runs.jobs import Job, python, run_jobs

OF_GRAY, OF_COLOURED = PAIRS[:1], PAIRS[1:]     # pairs by their source
# `tuned`, shortened: a training module, and its flags
ADDA = ("p4_adda.train", "--preset tuned --source-epochs 6 --epochs 6")         # 1,500 steps on the source, 1,500 that adapt
DANN = ("p3_dann.train", "--mode dann --preset tuned --steps-per-epoch 200 --source-epochs 3 --epochs 6")       # 600, 600


class Line(NamedTuple):
    """A line of a study's table."""
    name: str
    run: str            # of its run folders
    flags: str          # of its training
    pairs: tuple = PAIRS        # those that are trained
    module: str = ADDA[0]
    off: str = ""       # those of the flags that leave a part of `tuned` out


def without(name, off="", pairs=PAIRS, of=ADDA):
    """The Line of `tuned`, ADDA or DANN, without one part, which the flags `off` leave out."""
    module, flags = of
    return Line(name, "_".join(off.replace("--", "").split()) or "all", f"{flags} {off}".strip(), pairs, module, off)


LEVERS = (
    without("nothing: all of `tuned`"),
    without("pseudo-labels", "--pseudo-weight 0"),
    without("distribution alignment of pseudo-labels", "--no-alignment"),
    without("the adversary", "--adversarial-weight 0"),
    without("predictions shown to the discriminator", "--no-conditional"),
    without("less momentum while adapting", "--beta1 0.9"),
    without("standardised images", "--no-standardise"),
    without("backgrounds", "--backgrounds 0", OF_GRAY),
    without("negatives of the source", "--no-inversion", OF_COLOURED),
    without("recoloured source", "--no-permute-colours", OF_COLOURED),
    without("shrunk source", "--shrink 0"),
    without("enlarged source", "--enlarge 0", OF_COLOURED),
    without("turned and shifted digits", "--rotation 0 --shift 0"),
)
DANN_LEVERS = (       # what has earned a point on one pair need not be trained on the others
    without("nothing: all of `tuned`", of=DANN),
    without("the adversary", "--domain-weight 0", of=DANN),
    without("larger first weights of the classifier", "--classifier-gain 1", PAIRS[2:], DANN),
    without("one cycle of the learning rate: 1e-3 instead", "--lr 1e-3 --lr-schedule constant", PAIRS[1:2], DANN),
)
# no pseudo-labels, and images that are only standardised. Rows of a csv are found by their command's text, so keep the order
ALONE, FAST = "--preset report --standardise", "--lr 1e-3 --discriminator-lr 1e-3"
STEPS = "--steps-per-epoch 250 --source-epochs 6 --epochs {} --beta1 0.5 --encoder-lr 1e-4"
ADVERSARY = (
    Line("discriminator at 1e-4", "discriminator_1e-4", f"{ALONE} --lr 1e-3 {STEPS.format(6)} --discriminator-lr 1e-4"),
    Line("discriminator at 1e-3", "discriminator_1e-3", f"{ALONE} {FAST} {STEPS.format(6)}"),
    Line("… and 5,000 steps that adapt, not 1,500", "long", f"{ALONE} {FAST} {STEPS.format(20)}"),
)


def flags_of(line, source, target):
    """The flags of its module that make a Line's run on a pair, in any place and with any seed."""
    return shlex.split(f"--source {source} --target {target} {line.flags}")


def command_of(line, source, target):
    """The training command of a Line on a pair, as the csv has it."""
    return shlex.join(["python3", "-m", line.module, *flags_of(line, source, target)])


def jobs(lines, data, runs, seeds, device):
    """A training each, the first seed's first, so that a study that is stopped has whole seeds."""
    for seed in range(seeds):
        for line in lines:
            for source, target in line.pairs:
                name = f"{source}-{target}_{line.run}_seed{seed}"
                yield Job(name, [*python(line.module), *flags_of(line, source, target), "--data", str(data),
                                 "--seed", str(seed), "--device", device, "--run", str(runs / name), "--resume"],
                          environment={"OMP_NUM_THREADS": "1"})


def percent(row, column="mean"):
    """A column of a row of the csv, in percent."""
    return 100 * float(row[column])


def spread_of(row):
    """The standard deviation of a row of the csv as the end of a cell; nothing for a single seed."""
    return f" ± {percent(row, 'standard_deviation'):.1f}" if row["standard_deviation"] else ""


def lever_cell(row, whole):
    """Accuracy in %, and what it changes beside the row of `whole`."""
    change = "" if row is whole else f" ({percent(row) - percent(whole):+.1f})"
    return f"{percent(row):.1f}{spread_of(row)}{change}"


def adversary_cell(row, _):
    """Accuracy in % of the source alone and adapted."""
    before = percent(row, "source_only_mean")
    return f"{before:.1f} → {percent(row):.1f}{spread_of(row)} ({percent(row) - before:+.1f})"


class Study(NamedTuple):
    """A table: its lines, and how it is written."""
    lines: tuple
    head: str           # of the column of their names
    cell: Callable      # of a Line's row of the csv and the first Line's, of the same pair


STUDIES = {"levers": Study(LEVERS, "ADDA without", lever_cell), "dann_levers": Study(DANN_LEVERS, "DANN without", lever_cell),
           "adversary": Study(ADVERSARY, "the adversary alone", adversary_cell)}


def markdown(study, rows):
    """The `rows` of common.results.table_of as lines of markdown, for one of STUDIES. Raises UserError if one is missing."""
    lines, head, cell = STUDIES[study]
    by_command = {row["command"]: row for row in rows}

    def row_of(line, pair):
        if (command := command_of(line, *pair)) not in by_command:
            raise UserError(f"there is no finished run of {command}")
        return by_command[command]

    def cell_of(line, pair):
        return cell(row_of(line, pair), row_of(lines[0], pair)) if pair in line.pairs else "–"
    table = [[head, *map(pair_name, PAIRS)], ["---"] * (1 + len(PAIRS)),
             *([line.name, *(cell_of(line, pair) for pair in PAIRS)] for line in lines)]
    return [f"| {' | '.join(line)} |" for line in table]


def main():
    parser = CommandParser(description="Train ADDA or DANN without one part of preset tuned at a time, or ADDA with its "
                                       "adversary alone; write a csv, and print it as a table.")
    parser.add_argument("study", choices=STUDIES,
                        help="levers: ADDA without one part at a time; dann_levers: DANN; adversary: ADDA's alone")
    parser.add_argument("--data", type=any_path, default=Path("hw3_data"), metavar="DIR", help="a folder in the course layout")
    parser.add_argument("--runs", type=any_path, required=True, metavar="DIR",
                        help="folder of run folders; all that is finished in it enters the csv")
    parser.add_argument("--out", type=path_to_write, required=True, metavar="FILE.csv", help="csv to write")
    parser.add_argument("--seeds", type=number(int, 1), default=3, metavar="N", help="seeds 0 to N - 1 (default: 3)")
    parser.add_argument("--jobs", type=number(int, 1), default=max(1, (os.cpu_count() or 1) // 2), metavar="N",
                        help="how many trainings at once (default: half of the cores)")
    parser.add_argument("--device", default="auto", help="cpu, cuda … (default: cuda where there is one)")
    args = parser.parse_args()
    demand_folder_of(args.out)      # before the hours of work
    failed = run_jobs(list(jobs(STUDIES[args.study].lines, args.data, args.runs, args.seeds, args.device)), args.jobs)
    if failed:
        raise UserError(f"{', '.join(failed)} failed, see above; the same command goes on with what is not finished")
    rows = table_of([args.runs])
    write_table(rows, args.out)
    say("\n".join(markdown(args.study, rows)))


if __name__ == "__main__":
    run_command(main, "the finished epochs are saved; the same command continues from there")
