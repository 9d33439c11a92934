"""The report for LaTeX: booktabs tables and figure includes, to paste into a paper.

    OUT/report.tex     a whole document: pdflatex report.tex
    OUT/tex/*.tex      one file a problem, which report.tex takes in
"""
import hashlib
import itertools
import re

from common.cli import warn
from common.files import written_whole

# what TeX reads as a command, and signs that no 8-bit font has
SIGNS = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
         "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
         "|": r"\textbar{}", '"': r"\textquotedbl{}", "→": r"$\rightarrow$", "×": r"$\times$", "±": r"$\pm$", "≥": r"$\geq$",
         "≤": r"$\leq$", "λ": r"$\lambda$", "−": "$-$", "–": "--", "—": "---", "…": r"\dots{}", "“": "``", "”": "''",
         "‘": "`", "’": "'", "·": r"\textperiodcentered{}", "\u00a0": "~"}
DOCUMENT = r"""\documentclass{article}
\usepackage[a4paper,margin=25mm]{geometry}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,graphicx}
\title{Generative models and unsupervised domain adaptation}
\date{}
\begin{document}
\maketitle
%s
\end{document}
"""


def write_editable(path, text, comment):
    """Write a text that its user may go on with, whole or not at all; one that was edited since, or is not ours, stays.

    `comment` says how the text's language writes a comment, as "% {}": the first line of the file will be one, with a digest of
    the others. Raises UserError as `written_whole` does.
    """
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]
    stamp = lambda text: comment.format(f"hw_report.sh {digest(text)}: replaced by the next one, unless it is edited") + "\n"
    if path.is_file():
        first, _, rest = path.read_bytes().decode(errors="replace").partition("\n")
        if f"{first}\n" != stamp(rest):
            warn(f"warning: {path} was edited, or was not written by this program, so it stays as it is; rename it to have it "
                 "written anew")
            return
    with written_whole(path) as part:
        part.write_bytes((stamp(text) + text).encode())


def to_latex(text):
    """Plain text as LaTeX that prints it; characters beyond Latin-1 that we have no sign for as U+ and their number."""
    return "".join(SIGNS.get(sign) or (sign if ord(sign) < 256 else f"[U+{ord(sign):04X}]") for sign in text)


def write_latex(out, sections):
    """Write OUT/report.tex and OUT/tex/; files that were edited stay. `sections`: {name: content of OUT/sections/name.json}."""
    (out / "tex").mkdir(exist_ok=True)
    for name, section in sections.items():
        write_editable(out / "tex" / f"{name}.tex", "\n\n".join(_section(section)) + "\n", "% {}")
    write_editable(out / "report.tex", DOCUMENT % "\n".join(f"\\input{{tex/{name}}}" for name in sections), "% {}")


def _section(section):
    yield f"\\section*{{{to_latex(section['title'])}}}"
    for half, group in itertools.groupby(section["blocks"], key=lambda block: block.get("half", False)):
        group = list(group)
        if half:
            for start in range(0, len(group), 2):
                yield _figures(group[start:start + 2])
        else:
            yield from (_block(block) for block in group)


def _block(block):
    if block["kind"] == "heading":
        return f"\\subsection*{{{to_latex(block['text'])}}}"
    if block["kind"] == "text":
        return to_latex(block["text"])
    if block["kind"] == "listing":
        # nothing but its own end can end verbatim
        text = block["text"].replace("\\end{verbatim}", "\\end {verbatim}")
        return f"{{\\scriptsize\n\\begin{{verbatim}}\n{text}\n\\end{{verbatim}}}}"
    if block["kind"] == "figure":
        return _figures([block])
    if block["kind"] == "settings":
        half = (len(block["rows"]) + 1) // 2
        rows = [[*left, *right] for left, right in itertools.zip_longest(
            block["rows"][:half], block["rows"][half:], fillvalue=("", ""))]
        return _table("lrlr", None, rows, None)
    return _table("l" + "r" * (len(block["header"]) - 1), block["header"], block["rows"], block["caption"])


def _table(columns, header, rows, caption):
    """A table that is made smaller where it would be wider than the text."""
    line = lambda row: " & ".join("--" if cell is None else to_latex(str(cell)) for cell in row) + r" \\"
    head = f"{line(header)}\n\\midrule\n" if header else ""
    return "\n".join((
        r"\begin{table}[htbp]", r"\centering", *([f"\\caption{{{to_latex(caption)}}}"] if caption else []),
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", f"\\begin{{tabular}}{{{columns}}}", r"\toprule",
        head + "\n".join(map(line, rows)), r"\bottomrule", r"\end{tabular}}", r"\end{table}"))


def _figures(blocks):
    """One figure over the text's width, or two of half that width side by side, each with its caption."""
    width = "\\linewidth" if len(blocks) == 1 and not blocks[0]["half"] else "0.49\\linewidth"
    pictures = [f"\\begin{{minipage}}[t]{{{width}}}\n\\centering\n"
                f"\\includegraphics[width=\\linewidth]{{{re.sub('png$', 'pdf', block['path'])}}}\n"
                f"\\caption{{{to_latex(block['caption'])}}}\n\\end{{minipage}}" for block in blocks]
    return "\\begin{figure}[htbp]\n" + "\\hfill\n".join(pictures) + "\n\\end{figure}"
