"""The grader's job for problem 1: one image with 32 faces sampled from the VAE.   bash hw_p1.sh OUT.png"""
from pathlib import Path

import torch

from common.cli import CommandParser, run_command, say
from common.grid import save_grid
from common.training import find_weights, load_weights
from p1_vae.model import LATENT_SIZE, VAE
from p1_vae.train import decode

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


def main():
    parser = CommandParser(prog="bash hw_p1.sh", description="Write one image with 32 faces sampled from the VAE, seed fixed.")
    parser.add_argument("output", type=Path, metavar="OUT.png", help="image to write")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights.pt of a run (default: those shipped here)")
    args = parser.parse_args()

    path = find_weights(args.weights, SHIPPED, "train with `bash p1_vae/run.sh`, then add "
                                               "--weights runs/report/p1_vae/weights.pt")
    save_grid(args.output, sample_weights(path))
    say(f"{args.output}: 32 faces, 8 by 4, sampled with seed {SEED}")


if __name__ == "__main__":
    run_command(main)
