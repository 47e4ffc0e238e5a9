"""Features learned from labeled training images, kept in a cache.

A small convolutional network is trained to classify the training images; its last hidden layer gives the features. Features
learned on a data set separate its classes better than those of a network trained on photographs.

References:
    | An Improved Evaluation Framework for Generative Adversarial Networks (Liu et al., 2018),
      https://arxiv.org/abs/1803.07474
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.files import atomic_path
from vaekit.core.progress import notify
from vaekit.data import ImageSet, hold_out
from vaekit.data.cache import cache_folder
from vaekit.data.sealed_json import DAMAGED
from vaekit.evaluation.samples.feature_classifier import CHUNK_SIZE, DIM, Classifier, accuracy, train_classifier
from vaekit.evaluation.samples.features import FeatureExtractor

CNN = "cnn"
"""The name of learned features."""
VERSION = 1
"""The version of the network and of its training; cached features of other versions are not read."""
MIN_IMAGES = 20
"""The smallest number of images to learn features from."""
HELD_OUT = 0.1
"""The share of the training images that is held out to measure the accuracy."""


@dataclass(frozen=True)
class ClassifierInfo:
    """The training data and the accuracy of a classifier; written as metadata beside its weights.

    Arguments:
        name: The name of the images.
        split: Their split.
        pixels: ``gray levels``, or how they were binarized.
        shape: Their shape (C, H, W).
        num_classes: The number of classes.
        num_train: The number of images that it was trained on.
        num_held: The number of held-out images.
        accuracy: The share of the held-out images that it classifies correctly.
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
    """The last hidden layer of a classifier; create it by :func:`learned_features`.

    Arguments:
        classifier: The trained classifier.
        info: Its training data and accuracy.
    """

    name = CNN
    dim = DIM

    def __init__(self, classifier: Classifier, info: ClassifierInfo) -> None:
        self.classifier = classifier.eval().requires_grad_(False)
        self.info = info
        self.description = (
            f"{DIM} features of a small convolutional network trained on {info.num_train:,} images of {info.name} "
            f"({info.split}, {info.pixels}), with accuracy {info.accuracy:.2%} on {info.num_held:,} held-out images; "
            f"weights {info.weights}"
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Returns features of shape (B, 128).

        Raises:
            DataError: If the shape of the images is not the one that the features were learned on.
        """
        if tuple(images.shape[1:]) != self.info.shape:
            raise DataError(f"the features were learned on images of {self.info.shape}, got {tuple(images.shape[1:])}")
        device = self.classifier.classes.weight.device
        with torch.no_grad():
            return torch.cat([self.classifier.features(chunk.to(device)) for chunk in images.split(CHUNK_SIZE)])


def learned_features(train: ImageSet, *, seed: int = 0, device: str | torch.device = "cpu") -> LearnedFeatures:
    """Learns features of labeled images, or loads them from the cache.

    The cache is ``$VAEKIT_CACHE/features``; its key is a hash of the images, their labels and the seed. Training takes one
    or two minutes for 60,000 images of 28 x 28 pixels on one core.

    Arguments:
        train: The images, gray or binarized.
        seed: The seed of the held-out images, of the initial weights and of the order of the images.
        device: The device to train on and to compute features on.

    Raises:
        DataError: If the images have no labels or only one class, if there are fewer than 20 images, or if the cache cannot
            be written.
    """
    if train.labels is None:
        raise DataError(f"{train.name}: features are learned from classes, and these images have no labels")
    if int(train.labels.min()) == int(train.labels.max()):
        raise DataError(f"{train.name}: features are learned from classes, and these images have only one class")
    if len(train) < MIN_IMAGES:
        raise DataError(f"{train.name}: features are learned from at least {MIN_IMAGES} images, got {len(train)}")
    path = cache_folder() / "features" / f"{CNN}-{_cache_key(train, seed)}.safetensors"
    try:
        classifier, info = _read(path)
    except (*DAMAGED, OSError, safetensors.SafetensorError, RuntimeError) as error:  # RuntimeError: weights that do not fit
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            notify(f"{path}: damaged; learning these features again")
        classifier, info = _learn(train, seed, torch.device(device))
        _write(path, classifier, info)
    return LearnedFeatures(classifier.to(device), info)


def _learn(train: ImageSet, seed: int, device: torch.device) -> tuple[Classifier, ClassifierInfo]:
    """Trains a classifier on most of the images and measures its accuracy on the held-out ones."""
    assert train.labels is not None
    rest, held_out = hold_out(train, HELD_OUT, seed=seed, splits=(train.split, "held out"))
    num_classes = int(train.labels.max()) + 1
    classifier = train_classifier(
        rest, num_classes, seed=seed, device=device, description=f"learning features of {train.name}"
    )
    info = ClassifierInfo(
        name=train.name,
        split=train.split,
        pixels=train.binary or "gray levels",
        shape=train.shape,
        num_classes=num_classes,
        num_train=len(rest),
        num_held=len(held_out),
        accuracy=accuracy(classifier, held_out),
        weights=_hash(classifier),
    )
    return classifier, info


def _cache_key(train: ImageSet, seed: int) -> str:
    """A hash of everything that determines the features."""
    assert train.labels is not None
    digest = hashlib.sha256(json.dumps([VERSION, seed, train.shape, len(train)]).encode())
    for positions in torch.arange(len(train)).split(1024):
        digest.update(train.gather(positions).cpu().contiguous().numpy().data)
    digest.update(train.labels.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _weights(classifier: Classifier) -> dict[str, Tensor]:
    return {key: value.cpu().contiguous() for key, value in classifier.state_dict().items()}


def _hash(classifier: Classifier) -> str:
    return hashlib.sha256(save(_weights(classifier))).hexdigest()[:16]


def _write(path: Path, classifier: Classifier, info: ClassifierInfo) -> None:
    """Writes a classifier, with its info as metadata.

    Raises:
        DataError: If the cache cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            partial.write_bytes(save(_weights(classifier), {"facts": json.dumps(asdict(info))}))
    except OSError as error:
        raise DataError(
            f"{path.parent}: the cache cannot be written ({error.strerror or error}); "
            "set VAEKIT_CACHE to a folder that can be written"
        ) from None


def _read(path: Path) -> tuple[Classifier, ClassifierInfo]:
    """Reads a classifier.

    Raises:
        Exception: FileNotFoundError if there is none, or any exception that :func:`learned_features` catches if the file is
            damaged.
    """
    with safetensors.safe_open(path, "pt") as file:
        data = json.loads(file.metadata()["facts"])
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    info = ClassifierInfo(**data | {"shape": tuple(data["shape"])})
    classifier = Classifier(info.shape, info.num_classes)
    classifier.load_state_dict(weights)
    if _hash(classifier) != info.weights:
        raise ValueError("the weights do not match their hash")
    return classifier, info
