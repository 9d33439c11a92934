"""List run folders, or compare two of them.

    python3 -m common.runs runs
    python3 -m common.runs --compare runs/report/p1_vae runs/tuned/p1_vae
"""
import os
from pathlib import Path

from common.cli import YES_NO, CommandParser, UserError, any_path, format_table, one_line, run_command, say
from common.files import RUN_FOLDERS, read_json
from common.runs.read import read_metrics

HEADER = ("run", "problem", "pair", "mode", "preset", "seed", "epochs", "result", "started")
COSTS = ("epochs", "train_seconds", "gpu_peak_mib")     # what summary.json holds besides test metrics


def list_runs(folder):
    """A row of texts, as in HEADER, for each run folder below `folder`. Raises UserError if there is none."""
    paths = sorted(_find(folder))
    if not paths:
        raise UserError(f"{folder} holds no run folders; train some with bash hw_report.sh, or give their folder")
    return [_row(path, path.relative_to(folder)) for path in paths]


def _find(folder):
    """The run folders below `folder`, each once; links to folders are followed."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()         # a link that leads back
        elif "config.json" in files:
            yield Path(place)
        seen.add(real)


def _row(path, name):
    try:
        config, summary = _read(path)
        done = len(read_metrics(path))
    except UserError:
        return [one_line(str(name)), "cannot be read", *[""] * (len(HEADER) - 2)]
    settings = config["settings"]
    pair = f"{settings['source']}-{settings.get('target')}" if "source" in settings else "–"
    result = next((f"{key.replace('_', ' ')} {value:.4f}" for key, value in _metrics(summary).items()),
                  "finished" if summary else "not finished")
    epochs = f"{done}/{config['epochs']}" if "epochs" in config else done
    cells = [name, settings.get("problem", "–"), pair, settings.get("mode") or settings.get("noise") or "–",
             settings.get("preset", "–"), settings.get("seed", "–"), epochs, result, config["started"][:16].replace("T", " ")]
    return [one_line(str(cell)) for cell in cells]


def _read(path):
    """config.json and summary.json of a run folder; the latter is empty where the run is not finished."""
    summary = path / "summary.json"
    config = read_json(path / "config.json", started=str, settings=dict, versions=dict)
    return config, read_json(summary) if summary.is_file() else {}


def _metrics(summary):
    """The test metrics, in front the one that the problem has listed, by default its first."""
    metrics = {name: value for name, value in summary.items() if isinstance(value, float) and name not in COSTS}
    listed = summary.get("listed")
    return {listed: metrics[listed]} | metrics if listed in metrics else metrics


def compare_runs(first, second):
    """What differs between two run folders, as (settings, metrics): rows of texts with a name, both values and, of
    metrics, the difference."""
    configs, summaries = zip(*(_read(Path(path)) for path in (first, second)))
    facts = [config["settings"] | {name: config.get(name) for name in ("hardware", "git_revision", "sample_data")}
             | config["versions"] for config in configs]
    show = lambda value: "–" if value is None else one_line(YES_NO.get(str(value), str(value)))
    settings = [[name.replace("_", " "), *(show(fact.get(name)) for fact in facts)]
                for name in dict.fromkeys([*facts[0], *facts[1]]) if facts[0].get(name) != facts[1].get(name)]
    metrics = []
    for name in dict.fromkeys([*_metrics(summaries[0]), *_metrics(summaries[1]), *COSTS]):
        values = [value if isinstance(value := summary.get(name), (int, float)) else None for summary in summaries]
        if values != [None, None]:
            number = lambda value: "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
            metrics.append([name.replace("_", " "), *map(number, values),
                            "" if None in values else f"{values[1] - values[0]:+.4g}"])
    return settings, metrics


def main():
    parser = CommandParser(description="List run folders, or compare two of them.")
    parser.add_argument("folder", type=any_path, nargs="?", default=RUN_FOLDERS, metavar="DIR",
                        help=f"list the run folders below this one (default: {RUN_FOLDERS})")
    parser.add_argument("--compare", type=any_path, nargs=2, metavar="RUN",
                        help="show in which settings two run folders differ, and the metrics of both")
    args = parser.parse_args()
    if args.compare is None:
        say(format_table(HEADER, list_runs(args.folder)))
        return
    settings, metrics = compare_runs(*args.compare)
    names = [str(path) for path in args.compare]
    say(format_table(("setting", *names), settings) if settings else "Both runs have the same settings.")
    say("\n" + format_table(("metric", *names, "difference"), metrics) if metrics else "\nNeither run is finished.")


if __name__ == "__main__":
    run_command(main)
