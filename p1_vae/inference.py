"""The grader's job for problem 1: one image with 32 faces sampled from the VAE.   bash hw_p1.sh OUT.png

Or reconstructions of anyone's images:   python3 -m p1_vae.inference --reconstruct IMAGE_DIR OUT_DIR
"""
import statistics
from pathlib import Path

import torch
from PIL import Image

from common.cli import CommandParser, UsageError, any_path, path_to_write, run_command, say
from common.data.csv_files import write_csv
from common.data.grid import save_grid
from common.data.images import left_out, list_images, stream_images
from common.data.layout import FACE_SIZE
from common.files import folder_written_whole
from common.training.augment import to_bytes
from common.training.weights import find_weights, load_weights
from p1_vae.model import LATENT_SIZE, VAE, decode, encode, image_mse

SHIPPED = Path(__file__).parent / "weights" / "vae.pt"
SEED = 0


def sample(vae, count=32, seed=SEED):
    """Faces float32 [count, 3, 64, 64] in [0, 1], decoded from N(0, I); the same for the same seed, on the CPU."""
    latent = torch.randn(count, LATENT_SIZE, generator=torch.Generator().manual_seed(seed))
    return decode(vae, latent)


def sample_weights(path, count=32):
    """As `sample`, from the weights at `path`. Raises UserError if they are no VAE's."""
    vae = VAE()
    load_weights(path, vae=vae)
    return sample(vae, count)


def reconstruct_folder(vae, folder, output):
    """Reconstruct each image of `folder` from its latent mean, into the new folder `output`, which appears whole or not at all.

    Each reconstruction has the name of its image, and is a png whatever that name ends in: a jpg would be other pixels than
    those that were measured. mse.csv has each one's mean squared error on [0, 1] pixels of 64x64 images, before the
    reconstruction is rounded to 8 bits, and in its last row their mean. Raises UserError as list_images, read_image and
    folder_written_whole do.
    """
    paths = list_images(folder)
    with folder_written_whole(output) as part:
        errors = []
        for images in stream_images(paths, FACE_SIZE, "reconstructing"):
            reconstructions = decode(vae, encode(vae, images)[0])
            for path, pixels in zip(paths[len(errors):], to_bytes(reconstructions)):
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(part / path.name, "png")
            errors += image_mse(reconstructions, images).tolist()
        mean = statistics.mean(errors)
        write_csv(part / "mse.csv", ("image_name", "mse"), [
            *((path.name, f"{error:.6f}") for path, error in zip(paths, errors)), ("mean", f"{mean:.6f}")])
    say(f"{output}: {len(paths)} reconstructions, mean squared error {mean:.4f}; each image's is in {output / 'mse.csv'}"
        f"{left_out(folder)}")


def main():
    parser = CommandParser(prog="bash hw_p1.sh", usage="bash hw_p1.sh OUT.png [flags]\n"
                           "       python3 -m p1_vae.inference --reconstruct IMAGE_DIR OUT_DIR [flags]",
                           description="Write one image with 32 faces sampled from the VAE, seed fixed; or reconstruct images.")
    parser.add_argument("output", type=path_to_write, nargs="?", metavar="OUT.png", help="image to write")
    parser.add_argument("--reconstruct", type=any_path, nargs=2, metavar=("IMAGE_DIR", "OUT_DIR"),
                        help="write each image's reconstruction, a png under the image's own name, and mse.csv to a new folder")
    parser.add_argument("--weights", type=any_path, metavar="FILE", help="weights.pt of a run (default: those shipped here)")
    args = parser.parse_args()
    if (args.output is None) == (args.reconstruct is None):
        raise UsageError("give either OUT.png or --reconstruct IMAGE_DIR OUT_DIR; see --help")

    path = find_weights(args.weights, SHIPPED, "p1_vae", "p1_vae")
    vae = VAE()
    load_weights(path, vae=vae)
    if args.reconstruct:
        reconstruct_folder(vae, *args.reconstruct)
    else:
        save_grid(args.output, sample(vae))
        say(f"{args.output}: 32 faces, 8 by 4, sampled with seed {SEED}")


if __name__ == "__main__":
    run_command(main)
