"""What a user waits for: the first batch of a training, and the labels of a folder of digits.

    python3 -m benchmarks.waiting
"""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measure import TRAININGS, add_arguments, data_folder, in_fresh_process, train_watched
from common.cli import CommandParser, UserError, format_table, number, progress, run_command, say
from common.data.images import list_images
from common.files import REPOSITORY
from common.training.device import hardware_name, pick_device
from common.training.weights import save_weights
from p3_dann.model import Classifier, FeatureExtractor


def time_to_first_batch(problem, *words):
    """Train up to the first batch: this process's CPU time in seconds, and time.monotonic() then."""
    times = []

    def watch(batches):
        next(iter(batches))
        times.extend((time.process_time(), time.monotonic()))
        return ()
    train_watched(problem, watch, *words, epoch=0)
    return times


def time_to_label(script, *words):
    """Seconds and CPU seconds that a grader's script takes. Raises UserError with its own message if it fails."""
    started, before = time.monotonic(), os.times()
    result = subprocess.run(["bash", REPOSITORY / script, *words, "--quiet"], stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise UserError(f"{script}: {result.stderr.strip().removeprefix('error: ')}")
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return time.monotonic() - started, cpu


def main():
    parser = CommandParser(description="Time to the first batch of each training, and to the labels of a folder of digits.")
    add_arguments(parser)
    parser.add_argument("--images", type=number(int, 1), default=26032, metavar="N",
                        help="in the folder (default: 26032, SVHN's test images)")
    args = parser.parse_args()
    device = pick_device(args.device)
    problems = args.problem or list(TRAININGS)
    starts, labels = [], []
    with data_folder(args.data) as data, tempfile.TemporaryDirectory() as scratch:
        for problem in progress(problems, "starts", "start"):
            # the first of two decodes the data, where its cache is cold
            for _ in range(2):
                started = time.monotonic()
                cpu, now = in_fresh_process(time_to_first_batch, problem, "--data", data, "--device", device)
            starts.append([problem, f"{now - started:.1f}", f"{cpu:.1f}"])

        folder, weights = Path(scratch) / "images", Path(scratch) / "weights.pt"
        folder.mkdir()
        paths = list_images(data / "digits" / "mnistm" / "test")
        for i in range(args.images):
            shutil.copy(paths[i % len(paths)], folder / f"{i:06d}.png")
        # as preset report trains it: untrained, since none is shipped, which takes the same time
        save_weights(weights, {"target": "mnistm", "image_size": 28, "standardise": False},
                     extractor=FeatureExtractor(), classifier=Classifier())
        for problem, script, *words in (("p3", "hw_p3.sh"), ("p3", "hw_p3.sh", "--weights", weights), ("p4", "hw_p4.sh")):
            if problem in problems:
                words += ["--device", str(device)]
                times = time_to_label(script, folder, "mnistm", Path(scratch) / "labels.csv", *words)
                labels.append([script, "28×28, untrained" if weights in words else "shipped", *map("{:.1f}".format, times)])
    say(f"{hardware_name(device)}\n")
    say(format_table(("training", "s to the first batch", "CPU s"), starts))
    if labels:
        say(f"\n{args.images:,} images of MNIST-M\n")
        say(format_table(("", "weights", "s", "CPU s"), labels))


if __name__ == "__main__":
    run_command(main)
