"""Problem 4's part of the report.   python3 -m p4_adda.figures --runs runs/report --out report

The runs' summaries have the numbers, words.md the words; here they are drawn, in the page's order.
"""
from common.adaptation import PAIRS, pair_name, reported
from common.cli import YES_NO, UserError, percent, run_command
from common.report.maps import add_maps
from common.report.plots import draw_curves
from common.report.section import Section, about_seeds, missing_digits, read_figure_arguments, read_results
from common.report.words import Words, shared
from common.runs.plan import COLLAPSE
from common.runs.read import find_runs
from common.training.weights import load_weights
from p4_adda.model import Discriminator, LeNetClassifier, LeNetEncoder2, prepare

words = Words(__file__)


def add_collapse(section, collapsed, run):
    """What the report's adaptation does: `collapsed`, the run COLLAPSE, beside `run`, which differs in that alone."""
    section.heading(words("4.5"))
    both = {"as the report's": collapsed, "here": run}
    path = section.figure("collapse", words("collapse"))
    draw_curves(path, {name: one.rows for name, one in both.items()}, [
        ("loss", {"discriminator_loss": "discriminator"}), ("fraction right", {"domain_accuracy": "features"})])
    section.table(["adaptation", "target encoder's learning rate", "before, %", "after, %", "entropy, nats"], [
        [name, f"{one.settings['encoder_lr']:g}", one.percent("source_only_accuracy"), one.percent("target_accuracy"),
         f"{one.mean('target_entropy'):.3f}"] for name, one in both.items()],
        words("collapse_table", pair=pair_name(run.settings[role] for role in ("source", "target"))))
    show = lambda value: YES_NO.get(str(value), str(value))
    changed = [name for name in COLLAPSE.defining if collapsed.settings[name] != run.settings[name]]
    section.text(words("collapse_settings", changes="; ".join(
        f"{name.replace('_', ' ')} {show(collapsed.settings[name])}, here {show(run.settings[name])}" for name in changed)))
    section.results["collapse"] = {key: collapsed.mean(key) for key in ("source_only_accuracy", "target_accuracy")}


def main():
    args = read_figure_arguments("Draw problem 4's part of the report: ADDA.")
    found = find_runs(args.runs, "p4", args.like)
    runs = {pair: found.get(f"p4:{'-'.join(pair)}") for pair in PAIRS}
    if not any(runs.values()):
        raise UserError(f"{args.runs} holds no finished run of problem 4; train some with bash p4_adda/run.sh")
    section = Section(args.out, "p4_adda", words.title, prefix="p4")
    collapsed = found.get(COLLAPSE.selector) if runs[PAIRS[0]] else None
    section.runs += [seed for run in (*runs.values(), collapsed) if run for seed in run.seeds]
    section.results = {f"{'-'.join(pair)}_{key}": run and run.mean(key) for pair, run in runs.items()
                       for key in ("target_accuracy", "source_only_accuracy")}
    some_run = section.runs[0]

    section.heading(words("4.1"))
    dann = read_results(args.out, "p3_dann")
    section.table(["%", *map(pair_name, PAIRS)], [
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
            section.text(shared("not_run", pair=pair_name(pair)))
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
        domain_accuracy = 100 * float(runs[pair].rows[-1]["domain_accuracy"])
        section.text(words("of_pair", pair=pair_name(pair), before=percent(before), after=percent(after),
                           points=100 * (after - before), domain_accuracy=domain_accuracy))
    if collapsed:
        add_collapse(section, collapsed, runs[PAIRS[0]])
    section.write()


if __name__ == "__main__":
    run_command(main)
