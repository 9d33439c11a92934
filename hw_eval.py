"""Accuracy of a prediction csv.   python3 hw_eval.py PRED.csv TRUTH.csv

Both files have the columns image_name and label, or, without a header, just these two; rows are matched by name, in any
order. Prints one line, `Accuracy: correct/total (percent%)`, where total counts the rows of TRUTH.csv. A line on standard error
warns of rows of PRED.csv that TRUTH.csv lacks.
"""
import argparse
import os
import sys
from pathlib import Path

from common.data.csv_files import read_labels
from common.errors import UserError, one_line


def main():
    parser = argparse.ArgumentParser(description="Print the accuracy of a prediction csv against the true labels.")
    parser.add_argument("prediction", type=Path, metavar="PRED.csv", help="columns image_name,label")
    parser.add_argument("truth", type=Path, metavar="TRUTH.csv", help="columns image_name,label")
    parser.error = lambda message: parser.exit(2, f"error: {message}; see --help\n")
    args = parser.parse_args()
    try:
        prediction, truth = read_labels(args.prediction), read_labels(args.truth)
        missing = [name for name in truth if name not in prediction]
        if missing:
            raise UserError(f"{args.prediction} has no row for {missing[0]!r} and {len(missing) - 1} more of the "
                            f"{len(truth)} images in {args.truth}")
    except UserError as error:
        sys.exit(f"error: {one_line(str(error))}")
    if more := [name for name in prediction if name not in truth]:
        line = f"warning: {args.prediction} has images that {args.truth} lacks ({len(more):,}, the first {more[0]!r})"
        print(one_line(f"{line}; they are not counted"), file=sys.stderr)
    correct = sum(prediction[name] == label for name, label in truth.items())
    try:
        print(f"Accuracy: {correct}/{len(truth)} ({100 * correct / len(truth):.2f}%)", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())      # Python writes what is left at its end
        if not isinstance(error, BrokenPipeError):      # nobody reads, which is no error
            sys.exit(f"error: cannot print: {error.strerror}")


if __name__ == "__main__":
    main()
