"""The tables of a graded class, and its page, in the style of the report's; the pictures that it shows lie beside it."""
import math
from urllib.parse import quote

from common.report.page import document, escape, table

# what is told of a script of p1 and p2, and of p3 and p4, and how; the first of each is in the ranking
SAME, SECONDS, MIB = {True: "yes", False: "no"}.get, "{:.1f}".format, "{:,.0f}".format
FACES = {"swd": "{:.1f}".format, "faces": str, "same": SAME, "nearest": "{:.3f}".format, "sharpness": "{:.4f}".format,
         "diversity": "{:.3f}".format, "seconds": SECONDS, "mib": MIB}
DIGITS = {"accuracy": "{:.2f}".format, "same": SAME, "never": str, "seconds": SECONDS, "mib": MIB}
LEGEND = ("p1, p2: swd, the sliced Wasserstein distance × 1000 to the test faces, which real faces have, too. p3, p4: accuracy "
          "in %. same: when run again; nearest: the least distance to a real face; never: digits not said; mib: peak memory.")
told = lambda task: FACES if task in ("p1", "p2") else DIGITS
show_table = lambda header, rows, caption: table({"header": header, "rows": rows, "caption": caption}) if rows else ""


def cells(result, task):
    """A result's values as texts, in the order of FACES or DIGITS; dashes for what it lacks."""
    return ["–" if result.get(key) in (None, "") else show(result[key]) for key, show in told(task).items()]


def faults(results):
    """The faults of a submission's results by task, each a line that names all the scripts that have it."""
    lines = {}
    for task, result in results.items():
        for fault in result.get("faults", ["not graded yet"]):
            lines.setdefault(fault, []).append(task.replace("_", " "))
    return [f"{', '.join(tasks)}: {fault}" for fault, tasks in lines.items()]


def make_page(header, ranking, points, floor):
    """The page as text. `ranking`: (texts under `header`, name, results by task) of each submission; `points`: the table of
    points; `floor`: what real faces measure. Beside the page, submissions/ holds a folder of pictures for each name."""
    parts, links = [], []
    for place, (row, name, results) in enumerate(ranking):
        shown = escape(row[0])
        links.append(f"<li><a href=#s{place}>{shown}</a></li>")
        parts += [f"<section><h2 id=s{place}>{shown}</h2><p>{row[1]} points</p><ul>",
                  *(f"<li>{escape(line)}</li>" for line in faults(results)), "</ul>"]
        for task in (task for task in results if "nearest" in results[task]):
            pictures = ("", f"{task}: its faces"), ("_nearest", f"{task}: five of these, above the real faces nearest to them")
            parts += ["<div class=pair>", *(
                f"<figure><div class=picture><img src='submissions/{quote(name, errors='surrogateescape')}/{task}{what}.png' "
                f"alt='{shown}, {text}'></div><figcaption>{text}</figcaption></figure>" for what, text in pictures), "</div>"]
        for columns in (FACES, DIGITS):
            rows = [[task.replace("_", "\xa0"), *cells(results[task], task)] for task in results if told(task) is columns]
            rows += [["real faces", *cells(floor, "p1")]] if rows and columns is FACES else []
            parts.append(show_table(["", *columns], rows, ""))
        for task, result in results.items():
            confusion = [[digit, *counts] for digit, counts in enumerate(result.get("confusion", ()))]
            details = show_table(["truth", *range(10)], confusion, "Rows: the truth. Columns: the answer.")
            if lines := "\n".join(result.get("errors", ())):
                details += f"<pre>{escape(lines)}</pre>"
            title = f"{task.replace('_', ' ')}: {'confusion matrix, ' if confusion else ''}last lines printed"
            parts.append(f"<details><summary>{title}</summary>{details}</details>" if details else "")
        parts.append("</section>")
    limits = [[column, *("–" if math.isinf(cell) else f"{cell:g}" for cell in row)] for column, *row in points]
    return document("Grades", LEGEND, "\n".join((
        "<h1>Grades</h1>", show_table(header, [row for row, *_ in ranking], LEGEND),
        "<details><summary>What gives points</summary>",
        show_table(["column of grades.csv", "at least", "at most", "points"], limits, ""),
        f"</details><nav aria-label=Submissions><ol>{''.join(links)}</ol></nav>", *parts)))
