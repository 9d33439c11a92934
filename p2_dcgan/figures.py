"""Problem 2's part of the report.   python3 -m p2_dcgan.figures --runs runs/report --out report

measure.py has the numbers, words.md the words; here they are drawn, in the page's order.
"""
import math
import statistics

from common.cli import UserError, run_command
from common.data.layout import load_faces
from common.metrics.faces import COLUMNS, MEANINGS, as_row, lacking
from common.report.numbers import kept_numbers
from common.report.plots import draw_curves, draw_grid, draw_image_panels
from common.report.section import Section, percent_of, read_figure_arguments, read_results
from common.report.words import Words, shared
from common.runs.plan import NOISES
from common.runs.read import find_runs
from common.training.weights import load_weights
from p2_dcgan.inference import sample
from p2_dcgan.measure import measure_runs
from p2_dcgan.model import Discriminator, Generator

words = Words(__file__)


def compare_noises(measured):
    """A sentence on the two noises' samples: `measured`, for each of NOISES what `measure` says of each of its runs."""
    means = {noise: [run["swd"]["mean"][0] for run in measured[noise]] for noise in NOISES}
    seeds = min(map(len, means.values()))
    show = lambda values: f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if seeds > 1 else "")
    difference = statistics.mean(means["gaussian"]) - statistics.mean(means["uniform"])
    text = words("noises", uniform=show(means["uniform"]), gaussian=show(means["gaussian"]))
    if seeds == 1:
        return f"{text} {words('one_seed')}"
    spread_of_means = math.sqrt(sum(statistics.variance(values) / len(values) for values in means.values()))
    verdict = words("not_better") if abs(difference) < 2 * spread_of_means else words("better" if difference > 0 else "worse")
    return f"{text} {verdict}: " + words("several_seeds", seeds=seeds, difference=difference, error=spread_of_means)


def describe_changes(settings):
    """Sentences on what the generator was shown as real."""
    changes = [name.replace("_", " ") for name in ("horizontal_flip", "vertical_flip", "brightness_contrast") if settings[name]]
    odd = [*[words("on_their_heads")] * bool(settings["vertical_flip"]),
           *[words("odd_colours")] * bool(settings["brightness_contrast"])]
    return " ".join([
        words("imitates"), words("changed", changes=", ".join(changes)) if changes else words("not_changed"),
        *[words("expect", odd=" and ".join(odd))] * bool(odd),
        *[words("changed_alike")] * (settings["diff_augment"] != "none")])


def add_comparison(section, runs, numbers, vae):
    """The table of both models' metrics, and what it says; `vae`: those of problem 1's samples, None where there are none."""
    gan, real, few = numbers["uniform"][0], numbers["real"], min(numbers["faces"].values()) < 2
    rows = [["VAE", *as_row(vae)]] if vae else []
    for noise, run in runs.items():
        several = len(run.seeds) > 1
        rows += [[f"DCGAN, {noise}" + (f", seed {seed.settings['seed']}" if several else ""), *as_row(measured)]
                 for seed, measured in zip(run.seeds, numbers[noise])]
    rows.append(["real test faces", *as_row(real)])
    section.table(["", *COLUMNS], rows, words("table", meanings=MEANINGS))
    if few:
        return
    # a section of an older version may lack some
    known = vae if vae and None not in map(vae.get, ("sharpness", "diversity", "swd")) else None
    if known:
        section.text(words("sharper", factor=gan["sharpness"] / vae["sharpness"], gan=gan["diversity"], vae=vae["diversity"]))
    floor = real["swd"]["mean"][0]
    note = words("distance_note_vae", vae=vae["swd"]["mean"][0], real=floor) if known else words("distance_note", real=floor)
    section.headline(f"{gan['swd']['mean'][0]:.1f}", words("distance"), note)
    section.headline(f"{gan['diversity']:.3f}", words("diversity"), words("diversity_note", real=real["diversity"]))


def main():
    args = read_figure_arguments("Draw problem 2's part of the report: the DCGAN.")
    found = find_runs(args.runs, "p2", args.like)
    runs = {noise: found[f"p2:{noise}"] for noise in NOISES if f"p2:{noise}" in found}
    run = runs.get("uniform")
    if run is None:
        raise UserError(f"{args.runs / 'p2_dcgan_uniform'} holds no finished run; train one with bash p2_dcgan/run.sh")
    section = Section(args.out, "p2_dcgan", words.title, prefix="p2")
    section.runs += [seed for noise in runs.values() for seed in noise.seeds]
    numbers = kept_numbers(section, section.runs, lambda: measure_runs(runs), lacking=lacking())
    section.results = {name: value for name, value in numbers.items() if name != "faces"}
    section.results["train_seconds"] = run.summary["train_seconds"]
    settings, generator, few = run.settings, Generator(), min(numbers["faces"].values()) < 2

    section.heading(words("2.1"))
    section.listing(f"{generator}\n{Discriminator()}")
    section.settings(run.config)

    section.heading(words("2.2"))
    grids = {}
    for noise in runs:
        meta = load_weights(runs[noise].weights, generator=generator)
        grids[noise] = section.figure(f"samples_{noise}", words("samples", noise=noise), half=True)
        draw_grid(grids[noise], sample(generator, meta["noise"]))

    section.heading(words("2.3"))
    draw_curves(section.figure("curves", words("curves")), {noise: runs[noise].rows for noise in runs}, [
        ("loss", {"discriminator_loss": "discriminator", "generator_loss": "generator"}),
        ("discriminator's mean score", {"real_score": "real faces", "fake_score": "generated faces"})])
    saved = sorted((run.folder / "samples").glob("epoch_*.png"))
    stages = sorted({0, len(saved) // 2, len(saved) - 1})
    draw_image_panels(section.figure("progress", words("progress")),
                      [(f"epoch {int(saved[k].stem.removeprefix('epoch_'))}", saved[k]) for k in stages])
    middle, end = run.rows[(len(run.rows) - 1) // 2], run.rows[-1]
    course = words("course", epoch=middle["epoch"], middle=float(middle["generator_loss"]), end=float(end["generator_loss"]))
    section.text(words("losses", course="" if middle is end else f": {course}"))
    section.text(words("detach"))
    if few:
        section.text(shared("too_few", **numbers["faces"]))
    else:
        ours, real = numbers["uniform"][0]["diversity"], numbers["real"]["diversity"]
        section.text(words("collapse", samples=ours, percent=percent_of(ours, real)))
    if "gaussian" in runs and not few:
        section.text(compare_noises(numbers))
    section.text(describe_changes(settings))

    section.heading(words("2.4"))
    vae = read_results(args.out, "p1_vae").get("samples")
    vae_grid = args.out / "figures" / "p1_samples.png"
    if vae and vae_grid.is_file():
        real_grid = args.out / "figures" / "p2_real.png"
        draw_grid(real_grid, load_faces(settings["data"], "test", settings["limit"]).images[:32] / 255)
        draw_image_panels(section.figure("vae_gan", words("vae_gan")),
                          [("VAE", vae_grid), ("DCGAN", grids["uniform"]), ("real", real_grid)])
    else:
        section.text(words("no_vae"))
    add_comparison(section, runs, numbers, vae)
    section.write()


if __name__ == "__main__":
    run_command(main)
