"""The ADDA of the report: 28x28 RGB digits in [-1, 1], LeNet encoders, a two-way domain discriminator.

Tzeng et al., Adversarial Discriminative Domain Adaptation, 2017 (https://arxiv.org/abs/1702.05464).
"""
from torch import nn
from torch.nn import functional as F

from common.training.augment import standardise


class LeNetEncoder2(nn.Module):
    """images float [N, 3, 28, 28] in [-1, 1], or standardised -> features [N, 500]."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 20, kernel_size=5),
            nn.MaxPool2d(kernel_size=2),
            nn.ReLU(),
            nn.Conv2d(20, 50, kernel_size=5),
            nn.Dropout2d(p=0.5),
            nn.MaxPool2d(kernel_size=2),
            nn.ReLU(),
        )
        self.fc1 = nn.Linear(800, 500)

    def forward(self, images):
        return self.fc1(self.encoder(images).flatten(start_dim=1))


class LeNetClassifier(nn.Module):
    """features [N, 500] -> logits of the ten digits, float32 [N, 10]."""

    def __init__(self):
        super().__init__()
        self.fc2 = nn.Linear(500, 10)

    def forward(self, features):
        return self.fc2(F.relu(features)).float()


class Discriminator(nn.Module):
    """features [N, 500] -> log-probabilities of (target, source), float32 [N, 2]."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(500, 200),
            nn.ReLU(),
            nn.Linear(200, 200),
            nn.ReLU(),
            nn.Linear(200, 2),
            # the report prints dim=None, which PyTorch deprecates; for [N, 2] it always meant dim 1
            nn.LogSoftmax(dim=1),
        )

    def forward(self, features):
        return self.layer(features).float()


# ---- in use -------------------------------------------------------------------------------------------------------------

def prepare(images, settings):
    """Digits float [N, 3, 28, 28] in [-1, 1] -> what the encoders see, of the same shape."""
    return standardise(images) if settings["standardise"] else images
