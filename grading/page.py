"""The tables of a graded class, and its page, in the style of the report's; the pictures that it shows lie beside it."""
import math
from pathlib import Path
from urllib.parse import quote

import common.report.page
from common.report.page import escape, table

# what is told of a script of p1 and p2, and of p3 and p4, and how; the first of each is in the ranking
FACES = {"swd": "{:.1f}", "faces": "{}", "same": "{}", "nearest": "{:.3f}", "sharpness": "{:.4f}", "diversity": "{:.3f}",
         "seconds": "{:.1f}", "mib": "{:,.0f}"}
DIGITS = {"accuracy": "{:.2f}", "same": "{}", "never": "{}", "seconds": "{:.1f}", "mib": "{:,.0f}"}
LEGEND = ("p1, p2: swd, the sliced Wasserstein distance to the test faces × 1000, which real faces have, too. p3, p4: accuracy "
          "on the target in %. Below, same: whether it answers alike when it is run again; nearest: the least distance of a "
          "face to a real one; never: digits that it never says; mib: peak memory.")
told = lambda task: FACES if task in ("p1", "p2") else DIGITS
show_table = lambda header, rows, caption: table({"header": header, "rows": rows, "caption": caption}) if rows else ""


def cells(result, task):
    """A result's values as texts, in the order of FACES or DIGITS; dashes for what it lacks."""
    values = (((result or {}).get(key), form) for key, form in told(task).items())
    words = {None: "–", "": "–", True: "yes", False: "no"}
    return [words[value] if value in (None, "") or isinstance(value, bool) else form.format(value) for value, form in values]


def faults(results):
    """The faults of a submission's results by task, each a line that names all the scripts that have it."""
    lines = {}
    for task, result in results.items():
        for fault in result["faults"] if result else ["not graded yet"]:
            lines.setdefault(fault, []).append(task.replace("_", " "))
    return [f"{', '.join(tasks)}: {fault}" for fault, tasks in lines.items()]


def figure(path, folder, name):
    text = f"{path.stem[:2]}: {'five of these, above the real faces nearest to them' if '_' in path.stem else 'its faces'}"
    return (f"<figure><div class=picture><img alt='{name}, {text}' src='"
            f"{quote(str(path.relative_to(folder)), errors='surrogateescape')}'></div><figcaption>{text}</figcaption></figure>")


def make_page(header, ranking, points, floor, folder):
    """The page as text. `ranking`: (texts under `header`, name, results by task) of each submission; `points`: the table of
    points; `floor`: what real faces measure, or None; `folder`: beside the page, it holds each one's folder of pictures."""
    parts = []
    for place, (row, name, results) in enumerate(ranking):
        parts += [f"<section><h2 id=s{place}>{escape(row[0])}</h2><p>{row[1]} points</p><ul>",
                  *(f"<li>{escape(line)}</li>" for line in faults(results)), "</ul>"]
        for task in ("p1", "p2"):
            pictures = sorted((folder / name).glob(f"{task}*.png"))
            parts += ["<div class=pair>", *(figure(path, folder.parent, escape(row[0])) for path in pictures), "</div>"]
        for columns in (FACES, DIGITS):
            rows = [[task.replace("_", "\xa0"), *cells(result, task)]
                    for task, result in results.items() if told(task) is columns]
            rows += [["real faces", *cells(floor, "p1")]] if rows and columns is FACES else []
            parts.append(show_table(["", *columns], rows, ""))
        for task, result in results.items():
            confusion = [[digit, *counts] for digit, counts in enumerate((result or {}).get("confusion", ()))]
            lines = "\n".join((result or {}).get("errors", ()))
            if confusion or lines:
                parts += [f"<details><summary>{task.replace('_', ' ')}: {'confusion matrix, ' if confusion else ''}"
                          "last lines printed</summary>",
                          show_table(["truth", *range(10)], confusion, "Rows: the truth. Columns: the answer."),
                          f"<pre>{escape(lines)}</pre></details>" if lines else "</details>"]
        parts.append("</section>")
    limits = [[column, *("–" if math.isinf(cell) else f"{cell:g}" for cell in row)] for column, *row in points]
    links = (f"<li><a href=#s{place}>{escape(row[0])}</a></li>" for place, (row, *_) in enumerate(ranking))
    style = Path(common.report.page.__file__).with_name("page.css").read_text(encoding="utf-8")
    return ("<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<link rel=icon href='data:,'><title>Grades</title><style>{style}</style></head><body><h1>Grades</h1>"
            + show_table(header, [row for row, *_ in ranking], LEGEND) + "<details><summary>What gives points</summary>"
            + show_table(["column of grades.csv", "at least", "at most", "points"], limits, "")
            + f"</details><nav aria-label=Submissions><ol>{''.join(links)}</ol></nav>{chr(10).join(parts)}</body></html>\n")
