"""Problem 2's tables and figures, from its runs.   python3 -m p2_dcgan.figures --runs runs/report --out report"""
from common.cli import UserError, run_command
from common.data import load_faces
from common.plots import draw_curves, draw_grid, draw_image_panels
from common.report import Section, find_run, read_figure_arguments, read_results
from common.training import load_weights
from p2_dcgan.inference import sample
from p2_dcgan.model import Discriminator, Generator

NOISES = ("uniform", "gaussian")


def main():
    args = read_figure_arguments("Draw problem 2's part of the report: the DCGAN.")
    runs = {noise: find_run(args.runs / f"p2_dcgan_{noise}") for noise in NOISES}
    run = runs["uniform"]
    if run is None:
        raise UserError(f"{args.runs / 'p2_dcgan_uniform'} holds no finished run; train one with bash p2_dcgan/run.sh")
    section = Section(args.out, "p2_dcgan", "Problem 2: DCGAN on faces")
    section.runs += [r for r in runs.values() if r]
    generator = Generator()

    section.heading("2.1 Architectures and settings")
    section.listing(f"{generator}\n{Discriminator()}")
    section.settings(run.config)

    section.heading("2.2 Samples")
    grids = {}
    for noise in (noise for noise in NOISES if runs[noise]):
        meta = load_weights(runs[noise].weights, generator=generator)
        caption = f"32 faces from {noise} noise, seed 0, not chosen. Look for faces that repeat and for checkerboards."
        grids[noise] = section.figure(f"samples_{noise}", caption, half=True)
        draw_grid(grids[noise], sample(generator, meta["noise"]))

    section.heading("2.3 Observations")
    path = section.figure("curves", "Left: both players' losses, means over an epoch. Right: what the discriminator says of "
                                    "real and of generated faces (1: surely real). A row for each noise; the scales are the "
                                    "same down a column. Scores that part are a discriminator that wins.")
    draw_curves(path, {noise: runs[noise].rows for noise in grids}, [
        ("loss", {"discriminator_loss": "discriminator", "generator_loss": "generator"}),
        ("discriminator's mean score", {"real_score": "real faces", "fake_score": "generated faces"})])
    saved = sorted((run.folder / "samples").glob("epoch_*.png"))
    stages = sorted({0, len(saved) // 2, len(saved) - 1})
    path = section.figure("progress", "The same 32 uniform noises through training: each place shows a face taking shape.")
    draw_image_panels(path, [(f"epoch {int(saved[k].stem[6:])}", saved[k]) for k in stages])

    summary = run.summary
    half = run.rows[len(run.rows) // 2]
    section.text(f"The losses say little: from the middle of training (epoch {half['epoch']}) to its end the generator's loss "
                 f"goes from {float(half['generator_loss']):.2f} to {float(run.rows[-1]['generator_loss']):.2f}, because the "
                 "discriminator that measures it changes as well; whether the faces got better is seen in the saved samples "
                 "alone.")
    section.text("While the discriminator learns, the generated faces are detached: without it, its loss would send gradients "
                 "through them into the generator, and make the generator's faces easier to tell from real ones.")
    section.results = {"sharpness": summary["sharpness"], "diversity": summary["diversity"],
                       "real_sharpness": summary["real_sharpness"], "real_diversity": summary["real_diversity"],
                       "train_seconds": summary["train_seconds"]}
    section.headline(f"{summary['sharpness']:.3f}", "DCGAN: sharpness of the samples (variance of the Laplacian)",
                     f"real test faces: {summary['real_sharpness']:.3f}")
    section.headline(f"{summary['diversity']:.3f}", "DCGAN: mean distance of two samples (root mean square)",
                     f"real test faces: {summary['real_diversity']:.3f}")
    if runs["gaussian"]:
        other = runs["gaussian"].summary
        section.results |= {"gaussian_sharpness": other["sharpness"], "gaussian_diversity": other["diversity"]}
        section.table(["noise", "sharpness", "pairwise diversity"],
                      [["uniform, U(-1, 1)", f"{summary['sharpness']:.4f}", f"{summary['diversity']:.4f}"],
                       ["Gaussian, N(0, 1)", f"{other['sharpness']:.4f}", f"{other['diversity']:.4f}"],
                       ["real test faces", f"{summary['real_sharpness']:.4f}", f"{summary['real_diversity']:.4f}"]],
                      "Uniform against Gaussian noise, one run each. Nearer to the real faces is better; sharpness alone "
                      "also rises with checkerboard noise. The report found uniform noise better.")
    settings = run.settings
    changes = [name for name in ("horizontal_flip", "vertical_flip", "brightness_contrast") if settings[name]]
    section.text("The generator imitates whatever it is shown as real, augmentations included. This run's real faces were "
                 + (f"changed by: {', '.join(name.replace('_', ' ') for name in changes)}." if changes else "not augmented.")
                 + (" Faces that stand on their head are therefore among the samples." if settings["vertical_flip"] else "")
                 + (" So are odd brightness and contrast." if settings["brightness_contrast"] else ""))

    section.heading("2.4 VAE against GAN")
    vae = read_results(args.out, "p1_vae")
    vae_grid = args.out / "figures" / "p1_samples.png"
    if vae and vae_grid.is_file():
        real = load_faces(settings["data"], "test", settings["limit"]).images[:32] / 255
        real_grid = args.out / "figures" / "p2_real.png"
        draw_grid(real_grid, real)
        path = section.figure("vae_gan", "32 samples of each model, and 32 real test faces. Compare blur and sameness of the "
                                         "VAE's with contrast, variety and faults of the GAN's.")
        draw_image_panels(path, [("VAE", vae_grid), ("DCGAN", grids["uniform"]), ("real", real_grid)])
        section.table(["", "sharpness", "pairwise diversity"],
                      [["VAE samples", f"{vae['sample_sharpness']:.4f}", f"{vae['sample_diversity']:.4f}"],
                       ["DCGAN samples", f"{summary['sharpness']:.4f}", f"{summary['diversity']:.4f}"],
                       ["real test faces", f"{summary['real_sharpness']:.4f}", f"{summary['real_diversity']:.4f}"]],
                      "Sharpness: variance of the Laplacian. Diversity: mean distance of two images (root mean square).")
        sharper = "sharper" if summary["sharpness"] > vae["sample_sharpness"] else "less sharp"
        wider = "differ more" if summary["diversity"] > vae["sample_diversity"] else "differ less"
        section.text(f"Here the GAN's samples are {sharper} than the VAE's, by the factor "
                     f"{summary['sharpness'] / vae['sample_sharpness']:.1f}, and {wider} from each other "
                     f"({summary['diversity']:.3f} against {vae['sample_diversity']:.3f}). The VAE averages over what its "
                     "latent leaves open; a GAN's discriminator would call such an average generated.")
    else:
        section.text("Not drawn: problem 1 has no part of this report yet. Run bash p1_vae/run.sh, then this again.")
    section.write()


if __name__ == "__main__":
    run_command(main)
