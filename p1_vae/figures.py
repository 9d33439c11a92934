"""Problem 1's part of the report.   python3 -m p1_vae.figures --runs runs/report --out report

measure.py has the numbers, words.md the words; here they are drawn, in the page's order.
"""
import statistics

import torch

from common.cli import UserError, percent, run_command
from common.data.layout import ATTRIBUTES, load_faces
from common.metrics.faces import lacking, show_interval
from common.report.maps import POINTS
from common.report.numbers import kept_numbers
from common.report.plots import (
    HALF,
    draw_curves,
    draw_grid,
    draw_rate_distortion,
    draw_reconstructions,
    draw_rows,
    draw_scatter,
)
from common.report.section import Section, percent_of, read_figure_arguments
from common.report.words import Words, shared
from common.runs.read import find_runs
from common.training.weights import load_weights
from p1_vae.inference import sample
from p1_vae.latent import interpolate
from p1_vae.measure import measure_runs
from p1_vae.model import VAE, decode, encode

REPORTED_MSE = (0.148, 0.107, 0.096, 0.082, 0.068, 0.081, 0.092, 0.085, 0.077, 0.092)   # of the ten test images printed there
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair")
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
GENDER_NAMES, HAIR_NAMES = ("not male", "male"), ("black", "blond", "brown", "other")
GENDER_COLOURS, HAIR_COLOURS = ("#0072B2", "#D55E00"), ("#222222", "#E69F00", "#8A5A2B", "#56B4E9")
words = Words(__file__)


def add_trade_off(section, runs, numbers):
    """Rate against distortion for `runs`, the chosen one first."""
    rows, chosen = numbers["kl_weights"], runs[0].settings["kl_weight"]
    weights = {run.settings["kl_weight"]: run.weights for run in runs}
    names, strips, vae = [f"{row['kl_weight']:g}" for row in rows], [], VAE()
    for row in rows:
        load_weights(weights[row["kl_weight"]], vae=vae)
        strips.append(sample(vae, 8))
    path = section.figure("rate_distortion", words("rate_distortion"), half=True)
    draw_rate_distortion(path, [(name, row["test_kl"], row["test_mse"]) for name, row in zip(names, rows)], f"{chosen:g}")
    draw_rows(section.figure("weights_samples", words("weights_samples"), half=True), strips, names, width=HALF)

    floor = numbers["real"]["swd"]
    section.table(["KL weight", "test KL, nats", "test MSE", "SWD of samples"],
                  [[f"{name}{', chosen' * (row['kl_weight'] == chosen)}", f"{row['test_kl']:.1f}", f"{row['test_mse']:.4f}",
                    show_interval(row["swd"])] for name, row in zip(names, rows)],
                  words("weights_and_floor", floor=floor["mean"][0]) if floor else words("weights"))
    if len(rows) > 1 and floor:
        sharpest, likeliest = min(rows, key=lambda row: row["test_mse"]), min(rows, key=lambda row: row["swd"][0])
        own = next(row for row in rows if row["kl_weight"] == chosen)
        section.text(words("best_weights", sharpest=sharpest["kl_weight"], least_mse=sharpest["test_mse"],
                           likeliest=likeliest["kl_weight"], least_swd=show_interval(likeliest["swd"]), chosen=chosen,
                           mse=own["test_mse"], swd=show_interval(own["swd"])))


def add_maps(section, points, faces):
    """Two maps of the first test `faces` (Faces), whose latent means t-SNE puts at `points`; they may be None."""
    chosen = faces.attributes[:POINTS]
    if points is None:
        section.text(words("no_map", faces=len(chosen)))
        return
    male = chosen[:, ATTRIBUTES.index("Male")]
    # hair: 0 to 2 in the order of HAIR, 3 where none or several are marked
    marks = chosen[:, [ATTRIBUTES.index(name) for name in HAIR]]
    hair = torch.where(marks.sum(dim=1) == 1, marks.int().argmax(dim=1), 3)
    labels = [f"{GENDER_NAMES[m]}, {HAIR_NAMES[h]} hair" for m, h in zip(male.tolist(), hair.tolist())]
    path = section.figure("tsne_gender", words("map_gender", faces=len(chosen)), half=True)
    spots = draw_scatter(path, points, "gender", male, GENDER_NAMES, GENDER_COLOURS)
    section.show_images("test", spots, faces.images[:POINTS], labels)
    path = section.figure("tsne_hair", words("map_hair"), half=True)
    spots = draw_scatter(path, points, "hair colour", hair, HAIR_NAMES, HAIR_COLOURS)
    section.show_images("test", spots, faces.images[:POINTS], labels)


def add_probes(section, probes):
    """The table of linear probes, as `probe` returns them."""
    section.table(["attribute", "probe", "majority", "gain", "AUC"],
                  [[name.replace("_", " "), *([None] * 4 if row is None else [
                      percent(row["accuracy"]), percent(row["majority"]), f"{100 * (row['accuracy'] - row['majority']):+.2f}",
                      f"{row['auc']:.3f}"])] for name, row in probes.items()], words("probes"))


def add_observations(section, rows, numbers):
    """Sentences on the `rows` of metrics.csv and the numbers of the run that is shown."""
    curve = [float(row["reconstruction"]) for row in rows]
    early = min(3, len(curve)) - 1
    if curve[0] > curve[-1]:
        fall = curve[0] - curve[-1]
        section.text(words("convergence", fall=fall, percent=100 * (curve[0] - curve[early]) / fall, epoch=early + 1,
                           epochs=len(curve)))
    real, samples = numbers["real"], numbers["samples"]
    section.text(words("blur", reconstructions=percent_of(numbers["reconstruction_sharpness"], real["sharpness"]),
                       samples=percent_of(samples["sharpness"], real["sharpness"])))
    if real["diversity"] is not None:
        section.text(words("sameness", samples=samples["diversity"], reconstructions=numbers["reconstruction_diversity"],
                           real=real["diversity"]))
    if numbers["gender_silhouette"] is not None:
        section.text(words("attributes_apart", silhouette=numbers["gender_silhouette"]))
    if probed := {name: row for name, row in numbers["probes"].items() if row}:
        best, worst = (choose(probed, key=lambda name: probed[name]["auc"]) for choose in (max, min))
        mean = lambda key: statistics.mean(row[key] for row in probed.values())
        section.text(words("probed", best=best.replace("_", " "), best_auc=probed[best]["auc"], worst=worst.replace("_", " "),
                           worst_auc=probed[worst]["auc"], count=len(probed), accuracy=100 * mean("accuracy"),
                           majority=100 * mean("majority")))


def add_latent_figures(section, vae, faces, directions):
    """Ways through the latent, for the first of the test `faces` (Faces); `directions` of attributes as measured."""
    first = faces.images[:10]
    latents, fractions = encode(vae, first)[0], torch.linspace(0, 1, 7)
    pairs = range(0, len(first) - 1, 2)
    if pairs:
        path = section.figure("interpolation", words("interpolation"))
        draw_rows(path, [torch.cat([first[i:i + 1] / 255, decode(vae, interpolate(latents[i], latents[i + 1], fractions)),
                                    first[i + 1:i + 2] / 255]) for i in pairs], [f"{i + 1} to {i + 2}" for i in pairs],
                  ["face", *(f"{fraction:.2f}" for fraction in fractions.tolist()), "face"])
    else:
        section.text(words("no_interpolation"))

    strengths = torch.tensor(STRENGTHS)[:, None]
    rows, names = [], []
    for name, direction in directions.items():
        lacking_it = faces.images[faces.attributes[:, ATTRIBUTES.index(name)] == 0][:2]
        if direction is not None and len(lacking_it) == 2:
            step = strengths * torch.tensor(direction)
            rows.append(torch.cat([torch.cat([face[None] / 255, decode(vae, latent + step)])
                                   for face, latent in zip(lacking_it, encode(vae, lacking_it)[0])]))
            names.append(name.replace("_", "\n", 1).replace("_", " "))
    if rows:
        path = section.figure("attributes", words("attributes"))
        draw_rows(path, rows, names, 2 * ["face", *(f"+{strength:g}" for strength in STRENGTHS)])
    else:
        section.text(words("no_attributes"))


def main():
    args = read_figure_arguments("Draw problem 1's part of the report: the VAE.")
    runs = find_runs(args.runs, "p1", args.like)
    run = runs.pop("p1", None)
    if run is None:
        raise UserError(f"{args.runs / 'p1_vae'} holds no finished run; train one with bash p1_vae/run.sh")
    section = Section(args.out, "p1_vae", words.title, prefix="p1")
    others = [other for other in runs.values() if other.settings["kl_weight"] != run.settings["kl_weight"]]
    section.runs += [run, *others]
    numbers = kept_numbers(section, section.runs, lambda: measure_runs(run, others), lacking=lacking())
    section.results = {name: value for name, value in numbers.items()
                       if name not in ("faces", "errors", "points", "directions")}
    section.results |= {
        "kl_weights": {row["kl_weight"]: {name: row[name] for name in ("test_mse", "test_kl", "swd")}
                       for row in numbers["kl_weights"]},
        "ten_mse": [round(error, 4) for error in numbers["errors"]], "train_seconds": run.summary["train_seconds"]}
    vae = VAE()
    load_weights(run.weights, vae=vae)
    faces = load_faces(run.settings["data"], "test", run.settings["limit"])
    count, errors = numbers["faces"], numbers["errors"]

    section.heading(words("1.1"))
    section.listing(str(vae))
    section.settings(run.config)

    section.heading(words("1.2"))
    draw_curves(section.figure("curves", words("curves")), {"VAE": run.rows}, [
        ("reconstruction loss", {"reconstruction": "reconstruction"}), ("KL divergence", {"kl": "KL"}),
        ("test MSE", {"test_mse": "test MSE"})])

    section.heading(words("1.3"))
    path = section.figure("reconstructions", words("reconstructions"))
    draw_reconstructions(path, faces.images[:10] / 255, decode(vae, encode(vae, faces.images[:10])[0]), errors)
    reported = statistics.mean(REPORTED_MSE)
    section.table(["test image", *range(1, 11), "mean"],
                  [["MSE", *(f"{e:.4f}" for e in errors), *[None] * (10 - len(errors)), f"{statistics.mean(errors):.4f}"],
                   ["MSE, report", *REPORTED_MSE, f"{reported:.4f}"]],
                  words("errors", faces=count["test"], test_mse=numbers["test_mse"]))

    section.heading(words("1.4"))
    draw_grid(section.figure("samples", words("samples")), sample(vae))
    if min(count.values()) < 2:
        section.text(shared("too_few", **count))
    add_trade_off(section, [run, *others], numbers)

    section.heading(words("1.5"))
    add_maps(section, numbers["points"], faces)
    add_probes(section, numbers["probes"])

    section.headline(f"{numbers['test_mse']:.4f}", words("headline"), words("headline_note", reported=reported))
    section.heading(words("1.6"))
    add_observations(section, run.rows, numbers)

    section.heading(words("1.7"))
    add_latent_figures(section, vae, faces, numbers["directions"])
    section.write()


if __name__ == "__main__":
    run_command(main)
