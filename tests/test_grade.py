"""hw_grade.py: a class of good, broken and hostile submissions, most of them a line of shell, and this repository."""
import csv
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid, save_image

import hw_grade
from common import adaptation, cli
from common.cli import UserError
from common.data.grid import read_grid
from common.data.layout import ATTRIBUTES, load_faces
from common.metrics import faces as metrics
from common.metrics.faces import nearest
from grading import exam, watch
from tests.conftest import REPOSITORY

DIGITS = 20
random = np.random.default_rng(0)


def make_faces(count):
    """Pictures unlike each other, float [N, 3, 64, 64]."""
    return torch.from_numpy(random.random((count, 3, 8, 8), np.float32)).repeat_interleave(8, 2).repeat_interleave(8, 3)


def make_data(root):
    """20 test images of MNIST-M, two of each label, whose pixels tell it."""
    folder = root / "digits/mnistm/test"
    folder.mkdir(parents=True)
    for i in range(DIGITS):
        Image.new("L", (28, 28), 20 * (i % 10)).save(folder / f"{i:05d}.png")
    rows = [f"{i:05d}.png,{i % 10}\n" for i in range(DIGITS)]
    (root / "digits/mnistm/test.csv").write_text("image_name,label\n" + "".join(rows))
    return root


def add_faces(root, count=40, tests=None):
    """As many training and, unless it is said how many, test faces."""
    for split, number in (("train", count), ("test", tests or count)):
        (root / "face" / split).mkdir(parents=True)
        for i, face in enumerate(make_faces(number)):
            save_image(face, root / f"face/{split}/{i:05d}.png")
        rows = [f"{i:05d}.png" + ",0.0" * len(ATTRIBUTES) for i in range(number)]
        (root / f"face/{split}.csv").write_text("\n".join([",".join(("image_name", *ATTRIBUTES)), *rows]))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "hw3_data")


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(exam, "MOST_PRINTED", 1 << 20)
    monkeypatch.setattr(exam, "MOST_WRITTEN", 20 << 20)
    monkeypatch.setattr(exam, "MOST_PROCESSES", 20)
    monkeypatch.setattr(metrics, "REPEATS", 2)      # of the sliced Wasserstein distance, which takes the longest


# labels an image by its bytes: of the same gray, they are the same
LABEL = """\
label() { cksum "$1"/* | while read -r sum size image; do case $sum in
%s
esac; done; }
answer() { { echo image_name,label; label "$1"; } > "$2"; }
"""


def labels(data):
    images = [data / f"digits/mnistm/test/{i:05d}.png" for i in range(10)]
    sums = [line.split()[0] for line in subprocess.check_output(["cksum", *images], text=True).splitlines()]
    return LABEL % "\n".join(f'{sum_}) echo "${{image##*/}},{i}";;' for i, sum_ in enumerate(sums))


def hand_in(folder, data, p3, **more):
    """A submission whose hw_p3.sh is this shell code, and other files of it."""
    folder.mkdir(parents=True)
    (folder / "hw_p3.sh").write_text(labels(data) + p3 + "\n")
    for name, content in more.items():
        (folder / f"{name}.sh").write_text(content)
    return folder


def grade(*words):
    """Calls hw_grade.py in this process; the rows of grades.csv by submission."""
    out = Path(words[words.index("--out") + 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hw_grade.py", *map(str, words)])
        hw_grade.main()
    return read_grades(out)


def read_grades(out):
    with open(out / "grades.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


def running(text):
    """Whether a process has this text in its command line."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if text.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                return True
        except OSError:
            pass
    return False


# name of the submission: (hw_p3.sh, its accuracy, what its faults say)
CLASS = {
    "good": ('answer "$1" "$3"', 100, None),
    "hangs": ("sleep 91001", None, "ran longer than 3 seconds"),
    "waits for input": ('cat; answer "$1" "$3"', 100, None),
    "hangs elsewhere": ("setsid sleep 91002 & (setsid setsid sleep 91002 &) ; trap '' TERM; sleep 91002; sleep 91002", None,
                        "ran longer than 3 seconds"),
    "leaves": ('answer "$1" "$3"; setsid bash -c "setsid sleep 91003 & sleep 91003" & sleep 0.2', 100,
               "left processes behind, which were ended"),
    "forks": ("for i in {1..80}; do sleep 91004 & done; wait", None, "ran more than 20 processes at once"),
    "prints": ("yes", None, "printed more than 1,048,576 bytes"),
    "prints errors": ("yes >&2", None, "printed more than 1,048,576 bytes"),
    "one file": ("cat /dev/zero > big", None, "File size limit exceeded"),
    "many files": ("while :; do head -c 1000000 /dev/zero > f$((i++)); done", None, "wrote more than 20,971,520 bytes"),
    "writes unseen": ('exec 5> deleted; rm deleted; while :; do head -c 1000000 /dev/zero > /dev/null; done', None,
                      "wrote more than 20,971,520 bytes"),
    "lacks a package": ("python3 -c 'import no_such_package'", None, "exit code 1: ModuleNotFoundError: No module named"),
    "fails late": ('answer "$1" "$3"; echo oh no >&2; exit 3', 100, "exit code 3: oh no"),
    "elsewhere": ('answer "$1" result.csv', None, "wrote no hw_grade/pred.csv, but result.csv"),
    "nothing": ("true", None, "wrote no hw_grade/pred.csv"),
    "prints anew": ("echo one >&2; echo two > /dev/stderr; echo 3 >&2; exit 4", None, "exit code 4: 3"),
    "another's script": ("", None, "there is no hw_p3.sh"),
    "crlf": ('answer "$1" "$3"\r\ntrue\r', 100, "Windows line ends (CRLF); it was run without"),
    "no run bit": ('. ./lib.sh; ./tool.sh "$1" "$3"', 100, None),
    "two  words": ('cd "$(dirname "$0")" && . ./lib.sh; answer "$1" "$3"', 100, None),
    "one less": ('answer "$1" "$3"; sed -i 2d "$3"', None, "pred.csv lacks 1 of 20 images"),
    "one more": ('answer "$1" "$3"; echo 99999.png,1 >> "$3"', 100, "pred.csv has 1 rows too many, 99999.png among them"),
    "twice": ('answer "$1" "$3"; sed -n 2p "$3" >> "$3"', None, "is listed twice"),
    "label 12": ('answer "$1" "$3"; sed -i "2s/,.*/,12/" "$3"', None, "pred.csv, line 2: the label of"),
    "no header": ('label "$1" > "$3"', 100, "is not the header image_name,label and then rows sorted by name"),
    "not sorted": ('answer "$1" "$3"; sed -i "2h;2d;\\$G" "$3"', 100, "and then rows sorted by name"),
    "other columns": ('answer "$1" "$3"; sed -i "1s/.*/image,digit/" "$3"', None, "the header lacks image_name, label"),
    "bytes": ('head -c 9000 /dev/urandom > "$3"', None, "pred.csv"),
    "chance": ('for i in "$1"/*; do echo "${i##*/},$((RANDOM % 10))"; done | sed 1iimage_name,label > "$3"', "any",
               "its answer is another when it is run again"),
    "first run": ('mkdir hw_grade/images/again cache ../seen && answer "$1" "$3"', 100, None),
    "link": ('ln -s "$PWD/hw_p3.sh" "$3"', None, "pred.csv is no plain file"),
    "pipe": ('mkfifo "$3"', None, "pred.csv is no plain file"),
    "large": ('answer "$1" "$3"; head -c 2000000 /dev/zero >> "$3"', None, "is no plain file of at most 1,048,576 bytes"),
    "removes itself": ('rm -rf "$PWD"', None, "wrote no hw_grade/pred.csv"),
    "ends its watch": ("kill -9 $PPID; sleep 1", None, "the watch over it has ended"),
    "closes folders": ('answer "$1" "$3"; mkdir -p a/b; chmod 0 a/b a', 100, None),
    "goes deep": ('answer "$1" "$3"; d=$(printf a%.0s {1..250}); for i in {1..20}; do mkdir $d; cd $d; done', 100, None),
    "copies the truth": ('cp "$DATA/digits/mnistm/test.csv" "$3"', "any", None),
    "<b>&amp;": ('echo "<script>"; printf "\\033[31m<i>\\n" >&2; exit 1', None, "exit code 1: \\x1b[31m<i>"),
    "z last": ('answer "$1" "$3"', 100, None),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class, graded: (the folder of grades, rows, what was printed)."""
    root = tmp_path_factory.mktemp("class room")
    own = make_data(root / "hw3_data")
    folders = []
    for name, (code, _, _) in CLASS.items():
        folders.append(hand_in(root / name, own, code))
        if name == "two  words":
            (folders[-1] / "lib.sh").write_text("true")
        if name == "no run bit":
            (folders[-1] / "lib.sh").write_text("true")
            (folders[-1] / "tool.sh").write_text("#!/usr/bin/env bash\n" + labels(own) + 'answer "$1" "$2"\n')
            (folders[-1] / "tool.sh").chmod(0o644)
        if name == "crlf":
            (folders[-1] / "hw_p2.sh").write_bytes(b"true\r\n")
    os.mkfifo(folders[0] / "pipe")      # which nobody writes to
    (root / "another's script/hw_p3.sh").unlink()
    (root / "another's script/hw_p3.sh").symlink_to(root / "good/hw_p3.sh")
    (root / "a.zip").write_text("")
    said = []

    def run_patiently(command, place, *others, **limits):
        """The limit of time is for those that hang: on a busy computer the others may take longer."""
        hangs = re.search("sleep 9100[12]", (place / "hw_p3.sh").read_text())
        return watch.run_watched(command, place, *others, **limits | ({} if hangs else {"seconds": 600}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exam, "run_watched", run_patiently)
        patch.setenv("DATA", str(own))
        patch.setattr(exam, "MOST_PRINTED", 1 << 20)
        patch.setattr(exam, "MOST_WRITTEN", 20 << 20)
        patch.setattr(exam, "MOST_PROCESSES", 20)
        patch.setattr(hw_grade, "say", lambda text, colour=None: said.append(text))
        rows = grade(*folders, root / "a.zip", "--data", own, "--out", root / "grades", "--minutes", "0.05", "--jobs", "4")
    return root / "grades", rows, said


@pytest.mark.parametrize("name", CLASS)
def test_each_submission_gets_what_it_earns(graded, name):
    _, rows, said = graded
    code, accuracy, fault = CLASS[name]
    row = rows[name]
    faults = [line for line in row["faults"].split(" | ") if line.startswith("p3")]
    if accuracy == "any":
        assert 0 <= float(row["p3_mnistm_accuracy"]) < 90
    else:
        assert row["p3_mnistm_accuracy"] == ("" if accuracy is None else "100")
    assert fault is None and not faults or fault and any(fault in line for line in faults), faults
    assert row["p3_mnistm_same"] == ("" if accuracy is None else "0" if name == "chance" else "1")
    assert not any("hw_p2.sh has" in line for line in faults), "which is another's fault"
    assert "there is no hw_p4.sh" in row["faults"], "the others go on, each with its own line"
    assert sum(line.startswith(name + "  ") for line in said) == 1, "one row each"
    for line in faults:
        assert f"    {name}: {line}" in said, "and a line for each fault"


def test_two_pairs_with_one_target_are_one_task(monkeypatch):
    monkeypatch.setattr(adaptation, "PAIRS", (*adaptation.PAIRS, ("usps", "svhn")))
    tasks = runpy.run_path(exam.__file__)["TASKS"]
    assert tasks == ("p1", "p2", "p3_mnistm", "p3_svhn", "p3_usps", "p4_mnistm", "p4_svhn", "p4_usps")


def test_nothing_that_they_started_lives_on(graded):
    assert not any(running(f"sleep\x009100{i}") for i in range(1, 5))
    assert [path.name for path in graded[0].iterdir() if path.name != ".lock"].sort() == [
        "data.json", "grades.csv", "index.html", "submissions"].sort(), "and no copy of theirs is left"


def test_what_is_no_folder_is_a_row(graded):
    assert "a.zip is not a folder" in graded[1]["a.zip"]["faults"] and graded[1]["a.zip"]["points"] == "0"


def test_the_page_shows_them_all_and_runs_nothing_of_theirs(graded):
    page = (graded[0] / "index.html").read_text()
    assert "<h2 id=s0>" in page and page.count("<section>") == len(CLASS) + 1
    assert "&lt;b&gt;&amp;amp;" in page and "<b>&amp;" not in page and "<script>" not in page and "\\x1b[31m&lt;i&gt;" in page
    assert "ModuleNotFoundError: No module named &#x27;no_such_package&#x27;" in page
    assert "<pre>one\ntwo\n3</pre>" in page
    assert page.index(">good<") < page.index(">hangs<"), "ranked by points"


def test_a_link_is_a_submission_of_its_own_name(tmp_path):
    own = make_data(tmp_path / "hw3_data")
    hand_in(tmp_path / "1" / "final", own, 'answer "$1" "$3"')
    hand_in(tmp_path / "2" / "final", own, "false")
    for name, target in {"alice": "1/final", "bob": "2/final", "carol": "alice", "gone": "nowhere"}.items():
        (tmp_path / name).symlink_to(tmp_path / target)
    rows = grade(*(tmp_path / name for name in ("alice", "bob", "carol", "gone")), "--data", own, "--out", tmp_path / "grades")
    assert {name: row["p3_mnistm_accuracy"] for name, row in rows.items()} == {
        "alice": "100", "bob": "", "carol": "100", "gone": ""}
    assert "is not a folder" in rows["gone"]["faults"]


def test_who_changes_the_data_harms_no_other(tmp_path, monkeypatch):
    own = make_data(tmp_path / "hw3_data")
    monkeypatch.setenv("DATA", str(own / "digits/mnistm"))
    bad = hand_in(tmp_path / "bad", own, 'answer "$1" "$3"; sed -i s/,1/,2/ $DATA/test.csv; rm $DATA/test/*')
    good = hand_in(tmp_path / "good", own, 'answer "$1" "$3"')
    shutil.copytree(own, tmp_path / "kept")
    rows = grade(bad, good, "--data", own, "--out", tmp_path / "grades")
    assert "hw3_data were changed while it ran" in rows["bad"]["faults"] and "changed" not in rows["good"]["faults"]
    assert rows["good"]["p3_mnistm_accuracy"] == "100"
    before = (tmp_path / "grades/grades.csv").read_bytes()
    shutil.rmtree(own)
    shutil.move(tmp_path / "kept", own)
    (own / "digits/mnistm/test.csv").write_text((own / "digits/mnistm/test.csv").read_text().replace(",1", ",2"))
    with pytest.raises(UserError, match="grades is of other data than .*; bring those back, or give another --out"):
        grade(good, "--data", own, "--out", tmp_path / "grades")
    assert (tmp_path / "grades/grades.csv").read_bytes() == before


# ---- going on, other settings ----------------------------------------------------------------------------------------

def count_runs(tmp_path):
    return len((tmp_path / "runs").read_text().splitlines())


def test_the_same_command_goes_on_with_what_is_missing(data, tmp_path):
    code = f"answer \"$1\" \"$3\"; echo run >> '{tmp_path}/runs'"
    one, two = hand_in(tmp_path / "one", data, code), hand_in(tmp_path / "two", data, code)
    words = one, two, "--data", data, "--out", tmp_path / "grades"
    first = grade(*words)
    assert count_runs(tmp_path) == 4
    assert grade(*words) == first and count_runs(tmp_path) == 4, "nothing is missing"
    (tmp_path / "grades/submissions/one/p3_mnistm.json").write_text('{"order": ')
    assert grade(*words)["one"]["p3_mnistm_accuracy"] == "100" and count_runs(tmp_path) == 6, "damaged"
    (two / "notes.txt").write_text("handed in again")
    grade(*words)
    assert count_runs(tmp_path) == 8, "what has changed is graded anew, and only that"
    (two / "grades").mkdir()
    grade(two, "--data", data, "--out", two / "grades")
    assert grade(two, "--data", data, "--out", two / "grades")["two"] and count_runs(tmp_path) == 10, "grades within it"


def test_stopped_it_keeps_what_is_done_and_leaves_nothing_running(data, tmp_path, monkeypatch):
    done = hand_in(tmp_path / "done", data, 'answer "$1" "$3"')
    hangs = hand_in(tmp_path / "hangs", data, "setsid sleep 92001 & touch '%s'; sleep 92001" % (tmp_path / "started"))
    words = done, hangs, "--data", data, "--out", tmp_path / "grades"

    def interrupt():
        while not (tmp_path / "started").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    monkeypatch.setattr(sys, "argv", ["hw_grade.py", *map(str, words)])
    with pytest.raises(KeyboardInterrupt):
        hw_grade.main()
    rows = read_grades(tmp_path / "grades")
    assert rows["done"]["p3_mnistm_accuracy"] == "100" and "p3 mnistm, p4 mnistm: not graded yet" in rows["hangs"]["faults"]
    assert not running("sleep\x0092001") and not (tmp_path / "grades/work").exists()
    assert "not graded yet" in (tmp_path / "grades/index.html").read_text()
    (hangs / "hw_p3.sh").write_text((done / "hw_p3.sh").read_text())
    assert grade(*words)["hangs"]["p3_mnistm_accuracy"] == "100"


def test_a_killed_grading_ends_its_scripts(tmp_path):
    limits = {"seconds": 600, "disk": 1 << 30, "output": 1 << 30, "processes": 100}
    command = ["bash", "-c", "setsid sleep 92002 & touch started; sleep 92002"]
    start = "import os, subprocess, sys; subprocess.run(sys.argv[1:], stdin=os.pipe()[0])"
    grading = subprocess.Popen([sys.executable, "-c", start, sys.executable, "-I", watch.__file__,
                                json.dumps({"command": command, **limits})], cwd=tmp_path)
    for condition in (lambda: (tmp_path / "started").exists(), lambda: not running("sleep\x0092002")):
        patience = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < patience
            time.sleep(0.05)
        grading.kill()
    grading.wait()


def test_two_gradings_do_not_share_a_folder(data, tmp_path):
    (tmp_path / "grades").mkdir()
    with cli.lock(tmp_path / "grades/.lock", ""), pytest.raises(UserError, match="another hw_grade.py writes to"):
        grade(tmp_path, "--data", data, "--out", tmp_path / "grades")


def test_scripts_by_another_name_behind_a_prefix(data, tmp_path):
    folder = hand_in(tmp_path / "sub", data, "exit 1", hw3_p3=labels(data) + '[ "$PLACE" = "$PWD" ] && answer "$1" "$3"')
    words = folder, "--data", data, "--out", tmp_path / "grades", "--scripts", "hw3_p{}.sh"
    assert "exit code 1" in grade(*words)["sub"]["faults"]
    row = grade(*words, "--prefix", "env 'PLACE={}'")["sub"]
    assert row["p3_mnistm_accuracy"] == "100" and "there is no hw3_p4.sh, but hw3_p3.sh, hw_p3.sh" in row["faults"]


def test_an_answer_is_held_against_each_images_own_label(data, tmp_path):
    marking = exam.Exam(data, tmp_path, 1)
    images, truth = marking.digits["mnistm"]
    assert sorted(images) != list(images) and truth.tolist() == 2 * list(range(10))
    for (name, content), label in zip(images.items(), truth.tolist()):
        (tmp_path / name).write_bytes(content)
        assert np.unique(Image.open(tmp_path / name)).tolist() == [20 * label], "the image under that name has that label"
    answer, result = truth.clone(), {"faults": []}
    answer[truth == 3] = 5
    answer[7] = 8
    marking.judge(answer.int(), "p3_mnistm", result)
    assert result["accuracy"] == pytest.approx(85) and result["never"] == "3"
    for said, count in ((0, 2), (3, 0), (5, 2), (7, 1), (8, 2)):
        assert result["confusion"][said][said] == count
    assert (result["confusion"][3][5], result["confusion"][7][8], sum(map(sum, result["confusion"]))) == (2, 1, 20)


def test_submissions_of_the_same_name_have_rows_of_their_own(data, tmp_path):
    rows = grade(hand_in(tmp_path / "a/hw3", data, 'answer "$1" "$3"'), hand_in(tmp_path / "b/hw3", data, "exit 1"),
                 tmp_path / "a/../a/hw3", "--data", data, "--out", tmp_path / "grades", "--jobs", "2")
    assert [(name[-5:], row["p3_mnistm_accuracy"]) for name, row in rows.items()] == [("a_hw3", "100"), ("b_hw3", "")]


def test_points_are_the_tables(data, tmp_path):
    folder = hand_in(tmp_path / "sub", data, 'answer "$1" "$3"; sed -i "2,6s/,.*/,0/" "$3"')
    (tmp_path / "points.csv").write_text("column,at_least,at_most,points\np3_mnistm_accuracy,75,,3\np3_mnistm_accuracy,99,,4\n"
                                         "p3_mnistm_seconds,,600,0.5\np4_mnistm_accuracy,0,,8\n")
    words = folder, "--data", data, "--out", tmp_path / "grades"
    row = grade(*words)["sub"]
    assert 75 <= float(row["p3_mnistm_accuracy"]) < 99 and row["points"] == "10", "5 for each of the default baselines"
    assert grade(*words, "--points", tmp_path / "points.csv")["sub"]["points"] == "3.5", "nothing is run again for that"


@pytest.mark.parametrize("table", ["", "HEADER", "column,points\np1_swd,3", "HEADER\np9_swd,1,,3", "HEADER\np1_swd,1,,many",
                                   "HEADER\np1_swd,1", "HEADER\np1_swd,1,,\n"])
def test_a_wrong_table_of_points_is_one_clear_line(tmp_path, table):
    (tmp_path / "points.csv").write_text(table.replace("HEADER", "column,at_least,at_most,points"))
    with pytest.raises(UserError, match="points.csv.*expected a column of grades.csv and numbers under the header"):
        hw_grade.read_points(tmp_path / "points.csv")


@pytest.mark.parametrize("words, message", [
    (["--scripts", "run.sh"], "must be a file's name with {} in it"),
    (["--prefix", "no_such_sandbox {}"], "there is no command no_such_sandbox"),
    (["--data", "."], "holds neither faces nor digits"),
    (["--points", "nowhere.csv"], "nowhere.csv"),
])
def test_wrong_words_are_one_clear_line(data, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, OSError)) as error:
        grade(tmp_path, "--data", data, "--out", tmp_path / "grades", *words)
    assert message in str(error.value) and not (tmp_path / "grades/grades.csv").exists()


def test_a_mistyped_submission_is_told_at_once(data, tmp_path):
    with pytest.raises(UserError, match="typo: there is no such submission"):
        grade(tmp_path, tmp_path / "typo", "--data", data, "--out", tmp_path / "grades")
    assert not (tmp_path / "grades").exists()


def test_a_folder_with_other_files_is_refused(data, tmp_path):
    (tmp_path / "course/work").mkdir(parents=True)
    for name in ("grades.csv", "index.html", "work/notes.txt"):
        (tmp_path / "course" / name).write_text("mine")
    with pytest.raises(UserError, match=r"course holds no grades of ours but other files \(grades.csv, index.html, work\)"):
        grade(tmp_path, "--data", data, "--out", tmp_path / "course")
    assert all(path.read_text() == "mine" for path in (tmp_path / "course").rglob("*.*"))


def test_a_disk_that_refuses_modes_is_told_before_a_script_runs(data, tmp_path, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(1, "Operation not permitted", str(self))
    folder = hand_in(tmp_path / "sub", data, "true")
    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(PermissionError, match="grades/work"):
        grade(folder, "--data", data, "--out", tmp_path / "grades")
    assert not (tmp_path / "grades/submissions").exists()


# ---- faces -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("columns, gap, name", [(8, 2, "a.png"), (4, 2, "a.png"), (8, 0, "a.png"), (32, 0, "a.png"),
                                                (1, 5, "a.png"), (6, 2, "a.png"), (6, 0, "a.jpg"), (16, 16, "a.bmp")])
def test_a_grid_is_found_whatever_its_columns(tmp_path, columns, gap, name):
    faces = make_faces(32)
    save_image(make_grid(faces, columns, padding=gap), tmp_path / name)
    found = read_grid(tmp_path / name, 32, 64)
    assert found.shape == (32, 3, 64, 64)
    assert (found / 255 - faces).abs().mean() < (0.06 if name.endswith("jpg") else 0.003)


def test_a_grid_without_a_frame_is_found(tmp_path):
    faces = make_faces(32)
    save_image(make_grid(faces, 8, padding=3)[:, 3:-3, 3:-3], tmp_path / "a.png")
    assert (read_grid(tmp_path / "a.png", 32, 64) / 255 - faces).abs().mean() < 0.003


def test_empty_cells_are_no_faces_and_other_sizes_no_grids(tmp_path):
    save_image(make_grid(make_faces(30), 8), tmp_path / "a.png")
    assert len(read_grid(tmp_path / "a.png", 32, 64)) == 30
    save_image(make_faces(1), tmp_path / "one.png")
    with pytest.raises(UserError, match="one.png has 64x64 pixels, as no grid of 32 images of 64x64"):
        read_grid(tmp_path / "one.png", 32, 64)


def test_copies_are_near_mirrored_or_noisy():
    real = (make_faces(1100) * 255).byte()
    faces = torch.cat([real[1050:1052], real[3:4].flip(-1), (make_faces(2) * 255).byte()])
    faces[1, :, :8] ^= 1
    distances, which = nearest(faces, real)
    assert which[:3].tolist() == [1050, 1051, 3] and distances[:3].max() < 0.01 and distances[3:].min() > 0.2


def test_faces_are_measured_against_those_that_the_legend_names(tmp_path):
    data = add_faces(tmp_path / "hw3_data", count=12)
    train, test = (load_faces(data, split).images for split in ("train", "test"))
    marking = exam.Exam(data, tmp_path, 1)
    faces = (make_faces(10) * 255).byte()
    faces[4], faces[7] = train[9], test[2].flip(-1)
    found, pairs = marking.measure(faces)
    assert found["swd"] == pytest.approx(metrics.sliced_wasserstein(faces, test)["mean"][0])
    assert found["swd"] != pytest.approx(metrics.sliced_wasserstein(faces, train)["mean"][0])
    assert found["sharpness"] == pytest.approx(metrics.sharpness(faces / 255)) and found["copies"] == 2
    assert found["diversity"] == pytest.approx(metrics.pairwise_diversity(faces / 255)) and found["nearest"] < 1e-3
    assert pairs.shape == (10, 3, 64, 64) and {4, 7} == {
        next(i for i in range(10) if torch.equal(pair, faces[i])) for pair in pairs[:2]}
    below = {next(i for i in range(10) if torch.equal(pair, faces[i])): real for pair, real in zip(pairs[:2], pairs[5:7])}
    assert torch.equal(below[4], train[9]) and torch.equal(below[7], test[2])
    assert marking.floor["swd"] == pytest.approx(metrics.sliced_wasserstein(train, test)["mean"][0])
    distances = (test[:, None] / 255 - torch.cat([train, train.flip(-1)])[None] / 255).square().mean(dim=(2, 3, 4)).sqrt()
    assert marking.floor["nearest"] == pytest.approx(distances.min().item(), rel=1e-3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Submissions whose scripts draw faces, graded: (their rows, folder of grades)."""
    root = tmp_path_factory.mktemp("faces")
    data, new = add_faces(root / "hw3_data"), make_faces(32)
    pictures = {"new": new, "thirty": new[:30], "small": new[:, :, ::2, ::2], "black": new * 0,
                "copied": torch.from_numpy(np.stack([np.asarray(Image.open(data / f"face/train/{i:05d}.png"), np.float32)
                                                     for i in range(32)])).permute(0, 3, 1, 2) / 255}
    folders = []
    for name, faces in pictures.items():
        folders.append(root / name)
        folders[-1].mkdir()
        (root / name / "hw_p1.sh").write_text('cp faces.png "$1"')
        save_image(make_grid(faces), root / name / "faces.png")
    (root / "new/hw_p2.sh").write_text('echo no picture > "$1"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "REPEATS", 2)
        return grade(*folders, "--data", data, "--out", root / "grades"), root / "grades"


@pytest.mark.parametrize("name, faces, fault", [
    ("new", "32", None), ("thirty", "30", "the picture holds 30 faces, not 32"),
    ("black", "0", "the picture holds 0 faces"),
    ("small", "", "faces.png has 274x138 pixels"), ("copied", "32", "32 of its faces are copies of real ones")])
def test_a_picture_gets_what_it_earns(drawn, name, faces, fault):
    row = drawn[0][name]
    faults = [line for line in row["faults"].split(" | ") if line.startswith("p1")]
    assert row["p1_faces"] == faces and (fault is None and not faults or fault and fault in faults[0])
    measured = all(row[f"p1_{key}"] for key in ("nearest", "sharpness", "diversity", "swd"))
    assert measured == (name in ("new", "thirty", "copied"))
    assert measured == (drawn[1] / f"submissions/{name}/p1_nearest.png").exists()


@pytest.mark.parametrize("train, test", [(1, 1), (3, 1), (1, 2), (2, 2)])
def test_few_real_faces_give_a_grade_without_what_cannot_be_measured(tmp_path, train, test):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/hw_p1.sh").write_text('cp faces.png "$1"')
    save_image(make_grid(make_faces(32)), tmp_path / "sub/faces.png")
    data = add_faces(tmp_path / "data", train, test)
    row = grade(tmp_path / "sub", "--data", data, "--out", tmp_path / "grades")["sub"]
    assert (row["p1_faces"], row["points"]) == ("32", "20") and float(row["p1_nearest"]) > 0.1 and "p1:" not in row["faults"]
    assert bool(row["p1_swd"]) == (test > 1)
    floor = re.search("real faces</td>(.*?)</tr>", (tmp_path / "grades/index.html").read_text())[1]
    numbers = re.findall(">([^<]+)</td>", floor)
    assert [number != "–" for number in numbers] == [train > 1 < test, False, False, True, True, train > 1, False, False]


def test_what_there_is_no_data_for_is_told_and_the_rest_graded(data, tmp_path, capsys):
    folder = hand_in(tmp_path / "sub", data, "exit 1")
    row = grade(folder, "--data", data, "--out", tmp_path / "a")["sub"]
    assert "has no images for p1, p2, p3 svhn, p3 usps, p4 svhn, p4 usps, which are not graded" in capsys.readouterr().out
    assert "p3 mnistm: " in row["faults"] and "p1:" not in row["faults"]
    row = grade(folder, "--data", add_faces(tmp_path / "data", 2), "--out", tmp_path / "b")["sub"]
    assert "has no images for p3 mnistm, p3 svhn" in capsys.readouterr().out
    assert row["faults"].startswith("p1: there is no hw_p1.sh") and "mnistm" not in row["faults"]


@pytest.mark.parametrize("missing", ["train", "test"])
def test_half_of_the_faces_are_refused_by_name(data, tmp_path, missing):
    shutil.copytree(data, tmp_path / "data")
    (add_faces(tmp_path / "data", 2) / f"face/{missing}.csv").unlink()
    with pytest.raises(UserError, match=f"face/{missing}.csv does not exist"):
        grade(tmp_path, "--data", tmp_path / "data", "--out", tmp_path / "grades")


def test_what_is_no_picture_and_the_points_of_faces(drawn):
    rows, out = drawn
    assert "p2: cannot read the image faces.png: not a readable png" in rows["new"]["faults"]
    assert [rows[name]["points"] for name in ("new", "copied", "thirty", "small")] == ["20", "15", "10", "0"]
    page = (out / "index.html").read_text()
    pictures = re.findall("src='([^']*)'", page)
    assert len(pictures) == 2 * 3 and all((out / path).is_file() for path in pictures)
    assert re.search("real faces</td>(<td class=number>[^<]*</td>){3}<td class=number>0.[2-9]", page), "none is its own nearest"


# ---- this repository -------------------------------------------------------------------------------------------------

def test_this_repository_as_a_submission(tmp_path, monkeypatch):
    attempt, answers = exam.Exam.attempt, {}

    def once(self, order, task, result):
        """Each script takes seconds; that they all answer alike again is shown in test_graders.py."""
        if task not in answers:
            answers[task] = attempt(self, order, task, result)
        return answers[task]
    monkeypatch.setattr(exam.Exam, "attempt", once)
    data = add_faces(make_data(tmp_path / "hw3_data"))
    for part in ("common", "p1_vae", "p2_dcgan", "p3_dann", "p4_adda"):
        shutil.copytree(REPOSITORY / part, tmp_path / "this" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for problem in range(1, 5):
        shutil.copy(REPOSITORY / f"hw_p{problem}.sh", tmp_path / "this")
    row = grade(tmp_path / "this", "--data", data, "--out", tmp_path / "grades", "--jobs", "2")["this"]
    assert row["faults"] == ""
    assert row["p1_faces"] == row["p2_faces"] == "32"
    assert 0 <= float(row["p3_mnistm_accuracy"]) <= 100 and float(row["p3_mnistm_mib"]) > 100 and float(row["points"]) >= 40
