"""A small convolutional classifier of the training images, whose last hidden layer gives features.

References:
    | Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates (Smith & Topin, 2017),
      https://arxiv.org/abs/1708.07120
"""

from itertools import chain, islice, repeat

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from vaekit.core.progress import track
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_unit_interval
from vaekit.data import Batches, ImageSet

DIM = 128
"""The number of features."""
CHANNELS, MIN_CHANNELS, SMALL_SIDE = (32, 64), 8, 8
"""The channels of the last two blocks. Each block halves the sides. Larger images have more blocks before these, each with
half the channels of the next and at least 8, so that the last sides are at most 8 pixels."""
EPOCHS, MIN_STEPS, MAX_STEPS, BATCH_SIZE = 5, 300, 3000, 128
"""The length of the training: a number of epochs, within limits on the number of steps."""
LEARNING_RATE, WEIGHT_DECAY, LABEL_SMOOTHING = 0.01, 0.01, 0.05
"""The highest learning rate of the one-cycle schedule, and the regularization."""
MAX_SHIFT = 1 / 28
"""The largest translation of a training image, as a share of its sides, rounded to whole pixels."""
CHUNK_SIZE = 500
"""The number of images that pass through the network at once when it is applied."""


class Classifier(nn.Module):
    """A small convolutional network that predicts the class of an image.

    Arguments:
        shape: The shape of an image, (C, H, W).
        num_classes: The number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        in_channels, height, width = shape
        for channels in _block_channels(shape):
            pool = nn.MaxPool2d(2, ceil_mode=True)  # before the normalization, which then has a quarter of the work
            blocks += [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), pool, nn.BatchNorm2d(channels), nn.ReLU()]
            in_channels, height, width = channels, -(-height // 2), -(-width // 2)
        last = [nn.Linear(in_channels * height * width, DIM, bias=False), nn.BatchNorm1d(DIM), nn.ReLU()]
        self.features = nn.Sequential(*blocks, nn.Flatten(), *last)
        self.classes = nn.Linear(DIM, num_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits of shape (B, num_classes) for images on the unit interval of shape (B, C, H, W)."""
        logits: Tensor = self.classes(self.features(x))
        return logits


def train_classifier(train: ImageSet, num_classes: int, *, seed: int, device: torch.device, description: str) -> Classifier:
    """Trains a classifier.

    Arguments:
        train: Labeled images.
        num_classes: The number of classes.
        seed: The seed of the initial weights and of the order of the images.
        device: The device to train on.
        description: The text beside the progress bar.
    """
    with fixed_seed(seed):
        classifier = Classifier(train.shape, num_classes).to(device)
    batches = Batches(train, min(BATCH_SIZE, len(train)), seed=seed, device=device, transform=random_shift)
    num_steps = min(max(EPOCHS * len(batches), MIN_STEPS), MAX_STEPS)
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=num_steps)
    normalizable = filter(lambda batch: len(batch) > 1, chain.from_iterable(repeat(batches)))  # one image has no variance
    for batch in track(islice(normalizable, num_steps), description, num_steps):
        assert batch.y is not None
        loss = F.cross_entropy(classifier(to_unit_interval(batch.x)), batch.y, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return classifier.eval()


def accuracy(classifier: Classifier, images: ImageSet) -> float:
    """Returns the share of images whose class is predicted correctly."""
    assert images.labels is not None
    device = classifier.classes.weight.device
    num_correct = 0
    with torch.no_grad():
        for positions in torch.arange(len(images)).split(CHUNK_SIZE):
            predictions = classifier(to_unit_interval(images.gather(positions).to(device))).argmax(1)
            num_correct += int((predictions.cpu() == images.labels[positions]).sum())
    return num_correct / len(images)


def random_shift(x: Tensor, noise: Generator) -> Tensor:
    """Translates each image of shape (B, C, H, W) by up to :data:`MAX_SHIFT`; the border is repeated."""
    num, channels, height, width = x.shape
    device = x.device

    def indices(side: int) -> Tensor:
        max_shift = round(MAX_SHIFT * side)
        shifts = torch.randint(-max_shift, max_shift + 1, (num, 1), generator=noise, device=device)
        return (torch.arange(side, device=device) + shifts).clamp(0, side - 1)

    rows, columns = indices(height), indices(width)
    images, maps = torch.arange(num, device=device), torch.arange(channels, device=device)
    return x[images[:, None, None, None], maps[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def _block_channels(shape: tuple[int, int, int]) -> list[int]:
    channels, side = list(CHANNELS), max(shape[1:])
    while side > SMALL_SIDE * 2 ** len(channels):
        channels.insert(0, max(channels[0] // 2, MIN_CHANNELS))
    return channels
