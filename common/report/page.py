"""The report's page: one html file that needs nothing else, from the sections that the problems wrote.

page.css and page.js beside this file are copied into it, and each image as a data address.
"""
import base64
import hashlib
import html
import itertools
import json
from pathlib import Path

from common.adaptation import PAIRS, pair_name, reported
from common.cli import UserError, duration, say
from common.files import finite, read_json, write_json, written_whole
from common.report.latex import write_latex

TITLE = "Generative models and unsupervised domain adaptation"
LEAD = "A VAE and a DCGAN on 64×64 faces; DANN and ADDA between three digit domains."
SAMPLE_NOTICE = ("These runs used the built-in sample data: small drawn faces and small digit sets, made so that every step "
                 "can be tried in minutes. Their numbers cannot be compared with the report's.")
OWN = "This machine's own runs"
# what each kind of block is called where it is folded away
FOLDED = {"listing": "The networks, as PyTorch prints them", "settings": "All settings, versions and hardware"}
BARS = {"source": ("lower bound", "bound"), "dann": ("DANN", "dann"), "adda": ("ADDA", "adda"),
        "target": ("upper bound", "bound")}
escape = html.escape


def assemble(out, tex=False):
    """Write OUT/index.html and OUT/results.json, with `tex` OUT/report.tex too, from the sections that are there.

    Says where they are. Raises UserError if there is no section, or a figure is missing.
    """
    sections = {path.stem: read_json(path, "title", "sample_data", "runs", "blocks", "headlines", "results")
                for path in sorted((out / "sections").glob("*.json"))}
    if not sections:
        raise UserError(f"{out / 'sections'} holds no section; run bash hw_report.sh, or one problem's run.sh, first")
    write_json(out / "results.json", {
        name: {"sample_data": section["sample_data"], "preset": section["preset"], "hardware": section["hardware"],
               **section["results"]} for name, section in sections.items()})
    beside = lambda name: read_json(out / name) if (out / name).is_file() else {}
    with written_whole(out / "index.html") as part:
        part.write_text(make_page(out, sections, beside("left_out.json").get("notes", ()), beside("shipped.json"),
                                  beside("commands.json")), encoding="utf-8")
    if tex:
        write_latex(out, sections)
        say(f"For LaTeX: {(out / 'report.tex').resolve()}")
    say(f"The report: {(out / 'index.html').resolve()}", "green")


def make_page(out, sections, notes=(), shipped=None, commands=None):
    """The page as text. `sections`: {name: content of OUT/sections/name.json}; `notes`: sentences on what is left out;
    `shipped`: content of OUT/shipped.json, if it is there; `commands`: the command that repeats each section, by its name.
    Raises UserError if a figure is missing."""
    sheets, commands = {}, commands or {}
    parts = []
    for name, section in sections.items():
        parts += [f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(section["title"])}</h2>',
                  f"<p class=soft>{escape(_about(section))}</p>", *_blocks(name, in_order(section["blocks"]), out, sheets),
                  _repeat(commands[name]) if name in commands else "", "</section>"]
    before = [] if not shipped else [
        f'<section class=card aria-labelledby=shipped><h2 id=shipped>{escape(shipped["title"])}</h2>',
        f"<p class=notice>{escape(shipped['notice'])}</p>", *_blocks("shipped", shipped["blocks"], out, sheets),
        _repeat(shipped["command"]), "</section>"]
    return document(TITLE, LEAD, f"""<header><h1>{TITLE}</h1>
<p class=lead>{escape(LEAD)}</p>
</header>
{_contents(sections, shipped)}
<main>
{chr(10).join(before)}
{_own(sections, notes)}
{chr(10).join(parts)}
</main>
<footer class=soft>The headings have the numbers of the assignment's questions. Beside this page are all numbers (results.json)
and all figures as png and pdf (figures/). To compare two reports:
<code>python3 -m common.report --compare OUT1 OUT2</code></footer>
<script type=application/json id=sheets>{_json(sheets)}</script>
<script>
{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>
""")


def document(title, about, body):
    """A page in the report's style as text, of the html of its body."""
    return f"""<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">
<meta name=description content="{escape(about)}"><link rel=icon href="data:,">
<title>{escape(title)}</title><style>
{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style></head><body>
{body}</body></html>
"""


def _json(content):
    return json.dumps(finite(content), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _about(section):
    return (f"{section['runs']} run{'s' * (section['runs'] > 1)} · preset {', '.join(section['preset'])} · "
            f"{'sample data · ' if section['sample_data'] else ''}{', '.join(section['hardware'])}")


def _anchor(name, heading):
    """The id of a heading: p3_dann and "3.4 t-SNE …" make p3_dann-3.4."""
    return f"{name}-{heading.split()[0]}"


def in_order(blocks):
    """A section's blocks with what stands under a heading with settings at the end: results first, then details."""
    parts = []
    for block in blocks:
        if block["kind"] == "heading" or not parts:
            parts.append([])
        parts[-1].append(block)
    parts.sort(key=lambda part: any(block["kind"] == "settings" for block in part))
    return [block for part in parts for block in part]


def _repeat(command):
    return f"<p class=repeat>To repeat this: <code>{escape(command)}</code></p>"


def _contents(sections, shipped):
    items = ["<li>" + "<br>".join(f'<a href="#{name}">{title}</a>' for name, title in (
        *([("shipped", "The shipped models")] if shipped else []), ("own", OWN))) + "</li>"]
    for name, section in sections.items():
        headings = [block["text"] for block in in_order(section["blocks"]) if block["kind"] == "heading"]
        inner = "".join(f'<li><a href="#{escape(_anchor(name, text))}">{escape(text)}</a></li>' for text in headings)
        items.append(f'<li><a href="#{name}">{escape(section["title"])}</a><ol>{inner}</ol></li>')
    return f"<nav aria-label=Contents><ol>{''.join(items)}</ol></nav>"


# ---- results at a glance ---------------------------------------------------------------------------------------------

def _own(sections, notes):
    """What this machine's runs gave, at a glance, and what was run."""
    sample = any(section["sample_data"] for section in sections.values())
    notices = [f"<strong>Sample data.</strong> {escape(SAMPLE_NOTICE)}"] if sample else []
    notices += [f"{escape(note)}." for note in notes]
    return (f"<section class=card aria-labelledby=own><h2 id=own>{OWN}</h2>"
            + "".join(f"<p class=notice>{notice}</p>" for notice in notices)
            + f"<p class=soft>{escape(_facts(sections))}</p>{_glance(sections)}{_what_was_run(sections)}</section>")


def _glance(sections):
    charts = ""
    if "p3_dann" in sections or "p4_adda" in sections:
        results = {name: sections[name]["results"] if name in sections else {} for name in ("p3_dann", "p4_adda")}
        for pair in PAIRS:
            key = "-".join(pair)
            accuracies = {mode: results["p3_dann"].get(f"{key}_{mode}") for mode in ("source", "dann", "target")}
            accuracies["adda"] = results["p4_adda"].get(f"{key}_target_accuracy")
            charts += _chart(pair_name(pair), "here", [
                (name, kind, accuracies[mode], reported(pair, mode)) for mode, (name, kind) in BARS.items()])
        charts = (f"<p class=soft>Accuracy on the target's test images in %. Bars: these runs. Ticks: the report. Lower bound: "
                  f"trained on the source alone; upper bound: on the labelled target.</p><div class=charts>{charts}</div>")
    headlines = "".join(f"<div><strong>{escape(line['value'])}</strong>{escape(line['text'])}<br>"
                        f"<span class=soft>{escape(line['note'])}</span></div>"
                        for section in sections.values() for line in section["headlines"])
    return charts + (f"<div class=headlines>{headlines}</div>" if headlines else "")


def _chart(title, here, bars):
    """Bars as svg: `bars`, a list of (name, css class, accuracy, reference), the latter two 0 to 1 or None, with a tick at
    the reference; `here` stands above the accuracies."""
    left, right, top, line = 92, 252, 42, 26
    place = lambda accuracy: left + (right - left) * accuracy
    show = lambda accuracy: "–" if accuracy is None else f"{100 * accuracy:.1f}"
    bottom = top + line * len(bars)
    shapes = [f'<text x=0 y=14 class=title>{escape(title)}</text><text x=295 y=32 text-anchor=end class=soft-text>{here}</text>'
              f'<text x=340 y=32 text-anchor=end class=soft-text>report</text>']
    spoken = []
    for row, (name, kind, accuracy, reference) in enumerate(bars):
        y = top + line * row
        bar = lambda kind, end, y=y: f'<rect class={kind} x={left} y={y + 3} width={end - left:.1f} height=14 rx=2 />'
        shapes += [f"<text x=0 y={y + 14}>{name}</text>", bar("track", right)]
        if accuracy is not None:
            shapes.append(bar(kind, place(accuracy)))
        if reference is not None:
            shapes.append(f'<rect class=tick x={place(reference) - 1:.1f} y={y} width=2 height=20 />')
        shapes.append(f'<text x=295 y={y + 14} text-anchor=end>{show(accuracy)}</text>'
                      f'<text x=340 y={y + 14} text-anchor=end class=soft-text>{show(reference)}</text>')
        spoken.append(f"{name} {show(accuracy)}, report {show(reference)}")
    for percent in (0, 50, 100):
        x = place(percent / 100)
        shapes.append(f'<line class=grid x1={x} x2={x} y1={bottom} y2={bottom + 4} />'
                      f'<text x={x} y={bottom + 15} text-anchor=middle class=soft-text>{percent}</text>')
    text = escape(f"{title}: {'; '.join(spoken)}")
    return f'<svg viewBox="0 0 340 {bottom + 20}" role=img aria-label="{text}">{"".join(shapes)}</svg>'


def _gather(sections, key):
    return sorted({value for section in sections.values() for value in section[key]})


def _facts(sections):
    data = "the built-in sample data" if all(s["sample_data"] for s in sections.values()) else "datasets in the course layout"
    limits = "".join(f", the first {limit:,} images of each split" for limit in _gather(sections, "limits"))
    return (f"{sum(s['runs'] for s in sections.values())} runs of preset {' and '.join(_gather(sections, 'preset'))} on {data}"
            f"{limits}: {duration(sum(s['train_seconds'] for s in sections.values()))} of training on "
            f"{' and '.join(_gather(sections, 'hardware'))}.")


def _what_was_run(sections):
    rows = []
    for section in sections.values():
        counts = section["train_images"]        # sorted
        images = " to ".join(f"{count:,}" for count in sorted({*counts[:1], *counts[-1:]}))
        rows.append([section["title"], section["runs"], ", ".join(section["preset"]), ", ".join(map(str, section["seeds"])),
                     images, duration(section["train_seconds"]), ", ".join(section["hardware"])])
    software, revisions = "; ".join(_gather(sections, "software")), ", ".join(_gather(sections, "revisions"))
    header = ["", "runs", "preset", "seed", "training images", "training time", "hardware"]
    return _fold("What was run", table(
        {"header": header, "rows": rows, "caption": f"Software: {software}. Code: revision {revisions}."}))


# ---- blocks ----------------------------------------------------------------------------------------------------------

def _blocks(name, blocks, out, sheets):
    """The html of a section's blocks; images of maps are added to `sheets` by a key of their content."""
    for half, group in itertools.groupby(blocks, key=lambda block: block.get("half", False)):
        shown = [_block(name, block, out, sheets) for block in group]
        yield f"<div class=pair>{''.join(shown)}</div>" if half else "\n".join(shown)


def _block(name, block, out, sheets):
    if fold := block.get("fold", FOLDED.get(block["kind"])):
        return _fold(fold, _shown(block, out, sheets))
    if block["kind"] == "heading":
        return f'<h3 id="{escape(_anchor(name, block["text"]))}">{escape(block["text"])}</h3>'
    return _shown(block, out, sheets)


def _fold(title, content):
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _shown(block, out, sheets):
    if block["kind"] == "text":
        return f"<p>{escape(block['text'])}</p>"
    if block["kind"] == "charts":
        charts = "".join(_chart(chart["title"], block["here"], chart["rows"]) for chart in block["charts"])
        return f"<p class=soft>{escape(block['text'])}</p><div class=charts>{charts}</div>"
    if block["kind"] == "settings":
        rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in block["rows"])
        return f"<dl>{rows}</dl>"
    if block["kind"] == "listing":
        return f"<pre tabindex=0>{escape(block['text'])}</pre>"
    return table(block) if block["kind"] == "table" else _figure(block, out, sheets)


def table(block):
    """A table, its caption below; None shows as a dash, and all columns but the first are aligned as numbers, unless the block
    says that they are "words"."""
    number = "" if block.get("words") else " class=number"
    cells = lambda tag, row: "".join(
        f"<{tag}{number * (column > 0)}>{escape('–' if cell is None else str(cell))}</{tag}>"
        for column, cell in enumerate(row)).replace("<th></th>", "<td></td>")
    rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in block["rows"])
    return (f"<figure class=table><div class=scroll><table><thead><tr>{cells('th', block['header'])}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div><figcaption>{escape(block['caption'])}</figcaption></figure>")


def _figure(block, out, sheets):
    caption, kinds, data = escape(block["caption"]), [], ""
    image = _read(out / block["path"])
    width, height = (int.from_bytes(image[at:at + 4], "big") for at in (16, 20))        # of a png
    if width > 1000:        # plots over the full width: on a phone their labels need more room than there is
        kinds.append("wide")
    if "map" in block:
        kinds.append("map")
        sheet = _read(out / block["map"]["sheet"])
        key = hashlib.sha256(sheet).hexdigest()[:8]         # DANN's and ADDA's maps show the same images
        sheets[key] = address("jpeg", sheet)
        data = f"<script type=application/json>{_json(block['map'] | {'sheet': key})}</script>"
    alternative = escape(block["caption"].split(". ")[0].rstrip("."))      # the caption follows anyway
    return (f'<figure class="{" ".join(kinds)}"><div class=picture><img alt="{alternative}" width={width} height={height} '
            f'src="{address("png", image)}"></div><figcaption>{caption}</figcaption>{data}</figure>')


def address(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the figure {path}: {error.strerror}; draw that section again") from None
