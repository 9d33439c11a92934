"""Parts of the report: numbers are measured once, words are texts in files, a metric that an older part lacks is a dash."""
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import p2_dcgan.figures
from common.cli import UserError
from common.metrics.faces import COLUMNS, as_row
from common.report import numbers
from common.report.section import Section
from common.report.words import Words
from tests.conftest import REPOSITORY

SETTINGS = {"data": "here", "limit": None, "device": "cpu", "lr": 0.1}


@pytest.fixture
def measuring(tmp_path, monkeypatch):
    """measuring(settings=…, data=…, more=…): how often it has measured until now, and the numbers; with files of its own."""
    for name in ("common/metrics/faces.py", "common/report/plots.py", "p1_vae/measure.py", "p1_vae/figures.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / "weights.pt").write_text("1")
    monkeypatch.setattr(numbers, "REPOSITORY", tmp_path)
    section, times = Section(tmp_path / "out", "p1_vae", "", "p1"), []

    def measure():
        times.append(1)
        return {"swd": (1.5, 0.1), "kl": {0.25: float("nan")}}

    def call(settings=SETTINGS, data="1234", more="fid"):
        monkeypatch.setattr(numbers, "digests", lambda _: {"face/train": data})
        run = SimpleNamespace(settings=settings, weights=tmp_path / "weights.pt")
        found = numbers.kept_numbers(section, [run], measure, more=more)
        assert found == {"swd": [1.5, 0.1], "kl": {"0.25": None}}, "the same whether they were measured or kept"
        return len(times)
    return call


@pytest.mark.parametrize("change, again", [
    ({}, 1),
    ({"settings": SETTINGS | {"data": "elsewhere", "device": "cuda"}}, 1),
    ({"settings": SETTINGS | {"lr": 0.2}}, 2),
    ({"data": "abcd"}, 2),
    ({"more": None}, 2),
    ("weights.pt", 2),
    ("common/metrics/faces.py", 2),
    ("p1_vae/measure.py", 2),
    ("common/report/plots.py", 1),
    ("p1_vae/figures.py", 1),
    ("out/numbers/p1_vae.json", 2),
], ids=str)
def test_numbers_are_measured_again_where_what_they_were_made_from_has_changed(measuring, tmp_path, change, again):
    assert measuring() == 1
    if isinstance(change, str):
        (tmp_path / change).write_text("2")
        change = {}
    assert measuring(**change) == again
    assert measuring(**change) == again


def test_weights_that_are_gone_are_one_clear_line(measuring, tmp_path):
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(UserError, match=r"cannot read the weights .*weights\.pt: No such file"):
        measuring()


@pytest.mark.parametrize("words, name, places", [
    *((f"{folder}/words.md", "words", [f"{folder}/*.py"]) for folder in ("p1_vae", "p2_dcgan", "p3_dann", "p4_adda")),
    ("common/report/words.md", "shared", ["p?_*/*.py", "common/report/*.py"]), ("hw_shipped.md", "words", ["hw_shipped.py"]),
])
def test_each_text_is_shown_and_each_that_is_shown_is_there(words, name, places):
    words = Words(REPOSITORY / words, Path(words).name)
    code = "".join(path.read_text(encoding="utf-8") for place in places for path in REPOSITORY.glob(place))
    calls = re.findall(rf"""\b{name}\(((?:['"][\w.–-]+['"]| if .*? else )+)""", code)
    shown = {text for call in calls for text in re.findall(r"""['"]([\w.–-]+)['"]""", call)}
    assert shown == words.texts.keys() and words.title


@pytest.mark.parametrize("text, message", [
    (None, "cannot read .*words.md"),
    (b"\xff", "cannot read .*words.md"),
    ("**other.** …", r"words.md has no text blur; put it back"),
    ("**blur.** {error:.4f} {size}", r"words.md: the text blur uses 'size', but is only given error"),
    ("**blur.** {error:.4d}", "words.md: the text blur cannot be filled in"),
    ("**blur.** {error", "words.md: the text blur cannot be filled in"),
    ("**blur.** {}", "words.md: the text blur cannot be filled in"),
    ("**blur.** {error.none}", "words.md: the text blur cannot be filled in"),
])
def test_words_that_do_not_fit_are_one_clear_line(tmp_path, text, message):
    if text:
        (tmp_path / "words.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        Words(tmp_path / "figures.py")("blur", error=0.5)


def test_words_are_read_over_lines_with_their_headings(tmp_path):
    (tmp_path / "words.md").write_text("# Title: of it\n\nA note.\n\n## 1.2 Curves, in\ntwo lines\n\n"
                                       "**a_b.** {n:.1f} %\nand **bold**.")
    words = Words(tmp_path / "figures.py")
    assert (words.title, words("1.2"), words("a_b", n=3)) == ("Title: of it", "1.2 Curves, in two lines", "3.0 % and **bold**.")


MEASURED = {"images": 6, "sharpness": 0.25, "diversity": 0.5, "fid": 12.34,
            "swd": {"64": [1.0, 0.1], "32": [2.0, 0.2], "16": [3.0, 0.3], "mean": [2.0, 0.2]}}


def test_a_row_has_a_dash_for_what_was_not_measured():
    whole = dict(zip(COLUMNS, as_row(MEASURED), strict=True))
    assert whole == {"images": "6", "sharpness": "0.2500", "diversity": "0.5000", "SWD 64": "1.0 ± 0.1", "SWD 32": "2.0 ± 0.2",
                     "SWD 16": "3.0 ± 0.3", "SWD mean": "2.0 ± 0.2", "FID": "12.3"}
    without_level = MEASURED | {"swd": {"64": [1.0, 0.1], "mean": [2.0, 0.2]}}
    assert as_row(without_level) == list((whole | {"SWD 32": "–", "SWD 16": "–"}).values())
    few = {name: MEASURED[name] for name in ("images", "sharpness", "diversity")}
    assert as_row(MEASURED | {"fid": None, "swd": None}) == as_row(few) == ["6", "0.2500", "0.5000", *["–"] * 5]


@pytest.mark.parametrize("lacking", [None, "fid", "swd", "sharpness", "diversity", "images"])
def test_a_part_of_problem_1_that_knew_fewer_metrics_stands_in_problem_2s_table(tmp_path, lacking):
    section = Section(tmp_path, "p2_dcgan", "", "p2")
    vae = json.loads(json.dumps({name: value for name, value in MEASURED.items() if name != lacking}))
    run = SimpleNamespace(seeds=[SimpleNamespace(settings={"seed": 0})])
    p2_dcgan.figures.add_comparison(section, {"uniform": run}, {
        "uniform": [MEASURED], "real": MEASURED, "faces": {"train": 6, "test": 6}}, vae)
    table, *sentences = section.blocks
    assert table["header"] == ["", *COLUMNS] and table["rows"][0] == ["VAE", *as_row(vae)]
    assert ("–" in table["rows"][0]) == (lacking is not None)
    assert len(sentences) == (lacking in (None, "fid", "images")), "what is not known is not compared"
    assert section.headlines[0]["note"] == ("VAE: 2.0; real test faces: 2.0" if sentences else "real test faces: 2.0")
