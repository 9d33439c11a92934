"""The DANN of the report: RGB digits in [-1, 1] of any size (28x28 in the report).

Ganin et al., Domain-Adversarial Training of Neural Networks, 2016 (https://arxiv.org/abs/1505.07818).
The layers are those of the notebook that the report cites, https://github.com/Yangyangii/DANN-pytorch, for coloured images.
"""
import torch
from torch import nn

from common.training.augment import resize, standardise

# pixels a side: BatchNorm refuses a batch of one image of one pixel, and at 1,024 an image takes gigabytes
IMAGE_SIZES = range(2, 1025)


class FeatureExtractor(nn.Module):
    """images float [N, 3, H, W] in [-1, 1], or standardised -> features [N, 512]."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 128, kernel_size=3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 256, kernel_size=3, padding=1),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 512, kernel_size=3, padding=1),
            nn.BatchNorm2d(512),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )

    def forward(self, images):
        hidden = self.conv[:-1](images)
        if hidden.requires_grad and hidden.is_contiguous(memory_format=torch.channels_last):
            # the pooling's gradient has its channels first, in which layout the layers below take a tenth longer
            hidden.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return self.conv[-1](hidden).flatten(start_dim=1)


class Classifier(nn.Module):
    """features [N, 512] -> logits of the ten digits, float32 [N, 10]."""

    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(512, 256)
        self.relu1 = nn.ReLU(inplace=True)
        self.linear2 = nn.Linear(256, 10)

    def forward(self, features):
        return self.linear2(self.relu1(self.linear1(features))).float()


class Discriminator(nn.Module):
    """features [N, 512] -> probability of coming from the source, float32 [N] in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
            nn.Sigmoid(),
        )

    def forward(self, features):
        logits = self.layer[:-1](features).flatten()
        # in float32: bfloat16 would round a confident probability to 1, whose log-loss has no gradient
        return self.layer[-1](logits.float())


# ---- in use -------------------------------------------------------------------------------------------------------------

def prepare(images, settings):
    """Digits float [N, 3, H, W] in [-1, 1] -> what the extractor sees: float [N, 3, `image_size`, `image_size`]."""
    images = resize(images, settings["image_size"])
    return standardise(images) if settings["standardise"] else images
