"""Problem 1's numbers: all that its part of the report says of its runs, as plain values."""
from sklearn.metrics import silhouette_score

from common.data.layout import ATTRIBUTES, load_faces
from common.metrics.faces import measure, pairwise_diversity, sharpness, sliced_wasserstein, spread
from common.report.maps import POINTS, as_lists, embed
from common.training.augment import to_bytes
from common.training.weights import load_weights
from p1_vae.inference import sample
from p1_vae.latent import direction, probe
from p1_vae.model import VAE, decode, encode, image_mse
from p1_vae.train import evaluate, image_kl

EDITS = ("Smiling", "Mouth_Slightly_Open", "Male", "Blond_Hair", "Bangs")      # attributes that are added to faces


def measure_runs(run, others):
    """The numbers of the `run` that is shown and of `others`, FinishedRuns with other weights of the KL divergence.

    Returns a dict: "faces" in each split, "errors" (mean squared error of each of the first ten test faces), means over all
    test faces ("test_mse", "test_kl", "reconstruction_sharpness", "reconstruction_diversity"), what common.metrics.faces
    measures of "real" test faces and of "samples", "kl_weights" (of each run, most weight first), "points" of the map of
    latent means or None, "gender_silhouette" or None, "probes" and "directions" of attributes in the latent.
    """
    train, test = (load_faces(run.settings["data"], split, run.settings["limit"]) for split in ("train", "test"))
    vae = VAE()
    load_weights(run.weights, vae=vae)
    latents, logvar = encode(vae, test.images)
    reconstructions = decode(vae, latents)
    errors = image_mse(reconstructions, test.images)
    train_latents, _ = encode(vae, train.images)
    real = spread(test.images)
    numbers = {
        "faces": {"train": len(train.images), "test": len(test.images)}, "errors": errors[:10].tolist(),
        "test_mse": errors.mean().item(), "test_kl": image_kl(latents, logvar).mean().item(),
        "reconstruction_sharpness": sharpness(reconstructions), "reconstruction_diversity": pairwise_diversity(reconstructions),
        "real": measure(real, train.images), "samples": measure(to_bytes(sample(vae, len(real))), train.images),
        "points": as_lists(embed(latents[:POINTS])),
        "gender_silhouette": separation(latents[:POINTS], test.attributes[:POINTS, ATTRIBUTES.index("Male")]),
        "probes": probe(train_latents, train.attributes, latents, test.attributes),
        "directions": directions(train_latents, train.attributes)}
    chosen = {"test_mse": numbers["test_mse"], "test_kl": numbers["test_kl"], "swd": numbers["samples"]["swd"]}
    rows = {run.settings["kl_weight"]: chosen} | {
        other.settings["kl_weight"]: measure_weight(other, test.images, train.images) for other in others}
    return numbers | {"kl_weights": [{"kl_weight": weight} | rows[weight] | {"swd": rows[weight]["swd"] and
                                      rows[weight]["swd"]["mean"]} for weight in sorted(rows, reverse=True)]}


def measure_weight(run, test, train):
    """Distortion, rate and the samples' distances of one run; `test` and `train` faces uint8 [N, 3, 64, 64]."""
    vae = VAE()
    load_weights(run.weights, vae=vae)
    samples = to_bytes(sample(vae, len(spread(test))))
    return evaluate(vae, test) | {"swd": sliced_wasserstein(samples, train)}


def separation(latents, marks):
    """The silhouette of two groups of latents float [N, 256], `marks` [N] 0 or 1: 1 for two clear clusters, 0 for none.

    None where it is not defined: for fewer than 3 faces, or all of one group.
    """
    return float(silhouette_score(latents.numpy(), marks.numpy())) if len(marks) > 2 and len(marks.unique()) == 2 else None


def directions(latents, attributes):
    """For each of EDITS the `direction` as a list, None where all training faces have that attribute, or none has."""
    marks = {name: attributes[:, ATTRIBUTES.index(name)] for name in EDITS}
    return {name: direction(latents, of).tolist() if len(of.unique()) == 2 else None for name, of in marks.items()}
