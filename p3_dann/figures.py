"""Problem 3's part of the report.   python3 -m p3_dann.figures --runs runs/report --out report

The runs' summaries have the numbers, words.md the words; here they are drawn, in the page's order.
"""
from common.adaptation import MODES, PAIRS, pair_name, reported
from common.cli import UserError, percent, run_command
from common.report.maps import add_maps
from common.report.section import Section, about_seeds, missing_digits, read_figure_arguments
from common.report.words import Words, shared
from common.runs.plan import same_trainings
from common.runs.read import find_runs
from common.training.weights import load_weights
from p3_dann.model import Classifier, Discriminator, FeatureExtractor, prepare

words = Words(__file__)
ROWS = {"source": "trained on source (lower bound)", "dann": "DANN", "target": "trained on target (upper bound)"}


def main():
    args = read_figure_arguments("Draw problem 3's part of the report: DANN.")
    found = find_runs(args.runs, "p3", args.like)
    if not found:
        raise UserError(f"{args.runs} holds no finished run of problem 3; train some with bash p3_dann/run.sh")
    some_settings = next(iter(found.values())).settings
    runs, accuracies = {}, {}       # by pair and mode: a run, and what its summary calls the accuracy on the pair's target
    for pair in PAIRS:
        for mode in MODES:
            selector = f"p3:{'-'.join(pair)}:{mode}"
            there = [(found.get(selector), "target_accuracy"), *(
                (found[other], "source_accuracy") for other in same_trainings(selector, some_settings) if other in found)]
            # the one with the most seeds, this one first
            runs[pair, mode], accuracies[pair, mode] = max(there, key=lambda run: len(run[0].seeds) if run[0] else 0)
    section = Section(args.out, "p3_dann", words.title, prefix="p3")
    section.runs += [seed for run in dict.fromkeys(runs.values()) if run for seed in run.seeds]
    accuracy = {key: run.mean(accuracies[key]) if run else None for key, run in runs.items()}
    section.results = {f"{'-'.join(pair)}_{mode}": accuracy[pair, mode] for pair in PAIRS for mode in MODES}
    some_run = section.runs[0]

    section.heading(words("3.1–3.3"))
    rows = []
    for mode in MODES:
        of_mode = [(pair, runs[pair, mode]) for pair in PAIRS]
        rows.append([ROWS[mode], *(run and run.percent(accuracies[pair, mode]) for pair, run in of_mode)])
        rows.append(["in the report", *(percent(reported(pair, mode)) for pair in PAIRS)])
    section.table(["%", *map(pair_name, PAIRS)], rows,
                  about_seeds(runs.values()) + missing_digits(runs.values())
                  + (f" {words('once')}" if "source_accuracy" in accuracies.values() else ""))

    section.heading(words("3.4"))
    extractor, classifier = FeatureExtractor(), Classifier()
    for pair in PAIRS:
        run = runs[pair, "dann"]
        if run is None:
            section.text(shared("not_run", pair=pair_name(pair)))
            continue
        load_weights(run.weights, extractor=extractor, classifier=classifier)
        add_maps(section, run, prepare, {"source": extractor, "target": extractor})

    section.heading(words("3.5"))
    section.listing(f"{extractor}\n{classifier}\n{Discriminator()}")
    section.settings(next((run for (_, mode), run in runs.items() if run and mode == "dann"), some_run).config)

    section.heading(words("3.6"))
    section.text(words("one_network"))
    for pair in PAIRS:
        lower, adapted, upper = (accuracy[pair, mode] for mode in MODES)
        if None in (lower, adapted, upper):
            continue
        name = pair_name(pair)
        gap = upper - lower
        verdict = (words("helps", percent=100 * (adapted - lower) / gap) if adapted > lower and gap > 0 else
                   words("does_not_help"))
        domain_accuracy = 100 * float(runs[pair, "dann"].rows[-1]["domain_accuracy"])
        kept, before = (percent(runs[pair, mode].mean("source_accuracy")) for mode in ("dann", "source"))
        section.text(words("of_pair", pair=name, verdict=verdict, lower=percent(lower), adapted=percent(adapted),
                           upper=percent(upper), kept=kept, before=before, domain_accuracy=domain_accuracy))
    gray, coloured = accuracy[PAIRS[0], "dann"], accuracy[PAIRS[2], "dann"]
    if gray is not None and coloured is not None:
        section.text(words("gray_and_coloured", gray=percent(gray), coloured=percent(coloured)))
    section.write()


if __name__ == "__main__":
    run_command(main)
