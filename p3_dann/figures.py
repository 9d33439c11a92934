"""Problem 3's table and figures, from its runs.   python3 -m p3_dann.figures --runs runs/report --out report"""
from common.adaptation import MODES, NAMES, PAIRS, reported
from common.cli import UserError, percent, run_command
from common.report.maps import add_maps
from common.report.section import Section, about_seeds, missing_digits, read_figure_arguments
from common.runs.read import find_runs
from common.training.weights import load_weights
from p3_dann.model import Classifier, Discriminator, FeatureExtractor
from p3_dann.train import prepare

ROWS = {"source": "trained on source (lower bound)", "dann": "DANN", "target": "trained on target (upper bound)"}


def main():
    args = read_figure_arguments("Draw problem 3's part of the report: DANN.")
    found = find_runs(args.runs, "p3", args.like)
    runs = {(pair, mode): found.get(f"p3:{'-'.join(pair)}:{mode}") for pair in PAIRS for mode in MODES}
    if not found:
        raise UserError(f"{args.runs} holds no finished run of problem 3; train some with bash p3_dann/run.sh")
    section = Section(args.out, "p3_dann", "Problem 3: DANN on digits")
    section.runs += [seed for run in runs.values() if run for seed in run.seeds]
    accuracy = {key: run.mean("target_accuracy") if run else None for key, run in runs.items()}
    section.results = {f"{'-'.join(pair)}_{mode}": accuracy[pair, mode] for pair in PAIRS for mode in MODES}
    some_run = section.runs[0]

    section.heading("3.1–3.3 Accuracy on the target's test images")
    rows = []
    for mode in MODES:
        rows.append([ROWS[mode], *(runs[pair, mode] and runs[pair, mode].percent("target_accuracy") for pair in PAIRS)])
        rows.append(["in the report", *(percent(reported(pair, mode)) for pair in PAIRS)])
    section.table(["%", *(f"{NAMES[s]} → {NAMES[t]}" for s, t in PAIRS)], rows,
                  about_seeds(runs.values()) + missing_digits(runs.values()))

    section.heading("3.4 t-SNE of the features")
    extractor, classifier = FeatureExtractor(), Classifier()
    for pair in PAIRS:
        run = runs[pair, "dann"]
        if run is None:
            section.text(f"{NAMES[pair[0]]} → {NAMES[pair[1]]}: not run.")
            continue
        load_weights(run.weights, extractor=extractor, classifier=classifier)
        add_maps(section, run, prepare, {"source": extractor, "target": extractor})

    section.heading("3.5 Architecture and settings")
    section.listing(f"{extractor}\n{classifier}\n{Discriminator()}")
    section.settings(next((run for (_, mode), run in runs.items() if run and mode == "dann"), some_run).config)

    section.heading("3.6 Observations")
    section.text("All three domains go through one network, so USPS's gray images are given three equal channels. The "
                 "opposite, making MNIST-M and SVHN gray, would throw away what tells a digit from its background.")
    for pair in PAIRS:
        lower, adapted, upper = (accuracy[pair, mode] for mode in MODES)
        if None in (lower, adapted, upper):
            continue
        name = f"{NAMES[pair[0]]} → {NAMES[pair[1]]}"
        gap = upper - lower
        verdict = (f"closes {100 * (adapted - lower) / gap:.0f} % of the gap between the two bounds"
                   if adapted > lower and gap > 0 else "does not help")
        epochs = [float(row["domain_accuracy"]) for row in runs[pair, "dann"].rows]
        kept, before = (percent(runs[pair, mode].mean("source_accuracy")) for mode in ("dann", "source"))
        section.text(f"{name}: DANN {verdict} (lower bound {percent(lower)} %, DANN {percent(adapted)} %, upper bound "
                     f"{percent(upper)} %). It labels {kept} % of the source's own test images rightly, the lower bound "
                     f"{before} %; where the source is not learned, nothing can be carried over. In its last epoch the "
                     f"discriminator tells the domain of {100 * epochs[-1]:.0f} % of the features rightly; 50 % would be "
                     "perfect confusion.")
    gray, coloured = accuracy[PAIRS[0], "dann"], accuracy[PAIRS[2], "dann"]
    if gray is not None and coloured is not None:
        section.text(f"From a gray source to a coloured target (USPS → MNIST-M) DANN reaches {percent(gray)} %, from a "
                     f"coloured source to a gray target (SVHN → USPS) {percent(coloured)} %. The report found the former "
                     "harder: a network that has seen strokes on black alone has no features for coloured backgrounds.")
    section.write()


if __name__ == "__main__":
    run_command(main)
