"""The grader's job for problem 3: label the digits of a folder by DANN.   bash hw_p3.sh IMAGE_DIR TARGET PRED.csv"""
from pathlib import Path

from common import adaptation
from common.cli import run_command
from p3_dann.model import IMAGE_SIZES, Classifier, FeatureExtractor, prepare

SHIPPED = Path(__file__).parent / "weights"


def load_network(path, device):
    """The weights at `path` as (network, their meta): images float [N, 3, 28, 28] in [-1, 1] -> logits float32 [N, 10].

    Raises UserError if they are no DANN's.
    """
    needs = {"image_size": IMAGE_SIZES, "standardise": (False, True)}
    return adaptation.load_network(path, device, prepare, needs, extractor=FeatureExtractor(), classifier=Classifier())


def main():
    adaptation.answer_grader("p3_dann", "DANN", "p3_{pair}_dann", SHIPPED, load_network)


if __name__ == "__main__":
    run_command(main)
