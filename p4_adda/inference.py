"""The grader's job for problem 4: label the digits of a folder by ADDA.   bash hw_p4.sh IMAGE_DIR TARGET PRED.csv"""
from pathlib import Path

from common.adaptation import answer_grader
from common.cli import run_command
from p4_adda.model import LeNetClassifier, LeNetEncoder2, prepare

SHIPPED = Path(__file__).parent / "weights"


def main():
    answer_grader("p4_adda", "ADDA", "p4_{pair}", SHIPPED, prepare, ("standardise",),
                  target_encoder=LeNetEncoder2(), classifier=LeNetClassifier())


if __name__ == "__main__":
    run_command(main)
