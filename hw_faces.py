"""How good faces are, in numbers.   python3 hw_faces.py IMAGE_DIR|WEIGHTS.pt … [--data DIR] [--reference train|test]

For each folder of images, and for samples from each VAE's or generator's weights: sharpness, pairwise diversity, and two
distances to real faces, one split of the data: the multi-scale sliced Wasserstein distance and, where torch-fidelity is
installed, the Fréchet Inception Distance. The last row is what real faces of the other split have: the floor of the
distances, and the sharpness and diversity to come near to.
"""
from pathlib import Path

import p1_vae.inference
import p2_dcgan.inference
from common.cli import CommandParser, UserError, any_path, format_table, run_command, say
from common.data.images import left_out, list_images, read_images
from common.data.layout import FACE_SIZE, SPLITS, load_faces
from common.metrics.faces import COLUMNS, as_row, measure, spread
from common.runs.plan import PACKAGES
from common.training.augment import to_bytes
from common.training.weights import load_weights

SAMPLERS = {"p1_vae": p1_vae.inference.sample_weights, "p2_dcgan": p2_dcgan.inference.sample_weights}


def read_faces(path, samples):
    """uint8 [N, 3, 64, 64]: the images of the folder `path`, or that many `samples` from the weights `path`."""
    if path.is_dir():
        paths = list_images(path)
        if len(paths) < 2:
            raise UserError(f"{path} holds one image{left_out(path)}; the metrics need at least 2")
        if rest := left_out(path):
            say(f"{path}: {len(paths)} images{rest}")
        return read_images(spread(paths), FACE_SIZE)
    problem = load_weights(path, {"problem": tuple(PACKAGES.values())})["problem"]
    if problem not in SAMPLERS:
        raise UserError(f"{path} holds weights of {problem}, which makes no faces; give those of {' or '.join(SAMPLERS)}")
    return to_bytes(SAMPLERS[problem](path, samples))


def main():
    parser = CommandParser(prog="python3 hw_faces.py", description="Measure folders of faces, and samples from weights.")
    parser.add_argument("faces", type=any_path, nargs="+", metavar="IMAGE_DIR|WEIGHTS.pt", help="what to measure")
    parser.add_argument("--data", type=any_path, default=Path("hw3_data"), metavar="DIR",
                        help="a folder in the course layout, for the real faces (default: hw3_data)")
    parser.add_argument("--reference", choices=SPLITS, default="train", metavar="SPLIT",
                        help="the split that distances are measured to, train or test (default: train)")
    args = parser.parse_args()
    other = next(split for split in SPLITS if split != args.reference)
    reference, real = load_faces(args.data, args.reference).images, spread(load_faces(args.data, other).images)
    sets = {str(path): read_faces(path, len(real)) for path in args.faces} | {f"real {other} faces": real}
    rows = [[name, *as_row(measure(images, reference))] for name, images in sets.items()]
    say(format_table(("", *COLUMNS), rows))
    say(f"SWD: sliced Wasserstein distance × 1000 to the {len(reference):,} {args.reference} faces of {args.data}, with 95 % "
        "intervals. Fewer images have larger distances.")


if __name__ == "__main__":
    run_command(main)
