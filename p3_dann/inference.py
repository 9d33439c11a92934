"""The grader's job for problem 3: label the digits of a folder by DANN.   bash hw_p3.sh IMAGE_DIR TARGET PRED.csv"""
from pathlib import Path

from common.adaptation import SOURCE_OF, check_target, label_folder, read_grader_arguments
from common.cli import run_command
from common.training.device import pick_device, pick_precision
from common.training.weights import find_weights, load_weights
from p3_dann.model import Classifier, FeatureExtractor
from p3_dann.train import make_network

SHIPPED = Path(__file__).parent / "weights"


def load_network(path, device):
    """The weights at `path` as (network, their meta): images float [N, 3, 28, 28] in [-1, 1] -> logits float32 [N, 10].

    Raises UserError if they are no DANN's.
    """
    extractor, classifier = FeatureExtractor(), Classifier()
    meta = load_weights(path, "target", "image_size", "standardise", extractor=extractor, classifier=classifier)
    return make_network(extractor, classifier, meta | {"precision": pick_precision(device)}, device), meta


def main():
    args = read_grader_arguments("hw_p3.sh", "Label the digit images of a folder with the DANN adapted to TARGET.")
    pair = f"{SOURCE_OF[args.target]}-{args.target}"
    path = find_weights(args.weights, SHIPPED / f"{pair}.pt", "train with `bash p3_dann/run.sh`, then add "
                                                              f"--weights runs/report/p3_{pair}_dann/weights.pt")
    device = pick_device(args.device)
    network, meta = load_network(path, device)
    check_target(meta, args.target, path)
    label_folder(network, args.images, args.output, device)


if __name__ == "__main__":
    run_command(main)
