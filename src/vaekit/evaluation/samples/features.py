r"""What images are compared by: features, which a named extractor reads off them.

A distance between sets of images depends on the extractor more than on anything else, so no column of numbers goes
without its name. :class:`FeatureExtractor` is an open door: whatever turns images into numbers may come in. With the
network of the FID paper (:mod:`vaekit.evaluation.samples.inception`), and only with it, a column is called FID.

Here features are learned: a small convolutional network is trained to name the classes of the training images,
and its last hidden layer is what it sees in an image. Feature spaces learned for one data set tell its classes and
strokes apart better than those of photographs do.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
      https://arxiv.org/abs/1706.08500
    | An Improved Evaluation Framework for Generative Adversarial Networks (Liu et al., 2018),
      https://arxiv.org/abs/1803.07474
    | Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates (Smith & Topin, 2017),
      https://arxiv.org/abs/1708.07120
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Generator, Tensor, nn

from vaekit.core.errors import DataError
from vaekit.core.progress import notify, track
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_unit_interval
from vaekit.data import Batches, ImageSet, hold_out
from vaekit.data.cache import DAMAGED, cache_folder

INCEPTION = "inception-v3 (FID weights)"
"""The name of the network of the FID paper, with the weights of 2015-12-05 and its 2048 features after the last pooling."""
CNN = "cnn"
"""The name of features that are learned here."""
VERSION = 1
"""The version of the network and its training; what another one learned is never read."""
DIM = 128
"""How many features are learned."""
CHANNELS, MIN_CHANNELS, SMALL_SIDE = (32, 64), 8, 8
"""The maps of the last two halvings; halvings before them, until sides are at most 8, have half as many each."""
MIN_IMAGES = 20
"""How few images features can be learned on."""
HELD_OUT = 0.1
"""The share of the training images that the stated accuracy is measured on."""
EPOCHS, MIN_STEPS, MAX_STEPS, BATCH = 5, 300, 3000, 128
"""How long the network is trained: so many epochs, but within these numbers of batches."""
LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 0.01, 0.01, 0.05
"""The highest learning rate of a one-cycle schedule, and what keeps the network from being too sure of itself."""
SHIFT = 1 / 28
"""By which share of its sides a training image moves at most, in whole pixels."""
CHUNK = 500
"""How many images are looked at together."""


class FeatureExtractor(ABC):
    """What turns images into features.

    Attributes:
        name: What the features are called in a column's head, e.g. ``cnn``.
        description: What they are, in a line: the network, what it was trained on, its weights.
        dim: F, how many there are.
    """

    name: str
    description: str
    dim: int

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Returns features of shape (B, F) of images on the unit interval of shape (B, C, H, W)."""


def column(extractor: FeatureExtractor, measure: str) -> str:
    """Returns the head of a measure's column: ``FD-cnn``; FID and KID are those of Inception with the FID weights alone."""
    if extractor.name == INCEPTION and measure in ("FD", "KD"):
        return {"FD": "FID", "KD": "KID"}[measure]
    return f"{measure}-{extractor.name}"


class Classifier(nn.Module):
    """A small convolutional network that names the class of an image.

    Arguments:
        shape: The shape of an image, (C, H, W).
        num_classes: How many classes there are.
    """

    def __init__(self, shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels = _channels(shape)
        num, height, width = shape
        blocks: list[nn.Module] = []
        for maps in channels:
            pool = nn.MaxPool2d(2, ceil_mode=True)  # first, so that half of what follows is done on a quarter of the points
            blocks += [nn.Conv2d(num, maps, 3, padding=1, bias=False), pool, nn.BatchNorm2d(maps), nn.ReLU()]
            num, height, width = maps, -(-height // 2), -(-width // 2)
        last = [nn.Linear(num * height * width, DIM, bias=False), nn.BatchNorm1d(DIM), nn.ReLU()]
        self.features = nn.Sequential(*blocks, nn.Flatten(), *last)
        self.classes = nn.Linear(DIM, num_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits of shape (B, K) for images on the unit interval of shape (B, C, H, W)."""
        logits: Tensor = self.classes(self.features(x))
        return logits


@dataclass(frozen=True)
class Facts:
    """What a classifier was trained on, and how good it is.

    Arguments:
        name: The images.
        split: Which part of them.
        pixels: Whether they were gray or binarized.
        shape: Their shape (C, H, W).
        num_classes: How many classes they have.
        num_train: How many it was trained on.
        num_held: How many were held out.
        accuracy: The share of those that it names right.
        weights: A hash of its weights.
    """

    name: str
    split: str
    pixels: str
    shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    num_held: int
    accuracy: float
    weights: str


class LearnedFeatures(FeatureExtractor):
    """The last hidden layer of a classifier that was trained here; made by :func:`learned_features`.

    Arguments:
        classifier: The classifier.
        facts: What it was trained on, and how good it is.
    """

    name = CNN
    dim = DIM

    def __init__(self, classifier: Classifier, facts: Facts) -> None:
        self.classifier = classifier.eval().requires_grad_(False)
        self.facts = facts
        self.description = (
            f"{DIM} features of a small convolutional network trained on {facts.num_train:,} images of {facts.name} "
            f"({facts.split}, {facts.pixels}), which names {facts.accuracy:.2%} of {facts.num_held:,} held-out ones right; "
            f"weights {facts.weights}"
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Returns features of shape (B, 128).

        Raises:
            DataError: If the images have another shape than those that the features were learned on.
        """
        if tuple(images.shape[1:]) != self.facts.shape:
            raise DataError(f"the features were learned on images of {self.facts.shape}, got {tuple(images.shape[1:])}")
        device = self.classifier.classes.weight.device
        with torch.no_grad():
            return torch.cat([self.classifier.features(part.to(device)) for part in images.split(CHUNK)])


def learned_features(train: ImageSet, *, seed: int = 0, device: str | torch.device = "cpu") -> LearnedFeatures:
    """Learns features of labeled images, or takes those that were learned on the same images before.

    They are kept beside the decoded images, in ``$VAEKIT_CACHE/features``, by a hash of the images, their labels and the
    seed. It takes a minute or two for 60,000 images of 28 x 28 pixels on one core.

    Arguments:
        train: The images, as they are: gray or binarized.
        seed: The seed of which are held out, of the network's first weights and of the order.
        device: Where to train, and to look at images later.

    Raises:
        DataError: If the images have no labels, or only one class, or there are fewer than 20 of them.
    """
    if train.labels is None:
        raise DataError(f"{train.name}: features are learned from classes, and these images have no labels")
    if int(train.labels.min()) == int(train.labels.max()):
        raise DataError(f"{train.name}: features are learned from classes, and these images have only one")
    if len(train) < MIN_IMAGES:
        raise DataError(f"{train.name}: features are learned on {MIN_IMAGES} images or more, and there are {len(train)}")
    path = cache_folder() / "features" / f"{CNN}-{_key(train, seed)}.safetensors"
    try:
        classifier, facts = _read(path)
    except (*DAMAGED, OSError, safetensors.SafetensorError, RuntimeError) as error:  # the last for weights that do not fit
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            notify(f"{path}: damaged; learning these features anew")
        classifier, facts = _learn(train, seed, torch.device(device))
        _write(path, classifier, facts)
    return LearnedFeatures(classifier.to(device), facts)


def _learn(train: ImageSet, seed: int, device: torch.device) -> tuple[Classifier, Facts]:
    """Trains a classifier on most of the images and measures it on the rest."""
    assert train.labels is not None
    rest, held = hold_out(train, HELD_OUT, seed=seed, splits=(train.split, "held out"))
    num_classes = int(train.labels.max()) + 1
    with fixed_seed(seed):
        classifier = Classifier(train.shape, num_classes).to(device)
    batches = Batches(rest, min(BATCH, len(rest)), seed=seed, device=device, transform=_moved)
    num_steps = min(max(EPOCHS * len(batches), MIN_STEPS), MAX_STEPS)
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=num_steps)
    more_than_one = filter(lambda batch: len(batch) > 1, chain.from_iterable(repeat(batches)))  # one has no variance
    steps = islice(more_than_one, num_steps)
    for batch in track(steps, f"learning features of {train.name}", num_steps):
        assert batch.y is not None
        loss = F.cross_entropy(classifier(to_unit_interval(batch.x)), batch.y, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    classifier.eval()
    facts = Facts(
        name=train.name,
        split=train.split,
        pixels=train.binary or "gray levels",
        shape=train.shape,
        num_classes=num_classes,
        num_train=len(rest),
        num_held=len(held),
        accuracy=_accuracy(classifier, held, device),
        weights=_hash(classifier),
    )
    return classifier, facts


def _accuracy(classifier: Classifier, images: ImageSet, device: torch.device) -> float:
    """The share of images whose class it names."""
    assert images.labels is not None
    right = 0
    with torch.no_grad():
        for positions in torch.arange(len(images)).split(CHUNK):
            named = classifier(to_unit_interval(images.gather(positions).to(device))).argmax(1)
            right += int((named.cpu() == images.labels[positions]).sum())
    return right / len(images)


def _moved(x: Tensor, noise: Generator) -> Tensor:
    """Images of shape (B, C, H, W), each moved by a few pixels; what is uncovered gets the border's colors."""
    num, channels, height, width = x.shape
    device = x.device

    def places(side: int) -> Tensor:
        most = round(SHIFT * side)
        shifts = torch.randint(-most, most + 1, (num, 1), generator=noise, device=device)
        return (torch.arange(side, device=device) + shifts).clamp(0, side - 1)

    rows, columns = places(height), places(width)
    which, maps = torch.arange(num, device=device), torch.arange(channels, device=device)
    return x[which[:, None, None, None], maps[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def _channels(shape: tuple[int, int, int]) -> list[int]:
    """How many maps each halving has: 32 and 64, and before them 16, 8, 8, ... for images that need more halvings."""
    channels, side = list(CHANNELS), max(shape[1:])
    while side > SMALL_SIDE * 2 ** len(channels):
        channels.insert(0, max(channels[0] // 2, MIN_CHANNELS))
    return channels


def _key(train: ImageSet, seed: int) -> str:
    """A hash of all that decides what is learned."""
    assert train.labels is not None
    digest = hashlib.sha256(json.dumps([VERSION, seed, train.shape, len(train)]).encode())
    for positions in torch.arange(len(train)).split(1024):
        digest.update(train.gather(positions).cpu().contiguous().numpy().data)
    digest.update(train.labels.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _weights(classifier: Classifier) -> dict[str, Tensor]:
    """All weights as they are written."""
    return {key: value.cpu().contiguous() for key, value in classifier.state_dict().items()}


def _hash(classifier: Classifier) -> str:
    """A hash of all weights."""
    return hashlib.sha256(save(_weights(classifier))).hexdigest()[:16]


def _write(path: Path, classifier: Classifier, facts: Facts) -> None:
    """Writes a classifier, with its facts in the metadata; a reader never sees a half-written file.

    Raises:
        DataError: If the cache cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(save(_weights(classifier), {"facts": json.dumps(asdict(facts))}))
        os.replace(beside, path)
    except OSError as error:
        if beside.exists():
            beside.unlink()
        raise DataError(
            f"{path.parent}: the cache cannot be written ({error.strerror or error}); set VAEKIT_CACHE to a folder that can"
        ) from None


def _read(path: Path) -> tuple[Classifier, Facts]:
    """Reads a classifier.

    Raises:
        Exception: FileNotFoundError if there is none, or another of those that are caught above if it is not as written.
    """
    with safetensors.safe_open(path, "pt") as file:
        data = json.loads(file.metadata()["facts"])
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dictionary
    facts = Facts(**data | {"shape": tuple(data["shape"])})
    classifier = Classifier(facts.shape, facts.num_classes)
    classifier.load_state_dict(weights)
    if _hash(classifier) != facts.weights:
        raise ValueError("its weights are not those that were written")
    return classifier, facts
