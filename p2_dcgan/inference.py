"""The grader's job for problem 2: one image with 32 faces sampled from the GAN.   bash hw_p2.sh OUT.png"""
from pathlib import Path

import torch

from common.cli import CommandParser, any_path, path_to_write, run_command, say
from common.data.grid import save_grid
from common.runs.plan import NOISES
from common.training.weights import find_weights, load_weights
from p2_dcgan.model import Generator, generate, make_noise

SHIPPED = Path(__file__).parent / "weights" / "generator.pt"
SEED = 0


def sample(generator, noise, count=32, seed=SEED):
    """Faces float32 [count, 3, 64, 64] in [0, 1] from `noise`, "uniform" or "gaussian", as the generator was trained."""
    return generate(generator, make_noise(count, noise, torch.Generator().manual_seed(seed)))


def sample_weights(path, count=32):
    """As `sample`, from the weights at `path`. Raises UserError if they are no generator's."""
    generator = Generator()
    meta = load_weights(path, {"noise": NOISES}, generator=generator)
    return sample(generator, meta["noise"], count)


def main():
    parser = CommandParser(prog="bash hw_p2.sh", description="Write one image with 32 faces sampled from the GAN, seed fixed.")
    parser.add_argument("output", type=path_to_write, metavar="OUT.png", help="image to write")
    parser.add_argument("--weights", type=any_path, metavar="FILE", help="weights.pt of a run (default: those shipped here)")
    args = parser.parse_args()

    path = find_weights(args.weights, SHIPPED, "p2_dcgan", "p2_dcgan_uniform")
    save_grid(args.output, sample_weights(path))
    say(f"{args.output}: 32 faces, 8 by 4, sampled with seed {SEED}")


if __name__ == "__main__":
    run_command(main)
