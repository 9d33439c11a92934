"""From end to end with known answers: networks that read a digit off the colour of an image, and images of these colours.

What a grader runs, and the numbers that a run says of itself.
"""
import csv
import functools
import json
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import hw_eval
import p1_vae.inference
import p2_dcgan.inference
import p3_dann.inference
import p4_adda.inference
from common.cli import UserError
from common.data.csv_files import read_labels
from common.data.images import stream_images
from common.training.weights import save_weights
from p1_vae.model import VAE
from p1_vae.train import evaluate
from p2_dcgan.model import Generator
from p3_dann.model import Classifier, FeatureExtractor
from p4_adda.model import LeNetClassifier, LeNetEncoder2
from tests import tiny
from tests.conftest import call_training, modules
from tests.recorder import Recorder

# the digit's colour: ten hues, 30 degrees apart
COLOURS = ((255, 0, 0), (255, 128, 0), (255, 255, 0), (128, 255, 0), (0, 255, 0), (0, 255, 128), (0, 255, 255), (0, 128, 255),
           (0, 0, 255), (128, 0, 255))
SHARPNESS = 3.0         # of the networks' answers


def plain(digit, size=28):
    return Image.new("RGB", (size, size), COLOURS[digit])


def prototypes(standardised):
    """What the networks receive of each digit's image, the same everywhere in it: float [10, 3]."""
    images = torch.tensor(COLOURS).view(10, 3, 1, 1).expand(10, 3, 28, 28) / 255
    return tiny.as_seen(images, standardised=standardised).mean(dim=(2, 3))


@torch.no_grad()
def colour_network(encoder, classifier, standardised=False, order=(0, 1, 2)):
    """Set the weights of the modules: the encoder passes on the colour, of channels in that `order`, as what of each is above
    zero and what is below; the classifier's answer is the digit with the nearest colour."""
    for module in (encoder, classifier):
        for name, tensor in module.state_dict().items():
            tensor.fill_(1 if name.endswith("running_var") else 0)
    first = True
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.fill_(1)
        elif isinstance(layer, torch.nn.Conv2d):
            middle = layer.weight[:, :, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2]
            if first:
                for channel, colour in enumerate(order):
                    middle[2 * channel, colour], middle[2 * channel + 1, colour] = 1, -1
                first = False
            else:
                middle[:6, :6] = torch.eye(6)
    hidden, last = (classifier.linear1, classifier.linear2) if isinstance(classifier, Classifier) else (
        encoder.fc1, classifier.fc2)
    places = hidden.in_features // (512 if hidden.in_features == 512 else 50)       # of a map, over which this takes the mean
    for k in range(6):
        hidden.weight[k, k * places:(k + 1) * places] = 1 / places
    colours = SHARPNESS * prototypes(standardised)
    last.weight[:, 0:6:2], last.weight[:, 1:6:2] = colours, -colours
    last.bias.copy_(-(colours ** 2).sum(dim=1) / SHARPNESS / 2)
    return encoder, classifier


def answers(digits, standardised=False):
    """The logits of such a network for images of these digits' colours."""
    colours = prototypes(standardised)
    return SHARPNESS * (colours[digits] @ colours.T - (colours ** 2).sum(dim=1) / 2)


PROBLEMS = {"p3": (p3_dann.inference, FeatureExtractor, Classifier), "p4": (p4_adda.inference, LeNetEncoder2, LeNetClassifier)}


def save_colour_network(path, problem, target, standardised, shift=0):
    """The weights of a run whose network gives a colour the digit that is `shift` higher; p4's source encoder is no use."""
    _, encoder, classifier = PROBLEMS[problem]
    encoder, classifier = colour_network(encoder(), classifier(), standardised)
    last = list(classifier.parameters())[-2:]
    for parameter in last:
        parameter.data = parameter.data.roll(shift, 0)
    meta = {"target": target, "standardise": standardised, "image_size": 10}
    encoders = {"extractor": encoder} if problem == "p3" else {"source_encoder": LeNetEncoder2(), "target_encoder": encoder}
    save_weights(path, meta, classifier=classifier, **encoders)


def run(monkeypatch, module, *words):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()


@pytest.fixture
def scrambled(tmp_path):
    """A folder of 150 images, and the digit of each by name: of odd names, sizes, modes and kinds, made in no order."""
    random = np.random.default_rng(1)
    names = ["10.png", "9.png", "A b.png", "c,d.bmp", 'say "7".png', "é.BMP", "-h.png", "00001.jpeg", "x.jpg", "Z.PNG",
             *(f"{number}.png" for number in random.permutation(10 ** 6)[:140])]
    folder = tmp_path / "some images"
    folder.mkdir()
    truth = {}
    for number in random.permutation(len(names)):
        name, digit = names[number], int(random.integers(10))
        image = plain(digit).resize([(28, 28), (28, 28), (5, 9), (61, 40)][number % 4])
        if name.endswith("png"):
            image = image.convert(["RGB", "RGBA", "P"][number % 3], palette=Image.Palette.ADAPTIVE)
        image.save(folder / name)
        truth[name] = digit
    return folder, truth


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("standardised", [False, True], ids=["as it is", "standardised"])
def test_each_image_gets_its_own_label(problem, standardised, scrambled, tmp_path, monkeypatch, capsys):
    folder, truth = scrambled
    save_colour_network(tmp_path / "weights.pt", problem, "svhn", standardised)
    with Recorder() as tape:
        run(monkeypatch, PROBLEMS[problem][0], folder, "svhn", tmp_path / "pred.csv", "--weights", tmp_path / "weights.pt",
            "--device", "cpu")
    header, *rows = tiny.read_rows(tmp_path / "pred.csv")
    assert header == ["image_name", "label"] and [name for name, _ in rows] == sorted(truth)
    assert {name: int(label) for name, label in rows} == truth
    seen = torch.cat([call.inputs for call in tape.calls if call.name in ("FeatureExtractor", "LeNetEncoder2")])
    assert seen.shape == (150, 3, *([10, 10] if problem == "p3" else [28, 28])) and seen.dtype == torch.float32
    expected = prototypes(standardised)[[truth[name] for name in sorted(truth)]]
    assert (seen - expected[:, :, None, None]).abs().max() < 0.05, "a jpg's colours are nearly right"

    # hw_eval.py counts what is right, whatever the order of the rows
    wrong = [next(name for name in truth if truth[name] == digit) for digit in range(10)]
    tiny.write_rows(tmp_path / "truth.csv", [("image_name", "label"), *(
        (name, (digit + 1) % 10 if name in wrong else digit) for name, digit in list(truth.items())[:148])])
    capsys.readouterr()
    run(monkeypatch, hw_eval, tmp_path / "pred.csv", tmp_path / "truth.csv")
    assert capsys.readouterr().out == "Accuracy: 138/148 (93.24%)\n"


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_network_receives_the_pixels_in_their_places(problem, tiny_data, tmp_path, monkeypatch):
    save_colour_network(tmp_path / "weights.pt", problem, "mnistm", True)
    with Recorder() as tape:
        run(monkeypatch, PROBLEMS[problem][0], tiny.place(tiny_data, "mnistm", "test"), "mnistm", tmp_path / "pred.csv",
            "--weights", tmp_path / "weights.pt", "--device", "cpu")
    images, _, names = tiny.read(tiny_data, "mnistm", "test")
    seen = torch.cat([call.inputs for call in tape.calls if call.name in ("FeatureExtractor", "LeNetEncoder2")])
    order = tiny.which(seen, tiny.as_seen(images, 10 if problem == "p3" else 28, True))
    assert [names[number] for number in order] == sorted(names)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_weights_are_those_of_the_pair_that_ends_in_the_target(problem, tmp_path, monkeypatch):
    """Pairs as in the report: USPS to MNIST-M, MNIST-M to SVHN, SVHN to USPS."""
    module = PROBLEMS[problem][0]
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    (tmp_path / "images").mkdir()
    plain(2).save(tmp_path / "images" / "image.png")
    pairs = ("usps-mnistm", "mnistm-svhn", "svhn-usps")
    for shift, pair in enumerate(pairs):
        save_colour_network(tmp_path / f"{pair}.pt", problem, pair.split("-")[1], True, shift)
    for shift, pair in enumerate(pairs):
        run(monkeypatch, module, tmp_path / "images", pair.split("-")[1], tmp_path / "pred.csv", "--device", "cpu")
        assert tiny.read_rows(tmp_path / "pred.csv") == [["image_name", "label"], ["image.png", str(2 + shift)]]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_weights_of_another_target_are_refused(problem, tmp_path, monkeypatch):
    save_colour_network(tmp_path / "weights.pt", problem, "svhn", True)
    (tmp_path / "images").mkdir()
    plain(2).save(tmp_path / "images" / "image.png")
    with pytest.raises(UserError, match="was trained for target svhn, not usps"):
        run(monkeypatch, PROBLEMS[problem][0], tmp_path / "images", "usps", tmp_path / "pred.csv", "--weights",
            tmp_path / "weights.pt", "--device", "cpu")
    assert not (tmp_path / "pred.csv").exists()


FORMS = {
    "plain": b"image_name,label\n1.png,3\na b.png,0\n\xc3\xa9.png,9\n",
    "semicolons": b"image_name;label\n1.png;3\na b.png;0\n\xc3\xa9.png;9\n",
    "tabs": b"image_name\tlabel\n1.png\t3\na b.png\t0\n\xc3\xa9.png\t9\n",
    "a mark and CRLF": b"\xef\xbb\xbfimage_name,label\r\n1.png,3.0\r\na b.png,0\r\n\xc3\xa9.png,9\r\n",
    "a line that says how": b"sep=|\nimage_name|label\n1.png|3\na b.png|0\n\xc3\xa9.png|9\n",
    "other columns first": b"label,sure,image_name\n3,7,1.png\n0,8,a b.png\n9,6,\xc3\xa9.png\n",
    "no header": b"1.png,3\na b.png,0\n\xc3\xa9.png,9\n",
    "no header, semicolons": b"1.png;3\na b.png;0\n\xc3\xa9.png;9\n",
    "UTF-16": "image_name\tlabel\n1.png\t3\na b.png\t0\né.png\t9\n".encode("utf-16"),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_a_csv_of_any_form(form, tmp_path):
    (tmp_path / "labels.csv").write_bytes(FORMS[form])
    assert read_labels(tmp_path / "labels.csv") == {"1.png": 3, "a b.png": 0, "é.png": 9}


# ---- what a run says of itself ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def coloured(tiny_data, tmp_path_factory):
    """A dataset of plain colours of the digits 0 to 5 in which a network that knows them has 7 of 11 target and 5 of 9 source
    test images right, and one that takes each for the digit 4 higher (its channels are in another order) 3 of 11 and 4 of 9.

    Returns its folder, and the digits whose colours the target's training images have.
    """
    root = tmp_path_factory.mktemp("coloured") / "data"
    random = np.random.default_rng(2)
    colours = {}
    for domain, split, count, own, higher in (("usps", "train", 12, 12, 0), ("usps", "test", 9, 5, 4),
                                              ("mnistm", "train", 8, 2, 6), ("mnistm", "test", 11, 7, 3)):
        folder = tiny.place(root, domain, split)
        folder.mkdir(parents=True)
        digits = [int(digit) for digit in random.integers(0, 6, count)]
        rows = []
        for number, digit in enumerate(digits):
            plain(digit).save(folder / f"{number:05d}.png")
            # the last is labelled as neither
            rows.append([f"{number:05d}.png", digit + (0 if number < own else 4 if number < own + higher else 1)])
        tiny.write_rows(folder.with_suffix(".csv"), [("image_name", "label"), *(rows[i] for i in random.permutation(count))])
        colours[domain, split] = digits
    return root, colours["mnistm", "train"]


def finish_with(monkeypatch, data, problem, folder, parts, *flags):
    """The summary of a run that was stopped after its last epoch, when it had these `parts`, {name: module}."""
    call_training(monkeypatch, data, problem, folder, "--preset", "report", "--precision", "float32", "--batch-size", 4,
                  "--epochs", 1, *flags)
    (folder / "summary.json").unlink()
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    for name, module in parts.items():
        assert state["parts"][name].keys() == module.state_dict().keys()
        state["parts"][name] = module.state_dict()
    torch.save(state, folder / "checkpoint.pt")
    monkeypatch.setattr(sys, "argv", [problem, "--data", str(data), "--run", str(folder), "--resume", *map(str, flags)])
    sys.modules[f"{problem}.train"].main()
    return json.loads((folder / "summary.json").read_text())


def check_labels_of_target_train(folder, digits, entropy):
    assert tiny.read_rows(folder / "target_train.csv")[0] == ["image_name", "label"]
    found = {name: int(label) for name, label in tiny.read_rows(folder / "target_train.csv")[1:]}
    assert found == {f"{number:05d}.png": digit for number, digit in enumerate(digits)}
    shares = answers(digits).double().softmax(dim=1)
    assert entropy == pytest.approx(-(shares * shares.log()).sum(dim=1).mean().item(), rel=1e-3)
    assert 0.05 < entropy < 2


@pytest.mark.parametrize("mode, train_images", [("source", 12), ("dann", 12), ("target", 8)])
def test_accuracies_of_dann(mode, train_images, coloured, tmp_path, monkeypatch):
    data, digits = coloured
    extractor, classifier = colour_network(FeatureExtractor(), Classifier())
    summary = finish_with(monkeypatch, data, "p3_dann", tmp_path / "run", {"extractor": extractor, "classifier": classifier},
                          "--mode", mode, "--image-size", 4, "--source", "usps", "--target", "mnistm")
    assert summary["target_accuracy"] == pytest.approx(7 / 11) and summary["source_accuracy"] == pytest.approx(5 / 9)
    assert (summary["target_test_images"], summary["train_images"]) == (11, train_images)
    assert summary["target_absent_digits"] == sorted(set(range(10)) - set(tiny.read(data, "mnistm", "test")[1].tolist()))
    check_labels_of_target_train(tmp_path / "run", digits, summary["target_entropy"])
    assert all(torch.equal(tensor, classifier.state_dict()[name])
               for name, tensor in modules(tmp_path / "run")["classifier"].items())


def test_accuracies_of_adda(coloured, tmp_path, monkeypatch):
    data, digits = coloured
    source_encoder, classifier = colour_network(LeNetEncoder2(), LeNetClassifier(), order=(2, 0, 1))
    target_encoder, _ = colour_network(LeNetEncoder2(), LeNetClassifier())
    summary = finish_with(
        monkeypatch, data, "p4_adda", tmp_path / "run", {"source_encoder": source_encoder, "target_encoder": target_encoder,
                                                         "classifier": classifier},
        "--source-epochs", 1, "--source", "usps", "--target", "mnistm")
    assert summary["target_accuracy"] == pytest.approx(7 / 11) and summary["source_only_accuracy"] == pytest.approx(3 / 11)
    assert summary["source_accuracy"] == pytest.approx(4 / 9), "of the source encoder"
    assert (summary["target_test_images"], summary["train_images"]) == (11, 12)
    check_labels_of_target_train(tmp_path / "run", digits, summary["target_entropy"])


# ---- faces -----------------------------------------------------------------------------------------------------------

def kl_divergence(mu, logvar):
    normal = torch.distributions.Normal
    return torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), normal(0.0, 1.0)).sum(dim=1)


@torch.no_grad()
def test_error_and_divergence_of_the_vae(tiny_data, tmp_path, monkeypatch):
    with torch.enable_grad():
        folder = call_training(monkeypatch, tiny_data, "p1_vae", tmp_path / "run", "--epochs", 1, "--lr", 0.01)
    summary = json.loads((folder / "summary.json").read_text())
    vae = VAE().eval()
    vae.load_state_dict(modules(folder)["vae"])
    faces, _, _ = tiny.read(tiny_data, "face", "test")
    mu, logvar = vae.encoder(faces)
    assert summary["test_mse"] == pytest.approx((vae.decoder(mu) - faces).square().mean().item(), rel=1e-4)
    assert summary["test_kl"] == pytest.approx(kl_divergence(mu, logvar).mean().item(), rel=1e-4)
    assert (summary["test_images"], summary["train_images"]) == (6, 8)


class Dimmer(torch.nn.Module):
    """A VAE whose latent is the image itself, with a variance of 1, and whose reconstructions are half as bright."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def encoder(self, images):
        return images.flatten(1), 0 * images.flatten(1)

    def decoder(self, latents):
        return self.factor * latents.view(-1, 3, 4, 4)


def test_a_measure_over_many_faces_is_that_of_all():
    faces = torch.randint(0, 256, (300, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    energy = (faces.double() / 255).square()
    assert evaluate(Dimmer(), faces) == pytest.approx(
        {"test_mse": energy.mean().item() / 4, "test_kl": energy.sum(dim=(1, 2, 3)).mean().item() / 2}, rel=1e-4)


def sharpness_and_diversity(images):
    """By NumPy, of images [N, 3, H, W] in [0, 1]."""
    images = images.double().numpy()
    gray = images.mean(axis=1)
    laplacian = (gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:] - 4 * gray[:, 1:-1, 1:-1])
    pairs = [np.sqrt(np.mean((one - other) ** 2)) for i, one in enumerate(images) for other in images[:i]]
    return laplacian.var(axis=(1, 2), ddof=1).mean(), np.mean(pairs)


@torch.no_grad()
def test_sharpness_and_diversity_of_the_gan(tiny_data, tmp_path, monkeypatch):
    with torch.enable_grad():
        folder = call_training(monkeypatch, tiny_data, "p2_dcgan", tmp_path / "run", "--epochs", 1, "--seed", 3)
    summary = json.loads((folder / "summary.json").read_text())
    generator = Generator().eval()
    generator.load_state_dict(modules(folder)["generator"])
    noise = torch.rand(32, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    for prefix, images in (("", (generator(noise[:6]) + 1) / 2), ("real_", tiny.read(tiny_data, "face", "test")[0])):
        sharpness, diversity = sharpness_and_diversity(images)
        assert summary[f"{prefix}sharpness"] == pytest.approx(sharpness, rel=1e-3)
        assert summary[f"{prefix}diversity"] == pytest.approx(diversity, rel=1e-3)
    assert summary["train_images"] == 8


def faces_of(path):
    """The 32 faces of a grader's picture, in reading order: float [32, 3, 64, 64] in [0, 1]."""
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255
    return torch.stack([pixels[:, top:top + 64, left:left + 64] for top in range(2, 266, 66) for left in range(2, 530, 66)])


@torch.no_grad()
@pytest.mark.parametrize("noise", ["vae", "uniform", "gaussian"])
def test_the_pictures_faces_are_decoded_from_its_own_noise(noise, tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = VAE() if noise == "vae" else Generator()
    for parameter in network.parameters():      # livelier than an untrained one, so that no two faces are alike
        parameter.mul_(3)
    if noise == "vae":
        save_weights(tmp_path / "weights.pt", {}, vae=network)
    else:
        save_weights(tmp_path / "weights.pt", {"noise": noise}, generator=network)
    run(monkeypatch, p1_vae.inference if noise == "vae" else p2_dcgan.inference, tmp_path / "out.png", "--weights",
        tmp_path / "weights.pt")
    seeded = torch.Generator().manual_seed(0)
    network.eval()
    if noise == "vae":
        expected = network.decoder(torch.randn(32, 256, generator=seeded))
    elif noise == "gaussian":
        expected = (network(torch.randn(32, 64, generator=seeded)) + 1) / 2
    else:
        expected = (network(torch.rand(32, 64, generator=seeded) * 2 - 1) + 1) / 2
    assert expected.std(dim=0).mean() > 0.02, "the faces differ"
    assert (faces_of(tmp_path / "out.png") - expected).abs().max() < 0.01


@torch.no_grad()
def test_each_reconstruction_has_its_own_name_and_error(tiny_data, tmp_path, monkeypatch):
    torch.manual_seed(0)
    vae = VAE().eval()
    for parameter in vae.parameters():
        parameter.mul_(3)
    save_weights(tmp_path / "weights.pt", {}, vae=vae)
    # as if there were more than fit into memory at once
    monkeypatch.setattr(p1_vae.inference, "stream_images", functools.partial(stream_images, block=4))
    run(monkeypatch, p1_vae.inference, "--reconstruct", tiny.place(tiny_data, "face", "test"), tmp_path / "out", "--weights",
        tmp_path / "weights.pt")
    faces, _, names = tiny.read(tiny_data, "face", "test")
    reconstructions = vae.decoder(vae.encoder(faces)[0])
    errors = (reconstructions - faces).square().mean(dim=(1, 2, 3))
    with open(tmp_path / "out" / "mse.csv", newline="") as file:
        found = {row["image_name"]: float(row["mse"]) for row in csv.DictReader(file)}
    assert list(found) == [*sorted(names), "mean"]
    assert found.pop("mean") == pytest.approx(errors.mean().item(), abs=1e-5)
    for name, error, expected in zip(names, errors, reconstructions):
        assert found[name] == pytest.approx(error.item(), abs=1e-5)
        pixels = np.asarray(Image.open(tmp_path / "out" / name)).transpose(2, 0, 1) / 255
        assert np.abs(pixels - expected.numpy()).max() < 0.51 / 255, "rounded to the nearest of 256 levels"
    assert len(set(found.values())) == len(found) and not math.isnan(errors.sum())
