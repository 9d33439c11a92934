"""Figures of the report, in one style. Every function writes one png, whole or not at all."""
import matplotlib

matplotlib.use("Agg")       # no display is needed, on any machine

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.manifold import TSNE  # noqa: E402

from common.cli import written_whole  # noqa: E402

# Paul Tol's muted scheme (https://personal.sron.nl/~pault/), told apart by colour-blind readers as well
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777")
DOMAIN_COLOURS = ("#0072B2", "#D55E00")      # Okabe & Ito's blue and vermilion
STYLE = {
    "figure.dpi": 160, "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
WIDTH = 8.0                                   # inches; the page shows figures at most this wide


def _save(figure, path):
    with written_whole(path) as part:
        figure.savefig(part)
    plt.close(figure)


def draw_curves(path, rows, panels):
    """Learning curves over the rows of a metrics.csv, side by side.

    `panels`: for each, (title, {column: legend text}); rows without a column are skipped.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.8), squeeze=False)
        for axis, (title, columns) in zip(axes[0], panels):
            for colour, (column, label) in zip((*DOMAIN_COLOURS, "#009E73"), columns.items()):
                points = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
                axis.plot(*zip(*points), color=colour, label=label, marker="o" if len(points) < 3 else None)
            axis.set(title=title, xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            if len(columns) > 1:
                axis.legend()
        _save(figure, path)


def draw_reconstructions(path, originals, reconstructions, errors):
    """Originals above their reconstructions, float [N, 3, H, W] in [0, 1], with each one's MSE below."""
    with plt.rc_context(STYLE | {"axes.grid": False}):
        count = len(originals)
        figure, axes = plt.subplots(2, count, figsize=(WIDTH, 2.25))
        for column in range(count):
            for axis, images in zip(axes[:, column], (originals, reconstructions)):
                axis.imshow(images[column].permute(1, 2, 0).numpy())
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            axes[1, column].set_xlabel(f"{errors[column]:.4f}")
        axes[0, 0].set_ylabel("test image")
        axes[1, 0].set_ylabel("reconstruction")
        _save(figure, path)


def draw_image_panels(path, panels):
    """Ready images side by side, each under its title: `panels` is a list of (title, path of a png)."""
    with plt.rc_context(STYLE | {"axes.grid": False}):
        pixels = [(title, plt.imread(source)) for title, source in panels]
        tallest = max(image.shape[0] / image.shape[1] for _, image in pixels)
        figure, axes = plt.subplots(1, len(pixels), figsize=(WIDTH, WIDTH / len(pixels) * tallest + 0.4), squeeze=False)
        for axis, (title, image) in zip(axes[0], pixels):
            axis.imshow(image, interpolation="lanczos")
            axis.set_title(title)
            axis.set_axis_off()
        _save(figure, path)


def embed(features, seed=0):
    """t-SNE (van der Maaten & Hinton 2008) of features [N, D] -> float32 [N, 2]; the same for the same seed."""
    features = np.asarray(features, dtype=np.float32)
    return TSNE(init="pca", perplexity=min(30, (len(features) - 1) / 3), random_state=seed).fit_transform(features)


def draw_scatter(path, points, panels):
    """A t-SNE map, once for each panel: (title, class of each point [N], class names, colours)."""
    with plt.rc_context(STYLE | {"axes.grid": False}):
        side = 4.4 if len(panels) == 1 else WIDTH / len(panels)
        figure, axes = plt.subplots(1, len(panels), figsize=(side * len(panels) + 0.9 * (len(panels) == 1), side + 0.3),
                                    squeeze=False)
        for axis, (title, classes, names, colours) in zip(axes[0], panels):
            classes = np.asarray(classes)
            # in a mixed order, so that no class hides the others
            order = np.random.default_rng(0).permutation(len(points))
            axis.scatter(*points[order].T, s=9, linewidths=0, alpha=0.85,
                         c=[colours[k] for k in classes[order]])
            for name, colour in zip(names, colours):
                axis.scatter([], [], s=24, color=colour, label=name)
            if len(panels) == 1:
                axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1)
            else:
                axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(3, len(names)), handletextpad=0.1,
                            columnspacing=0.8)
            axis.set(title=title, xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        _save(figure, path)
