"""Problem 1's tables and figures, from its run.   python3 -m p1_vae.figures --runs runs/report --out report"""
import numpy as np
import torch
from sklearn.metrics import silhouette_score

from common.cli import UserError, percent, run_command
from common.data.layout import ATTRIBUTES, load_faces
from common.metrics.faces import measure, pairwise_diversity, sharpness, show_interval, sliced_wasserstein, spread, too_few
from common.report.plots import (
    DOMAIN_COLOURS,
    FEW_COLOURS,
    HALF,
    MARKERS,
    draw_curves,
    draw_grid,
    draw_rate_distortion,
    draw_reconstructions,
    draw_rows,
    draw_scatter,
    embed,
)
from common.report.section import Section, percent_of, read_figure_arguments
from common.runs.read import find_runs
from common.training.augment import to_bytes
from common.training.weights import load_weights
from p1_vae.inference import sample
from p1_vae.latent import direction, interpolate, probe
from p1_vae.model import VAE
from p1_vae.train import decode, encode, evaluate, image_kl, image_mse

REPORT_MSE = (0.148, 0.107, 0.096, 0.082, 0.068, 0.081, 0.092, 0.085, 0.077, 0.092)     # the report's ten test images
TSNE_FACES = 1000
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair")
EDITS = ("Smiling", "Mouth_Slightly_Open", "Male", "Blond_Hair", "Bangs")      # attributes that are added to faces
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
GENDER_NAMES, HAIR_NAMES = ("not male", "male"), ("black", "blond", "brown", "other")


def add_trade_off(section, runs, test, train):
    """Rate against distortion for `runs`, the chosen one first; `test` and `train` faces uint8 [N, 3, 64, 64]."""
    vae, rows, strips = VAE(), {}, {}
    for run in sorted(runs, key=lambda run: run.settings["kl_weight"], reverse=True):
        weight = run.settings["kl_weight"]
        load_weights(run.weights, vae=vae)
        strips[weight] = sample(vae, 8)
        if run is runs[0]:      # measured already
            rows[weight] = {name: section.results[name] for name in ("test_mse", "test_kl")}
            swd = section.results["samples"]["swd"]
        else:
            rows[weight] = evaluate(vae, test)
            swd = sliced_wasserstein(to_bytes(sample(vae, len(spread(test)))), train)
        rows[weight]["swd"] = swd and swd["mean"]
    section.results["kl_weights"] = rows
    chosen = runs[0].settings["kl_weight"]
    path = section.figure("rate_distortion", "Rate against distortion over the test faces, a point for each weight of the KL "
                          "divergence; the ring marks the run that this section shows. The more weight, the fewer nats an "
                          "image, and the larger the error should be.", half=True)
    draw_rate_distortion(path, [(f"{w:g}", row["test_kl"], row["test_mse"]) for w, row in rows.items()], f"{chosen:g}")
    path = section.figure("weights_samples", "Samples of these runs, decoded from the same eight draws from N(0, I). With "
                          "little weight, the latents of faces lie where N(0, I) seldom draws: look for samples "
                          "that are no faces.", half=True)
    draw_rows(path, list(strips.values()), [f"{weight:g}" for weight in strips], width=HALF)
    show = lambda weight: "–" if rows[weight]["swd"] is None else show_interval(rows[weight]["swd"])
    floor = section.results["real"]["swd"]
    section.table(["KL weight", "test KL, nats", "test MSE", "SWD of samples"],
                  [[f"{weight:g}{', chosen' * (weight == chosen)}", f"{row['test_kl']:.1f}", f"{row['test_mse']:.4f}",
                    show(weight)] for weight, row in rows.items()],
                  "SWD: sliced Wasserstein distance × 1000 of the samples to the training faces, mean of three levels, with "
                  "its 95 % interval" + (f"; real test faces have {floor['mean'][0]:.1f}." if floor else "."))
    if len(rows) > 1 and floor:
        sharpest, likeliest = (min(rows, key=key) for key in (
            lambda weight: rows[weight]["test_mse"], lambda weight: rows[weight]["swd"][0]))
        section.text(f"Of these weights, {sharpest:g} has the smallest test MSE ({rows[sharpest]['test_mse']:.4f}); the "
                     f"samples nearest to real faces are those of {likeliest:g} (SWD {show(likeliest)}). This section shows "
                     f"{chosen:g}, with {rows[chosen]['test_mse']:.4f} and {show(chosen)}.")


def add_probes(section, probes):
    """The table of linear probes, as `probe` returns them."""
    section.results["probes"] = probes
    section.table(["attribute", "probe", "majority", "gain", "AUC"],
                  [[name.replace("_", " "), *([None] * 4 if row is None else [
                      percent(row["accuracy"]), percent(row["majority"]), f"{100 * (row['accuracy'] - row['majority']):+.2f}",
                      f"{row['auc']:.3f}"])] for name, row in probes.items()],
                  "How far the latent tells attributes apart: logistic regression on the latent means of the training faces, "
                  "tested on the test faces. Accuracy in %, beside that of always saying what most training faces "
                  "have. The area under the ROC curve (AUC) is 0.5 for a latent that knows nothing, 1 for one that separates. "
                  "A dash: all of the training or of the test faces are alike in it.")


def add_latent_figures(section, vae, latents, originals, attributes, train_latents, train_attributes):
    """Ways through the latent, for the first test faces: `latents` float [N, 256] are their means, `originals` float
    [N, 3, 64, 64] in [0, 1] themselves, `attributes` uint8 [N, 13]; latents and attributes of the training faces likewise."""
    shares = torch.linspace(0, 1, 7)
    pairs = range(0, min(10, len(latents) - 1), 2)
    if pairs:
        path = section.figure("interpolation", "From one test face to the next, the first ten in order. At both ends are the "
                              "faces themselves, next to them their reconstructions, and between these five steps on the arc "
                              "from one latent mean to the other. Look for a face at every step. (Along a straight line the "
                              "middle would be nearer to the mean face.)")
        draw_rows(path, [torch.cat([originals[i:i + 1], decode(vae, interpolate(latents[i], latents[i + 1], shares)),
                                    originals[i + 1:i + 2]]) for i in pairs], [f"{i + 1} to {i + 2}" for i in pairs],
                  ["face", *(f"{share:.2f}" for share in shares.tolist()), "face"])
    else:
        section.text("No interpolation: there is one test face, and it needs two.")

    strengths = torch.tensor(STRENGTHS)[:, None]
    rows, names = [], []
    for name in EDITS:
        column = ATTRIBUTES.index(name)
        lacking = (attributes[:, column] == 0).nonzero().flatten()[:2]
        if len(lacking) == 2 and len(train_attributes[:, column].unique()) == 2:
            step = strengths * direction(train_latents, train_attributes[:, column])
            rows.append(torch.cat([torch.cat([originals[i:i + 1], decode(vae, latents[i] + step)]) for i in lacking.tolist()]))
            names.append(name.replace("_", "\n", 1).replace("_", " "))
    if rows:
        path = section.figure("attributes", "An attribute added to the first two test faces without it: the face, then decoded "
                              "from its latent mean plus 0 to 2 times the difference between the mean latents of training "
                              "faces with and without the attribute. What often comes with an attribute comes with it.")
        draw_rows(path, rows, names, 2 * ["face", *(f"+{strength:g}" for strength in STRENGTHS)])
    else:
        section.text("No attributes added: that needs two test faces without one, and training faces with and without it.")


def main():
    args = read_figure_arguments("Draw problem 1's part of the report: the VAE.")
    runs = find_runs(args.runs, "p1", args.like)
    run = runs.pop("p1", None)
    if run is None:
        raise UserError(f"{args.runs / 'p1_vae'} holds no finished run; train one with bash p1_vae/run.sh")
    section = Section(args.out, "p1_vae", "Problem 1: VAE on faces")
    others = [other for other in runs.values() if other.settings["kl_weight"] != run.settings["kl_weight"]]
    section.runs += [run, *others]
    vae = VAE()
    load_weights(run.weights, vae=vae)
    train, faces = (load_faces(run.settings["data"], split, run.settings["limit"]) for split in ("train", "test"))
    latents, logvar = encode(vae, faces.images)
    reconstructions = decode(vae, latents)
    errors = image_mse(reconstructions, faces.images)
    originals = faces.images / 255

    section.heading("1.1 Architecture and settings")
    section.listing(str(vae))
    section.settings(run.config)

    section.heading("1.2 Learning curves")
    path = section.figure("curves", "Learning curves. Left: squared error, summed over an image's pixels. Middle: KL "
                                    "divergence in nats. Both are means over the training faces of an epoch. Right: mean "
                                    "squared error a pixel on the test faces. Look at its end: where it still falls, more "
                                    "epochs would help.")
    draw_curves(path, {"VAE": run.rows}, [("reconstruction loss", {"reconstruction": "reconstruction"}),
                                          ("KL divergence", {"kl": "KL"}), ("test MSE", {"test_mse": "test MSE"})])

    section.heading("1.3 Ten test images, reconstructed")
    path = section.figure("reconstructions", "The first ten test images, their reconstructions from the latent mean, and each "
                                             "one's mean squared error on [0, 1] pixels. Compare hair and background: fine "
                                             "detail is what a VAE leaves out.")
    draw_reconstructions(path, originals[:10], reconstructions[:10], errors[:10])
    shown = [f"{e:.4f}" for e in errors[:10]]
    section.table(["test image", *range(1, 11), "mean"],
                  [["MSE", *shown, *[None] * (10 - len(shown)), f"{errors[:10].mean():.4f}"],
                   ["MSE, report", *REPORT_MSE, f"{np.mean(REPORT_MSE):.4f}"]],
                  f"The mean over all {len(errors)} test images is {errors.mean():.4f}. The report shows ten other images.")

    section.heading("1.4 Samples")
    path = section.figure("samples", "32 faces decoded from draws from N(0, I), seed 0, none chosen. Look at how smooth "
                                     "hair and background are.")
    draw_grid(path, sample(vae))
    real = spread(faces.images)
    section.results |= {"test_mse": errors.mean().item(), "test_kl": image_kl(latents, logvar).mean().item()}
    section.results["real"] = measure(real, train.images)
    section.results["samples"] = measure(to_bytes(sample(vae, len(real))), train.images)
    if few := too_few(faces.images, train.images):
        section.text(few)
    add_trade_off(section, [run, *others], faces.images, train.images)

    section.heading("1.5 t-SNE of the latent means")
    chosen = faces.attributes[:TSNE_FACES]
    male = chosen[:, ATTRIBUTES.index("Male")]
    # hair: 0 to 2 in the order of HAIR, 3 where none or several are marked
    marks = chosen[:, [ATTRIBUTES.index(name) for name in HAIR]]
    hair = torch.where(marks.sum(dim=1) == 1, marks.int().argmax(dim=1), 3)
    points = embed(latents[:TSNE_FACES])
    labels = [f"{GENDER_NAMES[m]}, {HAIR_NAMES[h]} hair" for m, h in zip(male.tolist(), hair.tolist())]
    if points is None:
        section.text(f"No map: no two of the test faces ({len(chosen)}) have different latent means.")
    for name, title, what, panel in () if points is None else (
            ("gender", "gender", f"Latent means of {len(chosen)} test faces, by gender. An attribute that the latent separates "
             "would keep to one side of the map.", (male, GENDER_NAMES, DOMAIN_COLOURS, MARKERS)),
            ("hair", "hair colour", "The same map by hair colour; “other” is no mark of the three, or several.",
             (hair, HAIR_NAMES, FEW_COLOURS, MARKERS))):
        path = section.figure(f"tsne_{name}", what, half=True)
        section.show_images("test", draw_scatter(path, points, title, *panel), faces.images[:TSNE_FACES], labels)
    train_latents, _ = encode(vae, train.images)
    add_probes(section, probe(train_latents, train.attributes, latents, faces.attributes))

    reconstruction_curve = [float(row["reconstruction"]) for row in run.rows]
    early = min(3, len(reconstruction_curve)) - 1
    total_drop = reconstruction_curve[0] - reconstruction_curve[-1]
    early_share = (reconstruction_curve[0] - reconstruction_curve[early]) / total_drop if total_drop > 0 else None
    separation = None
    if len(set(male.tolist())) == 2 and len(male) > 2:
        separation = float(silhouette_score(latents[:TSNE_FACES].numpy(), male.numpy()))
    section.results |= {
        "ten_mse": [round(e, 4) for e in errors[:10].tolist()],
        "reconstruction_sharpness": sharpness(reconstructions), "reconstruction_diversity": pairwise_diversity(reconstructions),
        "gender_silhouette": separation, "train_seconds": run.summary["train_seconds"]}
    results = section.results
    section.headline(f"{results['test_mse']:.4f}", "VAE: mean squared error a pixel on the test faces",
                     f"the report's ten images: {np.mean(REPORT_MSE):.4f}")
    section.heading("1.6 Observations")
    if early_share is not None:
        section.text(f"How fast it converges: after the first epoch the training reconstruction loss falls by "
                     f"{total_drop:.1f} in all, {100 * early_share:.0f} % of which is reached in epoch {early + 1} of "
                     f"{len(reconstruction_curve)}.")
    real, samples = results["real"], results["samples"]
    section.text("Blur: the reconstructions have "
                 f"{percent_of(results['reconstruction_sharpness'], real['sharpness'])} of the real test faces' sharpness "
                 f"(variance of the Laplacian), the samples {percent_of(samples['sharpness'], real['sharpness'])}. A squared "
                 "error is least at the mean of all faces that fit a latent, and a mean of faces is smooth.")
    if real["diversity"] is not None:
        section.text(f"Sameness: two samples differ by {samples['diversity']:.3f} gray levels (root mean square, range 0 "
                     f"to 1) on average, two reconstructions by {results['reconstruction_diversity']:.3f}, two real faces by "
                     f"{real['diversity']:.3f}.")
    if separation is not None:
        section.text(f"Attributes: grouped by gender, the latent means have a silhouette of {separation:.3f} (1: two clear "
                     "clusters, 0: none). The VAE is never told of attributes; what changes many pixels, such as "
                     "background and pose, takes up most of its latent.")
    if probed := {name: row for name, row in results["probes"].items() if row}:
        best, worst = (choose(probed, key=lambda name: probed[name]["auc"]) for choose in (max, min))
        mean = lambda key: np.mean([row[key] for row in probed.values()])
        section.text("Attributes that make no clusters may still be in the latent: a linear probe reads "
                     f"{best.replace('_', ' ')} best (area under the ROC curve {probed[best]['auc']:.2f}) and "
                     f"{worst.replace('_', ' ')} worst ({probed[worst]['auc']:.2f}); over {len(probed)} attributes it is right "
                     f"for {100 * mean('accuracy'):.1f} % of the faces on average, the more frequent answer for "
                     f"{100 * mean('majority'):.1f} %.")

    section.heading("1.7 From the latent: interpolation, attributes added")
    add_latent_figures(section, vae, latents, originals, faces.attributes, train_latents, train.attributes)
    section.write()


if __name__ == "__main__":
    run_command(main)
