"""Each cell of the page's tables, results.json, the LaTeX and the csv, and each line of a figure, from runs whose numbers all
differ: it is that of its pair, mode, bound and seed. What the report reached is written here as it is printed there.
"""
import csv
import html.parser
import json
import math
import re
import statistics
import sys

import numpy as np
import pytest
import torch
from matplotlib import colors
from PIL import Image

import common.report.page
import hw_grade
import p1_vae.figures
import p1_vae.measure
import p2_dcgan.figures
import p2_dcgan.measure
import p3_dann.figures
import p4_adda.figures
from common import results
from common.adaptation import AUGMENTATION
from common.data.layout import ATTRIBUTES
from common.files import read_json
from common.report import maps, plots
from common.report.latex import write_latex
from common.report.page import assemble
from common.report.section import Section
from common.runs.__main__ import HEADER as RUN_HEADER
from common.runs.__main__ import compare_runs, list_runs
from common.training.weights import save_weights
from p1_vae.model import VAE
from tests import tiny

PAIRS = (("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps"))
HEADER = ["%", "USPS → MNIST-M", "MNIST-M → SVHN", "SVHN → USPS"]
MODES = ("source", "dann", "target")
REPORT = {"source": ["13.67", "19.99", "40.51"], "dann": ["28.73", "48.20", "51.67"], "target": ["91.28", "91.49", "96.91"],
          "adda": ["10.07", "15.94", "13.15"]}


def accuracy(method, pair, seed, of="target"):
    """A number that no other run has: of `method`, a mode of DANN, "adda" or "before" adaptation, on pair 0, 1 or 2."""
    number = ("source", "dann", "target", "adda", "before").index(method)
    of_seed = (0, 0.0087, 0.0031)[seed] + 0.0019 * number * seed
    return 0.11 + 0.17 * number + 0.041 * pair + of_seed + (0.005 if of == "source" else 0)


def shown(values):
    mean = f"{100 * statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.2f}"


def write_run(folder, problem, settings, summary, rows, words=(), **more):
    folder.mkdir(parents=True)
    settings = {"problem": problem, "preset": "tuned", "limit": None, "data": "hw3_data", "seed": 0} | settings
    (folder / "config.json").write_text(json.dumps({
        "settings": settings, "sample_data": False, "hardware": "a computer", "versions": {"torch": "2"}, "git_revision": "abc",
        "data_digests": {}, "started": "2026-01-02T03:04:05",
        "command": ["python3", "-m", f"{problem}.train", *words, "--seed", str(settings["seed"])]} | more))
    (folder / "summary.json").write_text(json.dumps(summary))
    names = list(rows[0])
    tiny.write_rows(folder / "metrics.csv", [names, *([row[name] for name in names] for row in rows)])


def seeds_of(method, pair):
    """Three; the lower bound of the first pair has one, and the upper bound of the last is missing."""
    return {("source", 0): (0,), ("target", 2): ()}.get((method, pair), (0, 1, 2))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Fake runs of problems 3 and 4, and the report drawn of them: (folder of the runs, of the report, calls of add_maps)."""
    root = tmp_path_factory.mktemp("tables")
    runs, out, drawn = root / "runs", root / "report", []
    for number, pair in enumerate(PAIRS):
        words = ("--source", pair[0], "--target", pair[1])
        for method in (*MODES, "adda"):
            for seed in seeds_of(method, number):
                name = f"p4_{'-'.join(pair)}" if method == "adda" else f"p3_{'-'.join(pair)}_{method}"
                summary = {"target_accuracy": accuracy(method, number, seed),
                           "source_accuracy": accuracy(method, number, seed, of="source"),
                           "target_absent_digits": [8] if number == 1 else [], "target_entropy": 0.1 + number + 0.01 * seed,
                           "train_seconds": 60.0 * (number + 1), "train_images": 1000 * (number + 1), "epochs": 7}
                defining = {"source": pair[0], "target": pair[1], "seed": seed}
                rows = [{"epoch": 1, "domain_accuracy": ""},        # of the source alone
                        {"epoch": 2, "domain_accuracy": 0.51 + 0.1 * number + 0.03 * seed}]
                if method == "adda":
                    summary["source_only_accuracy"] = accuracy("before", number, seed)
                    rows = [rows[0], *rows]
                else:
                    defining["mode"] = method
                folder = runs / (name + (f"_seed{seed}" if seed else ""))
                write_run(folder, "p4_adda" if method == "adda" else "p3_dann", defining, summary, rows,
                          (*words, *(() if method == "adda" else ("--mode", method))))
                # of ten images, seeds 0 and 1 differ in `number` labels, 0 and 2 and 1 and 2 in all
                labels = ["5"] * 10 if seed == 0 else ["5"] * (10 - number) + ["6"] * number if seed == 1 else ["7"] * 10
                tiny.write_rows(folder / "target_train.csv", [("image_name", "label"), *(
                    (f"{i}.png", label) for i, label in enumerate(labels))])
    with pytest.MonkeyPatch.context() as patch:
        for problem, module in (("p3", p3_dann.figures), ("p4", p4_adda.figures)):
            loaded = []
            patch.setattr(module, "load_weights", lambda path, loaded=loaded, **networks: loaded.append((path, networks)))

            def add_maps(section, run, prepare, encoders, problem=problem, loaded=loaded):
                drawn.append((problem, run.folder.name, loaded[-1], encoders))
            patch.setattr(module, "add_maps", add_maps)
            patch.setattr(module, "PAIRS", PAIRS)
            patch.setattr(sys, "argv", ["figures", "--runs", str(runs), "--out", str(out)])
            module.main()
        patch.setattr(common.report.page, "PAIRS", PAIRS)
        assemble(out, tex=True)
    return runs, out, drawn


class Page(html.parser.HTMLParser):
    """The tables of a page, each a list of rows of texts, the labels that are read out, and the lists of settings, each a list
    of (name, value)."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.labels, self.settings, self._cell = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.labels += [value for name, value in attributes if name == "aria-label"]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "dl":
            self.settings.append([])
        elif tag in ("td", "th", "dt", "dd"):
            self._cell = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self._cell)
        elif tag == "dt":
            self._name = self._cell
        elif tag == "dd":
            self.settings[-1].append((self._name, self._cell))
        if tag in ("td", "th", "dt", "dd"):
            self._cell = None


def row(method, dash="–"):
    """The cells of that method over the pairs."""
    values = [[accuracy(method, pair, seed) for seed in seeds_of(method, pair)] for pair in range(3)]
    return [shown(cell) if cell else dash for cell in values]


def means(method):
    return [statistics.mean(accuracy(method, pair, seed) for seed in seeds_of(method, pair)) if seeds_of(method, pair) else None
            for pair in range(3)]


def expected_tables(dash="–"):
    plain_means = [f"{100 * mean:.2f}" for mean in means("dann")]
    return ([HEADER, ["trained on source (lower bound)", *row("source", dash)], ["in the report", *REPORT["source"]],
             ["DANN", *row("dann", dash)], ["in the report", *REPORT["dann"]],
             ["trained on target (upper bound)", *row("target", dash)], ["in the report", *REPORT["target"]]],
            [HEADER, ["source encoder alone", *row("before", dash)], ["ADDA", *row("adda", dash)],
             ["in the report", *REPORT["adda"]], ["DANN (problem 3)", *plain_means], ["in the report", *REPORT["dann"]]])


def test_tables_of_the_page(digits):
    page = Page((digits[1] / "index.html").read_text())
    of_runs, *tables = page.tables
    assert tables == list(expected_tables())
    assert of_runs[0] == ["", "runs", "preset", "seed", "training images", "training time", "hardware"]
    # DANN: 7 runs of the first pair at 1 minute, 9 of the second at 2, 6 of the third at 3
    assert [line[1:] for line in of_runs[1:]] == [
        ["22", "tuned", "0, 1, 2", "1,000 to 3,000", "43 min", "a computer"],
        ["9", "tuned", "0, 1, 2", "1,000 to 3,000", "18 min", "a computer"]]


def test_charts_of_the_page(digits):
    page = Page((digits[1] / "index.html").read_text())
    show = lambda value: "–" if value is None else f"{100 * value:.1f}"
    report = {"source": ["13.7", "20.0", "40.5"], "dann": ["28.7", "48.2", "51.7"], "adda": ["10.1", "15.9", "13.2"],
              "target": ["91.3", "91.5", "96.9"]}
    names = {"source": "lower bound", "dann": "DANN", "adda": "ADDA", "target": "upper bound"}
    assert page.labels[:4] == ["Contents", *(f"{title}: " + "; ".join(
        f"{name} {show(means(method)[pair])}, report {report[method][pair]}" for method, name in names.items())
        for pair, title in enumerate(HEADER[1:]))]
    # the bars are as long as their numbers say: 160 units are 100 %
    text = (digits[1] / "index.html").read_text()
    charts = re.findall(r"<svg viewBox=.*?</svg>", text)
    for pair, chart in enumerate(charts):
        bars = [float(width) / 160 for width in re.findall(r"<rect class=(?:bound|dann|adda) [^>]*?width=([\d.]+)", chart)]
        assert bars == pytest.approx([means(method)[pair] for method in names if means(method)[pair] is not None], abs=1e-3)
        ticks = [(float(x) + 1 - 92) / 160 for x in re.findall(r"<rect class=tick x=([\d.]+)", chart)]
        assert ticks == pytest.approx([float(REPORT[method][pair]) / 100 for method in names], abs=1e-3)


def test_tables_of_the_latex(digits):
    for name, expected in zip(("p3_dann", "p4_adda"), expected_tables(dash="--")):
        text = (digits[1] / "tex" / f"{name}.tex").read_text()
        first = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
        found = [line.removesuffix(r" \\").split(" & ") for line in first.splitlines() if " & " in line]
        assert found == [[cell.replace("→", r"$\rightarrow$").replace("±", r"$\pm$").replace("%", r"\%") for cell in line]
                         for line in expected]


def test_settings_are_those_of_the_adapted_run(digits):
    expected = [[("preset", "tuned"), ("seed", "0"), ("source", "usps"), ("target", "mnistm"),
                 *([("mode", "dann")] if problem == "p3_dann" else []),
                 ("hardware", "a computer"), ("torch", "2"), ("git revision", "abc")] for problem in ("p3_dann", "p4_adda")]
    assert Page((digits[1] / "index.html").read_text()).settings == expected
    for problem, settings in zip(("p3_dann", "p4_adda"), expected):
        of_settings = (digits[1] / "tex" / f"{problem}.tex").read_text().split(r"\toprule")[2].split(r"\bottomrule")[0]
        found = [line.removesuffix(r" \\").split(" & ") for line in of_settings.splitlines() if " & " in line]
        pairs = [pair for line in found for pair in (line[:2], line[2:])]
        assert sorted(map(tuple, pairs)) == sorted([*settings, *[("", "")] * (len(pairs) - len(settings))])


def test_captions_say_how_many_seeds_there_are(digits):
    page = (digits[1] / "index.html").read_text()
    assert page.count("Mean ± sample standard deviation over 1 to 3 seeds, weights of the last epoch.") == 1
    assert page.count("Mean ± sample standard deviation over 3 seeds, weights of the last epoch.") == 1


def test_the_list_of_runs_and_what_two_differ_in(digits):
    found = {row[0]: dict(zip(RUN_HEADER, row)) for row in list_runs(digits[0])}
    assert len(found) == 22 + 9
    for number, pair in enumerate(PAIRS):
        for method in (*MODES, "adda"):
            for seed in seeds_of(method, number):
                name = f"p4_{'-'.join(pair)}" if method == "adda" else f"p3_{'-'.join(pair)}_{method}"
                row = found[name + (f"_seed{seed}" if seed else "")]
                assert row == {"run": row["run"], "problem": name[:2] + ("_adda" if method == "adda" else "_dann"),
                               "pair": "-".join(pair), "mode": "–" if method == "adda" else method, "preset": "tuned",
                               "seed": str(seed), "epochs": "3" if method == "adda" else "2", "started": "2026-01-02 03:04",
                               "result": f"target accuracy {accuracy(method, number, seed):.4f}"}
    settings, metrics = compare_runs(*(digits[0] / f"p3_{name}" for name in ("usps-mnistm_source", "mnistm-svhn_dann_seed1")))
    assert settings == [["seed", "0", "1"], ["source", "usps", "mnistm"], ["target", "mnistm", "svhn"],
                        ["mode", "source", "dann"]]
    one, other = accuracy("source", 0, 0), accuracy("dann", 1, 1)
    assert metrics[0] == ["target accuracy", f"{one:.4f}", f"{other:.4f}", f"{other - one:+.4g}"]
    assert ["train seconds", "60.0000", "120.0000", "+60"] in metrics


def test_results_json(digits):
    found = json.loads((digits[1] / "results.json").read_text())
    for pair, names in enumerate(PAIRS):
        key = "-".join(names)
        for mode in MODES:
            assert found["p3_dann"][f"{key}_{mode}"] == (pytest.approx(means(mode)[pair]) if means(mode)[pair] else None)
        assert found["p4_adda"][f"{key}_target_accuracy"] == pytest.approx(means("adda")[pair])
        assert found["p4_adda"][f"{key}_source_only_accuracy"] == pytest.approx(means("before")[pair])


def test_an_upper_bound_is_that_of_another_pairs_lower_bound_where_they_are_the_same_training(tmp_path, monkeypatch):
    monkeypatch.setattr(p3_dann.figures, "load_weights", lambda *_, **__: None)
    monkeypatch.setattr(p3_dann.figures, "add_maps", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["figures", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])

    def write(source, target, mode, of_target, of_source=0.7, seed=0):
        summary = {"target_accuracy": of_target, "source_accuracy": of_source, "target_absent_digits": [],
                   "target_entropy": 1.0, "train_seconds": 1.0, "train_images": 10, "epochs": 1}
        settings = {row.name: row.neutral for row in AUGMENTATION}
        settings |= {"source": source, "target": target, "mode": mode, "seed": seed}
        write_run(tmp_path / f"runs/p3_{source}-{target}_{mode}{f'_seed{seed}' * (seed > 0)}", "p3_dann", settings, summary,
                  [{"epoch": 1, "domain_accuracy": 0.5}])

    def drawn():
        p3_dann.figures.main()
        section = read_json(tmp_path / "out" / "sections" / "p3_dann.json")
        return [section["results"][f"{'-'.join(pair)}_target"] for pair in PAIRS], json.dumps(section)
    for number, pair in enumerate(PAIRS):
        write(*pair, "source", 0.1 * number, of_source=0.8 + 0.01 * number)
        write(*pair, "dann", 0.3)
    found, shown = drawn()
    assert found == pytest.approx([0.81, 0.82, 0.8]) and "81.00" in shown and "the network of the lower bound" in shown
    write("usps", "mnistm", "target", 0.9)
    assert drawn()[0] == pytest.approx([0.9, 0.82, 0.8]), "its own, where that is there"
    write("mnistm", "svhn", "source", 0.2, of_source=0.83, seed=1)
    assert drawn()[0] == pytest.approx([0.82, 0.82, 0.8]), "or the one with more seeds"


def test_sentences_of_the_page(digits):
    text = (digits[1] / "index.html").read_text()
    percent = lambda value: f"{100 * value:.2f}"
    for pair, title in enumerate(HEADER[1:3]):
        lower, adapted, upper = (means(mode)[pair] for mode in MODES)
        kept, before = (statistics.mean(accuracy(mode, pair, seed, "source") for seed in seeds_of(mode, pair))
                        for mode in ("dann", "source"))
        assert (f"{title}: DANN closes {100 * (adapted - lower) / (upper - lower):.0f} % of the gap between the two bounds "
                f"(lower bound {percent(lower)} %, DANN {percent(adapted)} %, upper bound {percent(upper)} %). It "
                f"labels {percent(kept)} % of the source&#x27;s own test images correctly, the lower bound {percent(before)} %"
                ) in text
        assert f"tells the domain of {51 + 10 * pair} % of the features correctly" in text
    for pair, title in enumerate(HEADER[1:]):
        before, after = means("before")[pair], means("adda")[pair]
        assert (f"{title}: the accuracy is {percent(before)} % before adaptation and {percent(after)} % after it "
                f"({100 * (after - before):+.1f} points); at the end the discriminator is right for {51 + 10 * pair} %") in text
    assert "The MNIST-M test images" not in text and "The SVHN test images here have no 8" in text
    assert f"(USPS → MNIST-M) DANN reaches {percent(means('dann')[0])} %" in text
    assert f"(SVHN → USPS) {percent(means('dann')[2])} %" in text


def test_maps_are_those_of_the_adapted_networks(digits):
    expected = [("p3", f"p3_{'-'.join(pair)}_dann") for pair in PAIRS] + [("p4", f"p4_{'-'.join(pair)}") for pair in PAIRS]
    assert [(problem, folder) for problem, folder, *_ in digits[2]] == expected
    for problem, folder, (path, loaded), encoders in digits[2]:
        assert path.parent.name == folder
        names = ("extractor", "extractor") if problem == "p3" else ("source_encoder", "target_encoder")
        assert [encoders[role] for role in ("source", "target")] == [loaded[name] for name in names]


def test_the_csv_of_runs(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["results", str(digits[0]), "--out", str(tmp_path / "runs.csv")])
    results.main()
    header, *rows = tiny.read_rows(tmp_path / "runs.csv")
    found = {line[0]: dict(zip(header, line)) for line in rows}
    assert len(found) == 11, "three pairs, three modes and ADDA; one is missing"
    for number, pair in enumerate(PAIRS):
        for method in (*MODES, "adda"):
            values = [accuracy(method, number, seed) for seed in seeds_of(method, number)]
            problem, mode = ("p4_adda", "") if method == "adda" else ("p3_dann", f" --mode {method}")
            command = f"python3 -m {problem}.train --source {pair[0]} --target {pair[1]}{mode}"
            if not values:
                assert command not in found
                continue
            line = found[command]
            assert (line["metric"], line["seeds"], line["mean"]) == ("target_accuracy", str(len(values)),
                                                                     f"{statistics.mean(values):.4f}")
            assert line["standard_deviation"] == (f"{statistics.stdev(values):.4f}" if len(values) > 1 else "")
            assert line["agreement_percent"] == (f"{(100 - 10 * number) / 3:.1f}" if len(values) > 1 else "")
            assert line["entropy_nats"] == f"{0.1 + number + (0.01 if len(values) > 1 else 0):.3f}"
            assert (line["train_images"], line["minutes_each"], line["epochs"]) == (
                str(1000 * (number + 1)), f"{number + 1:.1f}", "7")


# ---- grades ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    """Three submissions whose numbers all differ, written down: (folder, {name: {task: result}}, the floor of faces)."""
    out, points = tmp_path_factory.mktemp("grades"), [
        ("p1_swd", -math.inf, 200.5, 1.0), ("p2_swd", -math.inf, 211.0, 0.5), ("p3_svhn_accuracy", 31.25, 34.0, 2.0),
        ("p4_usps_accuracy", 72.0, math.inf, 4.0)]
    tasks = ("p1", "p2", "p3_mnistm", "p3_svhn", "p3_usps", "p4_mnistm", "p4_svhn", "p4_usps")
    graded = hw_grade.Grades(out, {name: name for name in ("worst", "best", "middle")}, tasks, points)
    for person, (name, of_tasks) in enumerate(graded.results.items()):
        for number, task in enumerate(tasks):
            base = 10 * number + (0, 3, 1)[person]
            more = ({"faces": 32 - person, "swd": 200.0 + base, "nearest": base / 1000, "sharpness": base / 1e4,
                     "diversity": base / 500} if task in ("p1", "p2") else
                    {"accuracy": 0.25 + base, "never": f"{person}, {number}", "confusion": [
                        [100 * truth + 10 * answer + person for answer in range(10)] for truth in range(10)]})
            of_tasks[task] = {"faults": [f"fault of {name} in {task}"], "errors": [f"{name} said {task}"],
                             "seconds": 500.0 + base, "mib": 2000.0 + base, "same": base % 2 == 0} | more
    floor = {"swd": 901.0, "nearest": 0.902, "sharpness": 0.903, "diversity": 0.904}
    graded.write(floor)
    return out, graded.results, floor


def test_the_csv_of_grades(grades):
    out, results, _ = grades
    with open(out / "grades.csv", newline="") as file:
        found = {line["submission"]: line for line in csv.DictReader(file)}
    assert {name: line["points"] for name, line in found.items()} == {"worst": "1.5", "best": "6", "middle": "2.5"}
    for name, tasks in results.items():
        assert found[name]["faults"] == " | ".join(
            f"{task.replace('_', ' ')}: fault of {name} in {task}" for task in tasks)
        for task, result in tasks.items():
            for key in ("seconds", "mib", "same", *(("swd", "faces", "nearest", "sharpness", "diversity")
                                                    if "swd" in result else ("accuracy",))):
                assert float(found[name][f"{task}_{key}"]) == pytest.approx(float(result[key]), abs=1e-4), (name, task, key)


def test_the_page_of_grades(grades):
    out, results, floor = grades
    page = Page((out / "index.html").read_text())
    ranking, points, *tables = page.tables
    ranked = ("best", "6"), ("middle", "2.5"), ("worst", "1.5")
    tasks = list(results["best"])
    first = lambda result: f"{result['swd']:.1f}" if "swd" in result else f"{result['accuracy']:.2f}"
    assert ranking == [["submission", "points", *(task.replace("_", " ") for task in tasks), "faults"],
                       *([name, score, *map(first, results[name].values()), "8"] for name, score in ranked)]
    assert points[1:] == [["p1_swd", "–", "200.5", "1"], ["p2_swd", "–", "211", "0.5"],
                          ["p3_svhn_accuracy", "31.25", "34", "2"], ["p4_usps_accuracy", "72", "–", "4"]]
    yes_no = {True: "yes", False: "no", None: "–"}

    def of_faces(name, row):
        return [name, f"{row['swd']:.1f}", str(row.get("faces", "–")), yes_no[row.get("same")], f"{row['nearest']:.3f}",
                f"{row['sharpness']:.4f}", f"{row['diversity']:.3f}",
                *([f"{row['seconds']:.1f}", f"{row['mib']:,.0f}"] if "mib" in row else ["–", "–"])]
    tables = iter(tables)
    for name, _ in ranked:
        graded = results[name]
        assert next(tables) == [["", "swd", "faces", "same", "nearest", "sharpness", "diversity", "seconds", "mib"],
                                *(of_faces(task, graded[task]) for task in ("p1", "p2")), of_faces("real faces", floor)]
        assert next(tables) == [["", "accuracy", "same", "never", "seconds", "mib"], *(
            [task.replace("_", "\xa0"), f"{row['accuracy']:.2f}", yes_no[row["same"]], row["never"],
             f"{row['seconds']:.1f}", f"{row['mib']:,.0f}"]
            for task, row in graded.items() if "accuracy" in row)]
        for row in graded.values():
            if "confusion" in row:
                assert next(tables) == [["truth", *map(str, range(10))], *(
                    [str(truth), *map(str, counts)] for truth, counts in enumerate(row["confusion"]))]
    assert next(tables, None) is None


def test_the_points_are_given_for_the_reports_baselines():
    points = {}
    for column, least, most, number in hw_grade.read_points(hw_grade.POINTS):
        points.setdefault(column, []).append((least, most, number))
    for problem in ("p3", "p4"):
        for pair, (_, target) in enumerate(PAIRS):
            assert points.pop(f"{problem}_{target}_accuracy") == [
                (float(REPORT[mode][pair]), math.inf, 5) for mode in ("source", "dann")]
    for problem in ("p1", "p2"):
        assert points.pop(f"{problem}_faces") == [(32, 32, 10)] and points.pop(f"{problem}_same") == [(1, math.inf, 5)]
        assert points.pop(f"{problem}_nearest") == [(0.05, math.inf, 5)]
    assert not points


# ---- faces -----------------------------------------------------------------------------------------------------------

class Drawn:
    """Takes the place of the functions that draw in a module: `calls` has, for each, the name of the file and the arguments."""

    def __init__(self, monkeypatch, module):
        self.calls = {}
        for name in dir(module):
            if name.startswith("draw_"):
                monkeypatch.setattr(module, name, self._draw)

    def _draw(self, path, *arguments, **_):
        self.calls[path.stem] = arguments
        return np.zeros((len(arguments[0]), 2))

    def arguments(self, name):
        return self.calls[name]


def measured(images, reference=None):
    """In the place of the metrics: numbers that tell which images were measured, by their mean, and against which."""
    mean, other = images.float().mean().item(), reference.float().mean().item()
    swd = {level: (mean + shift, other / 10) for level, shift in (("64", 1.0), ("32", 2.0), ("16", 3.0), ("mean", 2.0))}
    return {"images": len(images), "sharpness": mean / 100, "diversity": mean / 1000, "swd": swd, "fid": None}


def section_of(module, runs, out, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["figures", "--runs", str(runs), "--out", str(out)])
    module.main()
    section = json.loads(next((out / "sections").glob(f"{module.__name__[:2]}*.json")).read_text())
    return section, [block for block in section["blocks"] if block["kind"] == "table"]


@torch.no_grad()
def test_tables_and_figures_of_the_vae(tiny_data, tmp_path, monkeypatch):
    weights = {0.4: "p1_vae", 1.0: "p1_vae_kl1", 0.02: "p1_vae_kl0.02"}
    (faces, _, _), (train, _, _) = (tiny.read(tiny_data, "face", split) for split in ("test", "train"))
    numbers, samples = {}, {}
    for seed, (weight, name) in enumerate(weights.items()):
        torch.manual_seed(seed)
        vae = VAE().eval()
        for parameter in vae.parameters():      # livelier than an untrained one
            parameter.mul_(1.5)
        write_run(tmp_path / "runs" / name, "p1_vae", {"kl_weight": weight, "data": str(tiny_data)},
                  {"train_seconds": 1.0, "train_images": 8, "test_mse": 9.0, "test_kl": 9.0},
                  [{"epoch": e, "reconstruction": 100 / e, "kl": e, "test_mse": 1 / e} for e in (1, 2, 3, 4)])
        save_weights(tmp_path / "runs" / name / "weights.pt", {}, vae=vae)
        mu, logvar = vae.encoder(faces)
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).sum(dim=1).mean().item()
        numbers[weight] = (vae.decoder(mu) - faces).square().mean(dim=(1, 2, 3)), kl
        samples[weight] = vae.decoder(torch.randn(6, 256, generator=torch.Generator().manual_seed(0)))
    drawn = Drawn(monkeypatch, p1_vae.figures)
    monkeypatch.setattr(p1_vae.figures, "lacking", list)
    monkeypatch.setattr(p1_vae.measure, "measure", measured)
    monkeypatch.setattr(p1_vae.measure, "sliced_wasserstein", lambda *images: measured(*images)["swd"])
    monkeypatch.setattr(p1_vae.measure, "embed", lambda latents: np.zeros((len(latents), 2)))
    probed = {name: {"accuracy": 0.5 + 0.01 * i, "majority": 0.4 - 0.01 * i, "auc": 0.9 - 0.02 * i}
              for i, name in enumerate(ATTRIBUTES)}
    shapes = []
    monkeypatch.setattr(p1_vae.measure, "probe", lambda *tensors: shapes.extend(len(t) for t in tensors) or probed)
    section, (ten, of_weights, of_probes) = section_of(p1_vae.figures, tmp_path / "runs", tmp_path / "out", monkeypatch)

    errors = numbers[0.4][0]
    assert ten["header"] == ["test image", *range(1, 11), "mean"]
    assert ten["rows"] == [["MSE", *(f"{error:.4f}" for error in errors), *[None] * 4, f"{errors.mean():.4f}"],
                           ["MSE, report", 0.148, 0.107, 0.096, 0.082, 0.068, 0.081, 0.092, 0.085, 0.077, 0.092, "0.0928"]]
    bytes_of = lambda images: (255 * images).round()
    assert of_weights["header"] == ["KL weight", "test KL, nats", "test MSE", "SWD of samples"]
    assert of_weights["rows"] == [
        [name, f"{numbers[weight][1]:.1f}", f"{numbers[weight][0].mean():.4f}",
         f"{bytes_of(samples[weight]).mean() + 2:.1f} ± {25.5 * train.mean():.1f}"]
        for name, weight in (("1", 1.0), ("0.4, chosen", 0.4), ("0.02", 0.02))]
    assert len({tuple(line[1:]) for line in of_weights["rows"]}) == 3
    assert f"real test faces have {255 * faces.mean() + 2:.1f}" in of_weights["caption"]
    points, chosen = drawn.arguments("p1_rate_distortion")
    assert chosen == "0.4" and [name for name, *_ in points] == ["1", "0.4", "0.02"]
    for (_, rate, distortion), weight in zip(points, (1.0, 0.4, 0.02)):
        assert rate == pytest.approx(numbers[weight][1], rel=1e-4)
        assert distortion == pytest.approx(numbers[weight][0].mean().item(), rel=1e-4)
    strips, names = drawn.arguments("p1_weights_samples")
    assert names == ["1", "0.4", "0.02"]
    for strip, weight in zip(strips, (1.0, 0.4, 0.02)):
        assert torch.allclose(strip[:6], samples[weight], atol=1e-5)

    assert of_probes["header"] == ["attribute", "probe", "majority", "gain", "AUC"] and shapes == [8, 8, 6, 6]
    assert of_probes["rows"] == [[name.replace("_", " "), f"{50 + i:.2f}", f"{40 - i:.2f}", f"{10 + 2 * i:+.2f}",
                                  f"{0.9 - 0.02 * i:.3f}"] for i, name in enumerate(ATTRIBUTES)]
    assert section["headlines"][0]["value"] == f"{errors.mean():.4f}"
    assert section["results"]["test_mse"] == pytest.approx(errors.mean().item(), rel=1e-4)
    assert section["results"]["test_kl"] == pytest.approx(numbers[0.4][1], rel=1e-4)
    texts = " ".join(block["text"] for block in section["blocks"] if block["kind"] == "text")
    # of the fall from 100 to 25, 100 - 33.3 is done after the third epoch
    assert "falls by 75.0 in all; 89 % of this is reached by epoch 3 of 4." in texts
    # the probes' accuracies are 0.5, 0.51 … and their majorities 0.4, 0.39 … of 13 attributes
    assert (f"reads {ATTRIBUTES[0].replace('_', ' ')} best (area under the ROC curve 0.90) and "
            f"{ATTRIBUTES[-1].replace('_', ' ')} worst (0.66); over 13 attributes it is right for 56.0 % of the faces on "
            "average, the more frequent answer for 34.0 %.") in texts
    real, drawn_faces = bytes_of(faces).mean() / 100, bytes_of(samples[0.4]).mean() / 100
    assert f"the samples {100 * drawn_faces / real:.0f} %." in texts

    originals, reconstructions, below = drawn.arguments("p1_reconstructions")
    assert torch.allclose(originals, faces) and torch.allclose(torch.tensor(below), errors, rtol=1e-3)
    assert torch.allclose((reconstructions - originals).square().mean(dim=(1, 2, 3)), errors, rtol=1e-3)
    header, *rows = tiny.read_rows(tiny.place(tiny_data, "face", "test").with_suffix(".csv"))
    marks = [{name: value == "1.0" for name, value in zip(header, line)} for line in rows]
    hair = [[name for name in ("Black_Hair", "Blond_Hair", "Brown_Hair") if mark[name]] for mark in marks]
    hair = [colours[0].split("_")[0].lower() if len(colours) == 1 else "other" for colours in hair]
    labels = [f"{'male' if mark['Male'] else 'not male'}, {colour} hair" for mark, colour in zip(marks, hair)]
    assert [block["map"]["labels"] for block in section["blocks"] if "map" in block] == [labels, labels]
    _, _, classes, names, *_ = drawn.arguments("p1_tsne_gender")
    assert [names[number] for number in classes.tolist()] == [label.split(",")[0] for label in labels]
    _, _, classes, names, *_ = drawn.arguments("p1_tsne_hair")
    assert [names[number] for number in classes.tolist()] == hair

    # another word in a caption: all else is as it was, and nothing is measured
    monkeypatch.setattr(p1_vae.figures, "measure_runs", lambda *_: pytest.fail("measured again"))
    monkeypatch.setitem(p1_vae.figures.words.texts, "samples", "Faces.")
    again, _ = section_of(p1_vae.figures, tmp_path / "runs", tmp_path / "out", monkeypatch)
    different = [(one, other) for one, other in zip(section["blocks"], again["blocks"], strict=True) if one != other]
    assert [other["caption"] for _, other in different] == ["Faces."] and again["results"] == section["results"]


def test_tables_and_figures_of_the_gan(tiny_data, tmp_path, monkeypatch):
    runs, out = tmp_path / "runs", tmp_path / "out"
    brightness = {}
    for number, (noise, seed) in enumerate([("uniform", 0), ("uniform", 1), ("gaussian", 0), ("gaussian", 1)]):
        folder = runs / (f"p2_dcgan_{noise}" + (f"_seed{seed}" if seed else ""))
        write_run(folder, "p2_dcgan", {
            "noise": noise, "seed": seed, "data": str(tiny_data), "horizontal_flip": True, "vertical_flip": False,
            "brightness_contrast": 0.0, "diff_augment": "none"}, {"train_seconds": 10.0, "train_images": 8},
            [{"epoch": e, "discriminator_loss": e, "generator_loss": 10 * e + number, "real_score": 0.6, "fake_score": 0.4}
             for e in (1, 2, 3)])
        (folder / "samples").mkdir()
        for epoch in (1, 5, 10, 15):
            (folder / "samples" / f"epoch_{epoch:03d}.png").touch()
        (folder / "weights.pt").write_bytes(bytes([number]))
        brightness[folder / "weights.pt"] = 0.2 * (number + 1)
    (out / "sections").mkdir(parents=True)
    vae = measured(torch.full((6, 3, 2, 2), 17), torch.full((6, 3, 2, 2), 33))
    (out / "sections" / "p1_vae.json").write_text(json.dumps({"results": {"samples": vae}}))
    drawn = Drawn(monkeypatch, p2_dcgan.figures)
    module = p2_dcgan.figures
    monkeypatch.setattr(module, "lacking", list)
    monkeypatch.setattr(p2_dcgan.measure, "measure", measured)
    monkeypatch.setattr(p2_dcgan.measure, "sample_weights",
                        lambda path, count: torch.full((count, 3, 64, 64), brightness[path]))
    loaded = []
    monkeypatch.setattr(module, "load_weights", lambda path, **_: loaded.append(path) or {"noise": json.loads(
        (path.parent / "config.json").read_text())["settings"]["noise"]})
    monkeypatch.setattr(module, "sample", lambda generator, noise: (loaded[-1].parent.name, noise))
    section, (table,) = section_of(module, runs, out, monkeypatch)

    (faces, _, _), (train, _, _) = (tiny.read(tiny_data, "face", split) for split in ("test", "train"))
    other = 25.5 * train.mean().item()

    def cells(mean, other=other):
        levels = [f"{mean + shift:.1f} ± {other:.1f}" for shift in (1, 2, 3, 2)]
        return ["6", f"{mean / 100:.4f}", f"{mean / 1000:.4f}", *levels, "–"]
    assert table["header"] == ["", "images", "sharpness", "diversity", "SWD 64", "SWD 32", "SWD 16", "SWD mean", "FID"]
    assert table["rows"] == [["VAE", *cells(17, 3.3)], ["DCGAN, uniform, seed 0", *cells(51)],
                             ["DCGAN, uniform, seed 1", *cells(102)], ["DCGAN, gaussian, seed 0", *cells(153)],
                             ["DCGAN, gaussian, seed 1", *cells(204)], ["real test faces", *cells(255 * faces.mean().item())]]
    real = 255 * faces.mean().item() + 2
    assert section["headlines"][0] == {
        "value": "53.0", "text": "DCGAN: sliced Wasserstein distance of the samples × 1000",
        "note": f"VAE: 19.0; real test faces: {real:.1f}"}
    text = " ".join(block["text"] for block in section["blocks"] if block["kind"] == "text")
    assert "is 78.5 ± 36.1 for uniform and 180.5 ± 36.1 for Gaussian noise" in text
    share = 100 * 51 / (255 * faces.mean().item())
    assert f"by 0.051 (root mean square of pixels in [0, 1]) on average, {share:.0f} % of what two real faces do" in text
    assert ("the GAN's samples have 3.0 times the sharpness of the VAE's. Two of the GAN's differ by 0.051 on average, two of "
            "the VAE's by 0.017.") in text
    assert "(epoch 2) to its end the generator's loss goes from 20.00 to 30.00" in text
    for noise in ("uniform", "gaussian"):
        assert drawn.arguments(f"p2_samples_{noise}") == ((f"p2_dcgan_{noise}", noise),)
    panels, = drawn.arguments("p2_progress")
    assert [(title, path.name) for title, path in panels] == [
        ("epoch 1", "epoch_001.png"), ("epoch 10", "epoch_010.png"), ("epoch 15", "epoch_015.png")]
    curves, what = drawn.arguments("p2_curves")
    assert [rows[-1]["generator_loss"] for rows in curves.values()] == ["30", "32"] and list(curves) == ["uniform", "gaussian"]
    assert what == [("loss", {"discriminator_loss": "discriminator", "generator_loss": "generator"}),
                    ("discriminator's mean score", {"real_score": "real faces", "fake_score": "generated faces"})]


# ---- the figures themselves ------------------------------------------------------------------------------------------

@pytest.fixture
def figure(monkeypatch):
    """figure(draw, …): what a function of common/report/plots.py draws, before it is saved."""
    def call(draw, *arguments):
        kept = []
        monkeypatch.setattr(plots, "_save", lambda figure, path: kept.append(figure))
        call.returned = draw(None, *arguments)
        return kept[0]
    return call


def test_curves_are_of_their_run_and_column(figure):
    rows = {name: [{"epoch": str(e), "a": str(e * base), "b": str(-e * base), "c": ""} for e in (1, 2, 3)]
            for name, base in (("one", 10), ("two", 20))}
    axes = figure(plots.draw_curves, rows, [("left", {"a": "A", "b": "B"}), ("right", {"a": "only A"})]).axes
    assert [axis.get_title() for axis in axes] == ["one: left", "one: right", "two: left", "two: right"]
    for axis, base in zip(axes, (10, 10, 20, 20)):
        lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
        expected = {"A": [[e, e * base] for e in (1, 2, 3)], "B": [[e, -e * base] for e in (1, 2, 3)]}
        assert lines == (expected if len(lines) == 2 else {"only A": expected["A"]})
    assert axes[0].get_legend() is not None and axes[-1].get_xlabel() == "epoch"


def test_rate_is_across_and_distortion_up(figure):
    axis, = figure(plots.draw_rate_distortion, [("1", 5.0, 0.3), ("0.1", 9.0, 0.1)], "0.1").axes
    line, ring = axis.lines
    assert line.get_xydata().tolist() == [[5, 0.3], [9, 0.1]] and ring.get_xydata().tolist() == [[9, 0.1]]
    assert "rate" in axis.get_xlabel() and "distortion" in axis.get_ylabel()
    assert [(text.get_text(), text.xy) for text in axis.texts] == [("1", (5.0, 0.3)), ("0.1", (9.0, 0.1))]


def test_rows_of_images_stand_beside_their_names_and_below_their_titles(figure):
    rows = [torch.stack([torch.full((3, 4, 6), (10 * row + column) / 100) for column in range(3)]) for row in range(2)]
    axis, = figure(plots.draw_rows, rows, ["first", "second"], ["a", "b", "c"]).axes
    pixels = axis.images[0].get_array()[:, :, 0]
    titles = dict(zip((text.get_text() for text in axis.get_xticklabels()), axis.get_xticks()))
    names = dict(zip((text.get_text() for text in axis.get_yticklabels()), axis.get_yticks()))
    for row, name in enumerate(("first", "second")):
        for column, title in enumerate("abc"):
            place = pixels[int(names[name]) - 1:int(names[name]) + 1, int(titles[title]) - 2:int(titles[title]) + 2]
            assert np.allclose(place, (10 * row + column) / 100)


def test_each_picture_is_below_its_title(figure, tmp_path):
    panels = []
    for value in (40, 80, 120):
        Image.new("RGB", (6, 4), (value,) * 3).save(tmp_path / f"{value}.png")
        panels.append((f"of {value}", tmp_path / f"{value}.png"))
    axes = figure(plots.draw_image_panels, panels).axes
    assert [(axis.get_title(), round(255 * axis.images[0].get_array().mean())) for axis in axes] == [
        ("of 40", 40), ("of 80", 80), ("of 120", 120)]


def test_the_page_finds_each_points_image_on_the_sheet(tmp_path):
    section = Section(tmp_path, "p4_adda", "", "p4")
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 3, 28, 28) * 6
    spots = np.arange(80).reshape(40, 2) / 100
    section.figure("map", "")
    section.show_images("test", spots, images, [str(number) for number in range(40)])
    about = section.blocks[-1]["map"]
    sheet = np.asarray(Image.open(tmp_path / about["sheet"]))
    for number in range(40):
        left, top = number % about["columns"] * about["size"], number // about["columns"] * about["size"]
        tile = sheet[top:top + about["size"], left:left + about["size"]]
        assert tile.shape == (28, 28, 3) and abs(tile.mean() - 6 * number) < 2
    assert about["labels"] == [str(number) for number in range(40)] and about["spots"] == spots.tolist()


def test_figures_of_the_latex_stand_in_order_above_their_captions(tmp_path):
    section = Section(tmp_path, "p1_vae", "Faces & more", "p1")
    for name, half in (("one", True), ("two", True), ("three", True), ("four", False)):
        section.figure(name, f"what {name} shows", half=half)
    section.table(["a", "b"], [["1", None], ["2", 3]], "what the table shows")
    section.write()
    write_latex(tmp_path, {"p1_vae": json.loads((tmp_path / "sections/p1_vae.json").read_text())})
    text = (tmp_path / "tex/p1_vae.tex").read_text()
    found = re.findall(r"\\begin\{minipage\}\[t\]\{(.*?)\}.*?\{figures/p1_(\w+)\.pdf\}\s+\\caption\{(.*?)\}", text, re.DOTALL)
    assert found == [(width, name, f"what {name} shows") for width, name in (
        (r"0.49\linewidth", "one"), (r"0.49\linewidth", "two"), (r"0.49\linewidth", "three"), (r"\linewidth", "four"))]
    assert text.count(r"\begin{figure}") == 3 and r"\section*{Faces \& more}" in text
    table = text.split(r"\begin{table}")[1]
    assert table.index(r"\caption{what the table shows}") < table.index("a & b") < table.index("1 & --") < table.index("2 & 3")
    assert r"\begin{tabular}{lr}" in table


def test_headlines_stand_at_the_top_with_their_value(tmp_path):
    section = Section(tmp_path, "p1_vae", "Faces", "p1")
    section.headline("0.5", "what it is", "what to hold it against")
    section.write()
    assemble(tmp_path)
    text = re.sub("<[^>]*>", "|", (tmp_path / "index.html").read_text())
    assert re.search(r"\|0\.5\|+what it is\|+what to hold it against\|", text)


def test_a_reconstruction_is_below_its_face_and_above_its_error(figure):
    images = [torch.full((2, 3, 4, 4), value) for value in (0.25, 0.75)]
    for batch in images:
        batch[1] += 0.125
    axes = figure(plots.draw_reconstructions, *images, torch.tensor([0.1, 0.2])).axes
    assert [axis.images[0].get_array().mean() for axis in axes] == [0.25, 0.375, 0.75, 0.875]
    assert [axis.get_xlabel() for axis in axes[2:]] == ["0.1000", "0.2000"]
    assert [axis.get_ylabel() for axis in axes[::2]] == ["test", "VAE"]


def test_a_point_of_a_map_has_the_colour_of_its_class_and_is_where_the_page_looks_for_it(figure):
    points = np.array([[0.0, 0.0], [10.0, 1.0], [5.0, 9.0], [1.0, 4.0]])
    axis, = figure(plots.draw_scatter, points, "title", [0, 1, 2, 1], "abc", ("#ff0000", "#00ff00", "#0000ff"), "os^").axes
    found = {tuple(point): colors.to_hex(group.get_facecolor()[0]) for group in axis.collections
             for point in group.get_offsets()}
    assert found == {(0, 0): "#ff0000", (10, 1): "#00ff00", (5, 9): "#0000ff", (1, 4): "#00ff00"}
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b", "c"]
    assert [colors.to_hex(handle.get_facecolor()[0]) for handle in axis.get_legend().legend_handles] == [
        "#ff0000", "#00ff00", "#0000ff"]
    spots = figure.returned
    assert ((spots > 0) & (spots < 1)).all()
    assert spots[:, 0].argsort().tolist() == [0, 3, 2, 1], "from left to right"
    assert spots[:, 1].argsort().tolist() == [2, 3, 1, 0], "from the top down"


def test_the_maps_of_a_pair_have_its_test_images_with_their_digit_and_domain(tiny_data, tmp_path, monkeypatch):
    section = Section(tmp_path / "out", "p4_adda", "", "p4")
    (tmp_path / "weights.pt").write_bytes(b"")
    drawn, embedded = Drawn(monkeypatch, maps), []
    monkeypatch.setattr(maps, "embed", lambda features: embedded.append(features) or np.zeros((len(features), 2)))

    class Run:
        weights = tmp_path / "weights.pt"
        settings = {"source": "svhn", "target": "usps", "data": str(tiny_data), "limit": None, "shade": 2.0}
    # features that tell the domain, the image and that it was prepared
    maps.add_maps(section, Run, lambda images, settings: settings["shade"] * images, {
        "source": lambda images: torch.stack([images.mean(dim=(1, 2, 3)), torch.zeros(len(images))], dim=1),
        "target": lambda images: torch.stack([images.mean(dim=(1, 2, 3)), torch.ones(len(images))], dim=1)})
    (source, source_labels, _), (target, target_labels, _) = (tiny.read(tiny_data, name, "test") for name in ("svhn", "usps"))
    means = 2 * (2 * torch.cat([source, target]) - 1).mean(dim=(1, 2, 3))
    assert torch.allclose(embedded[0], torch.stack([means, torch.tensor([0.0] * 7 + [1.0] * 9)], dim=1), atol=1e-5)
    digits = [*source_labels.tolist(), *target_labels.tolist()]
    _, title, classes, names, colours, _ = drawn.arguments("p4_svhn-usps_class")
    assert title == "SVHN → USPS: digit" and list(classes) == digits and list(names) == list(range(10)) and len(colours) == 10
    _, title, domains, names, _ = drawn.arguments("p4_svhn-usps_domain")
    assert title == "SVHN → USPS: domain" and list(domains) == [0] * 7 + [1] * 9
    assert names == ("SVHN (source)", "USPS (target)")
    for block in section.blocks:
        about = block["map"]
        assert about["labels"] == [f"SVHN, {digit}" for digit in digits[:7]] + [f"USPS, {digit}" for digit in digits[7:]]
        sheet = torch.from_numpy(np.array(Image.open(tmp_path / "out" / about["sheet"]))).permute(2, 0, 1)[:, :28] / 255
        for tile, image in zip(sheet.split(28, dim=2), torch.cat([source, target]), strict=False):
            assert (tile - image).abs().mean() < 0.1, "as a jpg shows it"
