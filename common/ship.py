"""Put a finished run's weights where inference looks for them, in half precision, with a json that says what they are, and
how well runs of other seeds beside it did.

    python3 -m common.ship runs/tuned/p4_usps-mnistm p4_adda/weights/usps-mnistm.pt --data "the official USPS and MNIST-M"
"""
import contextlib

from common.cli import CommandParser, UsageError, UserError, any_path, path_to_write, run_command, say, some_of
from common.files import REPOSITORY, read_json, write_json, written_whole
from common.results import Finished, command_of, metric_of, unlike
from common.runs.plan import PACKAGES, PAIRS
from common.training.settings import differing
from common.training.weights import load_file, save_file


def halve(module):
    """A module's state_dict with its floating-point tensors as float16; counts stay as they are.

    Raises UserError where a value is too large for float16 (65,504).
    """
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in module.items()}
    if wrong := [name for name, tensor in half.items() if not tensor.isfinite().all()]:
        raise UserError(f"{', '.join(wrong)} cannot be held in half precision; train with a smaller learning rate")
    return half


def seeds_beside(run, config):
    """The test metric of a run and of those beside it that differ from it in nothing but the seed: {seed: number}."""
    found = {}
    beside = sorted(path.parent for path in run.resolve().parent.glob("*/summary.json"))
    for folder in (run, *beside):        # itself first, should another have its seed
        with contextlib.suppress(UserError):        # what is no run of ours
            other, summary, metric, _ = Finished.read(folder)
            alike = (command_of(other), other["git_revision"]) == (command_of(config), config["git_revision"])
            if alike and not unlike(other, config):
                found.setdefault(str(other["settings"]["seed"]), summary[metric])
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def check_place(output, settings):
    """Raise UserError if `output` is where the graders' scripts take other weights from than those of such a run."""
    folder, pair = output.resolve().parent, "-".join(str(settings.get(role)) for role in ("source", "target"))
    theirs = {REPOSITORY / package / "weights": package for package in PACKAGES.values()}.get(folder)
    if theirs is None:
        return
    if (problem := settings.get("problem", theirs)) != theirs:
        raise UserError(f"{output} is for weights of {theirs}; this is a run of {problem}")
    if "source" not in settings or output.stem not in map("-".join, PAIRS):
        return
    if output.stem != pair:
        raise UserError(f"{output} is for weights of {output.stem}; this is a run of {pair}")
    if settings.get("mode", "dann") != "dann":
        raise UserError(f"{output} is for an adapted network; this is a run of mode {settings['mode']}")


def main():
    parser = CommandParser(description="Write a finished run's weights, in half precision, for inference.")
    parser.add_argument("run", type=any_path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("output", type=path_to_write, metavar="FILE.pt", help="weights to write, and FILE.json beside them")
    parser.add_argument("--data", required=True, metavar="TEXT", help="in words, what data the run used")
    args = parser.parse_args()

    config = read_json(args.run / "config.json", "git_revision", command=list, hardware=str, settings=dict)
    summary = read_json(args.run / "summary.json", "epochs", "train_seconds")
    metric_of(summary)
    state = load_file(args.run / "weights.pt", "meta", "modules")
    about = {"data": args.data, "command": command_of(config), "preset": config["settings"].get("preset"),
             "seed": config["settings"].get("seed"), "git_revision": config["git_revision"], "hardware": config["hardware"]}
    beside = args.output.with_suffix(".json")
    if args.output.suffix != ".pt":
        raise UsageError(f"{args.output} does not end in .pt")
    if args.output.resolve().parent == args.run.resolve():
        raise UserError(f"{args.output} would lie among the run's own files; write it to another folder")
    if beside.exists():
        try:
            read_json(beside, *about)
        except UserError:
            raise UserError(f"{beside} already exists and does not describe weights; give {args.output.name} another name"
                            ) from None
    elif args.output.exists():
        raise UserError(f"{args.output} already exists, and no {beside.name} says that it is such weights; give another name")
    check_place(args.output, config["settings"])
    if names := differing(state["meta"], config["settings"]):
        raise UserError(f"{args.run / 'weights.pt'} is of another run than its config.json: they differ in {some_of(names)}")
    half = {name: halve(module) for name, module in state["modules"].items()}
    about |= summary | {"seeds": seeds_beside(args.run, config)}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(args.output) as weights, written_whole(beside) as described:     # both or none
        save_file(weights, {"meta": state["meta"], "modules": half})
        write_json(described, about)
    say(f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB, and {beside.name} beside it")


if __name__ == "__main__":
    run_command(main)
