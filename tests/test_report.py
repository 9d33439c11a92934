"""The whole report at its smallest: every problem trained, drawn and assembled by hw_report.sh from another folder."""
import html.parser
import importlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from common.report import plots
from common.report.latex import to_latex
from common.report.maps import embed
from common.report.page import assemble
from common.report.plots import draw_scatter
from common.report.section import Section, about_seeds
from common.runs.read import find_runs
from p2_dcgan.figures import compare_noises
from tests.conftest import SMALLEST, report


def test_every_part_of_the_report_is_there(small_report):
    folder, result = small_report
    assert result.stdout.splitlines()[-1] == f"The report: {folder / 'report' / 'index.html'}"
    assert (folder / "report/report.tex").is_file()
    figures = {path.name for path in (folder / "report/figures").iterdir()}
    pairs = ("usps-mnistm", "mnistm-svhn", "svhn-usps")
    assert figures >= {f"{p}_{pair}_{kind}.png" for p in ("p3", "p4") for pair in pairs for kind in ("class", "domain")}
    assert figures >= {"p1_curves.png", "p1_reconstructions.png", "p1_samples.png", "p1_rate_distortion.png",
                       "p1_weights_samples.png", "p1_tsne_gender.png", "p1_tsne_hair.png", "p1_interpolation.png",
                       "p1_attributes.png", "p2_curves.png", "p2_progress.png", "p2_samples_uniform.png",
                       "p2_samples_gaussian.png", "p2_vae_gan.png"}
    assert figures >= {name.replace(".png", ".pdf") for name in figures}
    results = json.loads((folder / "report/results.json").read_text())
    assert list(results) == ["p1_vae", "p2_dcgan", "p3_dann", "p4_adda"]
    assert all(section["sample_data"] for section in results.values())
    assert set(results["p1_vae"]["kl_weights"]) == {"0.25", "1.0"}
    assert 0 <= results["p1_vae"]["probes"]["Smiling"]["auc"] <= 1
    for numbers in (results["p1_vae"]["samples"], *results["p2_dcgan"]["uniform"], *results["p2_dcgan"]["gaussian"]):
        assert numbers["swd"]["mean"][0] > results["p2_dcgan"]["real"]["swd"]["mean"][0], "real faces are the floor"
    for pair in pairs:
        assert all(0 <= results["p3_dann"][f"{pair}_{mode}"] <= 1 for mode in ("source", "dann", "target"))
        assert 0 <= results["p4_adda"][f"{pair}_target_accuracy"] <= 1


def test_the_page_stands_alone_and_says_sample_data(small_report, sample_data):
    folder, _ = small_report
    page = (folder / "report/index.html").read_text()
    sources, targets, anchors = [], [], []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            attributes = dict(attributes)
            sources.extend(filter(None, [attributes.get("src")]))
            targets.extend(filter(None, [attributes.get("href")]))
            anchors.extend(filter(None, [attributes.get("id")]))
    Reader().feed(page)
    assert len(sources) == 27 + 2 and all(source.startswith("data:image/png;base64,") for source in sources)
    links = [target for target in targets if target != "data:,"]        # an empty icon, so that none is asked for
    assert len(links) == 2 + 4 + 20 and set(links) <= {f"#{anchor}" for anchor in anchors}
    assert len(set(anchors)) == len(anchors)
    assert "http://" not in page and "https://" not in page
    assert "Sample data." in page
    places = [page.index(f"<h2 id={name}>") for name in ("shipped", "own", '"p1_vae"', '"p2_dcgan"')]
    assert places == sorted(places) and page.index("Nothing in this section was trained by") in range(*places[:2])
    assert page.index("Sample data.") > places[1], "it is not said of the models that come with the code"
    for problem in ("p1", "p2", "p3", "p4"):
        assert f"<code>bash hw_report.sh --only {problem} --data {sample_data} --preset sample " in page
    for settings, results in (("1.1", "1.7"), ("2.1", "2.4"), ("3.5", "3.6"), ("4.3", "4.5")):
        assert page.rindex(f">{settings} ") > page.rindex(f">{results} "), "details come last"
    for number in ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "2.1", "2.2", "2.3", "2.4", "3.1–3.3", "3.4", "3.5", "3.6",
                   "4.1", "4.2", "4.3", "4.4", "4.5"):
        assert f">{number} " in page
    for bar in ("lower bound [0-9.]+, report 13.7", "DANN [0-9.]+, report 28.7", "ADDA [0-9.]+, report 10.1",
                "upper bound [0-9.]+, report 91.3"):
        assert re.search(f"USPS → MNIST-M: [^\"]*{bar}", page), "each bar of the chart is read out beside the report's number"
    for reported in ("13.67", "48.20", "96.91", "10.07", "0.148"):
        assert reported in page, "the report's own numbers stand beside ours"


def test_a_second_call_trains_nothing(small_report, sample_data):
    folder, _ = small_report
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.pt")}
    files = lambda: {path: path.read_bytes() for path in (folder / "report").rglob("*") if path.is_file()}
    before = files()
    (folder / "matplotlibrc").write_text("axes.facecolor: red\n")      # read by matplotlib, followed by none of ours
    result = report(folder, "--data", sample_data, *SMALLEST, "--only", "p4")
    assert result.returncode == 0, result.stderr
    assert "epoch" not in result.stdout
    assert stamps == {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.pt")}
    after = files()
    assert [path for path in before if after[path] != before[path]] == [], "drawn from the same runs, all is the same"


@pytest.mark.parametrize("words, message", [
    (("--data", "nowhere"), "error: --data nowhere is not a folder; bash hw_download.sh makes one"),
    (("--preset", "best"), "error: argument --preset: invalid choice: best (choose from report, tuned, sample); see --help"),
    (("--data",), "error: argument --data: expected one argument; see --help"),
    (("--pre", "tuned"), "error: unrecognized arguments: --pre tuned; see --help"),
])
def test_wrong_flags(tmp_path, words, message):
    result = report(tmp_path, *words)
    line, = result.stderr.splitlines()
    assert result.returncode == 2 and line.replace("'", "") == message       # which Python's versions quote differently
    assert not list(tmp_path.iterdir())


def test_text_from_data_is_escaped(tmp_path):
    section = Section(tmp_path, "p1_vae", "<script>title</script>", "p1")
    section.text("<script>text</script>")
    section.table(["<b>"], [["<i>", None]], "<u>")
    path = section.figure("map", "<s>", half=True)
    draw_scatter(path, np.zeros((1, 2)), "", [0], ["a"], ["k"], ["o"])
    section.show_images("map", np.zeros((1, 2)), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), ["</script><em>"])
    section.write()
    assemble(tmp_path)
    page = (tmp_path / "index.html").read_text()
    for tag in ("<script>t", "<b>", "<i>", "<u>", "<s>", "<em>"):
        assert tag not in page
    assert "&lt;script&gt;text&lt;/script&gt;" in page


def test_latex_prints_what_the_text_says(tmp_path):
    assert to_latex(r"50 % of a_b & {c} \end ~ $x^2$ → é 漢") == (
        r"50 \% of a\_b \& \{c\} \textbackslash{}end \textasciitilde{} \$x\textasciicircum{}2\$ $\rightarrow$ é [U+6F22]")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs LaTeX: apt-get install texlive-latex-recommended")
def test_the_latex_compiles(small_report, tmp_path):
    source = small_report[0] / "report"
    result = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={tmp_path}",
                             "report.tex"], cwd=source, capture_output=True, text=True, errors="replace")
    assert result.returncode == 0, result.stdout[-2000:]
    assert "Overfull" not in result.stdout


def test_latex_that_was_edited_is_not_replaced(tmp_path, capsys):
    def write(text):
        section = Section(tmp_path, "p1_vae", "Faces", "p1")
        section.text(text)
        section.write()
        assemble(tmp_path, tex=True)
        return capsys.readouterr().err
    document, part = tmp_path / "report.tex", tmp_path / "tex" / "p1_vae.tex"
    assert write("one") == "" and "one" in part.read_text() and "tex/p1_vae" in document.read_text()
    document.write_text(document.read_text() + "% mine")
    mine = document.read_bytes()
    assert write("two") == (f"warning: {document} was edited, or was not written by this program, so it stays as it is; rename "
                            "it to have it written anew\n")
    assert document.read_bytes() == mine and "two" in part.read_text(), "what was not edited is brought up to date"
    part.write_bytes(part.read_bytes()[:-1])
    assert part.name in write("three") and "two" in part.read_text()
    document.write_bytes(b"\xff")
    part.rename(tmp_path / "kept.tex")
    assert document.name in write("four") and document.read_bytes() == b"\xff" and "four" in part.read_text()


def test_a_map_of_nothing_is_none():
    for features in (np.ones((1, 8)), np.ones((6, 8)), np.full((6, 8), np.nan)):
        assert embed(features) is None
    assert embed(np.eye(2)).shape == (2, 2)


@pytest.mark.parametrize("images, problems", [(1, {"p1_vae": "p1_vae", "p2_dcgan": "p2_dcgan_uniform"}),
                                              (2, {"p1_vae": "p1_vae"})])
def test_figures_of_hardly_any_faces(train, tmp_path, monkeypatch, images, problems):
    """What cannot be drawn or computed says so in its place, and no json holds NaN."""
    # to save each as a pdf would take most of the time
    monkeypatch.setattr(plots, "_save", lambda figure, path: figure.savefig(path, dpi=30))
    for problem, folder in problems.items():
        run = train(problem, tmp_path / "runs" / folder, "--limit", images, "--epochs", 1)
        monkeypatch.setattr(sys, "argv", ["figures", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
        importlib.import_module(f"{problem}.figures").main()
        json.loads((run / "summary.json").read_text(), parse_constant=pytest.fail)
    assemble(tmp_path / "out")
    results = json.loads((tmp_path / "out/results.json").read_text(), parse_constant=pytest.fail)
    page = (tmp_path / "out/index.html").read_text()
    few = images == 1
    assert (results["p1_vae"]["samples"]["swd"] is None) == (results["p1_vae"]["real"]["diversity"] is None) == few
    assert not few or results["p2_dcgan"]["uniform"][0]["swd"] is None
    assert page.count("Distances between faces are left out: they need at least two test faces and two training faces, and "
                      "there are 1 and 1.") == 2 * few
    assert ("No map: no two of the test faces (1) have different latent means." in page) == few
    assert ("No interpolation: there is one test face, and it needs two." in page) == few
    assert (tmp_path / "out/figures/p1_tsne_gender.png").is_file() == (not few)
    assert re.search(r"\bnan\b", re.sub("base64,[^\"]*", "", page)) is None


def finished_run(folder, accuracy, seed=0, data="1234", **settings):
    folder.mkdir(parents=True)
    settings = {"source": "usps", "target": "mnistm", "limit": None, "data": "hw3_data"} | settings | {"seed": seed}
    (folder / "config.json").write_text(json.dumps(dict.fromkeys(("sample_data", "hardware", "versions", "git_revision")) | {
        "settings": settings, "data_digests": {"usps/train": data}}))
    (folder / "summary.json").write_text(json.dumps({"target_accuracy": accuracy, "train_seconds": 1.0}))
    (folder / "metrics.csv").write_text("epoch\n1\n")


def test_tables_show_the_spread_over_seeds(tmp_path):
    finished_run(tmp_path / "p4_usps-mnistm", 0.70)
    one = find_runs(tmp_path, "p4")["p4:usps-mnistm"]
    assert one.percent("target_accuracy") == "70.00" and about_seeds([one, None]).startswith("One run each,")
    for seed, accuracy in ((1, 0.72), (2, 0.74)):
        finished_run(tmp_path / f"p4_usps-mnistm_seed{seed}", accuracy, seed)
    finished_run(tmp_path / "p4_usps-mnistm-other", 0.1, 3)
    found = find_runs(tmp_path, "p4")
    three = found["p4:usps-mnistm"]
    assert three.percent("target_accuracy") == "72.00 ± 2.00" and three.mean("target_accuracy") == pytest.approx(0.72)
    assert about_seeds([three, None]).startswith("Mean ± sample standard deviation over 3 seeds,")
    assert list(found) == ["p4:usps-mnistm"]


@pytest.mark.parametrize("other, reason", [
    (dict(seed=1, limit=60), "limit = 60, not all"),
    (dict(seed=1, lr=0.1), "lr"),
    (dict(seed=1, source="svhn", target="usps"), "source = svhn, not usps; target = usps, not mnistm"),
    (dict(seed=1, data="abcd"), "data of usps/train = abcd, not 1234"),
    (dict(seed=0), "seed 0 is there already"),
])
def test_only_runs_that_differ_in_nothing_but_the_seed_are_averaged(tmp_path, capsys, other, reason):
    finished_run(tmp_path / "p4_usps-mnistm", 0.70, lr=0.2)
    finished_run(tmp_path / "p4_usps-mnistm_seed1", 0.20, **{"lr": 0.2} | other)
    run = find_runs(tmp_path, "p4")["p4:usps-mnistm"]
    assert run.percent("target_accuracy") == "70.00"
    assert f"Left out {tmp_path / 'p4_usps-mnistm_seed1'}: {reason}" in capsys.readouterr().out


def test_an_older_run_is_drawn_with_the_neutral_values_that_the_report_names(tmp_path, capsys):
    finished_run(tmp_path / "p4_usps-mnistm", 0.70)
    finished_run(tmp_path / "p4_usps-mnistm_seed1", 0.80, seed=1, gain=2.0)
    base = {"source": "usps", "target": "mnistm", "limit": None, "data": "elsewhere", "seed": 0}
    (tmp_path / "like.json").write_text(json.dumps({"settings": base | {"gain": 1.0}, "neutral": {"gain": 1.0}}))
    run = find_runs(tmp_path, "p4", tmp_path / "like.json")["p4:usps-mnistm"]
    assert run.percent("target_accuracy") == "70.00" and run.settings == base | {"gain": 1.0}
    assert "gain = 2.0, not 1.0" in capsys.readouterr().out


def test_a_run_under_another_name_is_not_drawn(tmp_path, capsys):
    finished_run(tmp_path / "p4_svhn-usps", 0.70)       # says usps to mnistm
    assert find_runs(tmp_path, "p4") == {}
    assert "Left out" in capsys.readouterr().out


@pytest.mark.parametrize("uniform, gaussian, verdict", [
    ([50], [90], "one run each cannot tell"),
    # of variances 4 and 1, so that their means have a standard error of the root of 5 / 3
    ([50, 52, 54], [60, 61, 62], "so it is here: over 3 seeds each the means differ by +9.0, with a standard error of 1.3."),
    ([50, 52, 54], [40, 41, 42], "here it is worse"),
    ([50, 60, 70], [55, 62, 75], "that does not show here"),
])
def test_a_noise_is_called_better_only_beyond_the_spread_of_seeds(uniform, gaussian, verdict):
    measured = {noise: [{"swd": {"mean": (value, 1.0)}} for value in values]
                for noise, values in (("uniform", uniform), ("gaussian", gaussian))}
    assert verdict in compare_noises(measured)
