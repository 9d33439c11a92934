"""The settings of a training script: its table of hyper-parameters with their presets, as flags of its command line."""
import argparse
import math
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import NamedTuple

from common.cli import YES_NO, CommandParser, UsageError, UserError, any_path, number
from common.files import read_json
from common.training.device import pick_device, pick_precision
from common.training.distributed import from_first, share_size, start

PRESETS = ("report", "tuned", "sample")
PLACE = ("data", "device", "precision")     # settings that say where a run is trained, not what
OF_THIS_CALL = ("run", "resume", "tensorboard", "eager")        # flags that say nothing of what is trained
GENERAL = dict(preset="report", data="hw3_data", limit=None, seed=0, device="auto", precision="auto")


@dataclass(frozen=True)
class Setting:
    """A hyper-parameter: a row of the table at the top of a train.py, and a flag of its command line."""
    name: str               # in config.json; its flag has - for _
    kind: type              # int, float, bool or str
    report: object          # its value in each preset
    tuned: object
    sample: object
    help: str               # meaning and unit, in the few words that --help shows
    _: KW_ONLY
    note: str = ""          # for readers of the table: details, the source where the report is silent, the reason for a value
    bounds: tuple = ()      # a number's smallest and, where there is one, largest value; else an int is from 1, a float from 0
    choices: tuple = ()     # of a str
    neutral: object = None  # the value that trains as before there was this setting; None where every run has had it

    def value(self, preset):
        """Its value in that preset, one of PRESETS."""
        return self.kind(getattr(self, preset))


class Needed(NamedTuple):
    """A setting that has no default: its flag must be given."""
    name: str
    choices: tuple
    help: str


def read_settings(problem, description, table, flags=()):
    """Read a training script's command line.

    Args: `problem`, the name of the script's package; `table`, a Setting for each hyper-parameter; `flags`, a Needed for each
    setting that must be given.
    Returns every setting by name, with `problem`, and of this call alone `run` (Path), `resume`, `tensorboard` and `eager`
    (bool); device and precision are resolved.
    With --resume on a run that was started, that run's settings hold, with neutral values for those that it did not know.
    Raises UserError if there are others that it did not know, some that did something in it and are gone since, or one with a
    value that no flag can give it; UsageError if a flag contradicts that run, or if several processes cannot share a batch
    equally.
    """
    start()
    parser = _parser(problem, description, table, flags)
    given = vars(parser.parse_args())
    given = {name: value for name, value in given.items() if value is not None}
    call = {name: given.pop(name) for name in OF_THIS_CALL}
    run, resume = call["run"], call["resume"]
    if "data" in given:
        given["data"] = str(Path(given["data"]).resolve())

    if resume and (run / "config.json").is_file():
        settings = read_json(run / "config.json", settings=dict)["settings"]
        names = [*GENERAL, *(row.name for row in (*flags, *table))]
        settings = with_neutral(settings, neutral_values(table), ["problem", *names])
        if (theirs := settings.get("problem", problem)) != problem:
            raise UsageError(f"--resume: {run} is a run of {theirs}, not {problem}; choose another --run")
        if unknown := [name for name in names if name not in settings]:
            raise UserError(f"--resume: {run} is from another version, without {', '.join(unknown)}; choose another --run")
        if gone := settings_gone(settings, ["problem", *names]):
            raise UserError(f"--resume: {run} is from another version, with {', '.join(gone)}; choose another --run")
        _demand_values(parser, {name: settings[name] for name in names}, run / "config.json")
        for name, value in given.items():
            # a run may move to another device and folder of data; anything else would make it another run
            if name not in ("device", "data") and settings[name] != value:
                raise UsageError(f"--resume: {run} was started with {name} = {settings[name]}, not {value}; leave that flag "
                                "out, or choose another --run")
        settings |= {name: given[name] for name in ("device", "data") if name in given}
    else:
        missing = [f"--{flag.name}" for flag in flags if flag.name not in given]
        if missing:
            raise UsageError(f"{', '.join(missing)} must be given; see --help")
        settings = full_settings(table, {"data": str(Path("hw3_data").resolve())} | given)
    device = pick_device(settings["device"])
    settings |= {"problem": problem, "device": str(device), "precision": pick_precision(device, settings["precision"])}
    share_size(settings.get("batch_size", 0))
    return from_first(settings) | call      # another machine may lack the run folder


def full_settings(table, given):
    """The settings of a run by name: those `given`, and for the others the general ones and the preset's values."""
    preset = given.get("preset", GENERAL["preset"])
    return GENERAL | {setting.name: setting.value(preset) for setting in table} | given


def neutral_values(table):
    """{name: neutral value} of the settings in a table that have one."""
    return {setting.name: setting.neutral for setting in table if setting.neutral is not None}


def with_neutral(settings, neutral, known):
    """The settings of a run, which may be of an older version, with `neutral` values for those that it did not know.

    They are left as they are if one of them is not in `known`, the names of today's: what it did may have another name now.
    """
    if settings.keys() - set(known):
        return settings
    return settings | {name: value for name, value in neutral.items() if name not in settings}


def settings_gone(settings, known):
    """{name: value} of a run's settings that did something in its version, and are not in `known`, the names of today's."""
    return {name: value for name, value in settings.items() if value and name not in known}


def differing(settings, other):
    """The names of what two runs are told differently, of the settings that both have: sorted, without the place."""
    return sorted(name for name in settings.keys() & other.keys() - {*PLACE} if settings[name] != other[name])


def words_of(settings):
    """Settings, by name, as words of a command line; None is left out."""
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{flag}"
        elif value is not None:
            yield from (f"--{flag}", str(value))


def _demand_values(parser, settings, path):
    """Raises UserError if one of the settings in the file `path` has a value that none of the parser's flags can give it."""
    for name, value in settings.items():
        def refuse(reason, name=name, value=value):
            raise UserError(f"{path} is damaged: {name} is {value!r} ({reason})")
        parser.error = refuse
        # argparse's own, which leaves --quiet as it was given
        read = vars(argparse.ArgumentParser.parse_args(parser, ["--run", "unused", *words_of({name: value})]))[name]
        kinds = (float, int) if isinstance(read, float) else (str,) if isinstance(read, Path) else (type(read),)
        if type(value) not in kinds or (value is None and name != "limit"):
            refuse("that is of another kind")


def _parser(problem, description, table, flags):
    needed = "".join(f" --{flag.name} NAME" for flag in flags)
    several = f"On N GPUs, which share each batch: torchrun --standalone --nproc_per_node=N -m -- {problem}.train [flags]."
    parser = CommandParser(usage=f"python3 -m {problem}.train --run DIR{needed} [flags]", first_group="the run",
                           description=f"{description} {several}")
    group = parser.first_group
    group.add_argument("--run", type=any_path, required=True, metavar="DIR", help="the folder of this run")
    group.add_argument("--resume", action="store_true", help="continue the run in that folder, if there is one")
    group.add_argument("--tensorboard", action="store_true", help="write event files to DIR/tensorboard too")
    group.add_argument("--eager", action="store_true", help="on a GPU, run the loop's code in each step, uncompiled: "
                       "slower, for code that cannot be recorded")
    group.add_argument("--preset", choices=PRESETS, metavar="NAME",
                       help=f"the hyper-parameters: {', '.join(PRESETS)} (default: report)")
    group.add_argument("--seed", type=number(int, 0), metavar="N", help="seed of all random numbers (default: 0)")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    group.add_argument("--precision", choices=("float32", "bfloat16"), metavar="TYPE",
                       help="float32 or bfloat16 (default: bfloat16 where the device is fast at it)")
    group = parser.add_argument_group("data")
    for flag in flags:
        group.add_argument(f"--{flag.name}", choices=flag.choices, metavar="NAME",
                           help=f"{', '.join(flag.choices)}: {flag.help}")
    group.add_argument("--data", type=any_path, metavar="DIR", help="a folder in the course layout (default: hw3_data)")
    group.add_argument("--limit", type=number(int, 1), metavar="N",
                       help="only the first N images of each split (default: all)")
    add_settings(parser.add_argument_group(f"hyper-parameters [value in preset {'|'.join(PRESETS)}]"), table)
    return parser


def add_settings(group, table):
    """Add a flag for each Setting of a table to an argument parser or a group."""
    for setting in table:
        flag = f"--{setting.name.replace('_', '-')}"
        values = [str(setting.value(preset)) for preset in PRESETS]
        text = f"{setting.help} [{'|'.join(YES_NO.get(value, value) for value in values)}]"
        if setting.kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif setting.kind is str:
            group.add_argument(flag, choices=setting.choices, help=text, metavar="NAME")
        elif setting.kind is int:
            group.add_argument(flag, type=number(int, *setting.bounds or (1,)), help=text, metavar="N")
        else:
            group.add_argument(flag, type=number(float, *setting.bounds or (0, math.inf)), help=text, metavar="X")
