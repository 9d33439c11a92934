"""Problem 4's table and figures, from its runs.   python3 -m p4_adda.figures --runs runs/report --out report"""
from common.adaptation import NAMES, PAIRS, reported
from common.cli import UserError, percent, run_command
from common.report.maps import add_maps
from common.report.section import Section, about_seeds, missing_digits, read_figure_arguments, read_results
from common.runs.read import find_runs
from common.training.weights import load_weights
from p4_adda.model import Discriminator, LeNetClassifier, LeNetEncoder2
from p4_adda.train import prepare


def main():
    args = read_figure_arguments("Draw problem 4's part of the report: ADDA.")
    found = find_runs(args.runs, "p4", args.like)
    runs = {pair: found.get(f"p4:{'-'.join(pair)}") for pair in PAIRS}
    if not found:
        raise UserError(f"{args.runs} holds no finished run of problem 4; train some with bash p4_adda/run.sh")
    section = Section(args.out, "p4_adda", "Problem 4: ADDA, an improved adaptation")
    section.runs += [seed for run in runs.values() if run for seed in run.seeds]
    section.results = {f"{'-'.join(pair)}_{key}": run and run.mean(key) for pair, run in runs.items()
                       for key in ("target_accuracy", "source_only_accuracy")}
    some_run = section.runs[0]

    section.heading("4.1 Accuracy on the target's test images")
    dann = read_results(args.out, "p3_dann")
    section.table(["%", *(f"{NAMES[s]} → {NAMES[t]}" for s, t in PAIRS)], [
        ["source encoder alone", *(run and run.percent("source_only_accuracy") for run in runs.values())],
        ["ADDA", *(run and run.percent("target_accuracy") for run in runs.values())],
        ["in the report", *(percent(reported(pair, "adda")) for pair in PAIRS)],
        ["DANN (problem 3)", *(percent(dann.get(f"{'-'.join(pair)}_dann")) for pair in PAIRS)],
        ["in the report", *(percent(reported(pair, "dann")) for pair in PAIRS)]],
        f"{about_seeds(runs.values())} The source encoder alone has seen unlabelled target images too where source digits were "
        "blended into them. ADDA and DANN have the report's networks, which differ; so do their lower bounds."
        + missing_digits(runs.values()))

    section.heading("4.2 t-SNE of the features")
    source_encoder, target_encoder, classifier = LeNetEncoder2(), LeNetEncoder2(), LeNetClassifier()
    for pair in PAIRS:
        if runs[pair] is None:
            section.text(f"{NAMES[pair[0]]} → {NAMES[pair[1]]}: not run.")
            continue
        load_weights(runs[pair].weights, source_encoder=source_encoder, target_encoder=target_encoder)
        add_maps(section, runs[pair], prepare, {"source": source_encoder, "target": target_encoder})

    section.heading("4.3 Architecture and settings")
    section.listing(f"{target_encoder}\n{classifier}\n{Discriminator()}")
    section.settings(some_run.config)

    section.heading("4.4 Observations")
    section.text("DANN trains one extractor for both domains with one loss. ADDA trains in two stages with two encoders: the "
                 "source's is trained first and then left alone, the target's starts as its copy and moves on its own, so each "
                 "domain may be read in its own way. In place of a reversed gradient the target encoder is given inverted "
                 "labels: its loss asks the discriminator to say “source”, which still has a gradient when the discriminator "
                 "is sure. The classifier never changes, so all that is gained is gained by moving target features to where "
                 "source features lie.")
    for pair in PAIRS:
        if runs[pair] is None:
            continue
        before, after = runs[pair].mean("source_only_accuracy"), runs[pair].mean("target_accuracy")
        last = [row for row in runs[pair].rows if row["domain_accuracy"]][-1]
        section.text(f"{NAMES[pair[0]]} → {NAMES[pair[1]]}: the accuracy is {percent(before)} % before adaptation and "
                     f"{percent(after)} % after it ({100 * (after - before):+.1f} points); at the end the discriminator is "
                     f"right for {100 * float(last['domain_accuracy']):.0f} % of the features.")
    section.write()


if __name__ == "__main__":
    run_command(main)
