"""Ways to train the network of the recipe ``mnist-mlp``: vaekit's, by hand, through a DataLoader, with pythae.

Everyone trains 784-512-(20, 20)-512-784 with ReLUs on the same images, by the ELBO with Bernoulli pixels, with Adam, a
learning rate of 1e-3, batches of 128, in float32 on the CPU. What is left out is left out for everyone: validation,
checkpoints, images.
"""

import io
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Never

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader, Dataset

from vaekit.data import ImageSet
from vaekit.experiment.train import load_splits, prepare
from vaekit.runs.recipe import load_recipe
from vaekit.training import Hooks
from vaekit.training.progress_view import PlainView

PIXELS, HIDDEN, LATENTS = 28 * 28, 512, 20
BATCH_SIZE, LEARNING_RATE = 128, 2e-3


@dataclass(frozen=True)
class Turn:
    """An epoch of training: how long it took, and its mean loss in nats per image."""

    seconds: float
    loss: float


class Contender(ABC):
    """A way to train, set up and ready; nothing of its preparation is timed.

    Attributes:
        network: What it trains.
    """

    network: nn.Module

    @abstractmethod
    def turn(self) -> Turn:
        """Goes through the images once more."""


class Vaekit(Contender):
    """The trainer that ``vae train mnist-mlp`` runs, by the code of its epochs."""

    def __init__(self, images: ImageSet) -> None:
        recipe = load_recipe("mnist-mlp", {"device": "cpu"})
        assert (recipe.training.batch_size, recipe.optimizer["lr"]) == (BATCH_SIZE, LEARNING_RATE), "the recipe has changed"
        self.trainer = prepare(recipe).trainer
        self.trainer.batches.images = images
        self.network = self.trainer.model
        self.hooks = Hooks(validate=_untimed, keep_best=_untimed, end_epoch=_untimed, save=_untimed)
        self.view = PlainView(Console())  # as in a log: it says nothing within an epoch

    def turn(self) -> Turn:
        """Goes through the images once more."""
        trainer = self.trainer
        started = time.perf_counter()
        trainer._train_epoch(self.hooks, self.view, lambda: False)
        seconds = time.perf_counter() - started
        assert trainer.log_sums is not None
        sums = dict(zip(trainer.log_names, trainer.log_sums.tolist(), strict=True))
        trainer.log_sums = None  # as at the end of an epoch, whose other half, validation, is no part of this
        trainer.progress.epoch += 1
        return Turn(seconds, sums["loss"] / len(trainer.batches.images))


def _untimed(*args: Any) -> Never:
    raise AssertionError("only steps of training are timed, so nothing may be validated or saved")


class Network(nn.Module):
    """The network by hand; its two heads are one matrix, which saves a product."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(PIXELS, HIDDEN)
        self.heads = nn.Linear(HIDDEN, 2 * LATENTS)
        self.decoder = nn.Linear(LATENTS, HIDDEN)
        self.output = nn.Linear(HIDDEN, PIXELS)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the negative ELBO of binary images of shape (B, 784), in nats per image."""
        mu, logvar = self.heads(F.relu(self.encoder(x))).chunk(2, -1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        logits = self.output(F.relu(self.decoder(z)))
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()
        return (distortion + rate) / len(x)


def descend(network: Network, optimizer: Optimizer, batches: Iterable[Tensor]) -> Turn:
    """The loop that an expert writes, over batches of gray levels of shape (B, 784) on the unit interval."""
    total, num = torch.zeros(()), 0
    started = time.perf_counter()
    for gray in batches:
        x = (torch.rand_like(gray) < gray).float()  # a fifth faster than torch.bernoulli
        loss = network(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += len(x) * loss.detach()
        num += len(x)
    return Turn(time.perf_counter() - started, total.item() / num)


class Bare(Contender):
    """The bare loop over one tensor in memory, in floating point, so that a batch is a single gather."""

    def __init__(self, images: ImageSet, fused: bool) -> None:
        self.gray = images.pixels.flatten(1).float() / 255
        self.network = Network()
        self.optimizer = Adam(self.network.parameters(), LEARNING_RATE, fused=fused)

    def turn(self) -> Turn:
        """Goes through the images once more."""
        return descend(self.network, self.optimizer, self._batches())

    def _batches(self) -> Iterator[Tensor]:
        for positions in torch.randperm(len(self.gray)).split(BATCH_SIZE):
            yield self.gray.index_select(0, positions)


class EncodedImages(Dataset[Tensor]):
    """Images as the bytes of PNG files, as MNIST lies on the hub, each opened and converted when it is asked for.

    torchvision's own MNIST keeps its pixels decoded, and is that much faster here than images in files are.
    """

    def __init__(self, images: ImageSet) -> None:
        self.files = [_png(pixels) for pixels in images.pixels[:, 0].numpy()]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """Returns an image as torchvision's ``ToTensor`` makes it: floating point, of shape (1, 28, 28)."""
        image = Image.open(io.BytesIO(self.files[index])).convert("L")
        return torch.from_numpy(np.array(image, np.uint8)).unsqueeze(0).float().div(255)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


class Loaded(Contender):
    """The usual example script: a DataLoader over images that are opened one by one, and Adam as it comes."""

    def __init__(self, images: ImageSet, num_workers: int) -> None:
        # Scripts rarely keep their workers; here they do, because these epochs are too short to start them in.
        keep = num_workers > 0
        self.loader = DataLoader(
            EncodedImages(images), BATCH_SIZE, shuffle=True, num_workers=num_workers, persistent_workers=keep
        )
        self.network = Network()
        self.optimizer = Adam(self.network.parameters(), LEARNING_RATE)

    def turn(self) -> Turn:
        """Goes through the images once more."""
        return descend(self.network, self.optimizer, (x.flatten(1) for x in self.loader))


def pythae(images: ImageSet) -> Contender:
    """Pythae's trainer.

    Raises:
        ModuleNotFoundError: If pythae is not installed.
    """
    from benchmarks.pythae_contender import Pythae

    return Pythae(images)


CONTENDERS: dict[str, Callable[[ImageSet], Contender]] = {
    "vaekit": Vaekit,
    "bare": partial(Bare, fused=False),
    "bare-fused": partial(Bare, fused=True),
    "pythae": pythae,
    "dataloader-0": partial(Loaded, num_workers=0),
    "dataloader-2": partial(Loaded, num_workers=2),
}
"""The contenders by name; what stands before the hyphen is one way to train, and what stands behind it how it is set."""


def training_images(num: int) -> ImageSet:
    """The first so many training images of the recipe, in gray levels."""
    recipe = load_recipe("mnist-mlp")
    images = load_splits(recipe.data, recipe.training.seed).train.first(num)
    assert len(images) == num, f"there are only {len(images)} training images"
    return images
