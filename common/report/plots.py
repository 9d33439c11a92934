"""Figures of the report, in one style. Each function writes a png and, beside it, a pdf for LaTeX, whole or not at all.

The same numbers give the same bytes: neither file says when it was made, and no setting of the user's has a part in it. There
is no pyplot here, which would open a display, or take a notebook's.
"""
import numpy as np
import torch

from common.data.grid import make_grid, save_grid
from common.files import written_whole
from common.plain_matplotlib import matplotlib

CURVES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", ":"))        # of one panel: colours of Okabe & Ito, styles
TRADE_OFF, CHOSEN = "#0072B2", "#D55E00"        # the line of rate against distortion, the ring of the chosen run
MARKERS = ("o", "^", "s", "D")          # of the classes of a map
DOMAIN_COLOURS = ("#0072B2", "#D55E00")      # of source and target on a map: Okabe & Ito's blue and vermilion
# Found by search for the largest smallest distance (in OKLab) between any two, as seen with normal and with each kind of
# colour-blind sight (Machado et al. 2009), of colours that stand out from white. Each point is its digit besides
DIGIT_COLOURS = ("#82BAFF", "#FE83AA", "#A61E66", "#C6B800", "#F20010", "#3F00A3", "#D73FB0", "#791100", "#2600FF", "#188AF4")
DIGIT_MARKERS = tuple(f"${digit}$" for digit in range(10))
WIDTH = 6.5         # inches: the text width of a LaTeX article, so that font sizes are those of the print
HALF = 3.2          # for two figures side by side
STYLE = {
    "savefig.dpi": 200, "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.3, "legend.frameon": False, "lines.linewidth": 1.6, "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06, "figure.constrained_layout.h_pad": 0.05,      # inches
    "pdf.fonttype": 42,         # fonts that publishers accept
}
PICTURE = STYLE | {"axes.grid": False}


def _in_style(style):
    """A context to make and save a figure in: this style on matplotlib's defaults."""
    return matplotlib.style.context(style, after_reset=True)


def _subplots(rows=1, columns=1, *, size, **options):
    """A figure of that size in inches, and its axes as a table."""
    figure = matplotlib.figure.Figure(size)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _save(figure, path):
    for file, metadata in ((path, None), (path.with_suffix(".pdf"), {"CreationDate": None})):
        with written_whole(file) as part:
            figure.savefig(part, metadata=metadata)


def draw_grid(path, images):
    """Images float [N, 3, H, W] in [0, 1] side by side, eight a row; the png has their own pixels."""
    save_grid(path, images)
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    with _in_style(PICTURE):
        figure = matplotlib.figure.Figure((WIDTH, WIDTH * height / width), layout="none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.imshow(pixels, interpolation="none")       # in a pdf this keeps the pixels as they are
        axis.set_axis_off()
        with written_whole(path.with_suffix(".pdf")) as part:
            figure.savefig(part, metadata={"CreationDate": None})


def draw_curves(path, runs, panels):
    """Learning curves: a row of panels for each run, on the same axes down a column.

    `runs`: {name: rows of its metrics.csv}; `panels`: for each, (title, {column: legend text}). Rows without a column
    are skipped.
    """
    with _in_style(STYLE):
        figure, axes = _subplots(len(runs), len(panels), size=(WIDTH, 0.4 + 1.8 * len(runs)), sharex=len(runs) > 1,
                                 sharey="col" if len(runs) > 1 else False)
        for line, (name, rows) in zip(axes, runs.items()):
            for axis, (title, columns) in zip(line, panels):
                for (colour, style), (column, label) in zip(CURVES, columns.items()):
                    points = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
                    axis.plot(*zip(*points), style, color=colour, label=label, marker="o" if len(points) < 3 else None)
                axis.set_title(title if len(runs) == 1 else f"{name}: {title}")
                axis.xaxis.get_major_locator().set_params(integer=True)
                if len(columns) > 1:
                    axis.legend()
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        _save(figure, path)


def draw_reconstructions(path, originals, reconstructions, errors):
    """Originals above their reconstructions, float [N, 3, H, W] in [0, 1], with each one's MSE below."""
    with _in_style(PICTURE):
        count = len(originals)
        figure, axes = _subplots(2, count, size=(WIDTH, 1.7))
        for column in range(count):
            for axis, images in zip(axes[:, column], (originals, reconstructions)):
                axis.imshow(images[column].permute(1, 2, 0).numpy())
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            axes[1, column].set_xlabel(f"{errors[column]:.4f}")
        axes[0, 0].set_ylabel("test")
        axes[1, 0].set_ylabel("VAE")
        _save(figure, path)


def draw_rows(path, rows, names, titles=(), width=WIDTH):
    """Rows of images, each float [K, 3, H, W] in [0, 1], its name at the left; a title over each column that has one.

    `width` of the figure in inches.
    """
    columns, _, high, wide = rows[0].shape
    padding = 2
    pixels = make_grid(torch.cat(rows), columns, padding, background=1.0).permute(1, 2, 0).numpy()
    centres = lambda count, size: [padding + size / 2 + i * (size + padding) for i in range(count)]
    with _in_style(PICTURE):
        # the names take about 0.8 inches, the margins 0.1, the titles 0.25
        height = (width - 0.8) * pixels.shape[0] / pixels.shape[1] + 0.1 + 0.25 * bool(titles)
        figure, ((axis,),) = _subplots(size=(width, height))
        axis.imshow(pixels, interpolation="none")
        axis.set_xticks(centres(len(titles), wide), titles)
        axis.set_yticks(centres(len(rows), high), names)
        axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
        axis.spines[:].set_visible(False)
        _save(figure, path)


def draw_rate_distortion(path, points, chosen):
    """A point for each run, joined by a line: `points` is a list of (name, rate, distortion), ordered by rate; the one named
    `chosen` has a ring."""
    with _in_style(STYLE):
        figure, ((axis,),) = _subplots(size=(HALF, HALF * 0.85))
        names, rates, distortions = zip(*points)
        axis.plot(rates, distortions, "-o", color=TRADE_OFF, markersize=4)
        for name, rate, distortion in points:
            axis.annotate(name, (rate, distortion), xytext=(5, 5), textcoords="offset points", fontsize=8)
            if name == chosen:
                axis.plot(rate, distortion, "o", markersize=11, fillstyle="none", color=CHOSEN, label="chosen")
        axis.set(xlabel="rate: KL divergence, nats per image", ylabel="distortion: test MSE")
        axis.margins(0.15)
        axis.legend()
        _save(figure, path)


def draw_image_panels(path, panels):
    """Ready images side by side, each under its title: `panels` is a list of (title, path of a png)."""
    with _in_style(PICTURE):
        pixels = [(title, matplotlib.image.imread(source)) for title, source in panels]
        tallest = max(image.shape[0] / image.shape[1] for _, image in pixels)
        figure, axes = _subplots(1, len(pixels), size=(WIDTH, WIDTH / len(pixels) * tallest + 0.3))
        for axis, (title, image) in zip(axes[0], pixels):
            axis.imshow(image, interpolation="lanczos")
            axis.set_title(title)
            axis.set_axis_off()
        _save(figure, path)


def draw_scatter(path, points, title, classes, names, colours, markers=MARKERS, size=10, in_legend=None):
    """A t-SNE map: `points` [N, 2] and the class of each [N]; name, colour and marker of each class.

    `size` of a point in square points; `in_legend`, the marker of all classes in the legend, which by default has each one's
    own. Returns where the points are in the picture: float [N, 2], fractions of its width from the left and height from the
    top.
    """
    points = np.asarray(points)
    with _in_style(PICTURE):
        figure, ((axis,),) = _subplots(size=(HALF, HALF + 0.35))
        _scatter(axis, points, title, classes, names, colours, markers, size, in_legend)
        figure.draw_without_rendering()     # the layout is made now
        spots = axis.transData.transform(points) / figure.bbox.size
        _save(figure, path)
    return spots * (1, -1) + (0, 1)


def _scatter(axis, points, title, classes, names, colours, markers=MARKERS, size=10, in_legend=None):
    # in a mixed order, so that no class hides the others
    for part in np.array_split(np.random.default_rng(0).permutation(len(points)), 10):
        for number, (colour, marker) in enumerate(zip(colours, markers)):
            chosen = part[np.asarray(classes)[part] == number]
            axis.scatter(*points[chosen].T, s=size, linewidths=0, color=colour, marker=marker, alpha=0.9)
    for name, colour, marker in zip(names, colours, markers):
        axis.scatter([], [], s=22, linewidths=0, color=colour, label=name, marker=in_legend or marker)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(names), handletextpad=0.0, columnspacing=0.3,
                handlelength=1.2, borderpad=0)
    axis.set(title=title, xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def draw_overview(path, faces, bars, points, maps):
    """README's picture, a png alone: two grids of 32 faces, a chart of bars for each pair, one t-SNE map seen twice.

    `faces`: {title: float [32, 3, 64, 64] in [0, 1]}; `bars`: {title: [(name, accuracy or None, colour), …]}; `points`
    float [N, 2]; `maps`: two lists of what draw_scatter is given beside them, from the title on.
    """
    with _in_style(PICTURE):
        figure = matplotlib.figure.Figure((8.4, 9.6))
        top, middle, bottom = figure.subfigures(3, 1, height_ratios=(2.35, 1.75, 4.4))
        for axis, (name, images) in zip(top.subplots(1, len(faces)), faces.items()):
            axis.imshow(make_grid(images, 8, padding=1, background=1.0).permute(1, 2, 0).numpy(), interpolation="lanczos")
            axis.set_title(name)
            axis.set_axis_off()
        middle.suptitle("Accuracy on the target's test images, %", fontsize=9)
        for number, (axis, (name, rows)) in enumerate(zip(middle.subplots(1, len(bars)), bars.items())):
            for place, (_, accuracy, colour) in enumerate(rows):
                axis.barh(place, 100 * (accuracy or 0), color=colour, height=0.72)
                axis.text(100 * (accuracy or 0) + 2, place, "–" if accuracy is None else f"{100 * accuracy:.1f}", va="center",
                          fontsize=8)
            axis.set(title=name, xlim=(0, 116), ylim=(len(rows) - 0.4, -0.6), xticks=[],
                     yticks=range(len(rows)) if number == 0 else [])
            if number == 0:
                axis.set_yticklabels([name for name, *_ in rows])
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
        for axis, what in zip(bottom.subplots(1, len(maps)), maps):
            _scatter(axis, points, *what)
        with written_whole(path) as part:
            figure.savefig(part, dpi=125)
