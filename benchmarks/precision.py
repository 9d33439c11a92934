"""Whether bfloat16 costs anything: the test metrics of short trainings in both precisions, over seeds.

    python3 -m benchmarks.precision --runs runs/precision --seeds 3

Each training has a run folder of its own. Stopped, the same command goes on with what is not finished.
"""
import statistics

from benchmarks.measure import TRAININGS, add_arguments, data_folder, in_fresh_process, train
from common.cli import CommandParser, any_path, format_table, number, progress, run_command, say
from common.files import read_json
from common.results import metric_of

PRECISIONS = ("float32", "bfloat16")
SHORT = {       # a minute of one CPU thread or less each
    "p1": ("--preset", "tuned", "--limit", 1000, "--epochs", 2),
    "p2": ("--preset", "sample", "--limit", 1000, "--epochs", 2),
    "p3": ("--preset", "tuned", "--limit", 1000, "--source-epochs", 1, "--epochs", 3, "--steps-per-epoch", 30),
    "p4": ("--preset", "tuned", "--limit", 4000, "--source-epochs", 3, "--epochs", 3, "--steps-per-epoch", 60),
}
HEADER = ("", "test metric", *PRECISIONS, "difference", "standard error of it")


def row_of(problem, summaries):
    """A row of the table, as texts: the test metric in the `summaries` of a problem's runs, by precision and seed."""
    metric = metric_of(summaries["float32"][0])
    values = [[summary[metric] for summary in summaries[precision]] for precision in PRECISIONS]
    means, variances = [statistics.mean(side) for side in values], [statistics.variance(side) for side in values]
    error = (sum(variances) / len(values[0])) ** 0.5
    shown = [f"{mean:.4f} ± {variance ** 0.5:.4f}" for mean, variance in zip(means, variances)]
    return [problem, metric.replace("_", " "), *shown, f"{means[1] - means[0]:+.4f}", f"{error:.4f}"]


def main():
    parser = CommandParser(description="Compare short trainings in float32 and in bfloat16: mean ± standard deviation over "
                                       "seeds.")
    add_arguments(parser)
    parser.add_argument("--runs", type=any_path, required=True, metavar="DIR", help="where the run folders go")
    parser.add_argument("--seeds", type=number(int, 2), default=3, metavar="N", help="how many runs of each (default: 3)")
    parser.add_argument("--limit", type=number(int, 1), metavar="N", help="only the first N images of each split")
    args = parser.parse_args()
    problems = args.problem or list(TRAININGS)
    folders = [(problem, precision, args.runs / f"{problem}_{precision}_seed{seed}", seed)
               for problem in problems for seed in range(args.seeds) for precision in PRECISIONS]
    summaries = {problem: {precision: [] for precision in PRECISIONS} for problem in problems}
    with data_folder(args.data) as data:
        for problem, precision, folder, seed in progress(folders, "trainings", "run"):
            limit = ("--limit", args.limit) if args.limit else ()
            in_fresh_process(train, problem, "--data", data, "--device", args.device, "--precision", precision, "--seed", seed,
                             "--run", folder, "--resume", *SHORT[problem], *limit)
            summaries[problem][precision].append(read_json(folder / "summary.json"))
    say(format_table(HEADER, [row_of(problem, summaries[problem]) for problem in problems]))


if __name__ == "__main__":
    run_command(main, "the finished epochs are saved; the same command continues from there")
