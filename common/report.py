"""The report: sections that the problems write (json and png), and the one page made of them.

    OUT/sections/*.json    one file a problem, written by p*/figures.py through Section
    OUT/figures/*.png      its figures
    OUT/results.json       every number of every section                 } written by
    OUT/index.html         one self-contained page, images inlined       } python3 -m common.report OUT
"""
import argparse
import base64
import csv
import html
from pathlib import Path

from common.cli import UserError, run_command, written_whole
from common.training import read_json, write_json
from common.uda import NAMES

YES_NO = {"True": "yes", "False": "no"}
ORDER = ("p1_vae", "p2_dcgan", "p3_dann", "p4_adda")
SAMPLE_NOTICE = ("These runs used the built-in sample data: small drawn faces and small digit sets, made so that every step "
                 "can be tried in minutes. Their numbers are not to be compared with the report's.")


class Section:
    """One problem's part of the report: blocks in reading order, figures in OUT/figures, numbers in `results`."""

    def __init__(self, out, name, title):
        self.out, self.name, self.title = Path(out), name, title
        self.blocks, self.results, self.runs = [], {}, []
        try:
            for folder in ("figures", "sections"):
                (self.out / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {self.out}: {error.strerror}; choose another --out") from None

    def heading(self, text):
        self.blocks.append({"kind": "heading", "text": text})

    def text(self, text):
        self.blocks.append({"kind": "text", "text": text})

    def listing(self, text):
        """Text in a fixed-width font: printed modules."""
        self.blocks.append({"kind": "listing", "text": text})

    def table(self, header, rows, caption):
        """Rows of texts and numbers; None shows as a dash."""
        self.blocks.append({"kind": "table", "header": header, "rows": rows, "caption": caption})

    def figure(self, name, caption):
        """Announce a figure at this place; returns the path where it is to be drawn."""
        path = Path("figures") / f"{self.name.split('_')[0]}_{name}.png"
        self.blocks.append({"kind": "figure", "path": path.as_posix(), "caption": caption})
        return self.out / path

    def settings(self, config):
        """What a run was trained with, from its config.json."""
        settings = {name: value for name, value in config["settings"].items() if name != "data" and value is not None}
        rows = [[name.replace("_", " "), YES_NO.get(str(value), str(value))] for name, value in settings.items()]
        rows += [["hardware", config["hardware"]], *([name, text] for name, text in config["versions"].items()),
                 ["git revision", str(config["git_revision"])]]
        self.blocks.append({"kind": "settings", "rows": rows})

    def write(self):
        """Write the section's json: the last step, so that a section is there only with all of its figures."""
        write_json(self.out / "sections" / f"{self.name}.json", {
            "title": self.title, "sample_data": any(run.config["sample_data"] for run in self.runs),
            "hardware": sorted({run.config["hardware"] for run in self.runs}),
            "preset": sorted({run.config["settings"]["preset"] for run in self.runs}),
            "blocks": self.blocks, "results": self.results})


class FinishedRun:
    """What a finished run left: `config`, `summary`, `rows` (of metrics.csv) and `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.config, self.summary = read_json(folder / "config.json"), read_json(folder / "summary.json")
        with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))

    @property
    def settings(self):
        return self.config["settings"]

    @property
    def weights(self):
        return self.folder / "weights.pt"


def find_run(folder):
    """The FinishedRun in `folder`, or None if there is none."""
    return FinishedRun(folder) if (folder / "summary.json").is_file() else None


def read_figure_arguments(description):
    """The command line of every p*/figures.py: `runs` and `out`, both Path."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="folder of the run folders")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="(default: report)")
    return parser.parse_args()


def read_results(out, name):
    """The numbers of another problem's section, an empty dict where it was not written."""
    path = Path(out) / "sections" / f"{name}.json"
    return read_json(path)["results"] if path.is_file() else {}


def missing_digits(runs):
    """A sentence on test splits that lack some digits, for the caption of an accuracy table; empty if none does.

    `runs`: the FinishedRuns (or None) of the table.
    """
    lacking = {run.settings["target"]: run.summary["target_absent_digits"] for run in runs if run}
    return "".join(f" The {NAMES[domain]} test images here have no {', '.join(map(str, digits))}, which makes its numbers "
                   "incomparable with the report's." for domain, digits in lacking.items() if digits)


def percent(share):
    """A share of 1 as a text in percent, None (shown as a dash) for None."""
    return None if share is None else f"{100 * share:.2f}"


# ---- the page --------------------------------------------------------------------------------------------------------

CSS = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --card: #f6f7f9; --page: #fff;
        --accent: #0b63a5; --warn: #fff4d6; --warn-ink: #5a4300; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #323a46; --card: #1d232c; --page: #14181e; --accent: #6cb6f0;
          --warn: #3b3010; --warn-ink: #f5dfa0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 54rem; padding: 1.5rem 1.1rem 4rem; background: var(--page); color: var(--ink);
       font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1rem 0 .4rem; }
h2 { font-size: 1.45rem; margin: 3.2rem 0 .4rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
p { margin: .5rem 0; } a { color: var(--accent); }
.soft, figcaption, caption { color: var(--soft); font-size: .92rem; }
.notice { background: var(--warn); color: var(--warn-ink); border-radius: .5rem; padding: .7rem 1rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 1rem 0; }
figure { margin: 1.2rem 0; } figure img { display: block; max-width: 100%; height: auto; background: #fff;
         border-radius: .5rem; border: 1px solid var(--line); padding: .4rem; }
figcaption, caption { text-align: left; padding: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
pre { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto; font-size: .78rem;
      line-height: 1.45; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0 1.5rem; margin: 1rem 0; }
dl div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); padding: .2rem 0; }
dt { color: var(--soft); } dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
@media print { body { max-width: none; } h2 { break-before: page; } figure, table { break-inside: avoid; } }
"""


def _block(block, out):
    escape = html.escape
    if block["kind"] == "heading":
        return f"<h3>{escape(block['text'])}</h3>"
    if block["kind"] == "text":
        return f"<p>{escape(block['text'])}</p>"
    if block["kind"] == "settings":
        rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in block["rows"])
        return f"<dl>{rows}</dl>"
    if block["kind"] == "listing":
        return f"<pre>{escape(block['text'])}</pre>"
    if block["kind"] == "table":
        cells = lambda tag, row: "".join(f"<{tag}>{escape('–' if c is None else str(c))}</{tag}>" for c in row)
        rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in block["rows"])
        return (f"<div class=scroll><table><caption>{escape(block['caption'])}</caption><thead><tr>"
                f"{cells('th', block['header'])}</tr></thead><tbody>{rows}</tbody></table></div>")
    try:
        image = base64.b64encode((out / block["path"]).read_bytes()).decode()
    except OSError as error:
        raise UserError(f"cannot read the figure {out / block['path']}: {error.strerror}; draw that section again") from None
    caption = escape(block["caption"])
    return f'<figure><img alt="{caption}" src="data:image/png;base64,{image}"><figcaption>{caption}</figcaption></figure>'


def write_page(out):
    """Assemble OUT/index.html and OUT/results.json from the sections that are there. Raises UserError if none is."""
    sections = {name: read_json(out / "sections" / f"{name}.json") for name in ORDER
                if (out / "sections" / f"{name}.json").is_file()}
    if not sections:
        raise UserError(f"{out / 'sections'} holds no section; run bash hw_report.sh, or one problem's run.sh, first")
    write_json(out / "results.json", {
        name: {"sample_data": section["sample_data"], "preset": section["preset"], "hardware": section["hardware"],
               **section["results"]} for name, section in sections.items()})
    escape = html.escape
    sample = any(section["sample_data"] for section in sections.values())
    links = "".join(f'<a href="#{name}">{escape(section["title"])}</a>' for name, section in sections.items())
    parts = []
    for name, section in sections.items():
        about = (f"preset {', '.join(section['preset'])} · {'sample data · ' if section['sample_data'] else ''}"
                 f"{', '.join(section['hardware'])}")
        parts += [f'<h2 id="{name}">{escape(section["title"])}</h2>', f'<p class=soft>{escape(about)}</p>']
        parts += [_block(block, out) for block in section["blocks"]]
    page = f"""<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">
<title>Generative models and unsupervised domain adaptation</title><style>{CSS}</style></head><body>
<h1>Generative models and unsupervised domain adaptation</h1>
<p>A VAE and a DCGAN on 64×64 faces; DANN and ADDA between three digit domains. Every number and figure below was made by
the runs whose settings are listed beside it.</p>
{f'<p class=notice><strong>Sample data.</strong> {escape(SAMPLE_NOTICE)}</p>' if sample else ''}
<nav>{links}</nav>
{chr(10).join(parts)}
</body></html>
"""
    with written_whole(out / "index.html") as part:
        part.write_text(page, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description="Assemble index.html and results.json from the sections in a folder.")
    parser.add_argument("out", type=Path, help="the folder that the problems' figures were drawn into")
    args = parser.parse_args()
    write_page(args.out)
    print(f"The report: {(args.out / 'index.html').resolve()}")


if __name__ == "__main__":
    run_command(main)
