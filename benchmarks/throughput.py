"""How fast our training is: images a second beside the reference loops, and against what the device can do at best.

    python3 -m benchmarks.throughput                            # all four problems
    python3 -m benchmarks.throughput --problem p3 --device cuda

Both loops train with the settings of preset `report`, in turn, in one process; ours is train.py itself. A round takes each
for one epoch, or `--seconds` of it, after some steps to warm up.
"""
import statistics
from functools import partial
from typing import NamedTuple

from benchmarks import reference_loops
from benchmarks.measure import (
    TRAININGS,
    VARIANTS,
    Counter,
    Stopwatch,
    add_arguments,
    ceilings,
    data_folder,
    memory_growth,
    report_settings,
    stepping,
    train_watched,
)
from common.cli import CommandParser, UserError, format_table, number, progress, run_command, say
from common.training.device import hardware_name, pick_device, pick_precision

# each problem's reference loop, and how many batches a step takes: one, or one of either domain
LOOPS = {"p1": (reference_loops.train_vae, 1), "p2": (reference_loops.train_dcgan, 1),
         "p3": (reference_loops.train_dann, 2), "p4": (reference_loops.train_adda, 2)}
SPEED = ("", "images/s, reference", "images/s, here", "ratio, median", "lowest – highest", "MiB, reference", "MiB, here")
CEILING = ("", "images a step", "GFLOP a step", "GFLOP/s", "product's", "share", "MiB a step", "GB/s", "copy's", "share")


class Speed(NamedTuple):
    """What was measured of a problem. Rates are images a second, a number for each round; memory is in bytes."""
    problem: str
    images: int             # a step
    reference: list         # rates of the reference loop, none if it was left out
    here: list              # of our training
    growth: list            # by how much the memory in use grew at most: of the reference, of ours
    flops: int              # of a step
    traffic: int            # bytes that all operations of a step read and write
    product: float          # FLOP/s of a matrix product, and bytes/s of a copy, in the same rounds
    copy: float


def measure(problem, args, data, device, precision, variant="usual", reference=True):
    """Time both loops of a problem, or ours alone, in that one of measure.VARIANTS: a Speed.

    `args` as of main(). Raises UserError if an epoch is too short to be timed.
    """
    loop, batches = LOOPS[problem]
    words = ["--data", data, "--device", device, "--precision", precision]
    settings = report_settings(problem) | dict(data=data, source="usps", target="mnistm", limit=args.limit)
    if args.limit:
        words += ["--limit", args.limit]
    if args.batch_size:
        words += ["--batch-size", args.batch_size]
        settings["batch_size"] = args.batch_size
    if problem == "p3":     # a pass over USPS is over too soon on a GPU
        words += ["--steps-per-epoch", 2000]
    images = settings["batch_size"] * batches       # a step

    def ours(watch):
        with stepping(problem, variant) as flags:
            train_watched(problem, watch, *words, *flags)
    sides = {"reference": partial(loop, settings, device, args.workers)} if reference else {}
    sides["here"] = ours

    counter = Counter()
    train_watched(problem, counter, *words, "--eager")       # it sees no operation of a compiled network
    rates, growths, peaks = {"reference": [], "here": []}, {"reference": [], "here": []}, []
    for _ in progress(range(args.rounds), problem, "round"):
        for name, side in sides.items():
            watch = Stopwatch(device, 10 if device.type == "cuda" else 1, args.seconds)
            growths[name].append(memory_growth(device, partial(side, watch)))
            if watch.steps < 1:
                raise UserError(f"{data} has too few images for some steps of {settings['batch_size']}; give a smaller "
                                "--batch-size, or more data")
            rates[name].append(watch.steps * images / watch.taken)
        peaks.append(ceilings(device, precision, args.seconds / 10))
    product, copy = map(statistics.median, zip(*peaks))
    return Speed(problem, images, rates["reference"], rates["here"], [max(growth, default=0) for growth in growths.values()],
                 counter.flops, counter.traffic, product, copy)


def speed_row(speed):
    """A row of the table SPEED, as texts."""
    ratios = [here / reference for reference, here in zip(speed.reference, speed.here)]
    return [speed.problem, *(f"{statistics.median(rate):.1f}" for rate in (speed.reference, speed.here)),
            f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} – {max(ratios):.2f}",
            *(f"{growth / 2**20:.0f}" for growth in speed.growth)]


def ceiling_row(speed):
    """A row of the table CEILING, as texts."""
    steps = statistics.median(speed.here) / speed.images        # a second
    return [speed.problem, str(speed.images), *_share(speed.flops, 1e9, steps, speed.product, "{:.2f}"),
            *_share(speed.traffic, 2**20, steps, speed.copy, "{:.0f}")]


def _share(amount, unit, steps, peak, form):
    """Cells of CEILING: the amount a step, in `unit`; that a second and the peak, in billions; the share of the peak."""
    rate = amount * steps
    return form.format(amount / unit), f"{rate / 1e9:.1f}", f"{peak / 1e9:.1f}", f"{100 * rate / peak:.0f} %"


def main():
    parser = CommandParser(description="Time our training beside the loops of benchmarks/reference_loops.py, preset report.")
    add_arguments(parser)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="auto", metavar="TYPE",
                        help="of our training (default: bfloat16 where the device is fast at it)")
    parser.add_argument("--limit", type=number(int, 1), metavar="N", help="only the first N images of each split")
    parser.add_argument("--batch-size", type=number(int, 1), metavar="N", help="instead of the preset's")
    parser.add_argument("--rounds", type=number(int, 1), default=5, metavar="N", help="how often each is timed (default: 5)")
    parser.add_argument("--seconds", type=number(float, 0), default=10.0, metavar="S", help="at most for each (default: 10)")
    parser.add_argument("--workers", type=number(int, 0), default=2, metavar="N",
                        help="processes of each DataLoader of the reference (default: 2, as pytorch/examples' dcgan)")
    parser.add_argument("--step", choices=VARIANTS, default="usual", metavar="HOW",
                        help=f"how ours is run: {', '.join(VARIANTS)} (default: usual, as train.py does)")
    args = parser.parse_args()
    device = pick_device(args.device)
    precision = pick_precision(device, args.precision)
    with data_folder(args.data) as data:
        speeds = [measure(problem, args, data, device, precision, args.step) for problem in args.problem or TRAININGS]
    how = "" if args.step == "usual" else f", {args.step}"
    say(f"{hardware_name(device)}; reference in float32, here in {precision}{how}; {args.rounds} rounds\n")
    say(format_table(SPEED, [speed_row(speed) for speed in speeds]))
    say(f"\nHere, and a matrix product in {precision} and a copy, measured in the same rounds:\n")
    say(format_table(CEILING, [ceiling_row(speed) for speed in speeds]))


if __name__ == "__main__":
    run_command(main)
