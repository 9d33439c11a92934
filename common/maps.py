"""The two t-SNE figures of an adapted pair, for DANN and ADDA alike: by digit class and by domain."""
import torch

from common.augment import normalise, to_float
from common.data import load_digits
from common.plots import COLOURS, DOMAIN_COLOURS, draw_scatter, embed
from common.uda import NAMES

IMAGES = 500        # test images of each domain on a map


@torch.no_grad()
def add_maps(section, run, encoders):
    """Draw both maps of a run's pair into a report section.

    `encoders`: for "source" and "target", a function from float [N, 3, 28, 28] in [-1, 1] to features [N, D].
    """
    settings = run.settings
    features, classes, domains = [], [], []
    limit = min(IMAGES, settings["limit"] or IMAGES)
    for number, role in enumerate(("source", "target")):
        digits = load_digits(settings["data"], settings[role], "test")
        # spread over the split: an official order may begin with an easier half
        chosen = torch.linspace(0, len(digits.labels) - 1, min(limit, len(digits.labels))).long()
        for batch in digits.images[chosen].split(100):
            features.append(encoders[role](normalise(to_float(batch))).float())
        classes.append(digits.labels[chosen])
        domains += [number] * len(chosen)
    points = embed(torch.cat(features))
    source, target = NAMES[settings["source"]], NAMES[settings["target"]]
    pair = f"{settings['source']}-{settings['target']}"
    about = f"t-SNE of the features of {len(domains)} test images, half from each domain"
    draw_scatter(section.figure(f"{pair}_class", f"{source} → {target}, {about}, coloured by digit."), points,
                 [(f"{source} → {target}: digit", torch.cat(classes).numpy(), [str(k) for k in range(10)], COLOURS)])
    draw_scatter(section.figure(f"{pair}_domain", f"{source} → {target}, the same map, coloured by domain."), points,
                 [(f"{source} → {target}: domain", domains, (f"{source} (source)", f"{target} (target)"), DOMAIN_COLOURS)])
