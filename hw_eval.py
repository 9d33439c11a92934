"""Accuracy of a prediction csv.   python3 hw_eval.py PRED.csv TRUTH.csv

Both files have the header image_name,label; rows are matched by name, in any order. Prints one line,
`Accuracy: correct/total (percent%)`, where total counts the rows of TRUTH.csv.
"""
import argparse
import csv
import os
import sys
from pathlib import Path


class Unusable(Exception):
    """A csv that cannot be compared; the message is one sentence."""


def read_labels(path):
    """A csv with columns image_name and label as {name: label, 0–9}. Raises Unusable, naming file and line."""
    labels = {}
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            if missing := {"image_name", "label"} - set(reader.fieldnames or ()):
                raise Unusable(f"{path}: the header lacks {', '.join(sorted(missing))}; expected image_name,label")
            for row in reader:
                name, label = row["image_name"], row["label"]
                try:
                    value = float(label)
                except (TypeError, ValueError):
                    value = None
                if value not in range(10):
                    raise Unusable(f"{path}, line {reader.line_num}: the label of {name!r} is {label!r}; expected 0 to 9")
                if name in labels:
                    raise Unusable(f"{path}, line {reader.line_num}: {name!r} is listed twice; remove one row")
                labels[name] = int(value)
    except FileNotFoundError:
        raise Unusable(f"{path} does not exist") from None
    except (OSError, csv.Error) as error:
        raise Unusable(f"cannot read {path}: {error}") from None
    if not labels:
        raise Unusable(f"{path} lists no images")
    return labels


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
            raise Unusable(f"{args.prediction} has no row for {missing[0]!r} and {len(missing) - 1} more of the "
                           f"{len(truth)} images in {args.truth}")
    except Unusable as error:
        sys.exit(f"error: {error}")
    correct = sum(prediction[name] == label for name, label in truth.items())
    try:
        print(f"Accuracy: {correct}/{len(truth)} ({100 * correct / len(truth):.2f}%)", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())      # Python writes what is left at its end
        if not isinstance(error, BrokenPipeError):      # nobody reads, which is no error
            sys.exit(f"error: cannot print: {error.strerror}")


if __name__ == "__main__":
    main()
