"""How the cost grows with the data: time an epoch and peak memory at 1/8, 1/4, 1/2 and all of the training images.

    python3 -m benchmarks.scaling --problem p1

Of problem 3, all are the source's, and as many of the target's.

Each size is trained by train.py, in a process of its own, with the data decoded before.
"""
import tempfile
from pathlib import Path

from benchmarks.measure import TRAININGS, add_arguments, data_folder, in_fresh_process, resident, train
from common.cli import CommandParser, format_table, number, progress, run_command, say
from common.data.layout import SPLITS, load_digits, load_faces
from common.files import read_json
from common.training.device import hardware_name, pick_device
from common.training.settings import PRESETS

PARTS = (8, 4, 2, 1)
EPOCHS = 2
HEADER = ("", "images", "s an epoch", "images/s", "MiB of data", "MiB at most", "without the data")


def load(problem, data, limit):
    """The images of the first `limit` rows of all splits that a problem uses, uint8: those to train on, those to test on."""
    if problem in ("p1", "p2"):
        sets = [[load_faces(data, split, limit)] for split in SPLITS]
    else:
        sets = [[load_digits(data, domain, split, limit) for domain in ("usps", "mnistm")] for split in SPLITS]
    return [[one.images for one in group] for group in sets]


def cost(problem, folder, *words):
    """Train into that run folder: (seconds an epoch, peak bytes of the GPU or else of this process)."""
    train(problem, "--run", folder, "--epochs", EPOCHS, *words)
    summary = read_json(folder / "summary.json")
    peak = summary["gpu_peak_mib"] * 2**20 if summary["gpu_peak_mib"] else resident("VmHWM")
    seconds = max(summary["train_seconds"], 0.05)       # it is rounded to tenths, and a tiny run's is 0.0
    return seconds / summary["epochs"], peak


def main():
    parser = CommandParser(description="Time and peak memory of an epoch at 1/8, 1/4, 1/2 and all of the training images.")
    add_arguments(parser)
    parser.add_argument("--preset", choices=PRESETS, default="report", metavar="NAME",
                        help=f"the hyper-parameters: {', '.join(PRESETS)} (default: report)")
    parser.add_argument("--limit", type=number(int, max(PARTS)), metavar="N", help="all are the first N images of each split")
    args = parser.parse_args()
    device = pick_device(args.device)
    rows = []
    with data_folder(args.data) as data, tempfile.TemporaryDirectory() as runs:
        for problem in args.problem or TRAININGS:
            sizes = list(map(len, load(problem, data, args.limit)[0]))
            largest = sizes[0] if problem == "p3" else max(sizes)      # what an epoch passes over
            for part in progress(PARTS, problem, "size"):
                limit = largest // part
                training, testing = load(problem, data, limit)
                words = ("--data", data, "--device", device, "--preset", args.preset, "--limit", limit)
                seconds, peak = in_fresh_process(cost, problem, Path(runs) / f"{problem}_{part}", *words)
                size = sum(images.nbytes for images in (*training, *testing))
                rows.append([problem, f"{limit:,}", f"{seconds:.1f}", f"{limit / seconds:.0f}",
                             *(f"{amount / 2**20:.0f}" for amount in (size, peak, peak - size))])
    say(f"{hardware_name(device)}, preset {args.preset}, {EPOCHS} epochs; of two domains, p3 counts the source's images, "
        "p4 the larger's\n")
    say(format_table(HEADER, rows))


if __name__ == "__main__":
    run_command(main)
