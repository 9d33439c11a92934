"""The loops that a user would otherwise run: what benchmarks/throughput.py measures our training against.

They train the same modules on the same files with the settings of preset `report`, in the way of pytorch/examples' vae and
dcgan and of the usual DANN and ADDA repositories: a DataLoader decodes and transforms image by image, everything is
float32, and `.item()` reads the losses of each step.

Each train_… trains for one epoch. `settings` is as in the problem's SETTINGS, `workers` the number of each DataLoader's
processes, `watch` wraps the iterable of batches, as tqdm would. Each …_step is one step of it and returns its losses. It
shares no line with our loops, so that tests can hold one against the other.
"""
import csv
import math
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import p1_vae.model
import p2_dcgan.model
import p3_dann.model
import p4_adda.model
from p2_dcgan.model import make_noise
from p2_dcgan.train import initialise

ZERO_CENTRED = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Images(Dataset):
    """The images of a split, `FOLDER.csv` beside the folder of png files, each with its second column: (tensor, number)."""

    def __init__(self, folder, limit, *steps):
        self.folder, self.transform = folder, transforms.Compose(steps)
        with open(folder.with_suffix(".csv"), newline="") as file:
            self.rows = [(name, float(value)) for name, value, *_ in list(csv.reader(file))[1:]][:limit]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        name, value = self.rows[index]
        return self.transform(Image.open(self.folder / name).convert("RGB")), int(value)


def load(settings, device, workers, kind, *steps):
    """A DataLoader of the training images of `kind` ("face", "digits/usps" …), changed by `steps`."""
    images = Images(Path(settings["data"]) / kind / "train", settings["limit"], *steps)
    return DataLoader(images, settings["batch_size"], shuffle=True, drop_last=True, num_workers=workers,
                      pin_memory=device.type == "cuda")


def vae_step(vae, optimizer, images, kl_weight):
    reconstruction, mu, logvar = vae(images)
    squared_error = F.mse_loss(reconstruction, images, reduction="sum") / len(images)
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(images)
    loss = squared_error + kl_weight * kl
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return squared_error, kl


def train_vae(settings, device, workers, watch):
    loader = load(settings, device, workers, "face", transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(),
                  transforms.ToTensor())
    vae = p1_vae.model.VAE().to(device)
    optimizer = torch.optim.Adam(vae.parameters(), settings["lr"])
    total = 0.0
    for images, _ in watch(loader):
        squared_error, kl = vae_step(vae, optimizer, images.to(device), settings["kl_weight"])
        total += (squared_error + settings["kl_weight"] * kl).item()


def dcgan_step(generator, discriminator, generator_optimizer, discriminator_optimizer, images, noise, real_label):
    bce = nn.BCELoss()
    label = torch.full((len(images),), real_label, device=images.device)
    discriminator_optimizer.zero_grad()
    real_score = discriminator(images)
    real_loss = bce(real_score, label)
    real_loss.backward()
    fake = generator(noise)
    fake_score = discriminator(fake.detach())
    fake_loss = bce(fake_score, torch.zeros_like(label))
    fake_loss.backward()
    discriminator_optimizer.step()

    generator_optimizer.zero_grad()
    generator_loss = bce(discriminator(fake), torch.ones_like(label))
    generator_loss.backward()
    generator_optimizer.step()
    return real_loss + fake_loss, generator_loss, real_score.mean(), fake_score.mean()


def train_dcgan(settings, device, workers, watch):
    strength = settings["brightness_contrast"]
    loader = load(settings, device, workers, "face", transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(),
                  transforms.ColorJitter(strength, strength), transforms.ToTensor(), ZERO_CENTRED)
    generator = p2_dcgan.model.Generator().apply(initialise).to(device)
    discriminator = p2_dcgan.model.Discriminator().apply(initialise).to(device)
    generator_optimizer, discriminator_optimizer = (
        torch.optim.Adam(module.parameters(), settings[rate], (settings["beta1"], 0.999))
        for module, rate in ((generator, "generator_lr"), (discriminator, "discriminator_lr")))
    totals = [0.0] * 4
    for images, _ in watch(loader):
        values = dcgan_step(generator, discriminator, generator_optimizer, discriminator_optimizer, images.to(device),
                            make_noise(len(images), settings["noise"], device=device), settings["real_label"])
        totals = [total + value.item() for total, value in zip(totals, values)]


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is multiplied by -weight."""

    @staticmethod
    def forward(context, features, weight):
        context.weight = weight
        return features.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient.neg() * context.weight, None


def dann_step(extractor, classifier, discriminator, optimizer, source_images, labels, target_images, weight):
    cross_entropy, bce = nn.CrossEntropyLoss(), nn.BCELoss()
    optimizer.zero_grad()
    source_features = extractor(source_images)
    label_loss = cross_entropy(classifier(source_features), labels)
    source_score = discriminator(Reversal.apply(source_features, weight))
    source_loss = bce(source_score, torch.ones_like(source_score))
    target_score = discriminator(Reversal.apply(extractor(target_images), weight))
    target_loss = bce(target_score, torch.zeros_like(target_score))
    (label_loss + source_loss + target_loss).backward()
    optimizer.step()
    return label_loss, source_loss, target_loss


def train_dann(settings, device, workers, watch):
    loaders = [load(settings, device, workers, f"digits/{settings[domain]}", transforms.Resize(settings["image_size"]),
                    transforms.ToTensor(), ZERO_CENTRED) for domain in ("source", "target")]
    extractor, classifier = p3_dann.model.FeatureExtractor().to(device), p3_dann.model.Classifier().to(device)
    discriminator = p3_dann.model.Discriminator().to(device)
    parameters = [*extractor.parameters(), *classifier.parameters(), *discriminator.parameters()]
    optimizer = torch.optim.Adam(parameters, settings["lr"])
    totals = [0.0] * 3
    steps = min(map(len, loaders))
    for step, ((source_images, labels), (target_images, _)) in enumerate(watch(zip(*loaders))):
        weight = settings["domain_weight"] * (2 / (1 + math.exp(-10 * step / steps)) - 1)
        values = dann_step(extractor, classifier, discriminator, optimizer, source_images.to(device), labels.to(device),
                           target_images.to(device), weight)
        totals = [total + value.item() for total, value in zip(totals, values)]


def adda_step(source_encoder, target_encoder, discriminator, encoder_optimizer, discriminator_optimizer, source_images,
              target_images):
    nll = nn.NLLLoss()
    discriminator_optimizer.zero_grad()
    features = torch.cat([source_encoder(source_images), target_encoder(target_images)])
    guesses = discriminator(features.detach())
    truth = torch.cat([torch.ones(len(source_images)), torch.zeros(len(target_images))]).long().to(features.device)
    discriminator_loss = nll(guesses, truth)
    discriminator_loss.backward()
    discriminator_optimizer.step()
    domain_accuracy = (guesses.argmax(dim=1) == truth).float().mean()

    # the target's features are computed anew for the encoder's step, as those repositories do
    encoder_optimizer.zero_grad()
    guesses = discriminator(target_encoder(target_images))
    encoder_loss = nll(guesses, torch.ones_like(truth[:len(guesses)]))
    encoder_loss.backward()
    encoder_optimizer.step()
    return discriminator_loss, encoder_loss, domain_accuracy


def train_adda(settings, device, workers, watch):
    """The adaptation alone, after the source's training; the encoders start anew, which costs the same time."""
    loaders = [load(settings, device, workers, f"digits/{settings[domain]}", transforms.ToTensor(), ZERO_CENTRED)
               for domain in ("source", "target")]
    source_encoder = p4_adda.model.LeNetEncoder2().to(device).eval()
    target_encoder = p4_adda.model.LeNetEncoder2().to(device)
    discriminator = p4_adda.model.Discriminator().to(device)
    encoder_optimizer, discriminator_optimizer = (
        torch.optim.Adam(module.parameters(), settings[rate], (settings["beta1"], 0.999))
        for module, rate in ((target_encoder, "encoder_lr"), (discriminator, "discriminator_lr")))
    totals = [0.0] * 3
    for (source_images, _), (target_images, _) in watch(zip(*loaders)):
        values = adda_step(source_encoder, target_encoder, discriminator, encoder_optimizer, discriminator_optimizer,
                           source_images.to(device), target_images.to(device))
        totals = [total + value.item() for total, value in zip(totals, values)]
