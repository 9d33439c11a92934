"""The two t-SNE figures of an adapted pair, for DANN and ADDA alike: by digit class and by domain."""
import torch

from common.adaptation import NAMES
from common.data.layout import load_digits
from common.report.plots import COLOURS, DIGIT_MARKERS, DOMAIN_COLOURS, MARKERS, draw_scatter, embed
from common.training.augment import normalise, to_float

IMAGES = 500        # test images of each domain on a map


@torch.no_grad()
def features_of(settings, prepare, encoders):
    """What the encoders make of some test images of both domains of a run with these settings; arguments as of `add_maps`.

    Returns (features float [N, D], images uint8 [N, 3, 28, 28], digits, domains), the latter lists of N numbers, the source's
    domain being 0.
    """
    features, images, classes, domains = [], [], [], []
    limit = min(IMAGES, settings["limit"] or IMAGES)
    for number, role in enumerate(("source", "target")):
        digits = load_digits(settings["data"], settings[role], "test", settings["limit"])
        # spread over the split: an official order may begin with an easier half
        chosen = torch.linspace(0, len(digits.labels) - 1, min(limit, len(digits.labels))).long()
        for batch in digits.images[chosen].split(100):
            features.append(encoders[role](prepare(normalise(to_float(batch)), settings)).float())
        images.append(digits.images[chosen])
        classes += digits.labels[chosen].tolist()
        domains += [number] * len(chosen)
    return torch.cat(features), torch.cat(images), classes, domains


def add_maps(section, run, prepare, encoders):
    """Draw both maps of a run's pair into a report section.

    `prepare`: a function of digits float [N, 3, 28, 28] in [-1, 1] and the run's settings that returns what the encoders
    see; `encoders`: for "source" and "target", a network from that to features [N, D].
    """
    settings = run.settings
    names = {role: NAMES[settings[role]] for role in ("source", "target")}
    features, images, classes, domains = features_of(settings, prepare, encoders)
    points = embed(features)
    if points is None:
        section.text(f"{names['source']} → {names['target']}: no map, for no two of the test images ({len(domains)}) have "
                     "different features.")
        return
    labels = [f"{names[('source', 'target')[domain]]}, {digit}" for digit, domain in zip(classes, domains)]
    pair, file = f"{names['source']} → {names['target']}", f"{settings['source']}-{settings['target']}"
    for kind, title, what, panel in (
            ("class", "digit", f"{pair}, features of {len(domains)} test images of both domains, each drawn as its digit. "
             "Features that adapted well form a group for each digit; a digit in another's group is likely to be mistaken for "
             "it.",
             (classes, range(10), COLOURS, DIGIT_MARKERS)),
            ("domain", "domain", f"{pair}, the same map by domain. Where both colours mix, the features do not tell source "
             "from target; an island of one colour has not been adapted.",
             (domains, (f"{names['source']} (source)", f"{names['target']} (target)"), DOMAIN_COLOURS, MARKERS))):
        path = section.figure(f"{file}_{kind}", what, half=True)
        section.show_images(f"{file}_test", draw_scatter(path, points, f"{pair}: {title}", *panel), images, labels)
