"""The tables of a graded class, and its page: one html file that needs nothing else, in the style of the report's."""
import io
from pathlib import Path

from PIL import Image

import common.page
from common.cli import one_line
from common.page import address, escape, table

# what is told of a script, of p1 and p2, and of p3 and p4, under which heading and how; the first is what the ranking shows
FACES = {"swd": ("SWD", "{:.1f}"), "faces": ("faces", "{}"), "same": ("same again", "{}"),
         "nearest": ("nearest real face", "{:.3f}"), "sharpness": ("sharpness", "{:.4f}"), "diversity": ("diversity", "{:.3f}"),
         "seconds": ("seconds", "{:.0f}"), "mib": ("MiB", "{:,.0f}")}
DIGITS = {"accuracy": ("accuracy in %", "{:.2f}"), "same": ("same again", "{}"), "never": ("digits never said", "{}"),
          "seconds": ("seconds", "{:.0f}"), "mib": ("MiB", "{:,.0f}")}


def told(task):
    return FACES if task in ("p1", "p2") else DIGITS


def cells(result, columns):
    """A result's values in FACES or DIGITS as texts, dashes for what it lacks; of a list, its items."""
    for key, (_, form) in columns.items():
        value = (result or {}).get(key)
        yield "–" if value is None else form.format(", ".join(map(str, value)) if isinstance(value, list) else value)


def faults(results):
    """The faults of a submission's results by task, each a line that names all the scripts that have it."""
    lines = {}
    for task, result in results.items():
        for fault in result["faults"] if result else ["not graded yet"]:
            lines.setdefault(fault, []).append(task.replace("_", " "))
    return [f"{', '.join(tasks)}: {fault}" for fault, tasks in lines.items()]


def header(tasks):
    return ["submission", "points", *(task.replace("_", " ") + " SWD" * (told(task) is FACES) for task in tasks), "faults"]


def row(name, points, results):
    """A submission's texts under `header`."""
    return [one_line(name), f"{points:g}", *(next(cells(result, told(task))) for task, result in results.items()),
            str(len(faults(results)))]


def make_page(ranking, points, floor, folder):
    """The page as text. `ranking`: (name, points, results by task) of each submission; `points`: the table of points; `floor`:
    the result of real faces, or None; `folder`: where each one's folder of pictures is."""
    parts, links = [], []
    for place, (name, score, results) in enumerate(ranking):
        links.append(f"<li><a href=#s{place}>{escape(one_line(name))}</a></li>")
        parts += [f"<section><h2 id=s{place}>{escape(one_line(name))}</h2><p>{score:g} points</p><ul>",
                  *(f"<li>{escape(line)}</li>" for line in faults(results)), "</ul>"]
        parts += [_picture(path) for path in sorted((folder / name).glob("p[12]*.png"))]
        for columns in (FACES, DIGITS):
            rows = [[task, *cells(result, columns)] for task, result in results.items() if told(task) is columns]
            rows += [["real faces", *cells(floor, FACES)]] if rows and columns is FACES else []
            parts.append(_table(["", *(heading for heading, _ in columns.values())], rows, ""))
        for task, result in results.items():
            confusion = enumerate((result or {}).get("confusion", []))
            parts += [f"<details><summary>{task}: confusion matrix, last lines</summary>",
                      _table(["truth", *range(10)], [[digit, *counts] for digit, counts in confusion], "Columns: the answer."),
                      f"<pre>{escape(chr(10).join((result or {}).get('errors', [])))}</pre></details>"]
        parts.append("</section>")
    tasks = ranking[0][2]
    ranks = _table(header(tasks), [row(*entry) for entry in ranking], "Of digits: accuracy in %. A dash: no answer.")
    what = _table(["column", "at least", "at most", "points"], points, "Columns are those of grades.csv.")
    return (f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<link rel=icon href='data:,'><title>Grades</title><style>"
            f"{Path(common.page.__file__).with_name('page.css').read_text(encoding='utf-8')}</style></head><body><h1>Grades</h1>"
            f"{ranks}<details><summary>What gives points</summary>{what}</details>"
            f"<nav aria-label=Submissions><ol>{''.join(links)}</ol></nav><main>{chr(10).join(parts)}</main></body></html>\n")


def _table(header, rows, caption):
    return table({"header": header, "rows": rows, "caption": caption}) if rows else ""


def _picture(path):
    caption = f"{path.stem[:2]}: " + ("above, the five of its faces that are nearest to real ones; below, these"
                                      if "_" in path.stem else "the faces that it drew")
    with Image.open(path) as image, io.BytesIO() as file:
        image.convert("RGB").save(file, "jpeg", quality=88)
        return (f'<figure><div class=picture><img alt="{caption}" width={image.width} height={image.height} '
                f'src="{address("jpeg", file.getvalue())}"></div><figcaption>{caption}</figcaption></figure>')
