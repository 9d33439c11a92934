"""What the VAE's latent knows of faces: linear probes for their attributes, paths between two, attributes as directions."""
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.cli import progress
from common.data.layout import ATTRIBUTES


def probe(train, train_attributes, test, test_attributes):
    """How well a linear classifier reads each attribute from latent means (Alain & Bengio 2016).

    Logistic regression on standardised latents, fitted on the training faces alone. Args: latents float [N, 256], attributes
    uint8 [N, 13]. Returns, for each of ATTRIBUTES, a dict of numbers from 0 to 1: "accuracy", "majority" (the
    accuracy of always saying what most training faces have) and "auc", the area under the ROC curve, 0.5 for
    chance; None for an attribute that all training or all test faces have, or none.
    """
    results = {}
    for name, marks, truth in zip(progress(ATTRIBUTES, "probing", "attribute"), train_attributes.T, test_attributes.T):
        if len(marks.unique()) < 2 or len(truth.unique()) < 2:
            results[name] = None
            continue
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train.numpy(), marks.numpy())
        results[name] = {
            "accuracy": float(classifier.score(test.numpy(), truth.numpy())),
            "majority": (truth == marks.mode().values).double().mean().item(),
            "auc": float(roc_auc_score(truth.numpy(), classifier.decision_function(test.numpy())))}
    return results


def interpolate(first, second, fractions):
    """Latents on the arc from `first` to `second`, each float [256], at `fractions` float [K] of the way: float [K, 256].

    Spherical (White 2016), not along the straight line: its middle would be nearer to the origin than latents of faces are,
    and so nearer to the mean face, which is smooth.
    """
    line = torch.lerp(first, second, fractions[:, None])
    lengths = torch.lerp(first.norm(), second.norm(), fractions)
    return line * (lengths / line.norm(dim=1).clamp_min(1e-8))[:, None]


def direction(latents, marks):
    """From the mean latent, of latents float [N, 256], without an attribute to that with it: float [256].

    `marks` [N], 0 or 1; both must be there.
    """
    return latents[marks == 1].mean(dim=0) - latents[marks == 0].mean(dim=0)
