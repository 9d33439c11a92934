"""What each part of the presets `tuned` contributes: short trainings of ADDA without it, on all pairs, over seeds.

    python3 -m benchmarks.levers --data hw3_data --runs runs/levers --out docs/levers.csv

Stopped, the same command goes on with what is not finished. The csv is common.results', and its rows make the table.
"""
import os
import shlex
from pathlib import Path
from typing import NamedTuple

from common.adaptation import NAMES, PAIRS
from common.cli import CommandParser, UserError, number, run_command, say
from common.results import table_of, write_table
from common.runs.jobs import Job, python, run_jobs

SHORT = "--preset tuned --source-epochs 6 --epochs 6"      # 1,500 steps on the source and 1,500 that adapt
OF_GRAY, OF_COLOURED = PAIRS[:1], PAIRS[1:]     # pairs by their source


class Lever(NamedTuple):
    name: str
    flags: str          # of p4_adda.train, which turn it off
    pairs: tuple = PAIRS        # those in which it does something


LEVERS = (
    Lever("nothing: all of `tuned`", ""),
    Lever("pseudo-labels", "--pseudo-weight 0"),
    Lever("distribution alignment of these", "--no-alignment"),
    Lever("the adversary", "--adversarial-weight 0"),
    Lever("predictions shown to the discriminator", "--no-conditional"),
    Lever("less momentum while adapting", "--beta1 0.9"),
    Lever("standardised images", "--no-standardise"),
    Lever("backgrounds", "--backgrounds 0", OF_GRAY),
    Lever("negatives", "--no-inversion"),
    Lever("neighbours", "--neighbours 0", OF_COLOURED),
    Lever("blurred source", "--blur 0", OF_COLOURED),
    Lever("recoloured source", "--no-permute-colours", OF_COLOURED),
    Lever("shrunk source", "--shrink 0"),
    Lever("enlarged source", "--enlarge 0", OF_COLOURED),
    Lever("turned and shifted digits", "--rotation 0 --shift 0"),
)


def flags_of(lever, source, target):
    """The flags of p4_adda.train that make a lever's run on a pair, in any place and with any seed."""
    return shlex.split(f"--source {source} --target {target} {SHORT} {lever.flags}")


def command_of(lever, source, target):
    """The training command of a lever on a pair, as the csv has it."""
    return shlex.join(["python3", "-m", "p4_adda.train", *flags_of(lever, source, target)])


def jobs(data, runs, seeds, device):
    """A training each, the first seed's first, so that a study that is stopped has whole columns."""
    for seed in range(seeds):
        for lever in LEVERS:
            for source, target in lever.pairs:
                name = f"{source}-{target}_{'_'.join(lever.flags.replace('--', '').split()) or 'all'}_seed{seed}"
                yield Job(name, [*python("p4_adda.train"), *flags_of(lever, source, target), "--data", str(data),
                                 "--seed", str(seed), "--device", device, "--run", str(runs / name), "--resume"],
                          environment={"OMP_NUM_THREADS": "1"})


def levers_table(rows):
    """The `rows` of common.results.table_of as lines of markdown: accuracy in %, and what is lost without each lever."""
    by_command = {row["command"]: row for row in rows}

    def cell(lever, pair):
        if pair not in lever.pairs:
            return "–"
        row, whole = (by_command[command_of(one, *pair)] for one in (lever, LEVERS[0]))
        spread = f" ± {100 * float(row['standard_deviation']):.1f}" if row["standard_deviation"] else ""
        change = "" if row is whole else f" ({100 * (float(row['mean']) - float(whole['mean'])):+.1f})"
        return f"{100 * float(row['mean']):.1f}{spread}{change}"
    lines = [["without", *(f"{NAMES[source]} → {NAMES[target]}" for source, target in PAIRS)], ["---"] * (1 + len(PAIRS)),
             *([lever.name, *(cell(lever, pair) for pair in PAIRS)] for lever in LEVERS)]
    return [f"| {' | '.join(line)} |" for line in lines]


def main():
    parser = CommandParser(description="Train ADDA without one part of preset tuned at a time, and write what that costs.")
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), metavar="DIR", help="a folder in the course layout")
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="where the run folders go")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="csv to write")
    parser.add_argument("--seeds", type=number(int, 1), default=3, metavar="N", help="how many seeds (default: 3)")
    parser.add_argument("--jobs", type=number(int, 1), default=max(1, (os.cpu_count() or 1) // 2), metavar="N",
                        help="how many trainings at once (default: half of the cores)")
    parser.add_argument("--device", default="auto", help="cpu, cuda … (default: cuda where there is one)")
    args = parser.parse_args()
    failed = run_jobs(list(jobs(args.data, args.runs, args.seeds, args.device)), args.jobs)
    if failed:
        raise UserError(f"{', '.join(failed)} failed, see above; the same command goes on with what is not finished")
    rows = table_of([args.runs])
    write_table(rows, args.out)
    say("\n".join(levers_table(rows)))


if __name__ == "__main__":
    run_command(main, "the finished epochs are saved; the same command continues from there")
