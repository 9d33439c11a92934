"""The settings of a training script: its table of hyper-parameters with their presets, as flags of its command line."""
import argparse
import math
from pathlib import Path

from common.cli import YES_NO, CommandParser, UsageError, UserError, number
from common.files import read_json
from common.training.device import pick_device, pick_precision
from common.training.distributed import from_first, share_size, start

PRESETS = ("report", "tuned", "sample")
OF_THIS_CALL = ("run", "resume", "tensorboard")        # flags that say nothing of what is trained
GENERAL = dict(preset="report", data="hw3_data", limit=None, seed=0, device="auto", precision="auto")


def read_settings(problem, description, table, flags=()):
    """Read a training script's command line.

    Args: `problem`, the name of the script's package; `table`, a row for each hyper-parameter: (name, value in preset
    report, in tuned, in sample, help with unit and source), with its choices, or a number's bounds, as a sixth entry
    where it has some; what follows a semicolon in the help is for readers of the table. `flags`, further settings that
    must be given, as (name, choices, help).
    Returns every setting by name, with `problem`, and of this call alone `run` (Path), `resume` and `tensorboard` (bool);
    device and precision are resolved.
    With --resume on a run that was started, that run's settings hold. Raises UsageError if a flag contradicts them, or if
    several processes cannot share a batch equally.
    """
    start()
    given = vars(_parser(problem, description, table, flags).parse_args())
    given = {name: value for name, value in given.items() if value is not None}
    call = {name: given.pop(name) for name in OF_THIS_CALL}
    run, resume = call["run"], call["resume"]
    if "data" in given:
        given["data"] = str(Path(given["data"]).resolve())

    if resume and (run / "config.json").is_file():
        settings = read_json(run / "config.json", settings=dict)["settings"]
        if (theirs := settings.get("problem", problem)) != problem:
            raise UsageError(f"--resume: {run} is a run of {theirs}, not {problem}; choose another --run")
        names = [*GENERAL, *(name for name, *_ in (*flags, *table))]
        if unknown := [name for name in names if name not in settings]:
            raise UserError(f"--resume: {run} is of a version that did not know {', '.join(unknown)}; choose another --run")
        for name, value in given.items():
            # a run may move to another device and folder of data; anything else would make it another run
            if name not in ("device", "data") and settings[name] != value:
                raise UsageError(f"--resume: {run} was started with {name} = {settings[name]}, not {value}; leave that flag "
                                "out, or choose another --run")
        settings |= {name: given[name] for name in ("device", "data") if name in given}
    else:
        missing = [f"--{name}" for name, *_ in flags if name not in given]
        if missing:
            raise UsageError(f"{', '.join(missing)} must be given; see --help")
        settings = full_settings(table, {"data": str(Path("hw3_data").resolve())} | given)
    device = pick_device(settings["device"])
    settings |= {"problem": problem, "device": str(device), "precision": pick_precision(device, settings["precision"])}
    share_size(settings.get("batch_size", 0))
    return from_first(settings) | call      # another machine may lack the run folder


def full_settings(table, given):
    """The settings of a run by name: those `given`, and for the others the general ones and the preset's values."""
    column = 1 + PRESETS.index(given.get("preset", GENERAL["preset"]))
    return GENERAL | {row[0]: row[column] for row in table} | given


def _parser(problem, description, table, flags):
    needed = "".join(f" --{name} NAME" for name, *_ in flags)
    several = f"On N GPUs: torchrun --standalone --nproc_per_node=N -m -- {problem}.train [flags]; all share a batch."
    parser = CommandParser(usage=f"python3 -m {problem}.train --run DIR{needed} [flags]", first_group="the run",
                           description=f"{description} {several}")
    group = parser.first_group
    group.add_argument("--run", type=Path, required=True, metavar="DIR", help="the folder of this run")
    group.add_argument("--resume", action="store_true", help="go on with the run in that folder, if there is one")
    group.add_argument("--tensorboard", action="store_true", help="write event files to DIR/tensorboard too")
    group.add_argument("--preset", choices=PRESETS, metavar="NAME",
                       help=f"the hyper-parameters: {', '.join(PRESETS)} (default: report)")
    group.add_argument("--seed", type=number(int, 0), metavar="N", help="of all random numbers (default: 0)")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    group.add_argument("--precision", choices=("float32", "bfloat16"), metavar="TYPE",
                       help="float32 or bfloat16 (default: bfloat16 where the device is fast at it)")
    group = parser.add_argument_group("data")
    for name, choices, text in flags:
        group.add_argument(f"--{name}", choices=choices, metavar="NAME", help=f"{', '.join(choices)}: {text.split(';')[0]}")
    group.add_argument("--data", metavar="DIR", help="a folder in the course layout (default: hw3_data)")
    group.add_argument("--limit", type=number(int, 1), metavar="N",
                       help="only the first N images of each split (default: all)")
    add_settings(parser.add_argument_group(f"hyper-parameters [value in preset {'|'.join(PRESETS)}]"), table)
    return parser


def add_settings(group, table):
    """Add a flag for each row of a table of hyper-parameters (see `read_settings`) to an argument parser or a group."""
    for name, *values, text, allowed in (row if len(row) == 6 else (*row, None) for row in table):
        flag = f"--{name.replace('_', '-')}"
        text = f"{text.split(';')[0]} [{'|'.join(YES_NO.get(str(value), str(value)) for value in values)}]"
        if isinstance(values[0], bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif isinstance(values[0], str):
            group.add_argument(flag, choices=allowed, help=text, metavar="NAME")
        elif isinstance(values[0], int):
            group.add_argument(flag, type=number(int, *allowed or (1,)), help=text, metavar="N")
        else:
            group.add_argument(flag, type=number(float, *allowed or (0, math.inf)), help=text, metavar="X")
