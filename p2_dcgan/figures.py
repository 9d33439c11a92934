"""Problem 2's tables and figures, from its runs.   python3 -m p2_dcgan.figures --runs runs/report --out report"""
import math
import statistics

from common.cli import UserError, run_command
from common.data.layout import load_faces
from common.metrics.faces import COLUMNS, as_row, measure, spread, too_few
from common.report.plots import draw_curves, draw_grid, draw_image_panels
from common.report.section import Section, percent_of, read_figure_arguments, read_results
from common.runs.plan import NOISES
from common.runs.read import find_runs
from common.training.augment import to_bytes
from common.training.weights import load_weights
from p2_dcgan.inference import sample, sample_weights
from p2_dcgan.model import Discriminator, Generator


def compare_noises(measured):
    """A sentence on the two noises' samples: `measured`, for each of NOISES what `measure` says of each of its runs."""
    means = {noise: [run["swd"]["mean"][0] for run in measured[noise]] for noise in NOISES}
    seeds = min(map(len, means.values()))
    show = lambda values: f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if seeds > 1 else "")
    difference = statistics.mean(means["gaussian"]) - statistics.mean(means["uniform"])
    text = (f"Uniform against Gaussian noise: the sliced Wasserstein distance to real faces is {show(means['uniform'])} for "
            f"uniform and {show(means['gaussian'])} for Gaussian noise. The report found uniform noise better; ")
    if seeds == 1:
        return text + "one run each cannot tell what the noise does from what another seed does."
    spread_of_means = math.sqrt(sum(statistics.variance(values) / len(values) for values in means.values()))
    verdict = ("that does not show here" if abs(difference) < 2 * spread_of_means else
               "so it is here" if difference > 0 else "here it is worse")
    return text + (f"{verdict}: over {seeds} seeds each the means differ by {difference:+.1f}, with a standard error of "
                   f"{spread_of_means:.1f}.")


def main():
    args = read_figure_arguments("Draw problem 2's part of the report: the DCGAN.")
    found = find_runs(args.runs, "p2", args.like)
    runs = {noise: found.get(f"p2:{noise}") for noise in NOISES}
    run = runs["uniform"]
    if run is None:
        raise UserError(f"{args.runs / 'p2_dcgan_uniform'} holds no finished run; train one with bash p2_dcgan/run.sh")
    section = Section(args.out, "p2_dcgan", "Problem 2: DCGAN on faces")
    section.runs += [seed for noise in runs.values() if noise for seed in noise.seeds]
    settings, generator = run.settings, Generator()

    section.heading("2.1 Architectures and settings")
    section.listing(f"{generator}\n{Discriminator()}")
    section.settings(run.config)

    section.heading("2.2 Samples")
    grids = {}
    for noise in (noise for noise in NOISES if runs[noise]):
        meta = load_weights(runs[noise].weights, generator=generator)
        caption = f"32 faces from {noise} noise, seed 0, none chosen. Look for faces that repeat."
        grids[noise] = section.figure(f"samples_{noise}", caption, half=True)
        draw_grid(grids[noise], sample(generator, meta["noise"]))

    section.heading("2.3 Observations")
    path = section.figure("curves", "Learning curves. Left: both players' losses, means over an epoch. Right: what the "
                                    "discriminator says of real and of generated faces (1: surely real). A row for each noise; "
                                    "the scales are the same down a column. Where the scores move apart, the discriminator "
                                    "wins.")
    draw_curves(path, {noise: runs[noise].rows for noise in grids}, [
        ("loss", {"discriminator_loss": "discriminator", "generator_loss": "generator"}),
        ("discriminator's mean score", {"real_score": "real faces", "fake_score": "generated faces"})])
    saved = sorted((run.folder / "samples").glob("epoch_*.png"))
    stages = sorted({0, len(saved) // 2, len(saved) - 1})
    path = section.figure("progress", "The generator's faces from the same 32 uniform noises during training. Follow one "
                                      "place from epoch to epoch.")
    draw_image_panels(path, [(f"epoch {int(saved[k].stem[6:])}", saved[k]) for k in stages])

    middle, last = run.rows[(len(run.rows) - 1) // 2], run.rows[-1]
    section.text("The losses say little of the faces, because the discriminator that measures them learns as well"
                 + (f": from the middle of training (epoch {middle['epoch']}) to its end the generator's loss goes from "
                    f"{float(middle['generator_loss']):.2f} to {float(last['generator_loss']):.2f}" * (middle is not last))
                 + ". Whether the faces got better is seen in the saved samples, and in their distance to real faces (2.4).")
    section.text("While the discriminator learns, the generated faces are detached. Otherwise its loss would send gradients "
                 "through them into the generator, and make the generator's faces easier to tell from real ones.")
    train, test = (load_faces(settings["data"], split, settings["limit"]).images for split in ("train", "test"))
    real = spread(test)
    measured = {noise: [measure(to_bytes(sample_weights(seed.weights, len(real))), train) for seed in runs[noise].seeds]
                for noise in grids}
    gan, floor = measured["uniform"][0], measure(real, train)
    section.results = {"real": floor, **measured, "train_seconds": run.summary["train_seconds"]}
    few = too_few(test, train)
    if few:
        section.text(few)
    else:
        section.text("Collapse would show as samples that are alike: two of them differ by "
                     f"{gan['diversity']:.3f} gray levels (root mean square) on average, "
                     f"{percent_of(gan['diversity'], floor['diversity'])} of what two real faces do.")
    if runs["gaussian"] and not few:
        section.text(compare_noises(measured))
    changes = [name for name in ("horizontal_flip", "vertical_flip", "brightness_contrast") if settings[name]]
    odd = [text for name, text in (("vertical_flip", "faces that stand on their heads"),
                                   ("brightness_contrast", "odd brightness and contrast")) if settings[name]]
    section.text("The generator imitates whatever it is shown as real, augmentations included. This run's real faces were "
                 + (f"changed by: {', '.join(name.replace('_', ' ') for name in changes)}." if changes else "not augmented.")
                 + (f" Among its samples, expect {' and '.join(odd)}." if odd else "")
                 + (" Besides, the discriminator saw real and generated faces changed alike."
                    if settings["diff_augment"] != "none" else ""))

    section.heading("2.4 VAE against GAN, in figures and in numbers")
    vae = read_results(args.out, "p1_vae").get("samples")
    vae_grid = args.out / "figures" / "p1_samples.png"
    if vae and vae_grid.is_file():
        real_grid = args.out / "figures" / "p2_real.png"
        draw_grid(real_grid, test[:32] / 255)
        path = section.figure("vae_gan", "32 samples of each model, and 32 real test faces. Compare how sharp and how varied "
                                         "they are.")
        draw_image_panels(path, [("VAE", vae_grid), ("DCGAN", grids["uniform"]), ("real", real_grid)])
    else:
        section.text("Without the VAE: problem 1 has no part of this report yet. Run bash p1_vae/run.sh, then this again.")
    rows = [["VAE", *as_row(vae)]] if vae else []
    for noise, numbers in measured.items():
        seeds = [seed.settings["seed"] for seed in runs[noise].seeds]
        rows += [[f"DCGAN, {noise}" + (f", seed {seed}" if len(seeds) > 1 else ""), *as_row(row)]
                 for seed, row in zip(seeds, numbers)]
    rows.append(["real test faces", *as_row(floor)])
    section.table(["", *COLUMNS], rows,
                  "Sharpness: variance of the Laplacian. Diversity: mean distance of two images (root mean square). SWD: "
                  "sliced Wasserstein distance × 1000 of 7×7 patches to those of the training faces, at 64, 32 and 16 "
                  "pixels (from texture to shape) and the mean, with 95 % intervals. FID: Fréchet Inception Distance to "
                  "the training faces, a dash where torch-fidelity or its weights are missing. Real test faces are the "
                  "floor of both distances.")
    if vae and vae["swd"] and not few:
        section.text(f"Here the GAN's samples have {gan['sharpness'] / vae['sharpness']:.1f} times the sharpness of the VAE's. "
                     f"Two of the GAN's differ by {gan['diversity']:.3f} on average, two of the VAE's by "
                     f"{vae['diversity']:.3f}. The VAE averages over what its "
                     "latent leaves open; a GAN's discriminator would call such an average generated.")
    if not few:
        vae_distance = f"VAE: {vae['swd']['mean'][0]:.1f}; " if vae and vae["swd"] else ""
        section.headline(f"{gan['swd']['mean'][0]:.1f}", "DCGAN: sliced Wasserstein distance of the samples × 1000",
                         f"{vae_distance}real test faces: {floor['swd']['mean'][0]:.1f}")
        section.headline(f"{gan['diversity']:.3f}", "DCGAN: mean distance of two samples (root mean square)",
                         f"real test faces: {floor['diversity']:.3f}")
    section.write()


if __name__ == "__main__":
    run_command(main)
