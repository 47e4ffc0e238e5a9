"""Ways to train the network of the recipe ``mnist-mlp``: with vaekit, a tensor loop, a DataLoader and pythae.

All methods train 784-512-(20, 20)-512-784 with ReLUs on the same images, by the ELBO with Bernoulli pixels, in float32 on
the CPU, with Adam, ``BATCH_SIZE`` and ``LEARNING_RATE``. Validation, checkpoints and figures are left out for all methods.
"""

import io
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Never

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader, Dataset

from vaekit.core.signals import StopRequests
from vaekit.data import ImageSet, sample_binary
from vaekit.experiment.prepare import build_model, load_splits, make_trainer
from vaekit.models import Model
from vaekit.runs.recipe import load_recipe

RECIPE = "mnist-mlp"
NUM_PIXELS, HIDDEN, LATENT_DIM = 28 * 28, 512, 20
BATCH_SIZE, LEARNING_RATE = 128, 0.002


def settings() -> str:
    """Returns the settings that all methods share, as the benchmark prints them."""
    return f"batch size {BATCH_SIZE}, Adam, learning rate {LEARNING_RATE}, float32, CPU"


@dataclass(frozen=True)
class Epoch:
    """The time and the mean loss of an epoch, in seconds and in nats per image."""

    seconds: float
    loss: float


class TrainingMethod(ABC):
    """A way to train, after its untimed preparation.

    Attributes:
        network: The network that is trained.
    """

    network: nn.Module

    @abstractmethod
    def train_epoch(self) -> Epoch:
        """Trains and times one epoch."""


class VaekitTrainer(TrainingMethod):
    """The trainer that ``vae train mnist-mlp`` uses."""

    def __init__(self, images: ImageSet) -> None:
        recipe = load_recipe(RECIPE, {"device": "cpu"})
        assert (recipe.training.batch_size, recipe.optimizer["lr"]) == (BATCH_SIZE, LEARNING_RATE), "the recipe has changed"
        model = build_model(recipe, images)
        self.trainer = make_trainer(recipe, model, images, sample_binary, _refuse)
        self.network = model

    def train_epoch(self) -> Epoch:
        """Trains and times one epoch."""
        trainer = self.trainer
        start = time.perf_counter()
        trainer._train_epoch(StopRequests())  # without the end of the epoch: validation, callbacks, checkpoint
        seconds = time.perf_counter() - start
        trainer.progress.epoch += 1
        return Epoch(seconds, trainer._mean_logs()["loss"])


def _refuse(model: Model) -> Never:
    raise AssertionError("validation is not part of the benchmark")


class Network(nn.Module):
    """The network in plain PyTorch; mean and log-variance share one matrix, which saves a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(NUM_PIXELS, HIDDEN)
        self.heads = nn.Linear(HIDDEN, 2 * LATENT_DIM)
        self.decoder = nn.Linear(LATENT_DIM, HIDDEN)
        self.output = nn.Linear(HIDDEN, NUM_PIXELS)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the negative ELBO of binary images of shape (B, 784), in nats per image."""
        mu, logvar = self.heads(F.relu(self.encoder(x))).chunk(2, -1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        logits = self.output(F.relu(self.decoder(z)))
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()
        return (distortion + rate) / len(x)


def train_on_batches(network: Network, optimizer: Optimizer, batches: Iterable[Tensor]) -> Epoch:
    """Trains and times one epoch over batches of gray pixels in [0, 1], of shape (B, 784), which are binarized here."""
    total, num = torch.zeros(()), 0
    start = time.perf_counter()
    for gray in batches:
        x = (torch.rand_like(gray) < gray).float()  # a fifth faster than torch.bernoulli
        loss = network(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += len(x) * loss.detach()
        num += len(x)
    return Epoch(time.perf_counter() - start, total.item() / num)


class TensorLoop(TrainingMethod):
    """A loop over one float tensor in memory, so that a batch is a single index operation."""

    def __init__(self, images: ImageSet, fused: bool) -> None:
        self.gray = images.pixels.flatten(1).float() / 255
        self.network = Network()
        self.optimizer = Adam(self.network.parameters(), LEARNING_RATE, fused=fused)

    def train_epoch(self) -> Epoch:
        """Trains and times one epoch."""
        return train_on_batches(self.network, self.optimizer, self._batches())

    def _batches(self) -> Iterator[Tensor]:
        for indices in torch.randperm(len(self.gray)).split(BATCH_SIZE):
            yield self.gray.index_select(0, indices)


class EncodedImages(Dataset[Tensor]):
    """Images as PNG bytes, as in the MNIST repository on the hub; each access decodes one image.

    torchvision's MNIST stores decoded pixels, so it is faster than a data set of image files.
    """

    def __init__(self, images: ImageSet) -> None:
        self.files = [_png(pixels) for pixels in images.pixels[:, 0].numpy()]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """Returns an image as torchvision's ``ToTensor`` does: float, in [0, 1], of shape (1, 28, 28)."""
        image = Image.open(io.BytesIO(self.files[index])).convert("L")
        return torch.from_numpy(np.array(image, np.uint8)).unsqueeze(0).float().div(255)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


class DataLoaderLoop(TrainingMethod):
    """The usual example script: a DataLoader that decodes images one by one, and Adam with its default options."""

    def __init__(self, images: ImageSet, num_workers: int) -> None:
        # Most scripts restart the workers in each epoch. Here they persist, because an epoch of the benchmark is short.
        persistent = num_workers > 0
        self.loader = DataLoader(
            EncodedImages(images), BATCH_SIZE, shuffle=True, num_workers=num_workers, persistent_workers=persistent
        )
        self.network = Network()
        self.optimizer = Adam(self.network.parameters(), LEARNING_RATE)

    def train_epoch(self) -> Epoch:
        """Trains and times one epoch."""
        return train_on_batches(self.network, self.optimizer, (x.flatten(1) for x in self.loader))


def pythae_trainer(images: ImageSet) -> TrainingMethod:
    """Returns pythae's trainer.

    Raises:
        ModuleNotFoundError: If pythae is not installed.
    """
    from benchmarks.pythae_method import PythaeTrainer

    return PythaeTrainer(images)


METHODS: dict[str, Callable[[ImageSet], TrainingMethod]] = {
    "vaekit": VaekitTrainer,
    "tensor-loop": partial(TensorLoop, fused=False),
    "tensor-loop-fused": partial(TensorLoop, fused=True),
    "pythae": pythae_trainer,
    "dataloader-0": partial(DataLoaderLoop, num_workers=0),
    "dataloader-2": partial(DataLoaderLoop, num_workers=2),
}
FAMILIES = {
    "vaekit": ["vaekit"],
    "tensor-loop": ["tensor-loop", "tensor-loop-fused"],
    "pythae": ["pythae"],
    "dataloader": ["dataloader-0", "dataloader-2"],
}
"""The methods that differ only in an option; the fastest of them is compared with the target."""


def training_images(num: int) -> ImageSet:
    """Returns the first training images of the recipe, with gray pixels."""
    recipe = load_recipe(RECIPE)
    images = load_splits(recipe.data, recipe.training.seed).train.first(num)
    assert len(images) == num, f"there are only {len(images)} training images"
    return images
