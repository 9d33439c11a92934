"""The grader's job for problem 4: label the digits of a folder by ADDA.   bash hw_p4.sh IMAGE_DIR TARGET PRED.csv"""
from pathlib import Path

from common import adaptation
from common.cli import run_command
from p4_adda.model import LeNetClassifier, LeNetEncoder2, prepare

SHIPPED = Path(__file__).parent / "weights"


def load_network(path, device):
    """The weights at `path` as (network, their meta): images float [N, 3, 28, 28] in [-1, 1] -> logits float32 [N, 10].

    Raises UserError if they are no ADDA's.
    """
    return adaptation.load_network(path, device, prepare, {"standardise": (False, True)}, target_encoder=LeNetEncoder2(),
                                   classifier=LeNetClassifier())


def main():
    adaptation.answer_grader("p4_adda", "ADDA", "p4_{pair}", SHIPPED, load_network)


if __name__ == "__main__":
    run_command(main)
