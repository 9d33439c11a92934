"""Problem 2's numbers: what its part of the report says of faces, as plain values."""
from common.data.layout import load_faces
from common.metrics.faces import measure, spread
from common.training.augment import to_bytes
from p2_dcgan.inference import sample_weights


def measure_runs(runs):
    """`runs`: {noise: FinishedRun, whose seeds are all measured}, all of the same data.

    Returns a dict: "faces" in each split, and what common.metrics.faces measures of "real" test faces and of as many samples,
    {noise: a list, one for each seed}.
    """
    settings = next(iter(runs.values())).settings
    train, test = (load_faces(settings["data"], split, settings["limit"]).images for split in ("train", "test"))
    real = spread(test)
    return {"faces": {"train": len(train), "test": len(test)}, "real": measure(real, train)} | {
        noise: [measure(to_bytes(sample_weights(seed.weights, len(real))), train) for seed in run.seeds]
        for noise, run in runs.items()}
