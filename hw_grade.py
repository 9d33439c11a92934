"""Grades a class.   python3 hw_grade.py SUBMISSION… --data hw3_data [--out grades]

Writes OUT/grades.csv, a row for each, and OUT/index.html, which shows it all; OUT/submissions has what is graded already.
"""
import contextlib
import csv
import itertools
import os
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from common.cli import (
    CommandParser,
    UsageError,
    UserError,
    any_path,
    lock,
    number,
    one_line,
    progress,
    run_command,
    say,
    some_of,
)
from common.data.csv_files import write_csv
from common.data.grid import save_grid
from common.files import read_json, stamp, visible, write_json, written_whole
from grading.exam import TASKS, Exam
from grading.page import cells, faults, make_page, told
from grading.watch import remove

COLUMNS = tuple(f"{task}_{key}" for task in TASKS for key in told(task) if key != "never")
POINTS = Path(__file__).parent / "grading" / "points.csv"


def read_points(path):
    """A table of points: (column of grades.csv, least, most, points) for each of its rows. Raises UserError if it is wrong."""
    rows = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for line in csv.DictReader(file):
                least, most, points = float(line["at_least"] or "-inf"), float(line["at_most"] or "inf"), float(line["points"])
                rows.append((COLUMNS[COLUMNS.index(line["column"])], least, most, points))
        rows[0]
    except (LookupError, TypeError, ValueError, csv.Error):
        raise UserError(f"{path}, row {len(rows) + 1}: expected a column of grades.csv and numbers under the header "
                        f"column,at_least,at_most,points, as in {POINTS}") from None
    return rows


class Grades:
    """What is known of each submission: `results`, {its name: {task: result, {} if not graded}}; kept in OUT/submissions."""

    def __init__(self, out, orders, tasks, points):
        self.out, self.orders, self.points = out, orders, points
        self.header = ["submission", "points", *(task.replace("_", " ") for task in tasks), "faults"]
        self.results = {name: dict.fromkeys(tasks, {}) for name in orders}
        for name, task in itertools.product(orders, tasks):
            with contextlib.suppress(UserError):        # not graded yet, or damaged
                found = read_json(out / "submissions" / name / f"{task}.json", order=str, result=dict)
                self.results[name][task] = found["result"] if found["order"] == repr(orders[name]) else {}

    def add(self, name, task, result, pictures):
        folder = self.out / "submissions" / name
        folder.mkdir(parents=True, exist_ok=True)
        for what, faces in pictures.items():
            save_grid(folder / f"{task}{what}.png", faces / 255, 5 if what else 8)
        write_json(folder / f"{task}.json", {"order": repr(self.orders[name]), "result": result})
        self.results[name][task] = result
        self.say(name)

    def value(self, name, column):
        task, _, key = column.rpartition("_")
        return self.results[name].get(task, {}).get(key)

    def score(self, name):
        return sum(points for column, least, most, points in self.points
                   if (value := self.value(name, column)) is not None and least <= value <= most)

    def row(self, name):
        results = self.results[name]
        return [one_line(name), f"{self.score(name):g}", *(cells(result, task)[0] for task, result in results.items()),
                str(len(faults(results)))]

    def say(self, name=None):
        """Print the header, or a submission's row and its faults once it is graded."""
        row, results = (self.row(name), self.results[name]) if name else (self.header, {})
        if all(results.values()):
            width = max(len(one_line(first)) for first in ("submission", *self.results))
            say(row[0].ljust(width) + "".join(f"{text:>11}" for text in row[1:]))
            for line in faults(results):
                say(f"    {row[0]}: {line}")

    def write(self, floor):
        show = lambda value: "" if value is None else f"{round(float(value), 4):g}"
        rows = ([name, f"{self.score(name):g}", *(show(self.value(name, column)) for column in COLUMNS),
                 " | ".join(faults(results))] for name, results in self.results.items())
        with written_whole(self.out / "grades.csv") as part:
            write_csv(part, ("submission", "points", *COLUMNS, "faults"), rows)
        ranking = [(self.row(name), name, self.results[name]) for name in sorted(self.results, key=self.score, reverse=True)]
        with written_whole(self.out / "index.html") as part:
            part.write_text(make_page(self.header, ranking, self.points, floor), encoding="utf-8")


def grade_all(exam, grades, jobs):
    """Grade what the grades lack, and write them down, even when stopped."""
    exam.work.mkdir(exist_ok=True)
    exam.work.chmod(0o755)      # a disk that knows no such thing is no place for scripts, which is told now
    for name in (None, *grades.results):
        grades.say(name)
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(exam.grade, grades.orders[name], task): (name, task)
                   for name, results in grades.results.items() for task, result in results.items() if not result}
        for future in progress(as_completed(futures), "grading", "script", len(futures)):
            grades.add(*futures[future], *future.result())
    finally:
        exam.stop()
        pool.shutdown(cancel_futures=True)
        remove(exam.work)
        grades.write(exam.floor)


def main():
    parser = CommandParser(prog="python3 hw_grade.py", description="Grade submissions; the same command goes on after a stop. "
                           "Student code is run! It can do all that you can, unless --prefix is a sandbox, as in README.md.")
    add = parser.add_argument
    add("submissions", type=any_path, nargs="+", metavar="SUBMISSION",
        help="a folder with hw_p1.sh … hw_p4.sh that was handed in")
    add("--data", type=any_path, default=Path("hw3_data"), metavar="DIR", help="the data (default: hw3_data)")
    add("--out", type=any_path, default=Path("grades"), metavar="DIR", help="where grades go (default: grades)")
    add("--points", type=any_path, default=POINTS, metavar="FILE", help="what gives points (default: grading/points.csv)")
    add("--minutes", type=number(float, 0.01), default=10.0, metavar="N", help="for each script (default: 10)")
    add("--scripts", default="hw_p{}.sh", metavar="NAME", help="{} is the problem (default: hw_p{}.sh)")
    add("--prefix", type=shlex.split, default=[], metavar="COMMAND", help="put before each script; {} is its folder")
    add("--jobs", type=number(int, 1, 1000), default=1, metavar="N", help="scripts at once (default: 1)")
    args = parser.parse_args()
    if "{}" not in args.scripts or "/" in args.scripts:
        raise UsageError(f"--scripts {args.scripts} must be a file's name with {{}} in it, as hw3_p{{}}.sh")
    if args.prefix and not shutil.which(args.prefix[0]):
        raise UsageError(f"--prefix: there is no command {args.prefix[0]}; install it, or name another")
    # a link is a submission by its own name
    folders = list(dict.fromkeys(Path(os.path.abspath(path)) for path in args.submissions))
    if missing := [str(path) for path in folders if not os.path.lexists(path)]:
        raise UserError(f"{some_of(missing)}: there is no such submission; give the folders that were handed in")
    points, out = read_points(args.points), args.out.resolve()
    if (names := visible(out)) and not (out / "data.json").is_file():
        raise UserError(f"{args.out} holds no grades of ours but other files ({some_of(names)}); give another --out")
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".lock", f"another hw_grade.py writes to {args.out}; wait for it, or give another --out"):
        exam = Exam(args.data.resolve(), out, args.minutes, args.jobs)
        if (out / "data.json").exists() and read_json(out / "data.json") != exam.digests:
            raise UserError(f"{args.out} is of other data than {args.data} holds now; bring those back, or give another --out")
        write_json(out / "data.json", exam.digests)
        names = [folder.name for folder in folders]
        orders = {"_".join(folder.parts[1:]) if names.count(folder.name) > 1 else folder.name: {
            "folder": (real := os.path.realpath(folder)), "stamp": stamp(real, exam.left_out), "scripts": args.scripts,
            "prefix": args.prefix, "minutes": args.minutes} for folder in folders}
        grade_all(exam, Grades(out, orders, exam.tasks, points), args.jobs)
        say(f"{args.out / 'grades.csv'}, and a page: {out / 'index.html'}", "green")


if __name__ == "__main__":
    run_command(main, "what is graded is kept and in the page; the same command goes on with what is missing")
