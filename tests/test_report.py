"""The whole report at its smallest: every problem trained, drawn and assembled by hw_report.sh from another folder."""
import html.parser
import json

import pytest

from common.report import Section, assemble
from tests.conftest import report


def test_every_part_of_the_report_is_there(small_report):
    folder, result = small_report
    assert result.stdout.splitlines()[-1] == f"The report: {folder / 'report' / 'index.html'}"
    figures = {path.name for path in (folder / "report/figures").iterdir()}
    pairs = ("usps-mnistm", "mnistm-svhn", "svhn-usps")
    assert figures >= {f"{p}_{pair}_{kind}.png" for p in ("p3", "p4") for pair in pairs for kind in ("class", "domain")}
    assert figures >= {"p1_curves.png", "p1_reconstructions.png", "p1_samples.png", "p1_tsne.png", "p2_curves.png",
                       "p2_progress.png", "p2_samples_uniform.png", "p2_samples_gaussian.png", "p2_vae_gan.png"}
    results = json.loads((folder / "report/results.json").read_text())
    assert list(results) == ["p1_vae", "p2_dcgan", "p3_dann", "p4_adda"]
    assert all(section["sample_data"] for section in results.values())
    for pair in pairs:
        assert all(0 <= results["p3_dann"][f"{pair}_{mode}"] <= 1 for mode in ("source", "dann", "target"))
        assert 0 <= results["p4_adda"][f"{pair}_target_accuracy"] <= 1


def test_the_page_stands_alone_and_says_sample_data(small_report):
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
    assert len(sources) == 21 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert sorted(targets) == sorted(f"#{anchor}" for anchor in anchors) and len(anchors) == 4
    assert "Sample data." in page
    for number in ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "2.1", "2.2", "2.3", "2.4", "3.1–3.3", "3.4", "3.5", "3.6",
                   "4.1", "4.2", "4.3", "4.4"):
        assert f"<h3>{number} " in page
    for reported in ("13.67", "48.20", "96.91", "10.07", "0.148"):
        assert reported in page, "the report's own numbers stand beside ours"


def test_a_second_call_trains_nothing(small_report, sample_data):
    folder, _ = small_report
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.pt")}
    page = (folder / "report/index.html").read_bytes()
    result = report(folder, "--data", sample_data, "--preset", "sample", "--only", "p4")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("finished already, nothing to do") == 3
    assert stamps == {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("weights.pt")}
    assert (folder / "report/index.html").read_bytes() == page, "drawn from the same runs, the page is the same"


@pytest.mark.parametrize("words, message", [
    (("--data", "nowhere"), "error: --data nowhere is not a folder; bash hw_download.sh makes one"),
    (("--preset", "best"), "error: --preset best: choose report, tuned or sample"),
    (("--data",), "error: --data needs a value; see --help"),
])
def test_wrong_flags(tmp_path, words, message):
    result = report(tmp_path, *words)
    assert result.returncode == 2 and result.stderr.splitlines() == [message]
    assert not list(tmp_path.iterdir())


def test_text_from_data_is_escaped(tmp_path):
    section = Section(tmp_path, "p1_vae", "<script>title</script>")
    section.text("<script>text</script>")
    section.table(["<b>"], [["<i>", None]], "<u>")
    section.write()
    assemble(tmp_path)
    page = (tmp_path / "index.html").read_text()
    for tag in ("<script>", "<b>", "<i>", "<u>"):
        assert tag not in page
    assert "&lt;script&gt;text&lt;/script&gt;" in page
