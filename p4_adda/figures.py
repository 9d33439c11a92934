"""Problem 4's part of the report.   python3 -m p4_adda.figures --runs runs/report --out report

The runs' summaries have the numbers, words.md the words; here they are drawn, in the page's order.
"""
from common.adaptation import NAMES, PAIRS, reported
from common.cli import UserError, percent, run_command
from common.report.maps import add_maps
from common.report.section import Section, about_seeds, missing_digits, read_figure_arguments, read_results
from common.report.words import Words, shared
from common.runs.read import find_runs
from common.training.weights import load_weights
from p4_adda.model import Discriminator, LeNetClassifier, LeNetEncoder2
from p4_adda.train import prepare

words = Words(__file__)


def main():
    args = read_figure_arguments("Draw problem 4's part of the report: ADDA.")
    found = find_runs(args.runs, "p4", args.like)
    runs = {pair: found.get(f"p4:{'-'.join(pair)}") for pair in PAIRS}
    if not found:
        raise UserError(f"{args.runs} holds no finished run of problem 4; train some with bash p4_adda/run.sh")
    section = Section(args.out, "p4_adda", words.title, prefix="p4")
    section.runs += [seed for run in runs.values() if run for seed in run.seeds]
    section.results = {f"{'-'.join(pair)}_{key}": run and run.mean(key) for pair, run in runs.items()
                       for key in ("target_accuracy", "source_only_accuracy")}
    some_run = section.runs[0]

    section.heading(words("4.1"))
    dann = read_results(args.out, "p3_dann")
    section.table(["%", *(f"{NAMES[s]} → {NAMES[t]}" for s, t in PAIRS)], [
        ["source encoder alone", *(run and run.percent("source_only_accuracy") for run in runs.values())],
        ["ADDA", *(run and run.percent("target_accuracy") for run in runs.values())],
        ["in the report", *(percent(reported(pair, "adda")) for pair in PAIRS)],
        ["DANN (problem 3)", *(percent(dann.get(f"{'-'.join(pair)}_dann")) for pair in PAIRS)],
        ["in the report", *(percent(reported(pair, "dann")) for pair in PAIRS)]],
        f"{about_seeds(runs.values())} {words('accuracies')}{missing_digits(runs.values())}")

    section.heading(words("4.2"))
    source_encoder, target_encoder, classifier = LeNetEncoder2(), LeNetEncoder2(), LeNetClassifier()
    for pair in PAIRS:
        if runs[pair] is None:
            section.text(shared("not_run", pair=f"{NAMES[pair[0]]} → {NAMES[pair[1]]}"))
            continue
        load_weights(runs[pair].weights, source_encoder=source_encoder, target_encoder=target_encoder)
        add_maps(section, runs[pair], prepare, {"source": source_encoder, "target": target_encoder})

    section.heading(words("4.3"))
    section.listing(f"{target_encoder}\n{classifier}\n{Discriminator()}")
    section.settings(some_run.config)

    section.heading(words("4.4"))
    section.text(words("against_dann"))
    for pair in PAIRS:
        if runs[pair] is None:
            continue
        before, after = runs[pair].mean("source_only_accuracy"), runs[pair].mean("target_accuracy")
        last = [row for row in runs[pair].rows if row["domain_accuracy"]][-1]
        section.text(words("of_pair", pair=f"{NAMES[pair[0]]} → {NAMES[pair[1]]}", before=percent(before), after=percent(after),
                           points=100 * (after - before), domain_accuracy=100 * float(last["domain_accuracy"])))
    section.write()


if __name__ == "__main__":
    run_command(main)
