"""Finished runs, read: what each left in its folder, and which of a folder's runs make up a part of the report."""
import csv
import statistics

from common.cli import UserError, percent, say
from common.files import read_json
from common.runs.plan import KNOWN, differences
from common.training.settings import with_neutral


def read_metrics(folder):
    """The rows of a run's metrics.csv, each a dict of texts; none where it is not there yet. Raises UserError if it is none."""
    path = folder / "metrics.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None


class FinishedRun:
    """What a finished run left: `config`, `summary`, `rows` (of metrics.csv) and `folder`.

    `seeds`: this run and those that differ from it in nothing but the seed, see `find_runs`.
    """

    def __init__(self, folder):
        self.folder = folder
        self.config = read_json(folder / "config.json", "sample_data", "hardware", "versions", "git_revision", settings=dict)
        self.summary = read_json(folder / "summary.json", "train_seconds")
        self.rows = read_metrics(folder)
        self.seeds = [self]

    def mean(self, name):
        """The mean of a number in summary.json over the seeds."""
        return statistics.mean(run.summary[name] for run in self.seeds)

    def percent(self, name):
        """A number from 0 to 1 in summary.json as a text in percent; with several seeds, mean ± sample standard deviation."""
        values = [run.summary[name] for run in self.seeds]
        spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
        return percent(self.mean(name)) + spread

    @property
    def settings(self):
        return self.config["settings"]

    @property
    def weights(self):
        return self.folder / "weights.pt"


def find_runs(folder, problem, like=None):
    """The finished runs of a problem below `folder`: {selector: FinishedRun}, without those that are not there.

    All have the settings in the file `like`, some run's config.json, by default those of the first run that is there, but for
    what defines each, and saw the same data. One that has others is left out, and a line says so; so is a seed that is there
    twice. Where `like` has `neutral` values (see common.training.settings), an older run has them of settings it did not know.
    """
    found, data = {}, {}
    asked = read_json(like, settings=dict) if like else {}
    base, neutral = asked.get("settings"), asked.get("neutral", {})
    for planned in (run for run in KNOWN if run.problem == problem):
        for path in (folder / planned.folder, *sorted(folder.glob(f"{planned.folder}_seed*"))):
            if not (path / "summary.json").is_file():
                continue
            run = FinishedRun(path)
            base = base or run.settings
            # the data is the same by content, wherever it lay then
            run.config["settings"] = with_neutral(run.settings, neutral, base) | {"data": base["data"]}
            theirs = run.config.get("data_digests", {})
            wrong = differences(run.config, base | planned.defining | {"seed": run.settings.get("seed")},
                                {split: digest for split, digest in data.items() if split in theirs}, neutral)
            first = found.setdefault(planned.selector, run) if not wrong else None
            if first and first is not run:
                if run.settings["seed"] in [seed.settings["seed"] for seed in first.seeds]:
                    wrong = [f"seed {run.settings['seed']} is there already"]
                else:
                    first.seeds.append(run)
            if wrong:
                say(f"Left out {path}: {'; '.join(wrong)}")
            else:
                data |= theirs
    return found
