"""No label of the target is read, by any method or bound but the upper one: others there give the same weights."""
import shutil

import pytest

from tests import tiny
from tests.conftest import assert_same_weights, call_training

# with all that preset tuned has: pseudo-labels, changed images, the discriminator that sees predictions
SHORT = ("--preset", "tuned", "--epochs", 2, "--source-epochs", 1, "--steps-per-epoch", 3, "--batch-size", 4,
         "--pseudo-confidence", 0.1)
TRAININGS = {
    "source": ("p3_dann", *SHORT, "--mode", "source", "--image-size", 4),
    "dann": ("p3_dann", *SHORT, "--mode", "dann", "--image-size", 4),
    "target": ("p3_dann", *SHORT, "--mode", "target", "--image-size", 4),
    "adda": ("p4_adda", *SHORT),
}


@pytest.fixture(scope="module")
def relabelled(tiny_data, tmp_path_factory):
    """tiny_data, whose target (MNIST-M) has other labels."""
    root = tmp_path_factory.mktemp("relabelled") / "data"
    shutil.copytree(tiny_data, root)
    for split in ("train", "test"):
        path = tiny.place(root, "mnistm", split).with_suffix(".csv")
        header, *rows = tiny.read_rows(path)
        tiny.write_rows(path, [header, *([name, (3 * int(label) + 1) % 10] for name, label in rows)])
    return root


@pytest.mark.parametrize("kind", TRAININGS)
def test_other_labels_of_the_target_change_nothing_but_the_upper_bound(kind, tiny_data, relabelled, tmp_path, monkeypatch):
    problem, *flags = TRAININGS[kind]
    one, other = (call_training(monkeypatch, data, problem, tmp_path / name, *flags)
                  for name, data in (("one", tiny_data), ("other", relabelled)))
    if kind == "target":
        with pytest.raises(AssertionError):
            assert_same_weights(one, other)
    else:
        assert_same_weights(one, other)
        # what settings are chosen by
        assert (one / "target_train.csv").read_bytes() == (other / "target_train.csv").read_bytes()
