"""Problem 1's tables and figures, from its run.   python3 -m p1_vae.figures --runs runs/report --out report"""
import numpy as np
import torch
from sklearn.metrics import silhouette_score

from common.cli import UserError, run_command
from common.data import ATTRIBUTES, load_faces
from common.metrics import pairwise_diversity, sharpness
from common.plots import DOMAIN_COLOURS, FEW_COLOURS, MARKERS, draw_curves, draw_grid, draw_reconstructions, draw_scatter, embed
from common.report import Section, find_run, read_figure_arguments
from common.training import load_weights
from p1_vae.inference import sample
from p1_vae.model import VAE
from p1_vae.train import image_mse, reconstruct

REPORT_MSE = (0.148, 0.107, 0.096, 0.082, 0.068, 0.081, 0.092, 0.085, 0.077, 0.092)     # the report's ten test images
TSNE_FACES = 1000
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair")
GENDER_NAMES, HAIR_NAMES = ("not male", "male"), ("black", "blond", "brown", "other")


def main():
    args = read_figure_arguments("Draw problem 1's part of the report: the VAE.")
    run = find_run(args.runs / "p1_vae")
    if run is None:
        raise UserError(f"{args.runs / 'p1_vae'} holds no finished run; train one with bash p1_vae/run.sh")
    section = Section(args.out, "p1_vae", "Problem 1: VAE on faces")
    section.runs.append(run)
    vae = VAE()
    load_weights(run.weights, vae=vae)
    faces = load_faces(run.settings["data"], "test", run.settings["limit"])
    reconstructions, latents = reconstruct(vae, faces.images)
    errors = image_mse(reconstructions, faces.images)
    originals = faces.images / 255

    section.heading("1.1 Architecture and settings")
    section.listing(str(vae))
    section.settings(run.config)

    section.heading("1.2 Learning curves")
    path = section.figure("curves", "Left: squared error, summed over an image's pixels. Middle: KL divergence in nats. Both "
                                    "are means over the training faces of an epoch. Right: mean squared error a pixel on "
                                    "the test faces. See how much the first epochs do, and the KL divergence rise "
                                    "while the latent takes in what the reconstruction needs.")
    draw_curves(path, {"VAE": run.rows}, [("reconstruction loss", {"reconstruction": "reconstruction"}),
                                          ("KL divergence", {"kl": "KL"}), ("test MSE", {"test_mse": "test MSE"})])

    section.heading("1.3 Ten test images, reconstructed")
    path = section.figure("reconstructions", "The first ten test images, their reconstructions from the latent mean, and each "
                                             "one's mean squared error on [0, 1] pixels. Compare hair and background: fine "
                                             "detail is what the reconstruction leaves out.")
    draw_reconstructions(path, originals[:10], reconstructions[:10], errors[:10])
    section.table(["test image", *range(1, 11), "mean"],
                  [["MSE", *(f"{e:.4f}" for e in errors[:10]), f"{errors[:10].mean():.4f}"],
                   ["MSE, report", *REPORT_MSE, f"{np.mean(REPORT_MSE):.4f}"]],
                  f"Over all {len(errors)} test images the mean MSE is {errors.mean():.4f}. The report's images are others.")

    section.heading("1.4 Samples")
    samples = sample(vae, max(32, len(originals)))
    path = section.figure("samples", "32 faces decoded from N(0, I), seed 0, not chosen. See how smooth and alike they are.")
    draw_grid(path, samples[:32])

    section.heading("1.5 t-SNE of the latent means")
    chosen = faces.attributes[:TSNE_FACES]
    male = chosen[:, ATTRIBUTES.index("Male")]
    # hair: 0 to 2 in the order of HAIR, 3 where none or several are marked
    marks = chosen[:, [ATTRIBUTES.index(name) for name in HAIR]]
    hair = torch.where(marks.sum(dim=1) == 1, marks.int().argmax(dim=1), 3)
    points = embed(latents[:TSNE_FACES])
    labels = [f"{GENDER_NAMES[m]}, {HAIR_NAMES[h]} hair" for m, h in zip(male.tolist(), hair.tolist())]
    for name, title, what, panel in (
            ("gender", "gender", f"Latent means of {len(chosen)} test faces, by gender. An attribute that the latent separates "
             "would keep to one side of the map.", (male, GENDER_NAMES, DOMAIN_COLOURS, MARKERS)),
            ("hair", "hair colour", "The same map by hair colour; “other” is no mark of the three, or several.",
             (hair, HAIR_NAMES, FEW_COLOURS, MARKERS))):
        path = section.figure(f"tsne_{name}", what, half=True)
        section.show_images("test", draw_scatter(path, points, title, *panel), faces.images[:TSNE_FACES], labels)

    reconstruction_curve = [float(row["reconstruction"]) for row in run.rows]
    early = min(3, len(reconstruction_curve)) - 1
    total_drop = reconstruction_curve[0] - reconstruction_curve[-1]
    early_share = (reconstruction_curve[0] - reconstruction_curve[early]) / total_drop if total_drop > 0 else None
    separation = None
    if len(set(male.tolist())) == 2:
        separation = float(silhouette_score(latents[:TSNE_FACES].numpy(), male.numpy()))
    section.results = {
        "test_mse": errors.mean().item(), "ten_mse": [round(e, 4) for e in errors[:10].tolist()],
        "reconstruction_sharpness": sharpness(reconstructions), "sample_sharpness": sharpness(samples),
        "real_sharpness": sharpness(originals), "reconstruction_diversity": pairwise_diversity(reconstructions),
        "sample_diversity": pairwise_diversity(samples), "real_diversity": pairwise_diversity(originals),
        "gender_silhouette": separation, "train_seconds": run.summary["train_seconds"]}
    results = section.results
    section.headline(f"{results['test_mse']:.4f}", "VAE: mean squared error a pixel on the test faces",
                     f"the report's ten images: {np.mean(REPORT_MSE):.4f}")
    section.heading("1.6 Observations")
    if early_share is not None:
        section.text(f"How fast it converges: of the whole fall of the training reconstruction loss after the first epoch, "
                     f"{100 * early_share:.0f} % is done after epoch {early + 1} of {len(reconstruction_curve)}.")
    sharp = {kind: 100 * results[f"{kind}_sharpness"] / results["real_sharpness"] for kind in ("reconstruction", "sample")}
    section.text(f"Blur: the reconstructions have {sharp['reconstruction']:.0f} % of the real test faces' sharpness (variance "
                 f"of the Laplacian), the samples {sharp['sample']:.0f} %. A squared error is least at the mean of all faces "
                 "that fit a latent, and a mean of faces is smooth.")
    section.text(f"Sameness: two samples differ by {results['sample_diversity']:.3f} gray levels (root mean square, range 0 "
                 f"to 1) on average, two reconstructions by {results['reconstruction_diversity']:.3f}, two real faces by "
                 f"{results['real_diversity']:.3f}.")
    if separation is not None:
        section.text(f"Attributes: grouped by gender, the latent means have a silhouette of {separation:.3f} (1: two clear "
                     "clusters, 0: none). The VAE is never told of attributes; what moves many pixels, such as "
                     "background and pose, takes most of its latent.")
    section.write()


if __name__ == "__main__":
    run_command(main)
