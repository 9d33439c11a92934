"""The grader's job for problem 3: label the digits of a folder by DANN.   bash hw_p3.sh IMAGE_DIR TARGET PRED.csv"""
from pathlib import Path

from common.adaptation import answer_grader
from common.cli import run_command
from p3_dann.model import Classifier, FeatureExtractor, prepare

SHIPPED = Path(__file__).parent / "weights"


def main():
    answer_grader("p3_dann", "DANN", "p3_{pair}_dann", SHIPPED, prepare, ("image_size", "standardise"),
                  extractor=FeatureExtractor(), classifier=Classifier())


if __name__ == "__main__":
    run_command(main)
