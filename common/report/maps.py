"""Maps of features by t-SNE: how many points; the two of an adapted pair, for DANN and ADDA alike."""
import numpy as np
import torch

from common.adaptation import NAMES
from common.data.layout import load_digits
from common.report.numbers import kept_numbers
from common.report.plots import DIGIT_COLOURS, DIGIT_MARKERS, DOMAIN_COLOURS, draw_scatter
from common.report.words import shared
from common.training.augment import normalise, to_float

POINTS = 1000       # of a map, at most; digits are half of one domain, half of the other


def embed(features, seed=0):
    """t-SNE (van der Maaten & Hinton 2008) of features [N, D] -> float32 [N, 2]; the same for the same seed.

    None where there is nothing to map: one point, or points that are all at one place, which would crash scikit-learn.
    """
    from sklearn.manifold import TSNE  # slow, and a map that was made before needs it no more

    features = np.asarray(features, dtype=np.float32)
    if not features.var(axis=0).sum() > 0:
        return None
    return TSNE(init="pca", perplexity=min(30, (len(features) - 1) / 3), random_state=seed).fit_transform(features)


def as_lists(points):
    """What `embed` returned as lists for json, None for None."""
    return None if points is None else points.tolist()


def choose_digits(settings, role):
    """Of the test images of a run's "source" or "target", as Digits has them: those that are on its maps, and their labels."""
    digits = load_digits(settings["data"], settings[role], "test", settings["limit"])
    count = min(POINTS // 2, settings["limit"] or POINTS, len(digits.labels))
    # spread over the split: an official order may begin with an easier half
    chosen = torch.linspace(0, len(digits.labels) - 1, count).long()
    return digits.images[chosen], digits.labels[chosen].tolist()


@torch.no_grad()
def measure_map(settings, prepare, encoders):
    """The numbers of a pair's map, as plain values: {"points": where t-SNE puts each image, or None}. Args as of add_maps."""
    features = [encoders[role](prepare(normalise(to_float(batch)), settings)).float()
                for role in ("source", "target") for batch in choose_digits(settings, role)[0].split(100)]
    return {"points": as_lists(embed(torch.cat(features)))}


def add_maps(section, run, prepare, encoders):
    """Draw both maps of a run's pair into a report section.

    `prepare`: a function of digits float [N, 3, 28, 28] in [-1, 1] and the run's settings that returns what the encoders
    see; `encoders`: for "source" and "target", a network from that to features [N, D].
    """
    settings = run.settings
    file = f"{settings['source']}-{settings['target']}"
    points = kept_numbers(section, [run], lambda: measure_map(settings, prepare, encoders), f"_{file}")["points"]
    source, target = (NAMES[settings[role]] for role in ("source", "target"))
    pair = f"{source} → {target}"
    (source_images, source_digits), (target_images, target_digits) = (choose_digits(settings, r) for r in ("source", "target"))
    digits, domains = source_digits + target_digits, [0] * len(source_digits) + [1] * len(target_digits)
    if points is None:
        section.text(shared("no_map", pair=pair, images=len(domains)))
        return
    images = torch.cat([source_images, target_images])
    labels = [f"{(source, target)[domain]}, {digit}" for digit, domain in zip(digits, domains)]

    path = section.figure(f"{file}_class", shared("map_class", pair=pair, images=len(domains)), half=True)
    spots = draw_scatter(path, points, f"{pair}: digit", digits, range(10), DIGIT_COLOURS, DIGIT_MARKERS, size=22,
                         in_legend="o")
    section.show_images(f"{file}_test", spots, images, labels)
    path = section.figure(f"{file}_domain", shared("map_domain", pair=pair), half=True)
    spots = draw_scatter(path, points, f"{pair}: domain", domains, (f"{source} (source)", f"{target} (target)"), DOMAIN_COLOURS)
    section.show_images(f"{file}_test", spots, images, labels)
