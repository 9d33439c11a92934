"""Each step of each training against the same step written a second time, in benchmarks/reference_loops.py.

From the same weights, images and random numbers both have the same losses and gradients. What the usual loops lack is worked
out here by PyTorch's own functions. The images that a network is shown are known ones (tests/tiny.py), hence their labels too.
"""
import math

import pytest
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_avg_fn

from benchmarks.reference_loops import adda_step, dann_step, dcgan_step, vae_step
from common import adaptation
from common.training.augment import recolour, translate
from p1_vae.model import VAE
from p2_dcgan.model import Discriminator, Generator
from p3_dann.model import Classifier, FeatureExtractor
from p3_dann.model import Discriminator as DomainDiscriminator
from p4_adda.model import Discriminator as EncoderDiscriminator
from p4_adda.model import LeNetClassifier, LeNetEncoder2
from tests import tiny
from tests.conftest import call_training, modules
from tests.recorder import Given, Recorder, assert_adam, assert_same_gradients, metrics, weights_of

PRESETS = ("report", "tuned", "sample")
CLOSE = dict(rel=1e-4, abs=1e-6)


@pytest.fixture
def recorded(monkeypatch, tiny_data, tmp_path):
    """recorded("p1_vae", flag, …): a training on tiny_data and all that a Recorder keeps of it; its `folder` and `rows`."""
    def call(problem, *flags):
        with Recorder() as tape:
            tape.folder = call_training(monkeypatch, tiny_data, problem, tmp_path / str(len(list(tmp_path.iterdir()))),
                                        "--precision", "float32", "--batch-size", 4, *flags)
        tape.rows = metrics(tape.folder)
        return tape
    return call


def means(rows):
    """The mean of each of the losses of an epoch's steps."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def named(names, losses):
    return {name: loss.item() for name, loss in zip(names, losses, strict=True)}


def assert_row(row, losses):
    """That a row of metrics.csv has the means of these steps' losses."""
    assert {name: row[name] for name in losses[0]} == pytest.approx(means(losses), **CLOSE)


def epochs_of(items, count):
    size = len(items) // count
    return [items[start:start + size] for start in range(0, len(items), size)]


def assert_shuffled(orders, count):
    """`orders`: for each epoch, the numbers of its images, of which there are `count`."""
    for order in orders:
        assert None not in order, "each image is one of the training images"
        for start in range(0, len(order), count):
            assert len(set(order[start:start + count])) == len(order[start:start + count]), "none twice before all were there"
        assert order != sorted(order), "not as they lie in the folder"
    assert all(one != other for one, other in zip(orders, orders[1:])), "another order in each epoch"


# ---- problem 1 and 2: faces ------------------------------------------------------------------------------------------

def which_face(seen, faces, horizontal, vertical):
    """As tiny.which; the faces may be mirrored and upside down where these say so, and some of them are."""
    forms = [dims for dims, allowed in (((), True), ((3,), horizontal), ((2,), vertical), ((2, 3), horizontal and vertical))
             if allowed]
    found = [tiny.which(seen, faces.flip(dims)) for dims in forms]
    for dims, numbers in zip(forms, found):
        assert any(number is not None for number in numbers), f"no face is turned by {dims}"
    return [next((number for number in numbers if number is not None), None) for numbers in zip(*found)]


FLIPS = [(True, True), (True, False), (False, True), (False, False)]


def flip_flags(horizontal, vertical):
    return [f"--{'' if on else 'no-'}{name}-flip" for name, on in (("horizontal", horizontal), ("vertical", vertical))]


@pytest.mark.parametrize("preset, flips", list(zip(PRESETS, FLIPS)))
def test_vae(recorded, tiny_data, preset, flips):
    tape = recorded("p1_vae", "--preset", preset, "--epochs", 3 if preset == "report" else 2, "--lr", 0.01, "--lr-step", 1,
                    "--lr-decay", 0.5, *flip_flags(*flips), *([] if preset != "report" else ["--kl-weight", 1.5]))
    weight = {"report": 1.5, "tuned": 0.4, "sample": 0.25}[preset]
    faces, _, _ = tiny.read(tiny_data, "face", "train")
    losses = []
    for step in tape.steps:
        call, = step.of("VAE")
        vae = step.load("VAE", VAE())
        optimizer = Given(step, {"VAE": vae})
        torch.set_rng_state(call.random)
        losses.append(named(("reconstruction", "kl"), vae_step(vae, optimizer, call.inputs, weight)))
        assert_same_gradients(step.gradients, optimizer.gradients)
    epochs = len(tape.rows)
    assert_adam(tape.steps, [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025][:2 * epochs])
    for row, steps in zip(tape.rows, epochs_of(losses, epochs), strict=True):
        assert_row(row, steps)
    shown = which_face(torch.cat([step.of("VAE")[0].inputs for step in tape.steps]), faces, *flips)
    assert_shuffled(epochs_of(shown, epochs), len(faces))


# ---- problem 2 -------------------------------------------------------------------------------------------------------

DCGAN = {
    "report": ("--preset", "report", "--brightness-contrast", 0, "--no-vertical-flip"),
    "tuned": ("--preset", "tuned"),
    "colour": ("--preset", "sample", "--noise", "gaussian", "--diff-augment", "colour", "--ema-decay", 0.8, "--beta1", 0.3),
}
SHOWN = {"report": lambda images: images, "tuned": translate, "colour": lambda images: translate(recolour(images))}


@pytest.mark.parametrize("kind", DCGAN)
def test_dcgan(recorded, tiny_data, kind):
    tape = recorded("p2_dcgan", *DCGAN[kind], "--epochs", 2, "--generator-lr", 0.0002, "--discriminator-lr", 0.0001,
                    "--lr-step", 1, "--lr-decay", 0.5, "--limit", 6, "--batch-size", 3)
    by_discriminator, by_generator = tape.steps[::2], tape.steps[1::2]
    faces = 2 * tiny.read(tiny_data, "face", "train")[0][:6] - 1
    losses, faces = [], torch.cat([faces, faces.flip(3)])
    for step, next_step in zip(by_discriminator, by_generator, strict=True):
        (noise,), (real, fake) = step.of("Generator"), step.of("Discriminator")
        generator, discriminator = step.load("Generator", Generator()), step.load("Discriminator", Discriminator())
        of_discriminator = Given(step, {"Discriminator": discriminator})
        of_generator = Given(next_step, {"Generator": generator})

        def changed(images, random, change=SHOWN[kind]):
            torch.set_rng_state(random)
            return change(images)
        # each real face was changed before the discriminator saw it; generated ones are so in both steps, the second time anew
        shown = torch.stack([changed(face.expand(3, -1, -1, -1), noise.random) for face in faces])
        assert (shown - real.inputs).abs().amax(dim=(2, 3, 4)).amin(dim=0).max() < 1e-5
        changes = iter([lambda images: images, lambda images, random=real.random: changed(images, random),
                        lambda images, random=fake.random: changed(images, random)])
        values = dcgan_step(generator, lambda images, judge=discriminator, changes=changes: judge(next(changes)(images)),
                            of_generator, of_discriminator, real.inputs, noise.inputs, 1.0 if kind == "report" else 0.9)
        # untrained, it draws nearly the same face each time, and BatchNorm enlarges what rounding makes of the difference
        assert_same_gradients(step.gradients, of_discriminator.gradients, rtol=2e-3)
        assert_same_gradients(next_step.gradients, of_generator.gradients, rtol=2e-3)
        losses.append(named(("discriminator_loss", "generator_loss", "real_score", "fake_score"), values))
    betas = (0.3 if kind == "colour" else 0.5, 0.999)
    assert_adam(by_discriminator, [1e-4] * 2 + [5e-5] * 2, betas)
    assert_adam(by_generator, [2e-4] * 2 + [1e-4] * 2, betas)
    for row, steps in zip(tape.rows, epochs_of(losses, 2), strict=True):
        assert_row(row, steps)

    # Radford et al. begin with convolutions from N(0, 0.02), and scales of BatchNorm from N(1, 0.02)
    for name in ("Generator", "Discriminator"):
        first = 3 if name == "Generator" else 2
        convolution, scale = tape.start[name][f"main.{first}.weight"], tape.start[name][f"main.{first + 1}.weight"]
        assert convolution.std() == pytest.approx(0.02, rel=0.05) and abs(convolution.mean()) < 1e-3
        assert scale.std() == pytest.approx(0.02, rel=0.3) and scale.mean() == pytest.approx(1, abs=0.01)

    # the tested generator: the first step's weights, then a moving average
    average = get_ema_avg_fn({"report": 0.0, "tuned": 0.995, "colour": 0.8}[kind])
    states = [weights_of(step.after, "Generator") for step in by_generator]
    for name, found in modules(tape.folder)["generator"].items():
        if not name.endswith("num_batches_tracked"):
            expected = states[0][name]
            for state in states[1:]:
                expected = average(expected, state[name], None)
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7), name

    # fresh noise of the kind that was asked for, when it is trained and when it is tested
    for numbers in ([call.inputs for call in tape.calls if call.name == "Generator" and call.training],
                    [call.inputs for call in tape.calls if call.name != "Discriminator" and not call.training]):
        assert not torch.equal(numbers[0][:1], numbers[-1][1:2])
        numbers = torch.cat(numbers).flatten()
        assert 2 < numbers.abs().max() < 6 if kind == "colour" else 0.97 < numbers.abs().max() <= 1
        assert abs(numbers.mean()) < 0.1
    if kind == "report":
        real = torch.cat([step.of("Discriminator")[0].inputs for step in by_discriminator])
        assert_shuffled(epochs_of(which_face(real, faces[:6], True, False), 2), 6)


def test_brightness_and_contrast_are_those_of_real_faces(recorded, tiny_data):
    tape = recorded("p2_dcgan", "--epochs", 1, "--limit", 4, *flip_flags(False, False), "--brightness-contrast", 0.2)
    faces, _, _ = tiny.read(tiny_data, "face", "train")
    (noise,), (real, fake) = tape.steps[0].of("Generator"), tape.steps[0].of("Discriminator")
    assert tiny.which(real.inputs, 2 * faces - 1) == [None] * 4 and real.inputs.min() < -0.3
    assert torch.equal(fake.inputs, noise.output)


def test_real_faces_are_turned_upside_down_alone_where_that_is_asked_for(recorded, tiny_data):
    tape = recorded("p2_dcgan", "--epochs", 1, "--limit", 4, *flip_flags(False, True))
    faces, _, _ = tiny.read(tiny_data, "face", "train")
    assert None not in which_face(tape.steps[0].of("Discriminator")[0].inputs, 2 * faces - 1, False, True)


# ---- problems 3 and 4: digits ----------------------------------------------------------------------------------------

class Ensemble:
    """Labels that the network gives the target, written a second time: running means, `aligned` so that each digit is equally
    likely over all."""

    def __init__(self, means, confidence, aligned):
        self.means, self.confidence, self.aligned = means, confidence, aligned

    def label(self, number):
        shares = self.means[number] / (torch.stack(list(self.means.values())).mean(dim=0) if self.aligned else 1)
        digit = int(shares.argmax())
        return digit if shares[digit] / shares.sum() >= self.confidence else None

    def loss_and_share(self, logits, numbers):
        given = [self.label(number) for number in numbers]
        losses = [-row.log_softmax(dim=0)[digit] for row, digit in zip(logits, given) if digit is not None]
        for number, row in zip(numbers, logits.detach().softmax(dim=1)):
            self.means[number] = 0.6 * self.means[number] + 0.4 * row
        return sum(losses, 0 * logits.sum()) / len(given), len(losses) / len(given)


def network_says(tape, target, step, encoder, classifier, confidence, aligned):
    """The Ensemble that starts from what the networks of these names said of all `target` images before that step."""
    means = {}
    for call, answer in zip(tape.calls, tape.calls[1:]):
        if call.step == step and not call.training and (call.name, answer.name) == (encoder, classifier):
            means |= dict(zip(tiny.which(call.inputs, target), answer.output.softmax(dim=1)))
    means.pop(None, None)       # source images, in the step itself
    assert means.keys() == set(range(len(target))), "all of the target's training images, as they are"
    return Ensemble(means, confidence, aligned)


def added(gradients, other, weight):
    """gradients + weight * other, by name; a name may be missing in `other`."""
    return {name: gradient + weight * other.get(name, torch.zeros_like(gradient)) for name, gradient in gradients.items()}


def gradients_of(loss, **networks):
    named = {f"{name}.{key}": parameter for name, network in networks.items() for key, parameter in network.named_parameters()}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(named, found) if gradient is not None}


def share_right(logits, labels):
    return (logits.argmax(dim=1) == labels).float().mean().item()


def cross_entropy(logits, labels):
    return -logits.log_softmax(dim=1)[range(len(labels)), labels].mean()


def dann_networks(step):
    """Its networks before the step, those that had been called."""
    kinds = {"FeatureExtractor": FeatureExtractor, "Classifier": Classifier, "Discriminator": DomainDiscriminator}
    return {name: step.load(name, kind()) for name, kind in kinds.items() if any(key.startswith(name) for key in step.before)}


def check_labelled_step(step, domain, labels):
    """A step of DANN with the loss of the labels alone. Returns the numbers of the images, and its losses."""
    networks = dann_networks(step)
    call, = step.of("FeatureExtractor")
    assert call.training and step.of("Classifier")[0].training
    numbers = tiny.which(call.inputs, domain)
    assert None not in numbers, "all are training images of the domain with labels"
    logits = networks["Classifier"](networks["FeatureExtractor"](call.inputs))
    loss = cross_entropy(logits, labels[numbers])
    assert_same_gradients(step.gradients, gradients_of(loss, **networks))
    return numbers, {"label_loss": loss.item(), "train_accuracy": share_right(logits, labels[numbers])}


@pytest.mark.parametrize("mode, domain, steps", [("source", "usps", 3), ("target", "mnistm", 2)])
def test_bounds_learn_the_labels_of_their_own_domain(recorded, tiny_data, mode, domain, steps):
    tape = recorded("p3_dann", "--preset", "report", "--mode", mode, "--epochs", 3, "--image-size", 6, "--lr", 0.01)
    images, labels, _ = tiny.read(tiny_data, domain, "train")
    checked = [check_labelled_step(step, tiny.as_seen(images, 6), labels) for step in tape.steps]
    assert len(checked) == 3 * steps, "an epoch is one pass over that domain's training images"
    for row, losses in zip(tape.rows, epochs_of(checked, 3), strict=True):
        assert_row(row, [loss for _, loss in losses])
    assert_shuffled([sum((numbers for numbers, _ in epoch), []) for epoch in epochs_of(checked, 3)], len(images))
    assert_adam(tape.steps, [0.01] * 3 * steps)


def cosine(rate, count):
    return [rate * (1 + math.cos(math.pi * k / count)) / 2 for k in range(count)]


DANN = {        # flags; epochs of the source alone, image size, standardised, domain weight, pseudo weight and confidence
    "report": (("--preset", "report", "--epochs", 2), 0, 6, False, 0.05, 0.0, 0.6),
    "alone first": (("--preset", "report", "--source-epochs", 1, "--epochs", 3, "--standardise", "--lr-schedule", "cosine",
                     "--domain-weight", 0.3, "--pseudo-weight", 0.7, "--pseudo-confidence", 0.13), 1, 6, True, 0.3, 0.7, 0.13),
    "pseudo": (("--preset", "report", "--epochs", 2, "--pseudo-weight", 1, "--pseudo-confidence", 0.11), 0, 6, False, 0.05, 1.0,
               0.11),
    "not aligned": (("--preset", "report", "--epochs", 2, "--pseudo-weight", 1, "--pseudo-confidence", 0.13, "--no-alignment"),
                    0, 6, False, 0.05, 1.0, 0.13),
}


# of usps 12 images, of mnistm 8
@pytest.mark.parametrize(("source", "target", "batch", "steps"), [("usps", "mnistm", 4, 3), ("mnistm", "usps", 4, 2),
                                                                  ("mnistm", "usps", 10, 1), ("mnistm", "usps", 64, 1)])
def test_an_epoch_of_dann_is_one_pass_over_its_source(recorded, source, target, batch, steps):
    tape = recorded("p3_dann", "--mode", "dann", "--preset", "report", "--epochs", 1, "--image-size", 6,
                    "--source", source, "--target", target, "--batch-size", batch)
    assert len(tape.steps) == steps
    assert {len(step.of("FeatureExtractor")[0].inputs) for step in tape.steps} == {2 * min(batch, 12)}


@pytest.mark.parametrize("kind", DANN)
def test_dann(recorded, tiny_data, kind):
    flags, alone, size, standardised, domain_weight, pseudo_weight, confidence = DANN[kind]
    tape = recorded("p3_dann", "--mode", "dann", "--image-size", size, "--lr", 0.01, *flags)
    (source, labels, _), (target, _, _) = (tiny.read(tiny_data, name, "train") for name in ("usps", "mnistm"))
    source, target = (tiny.as_seen(images, size, standardised) for images in (source, target))
    epochs, per_epoch = len(tape.rows), len(source) // 4        # one pass over the source
    assert len(tape.steps) == epochs * per_epoch
    # each phase has a schedule of its own
    rates = (sum((cosine(0.01, part * per_epoch) for part in (alone, epochs - alone)), []) if kind == "alone first" else
             [0.01] * len(tape.steps))
    assert_adam(tape.steps, rates)

    losses, orders = [], []
    for step in tape.steps[:alone * per_epoch]:
        numbers, values = check_labelled_step(step, source, labels)
        losses.append(values)
        orders.append((numbers, []))
    if pseudo_weight:
        ensemble = network_says(tape, target, alone * per_epoch, "FeatureExtractor", "Classifier", confidence,
                                "--no-alignment" not in flags)
    for number, step in enumerate(tape.steps[alone * per_epoch:]):
        networks = dann_networks(step)
        call, = step.of("FeatureExtractor") if number or not pseudo_weight else step.of("FeatureExtractor")[-1:]
        assert call.training and len(call.inputs) == 8
        of_source, of_target = (tiny.which(call.inputs, domain) for domain in (source, target))
        assert None not in of_source[:4] + of_target[4:] and set(of_source[4:] + of_target[:4]) == {None}
        of_source, of_target = of_source[:4], of_target[4:]
        values, expected = {}, {}
        if pseudo_weight:
            _, target_logits = networks["Classifier"](networks["FeatureExtractor"](call.inputs)).chunk(2)
            loss, values["pseudo_share"] = ensemble.loss_and_share(target_logits, of_target)
            values["pseudo_loss"] = loss.item()
            expected = gradients_of(loss, **networks)
        # both domains go through the network together, so BatchNorm's statistics are those of both
        features = networks["FeatureExtractor"](call.inputs)
        halves = iter(features.chunk(2))
        progress = number / ((epochs - alone) * per_epoch)
        weight = domain_weight * math.tanh(5 * progress)        # the paper's 2 / (1 + exp(-10 p)) - 1
        optimizer = Given(step, networks)
        values["train_accuracy"] = share_right(networks["Classifier"](features)[:4], labels[of_source])
        scores = networks["Discriminator"](features)
        values["domain_accuracy"] = ((scores[:4] > 0.5).sum() + (scores[4:] <= 0.5).sum()).item() / 8
        label_loss, source_loss, target_loss = dann_step(
            lambda _, halves=halves: next(halves), networks["Classifier"], networks["Discriminator"], optimizer, None,
            labels[of_source], None, weight)
        assert_same_gradients(step.gradients, added(optimizer.gradients, expected, pseudo_weight))
        losses.append(values | {"label_loss": label_loss.item(), "domain_loss": (source_loss + target_loss).item()})
        orders.append((of_source, of_target))
    for row, steps in zip(tape.rows, epochs_of(losses, epochs), strict=True):
        assert_row(row, steps)
    for side, count in ((0, len(source)), (1, len(target))):
        together = epochs_of(orders, epochs)[0 if side == 0 else alone:]
        assert_shuffled([sum((numbers[side] for numbers in epoch), []) for epoch in together], count)
    if pseudo_weight:
        shares = [row["pseudo_share"] for row in losses[alone * per_epoch:]]
        assert 0 < sum(shares) / len(shares) < 1, "some images have labels and some have none, or this test shows little"


def test_the_classifiers_first_weights_are_multiplied_by_the_gain(recorded):
    flags = ("--mode", "source", "--epochs", 1, "--image-size", 4, "--preset", "report")
    plain, lively = (recorded("p3_dann", *flags, "--classifier-gain", gain).start for gain in (1, 10))
    for name in ("FeatureExtractor", "Classifier"):
        for key, tensor in plain[name].items():
            factor = 10 if (name, key) == ("Classifier", "linear1.weight") else 1
            assert torch.allclose(lively[name][key], factor * tensor), f"{name}.{key}"


ADDA = {        # flags; standardised, conditional, adversarial weight, pseudo weight and confidence
    "report": (("--preset", "report"), False, False, 1.0, 0.0, 0.6),
    "ours": (("--preset", "report", "--conditional", "--standardise", "--lr-schedule", "cosine",
              "--beta1", 0.5, "--adversarial-weight", 0.3, "--pseudo-weight", 0.7, "--pseudo-confidence", 0.13),
             True, True, 0.3, 0.7, 0.13),
    "not aligned": (("--preset", "report", "--pseudo-weight", 1, "--pseudo-confidence", 0.28, "--no-alignment"),
                    False, False, 1.0, 1.0, 0.28),
}


@pytest.mark.parametrize("kind", ADDA)
def test_adda(recorded, tiny_data, kind):
    flags, standardised, conditional, adversarial_weight, pseudo_weight, confidence = ADDA[kind]
    tape = recorded("p4_adda", *flags, "--source-epochs", 3, "--epochs", 2, "--lr", 0.002, "--encoder-lr", 0.003,
                    "--discriminator-lr", 0.004)
    (source, labels, _), (target, _, _) = (tiny.read(tiny_data, name, "train") for name in ("usps", "mnistm"))
    source, target = (tiny.as_seen(images, standardised=standardised) for images in (source, target))
    first, second = tape.steps[:9], tape.steps[9:]
    assert len(second) == 2 * 2 * 3, "an epoch is one pass, over the source at first, then over the larger of both"
    rates = cosine if "cosine" in flags else lambda rate, count: [rate] * count
    betas = (0.5 if kind == "ours" else 0.9, 0.999)
    assert_adam(first, rates(0.002, 9))
    assert_adam(second[::2], rates(0.004, 6), betas)
    assert_adam(second[1::2], rates(0.003, 6), betas)

    losses, orders = [], []
    for step in first:
        call, = step.of("LeNetEncoder2")
        numbers = tiny.which(call.inputs, source)
        assert call.training and None not in numbers
        encoder, classifier = step.load("LeNetEncoder2", LeNetEncoder2()), step.load("LeNetClassifier", LeNetClassifier())
        torch.set_rng_state(call.random)        # of the dropout
        logits = classifier(encoder(call.inputs))
        loss = cross_entropy(logits, labels[numbers])
        assert_same_gradients(step.gradients, gradients_of(loss, LeNetEncoder2=encoder, LeNetClassifier=classifier))
        losses.append({"label_loss": loss.item(), "train_accuracy": share_right(logits, labels[numbers])})
        orders.append(numbers)
    assert_shuffled(epochs_of(sum(orders, []), 3), len(source))
    for row, steps in zip(tape.rows[:3], epochs_of(losses, 3), strict=True):
        assert_row(row, steps)

    # the target encoder starts from the source's; the latter and the classifier stay as they are from now on
    learned = {name: weights_of(first[-1].after, name) for name in ("LeNetEncoder2", "LeNetClassifier")}
    final = modules(tape.folder)
    for key, tensor in learned["LeNetEncoder2"].items():
        assert torch.equal(tape.start["LeNetEncoder22"][key], tensor) and torch.equal(final["source_encoder"][key], tensor), key
        assert torch.equal(final["target_encoder"][key], second[-1].after[f"LeNetEncoder22.{key}"]), key
    for key, tensor in learned["LeNetClassifier"].items():
        assert torch.equal(final["classifier"][key], tensor), key

    if pseudo_weight:
        ensemble = network_says(tape, target, 9, "LeNetEncoder2", "LeNetClassifier", confidence, "--no-alignment" not in flags)
    source_encoder, classifier = LeNetEncoder2().eval(), LeNetClassifier()
    source_encoder.load_state_dict(learned["LeNetEncoder2"])
    classifier.load_state_dict(learned["LeNetClassifier"])

    def seen(features, logits):
        """What the discriminator sees."""
        if not conditional:
            return features
        fixed = tape.start["MultilinearMap"]
        return (features @ fixed["of_features"]) * (logits.detach().softmax(dim=1) @ fixed["of_predictions"]) / math.sqrt(500)
    losses, orders = [], []
    for step, next_step in zip(second[::2], second[1::2], strict=True):
        of_source, of_target = step.of("LeNetEncoder2")[-1], step.of("LeNetEncoder22")[-1]
        assert of_target.training and not of_source.training
        numbers = tiny.which(of_source.inputs, source), tiny.which(of_target.inputs, target)
        assert None not in numbers[0] + numbers[1]
        target_encoder = step.load("LeNetEncoder22", LeNetEncoder2()).train()
        discriminator = step.load("Discriminator", EncoderDiscriminator())
        torch.set_rng_state(of_target.random)
        features = target_encoder(of_target.inputs)
        logits = classifier(features)
        values, expected = {}, {}
        if pseudo_weight:
            loss, values["pseudo_share"] = ensemble.loss_and_share(logits, numbers[1])
            values["pseudo_loss"] = loss.item()
            # kept for what follows: the discriminator's step changes nothing in this graph
            expected = {f"LeNetEncoder22.{key}": gradient for (key, _), gradient in zip(
                target_encoder.named_parameters(), torch.autograd.grad(
                    loss, list(target_encoder.parameters()), retain_graph=True, materialize_grads=True))}
        of_encoder = Given(next_step, {"LeNetEncoder22": target_encoder})
        of_discriminator = Given(step, {"Discriminator": discriminator})
        discriminator_loss, encoder_loss, domain_accuracy = adda_step(
            lambda images: seen(source_encoder(images), classifier(source_encoder(images))).detach(),
            lambda _, features=features, logits=logits: seen(features, logits),
            discriminator, of_encoder, of_discriminator, of_source.inputs, of_target.inputs)
        assert_same_gradients(step.gradients, of_discriminator.gradients)
        zero = {name: torch.zeros_like(gradient) for name, gradient in of_encoder.gradients.items()}
        assert_same_gradients(next_step.gradients, added(added(zero, of_encoder.gradients, adversarial_weight),
                                                         expected, pseudo_weight))
        losses.append(values | {"discriminator_loss": discriminator_loss.item(), "encoder_loss": encoder_loss.item(),
                                "domain_accuracy": domain_accuracy.item()})
        orders.append(numbers)
    for row, steps in zip(tape.rows[3:], epochs_of(losses, 2), strict=True):
        assert_row(row, steps)
    for side, images in enumerate((source, target)):
        assert_shuffled([sum((numbers[side] for numbers in epoch), []) for epoch in epochs_of(orders, 2)], len(images))
    if pseudo_weight:
        assert 0 < means(losses)["pseudo_share"] < 1, "some images have labels and some have none, or this test shows little"


# ---- what is changed before a network sees it ------------------------------------------------------------------------

STAGES = {      # flags, and the model whose calls in training show the images
    "source": ("p3_dann", ("--mode", "source", "--epochs", 1), ("FeatureExtractor",)),
    "target": ("p3_dann", ("--mode", "target", "--epochs", 1), ("FeatureExtractor",)),
    "dann": ("p3_dann", ("--mode", "dann", "--epochs", 1), ("FeatureExtractor",)),
    "alone": ("p3_dann", ("--mode", "dann", "--epochs", 2, "--source-epochs", 1), ("FeatureExtractor",)),
    "adda": ("p4_adda", ("--epochs", 1, "--source-epochs", 1), ("LeNetEncoder2", "LeNetEncoder22")),
}


def images_shown(recorded, tiny_data, stage, *flags):
    """Which training images of the source and of the target were shown unchanged in the whole training, or, of the stage
    "alone", in its first half: two sets."""
    problem, words, names = STAGES[stage]
    size = ("--image-size", 4) if problem == "p3_dann" else ()
    tape = recorded(problem, "--preset", "report", *words, *size, *flags)
    steps = len(tape.steps) // (2 if stage == "alone" else 1)
    shown = torch.cat([call.inputs for call in tape.calls if call.name in names and call.step < steps])
    return [set(tiny.which(shown, tiny.as_seen(tiny.read(tiny_data, domain, "train")[0], shown.shape[-1]))) - {None}
            for domain in ("usps", "mnistm")]


EVERY = set(range(12)), set(range(8))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("flags, of_source, of_target", [(("--shrink", 0.9), True, False), (("--rotation", 60), True, True)])
def test_the_changes_are_made_to_the_domains_they_are_for(recorded, tiny_data, stage, flags, of_source, of_target):
    source, target = images_shown(recorded, tiny_data, stage, *flags)
    seen = {"source": (True, False), "target": (False, True), "alone": (True, False)}.get(stage, (True, True))
    assert source == (EVERY[0] if seen[0] and not of_source else set())
    assert target == (EVERY[1] if seen[1] and not of_target else set())


@pytest.mark.parametrize("stage, there", [("source", False), ("target", False), ("dann", True), ("alone", True),
                                          ("adda", True)])
def test_backgrounds_are_target_images_and_the_lower_bound_has_none(recorded, tiny_data, monkeypatch, stage, there):
    monkeypatch.setattr(adaptation, "put_on_backgrounds", lambda images, backgrounds: backgrounds)
    source, target = images_shown(recorded, tiny_data, stage, "--backgrounds", 1)
    assert source == (EVERY[0] if stage == "source" else set())
    assert bool(target) == (there or stage == "target")


def test_cross_entropy_here_is_pytorchs():
    logits, labels = torch.randn(5, 10), torch.tensor([0, 3, 9, 3, 1])
    assert cross_entropy(logits, labels) == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
