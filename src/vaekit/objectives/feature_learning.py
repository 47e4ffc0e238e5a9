r"""Features learned from images without labels, by contrastive learning, and kept in a cache.

Two random crops of each image of a batch are embedded, :math:`u_i` and :math:`v_i` of length 1, and each has to find its
partner among those of all other images:

.. math:: \ell = -\frac{1}{2B} \sum_i \log \frac{e^{u_i \cdot v_i / \tau}}{\sum_j e^{u_i \cdot v_j / \tau}}
    + \log \frac{e^{u_i \cdot v_i / \tau}}{\sum_j e^{u_j \cdot v_i / \tau}}

The crops differ in place, scale, orientation, brightness and contrast, and not in blur or noise: a perceptual loss has to
see these.

References:
    | A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020),
      https://arxiv.org/abs/2002.05709
"""

import hashlib
import json
from itertools import chain, islice, repeat
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Generator, Tensor, nn

from vaekit.core.errors import DataError
from vaekit.core.files import atomic_path
from vaekit.core.processes import on_main
from vaekit.core.progress import notify, track
from vaekit.core.rng import fixed_seed, generator
from vaekit.core.units import to_unit_interval
from vaekit.data import Batches, ImageSet
from vaekit.data.cache import cache_folder
from vaekit.objectives.feature_network import STAGES, FeatureNetwork

VERSION = 1
"""The version of the network and of its training; cached weights of other versions are not read."""
SEED = 0
MIN_IMAGES = 20
"""The smallest number of images to learn features from."""
BATCH_SIZE, NUM_STEPS, LEARNING_RATE, WEIGHT_DECAY = 48, 300, 2e-3, 1e-4
TEMPERATURE = 0.2
"""The temperature of the loss."""
MAX_CROP, MIN_SCALE = 64, 0.4
"""The largest side of a crop in pixels, and the smallest share of the sides of the image that it shows."""
BRIGHTNESS, CONTRAST = 0.2, 0.3
EMBEDDING = 64


def learned_network(images: ImageSet, device: torch.device) -> FeatureNetwork:
    """Learns the features of images, or loads them from the cache; the network is frozen.

    The cache is ``$VAEKIT_CACHE/features``; its key is a hash of the images. Labels are not used. Training takes one or two
    minutes on one core.

    Arguments:
        images: The training images.
        device: The device to train on and to use the network on.

    Raises:
        DataError: If there are fewer than 20 images, or the cache cannot be written.
    """
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{images.name}: the feature loss learns from at least {MIN_IMAGES} images, got {len(images)}; give more, or "
            "leave it out with --set objective.features=0"
        )
    path = cache_folder() / "features" / f"contrastive-{_cache_key(images)}.safetensors"
    with fixed_seed(SEED):  # the generators stay equal in all processes, and do not depend on whether the cache has a file
        on_main(lambda: _ensure(path, images, device))
        network = FeatureNetwork(images.shape[0])
    _load(network, path)
    notify(
        f"{images.name}: the feature loss is that of a small convolutional network that learned from these {len(images):,} "
        "images (contrastive learning, no labels); it is not LPIPS"
    )
    return network.to(device).eval().requires_grad_(False)


def _ensure(path: Path, images: ImageSet, device: torch.device) -> None:
    """Writes the weights, unless they are there."""
    try:
        _load(FeatureNetwork(images.shape[0]), path)
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            notify(f"{path}: damaged; learning these features again")
        _write(path, learn(images, device))


def learn(images: ImageSet, device: torch.device) -> FeatureNetwork:
    """Trains a network on images, on a device."""
    width = STAGES[-1][-1]
    with fixed_seed(SEED):
        network = FeatureNetwork(images.shape[0]).to(device)
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, EMBEDDING)).to(device)
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=NUM_STEPS)
    batches = Batches(images, min(BATCH_SIZE, len(images)), seed=SEED, device=device)
    noise = generator(SEED)
    pairs = filter(lambda batch: len(batch) > 1, chain.from_iterable(repeat(batches)))  # one image has no others
    for batch in track(islice(pairs, NUM_STEPS), f"learning features of {images.name}", NUM_STEPS):
        x = to_unit_interval(batch.x)
        u, v = (F.normalize(head(network(random_crops(x, noise))[-1].mean((-2, -1))), dim=-1) for _ in range(2))
        loss = contrastive_loss(u, v)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return network


def contrastive_loss(u: Tensor, v: Tensor) -> Tensor:
    """Returns the loss, a scalar, of embeddings of length 1 of two crops of each image, each with shape (B, E)."""
    logits = u @ v.T / TEMPERATURE
    partners = torch.arange(len(u), device=u.device)
    return 0.5 * (F.cross_entropy(logits, partners) + F.cross_entropy(logits.T, partners))


def random_crops(x: Tensor, noise: Generator) -> Tensor:
    """Returns a random crop of each image of shape (B, C, H, W), resized to at most 64 pixels a side.

    Arguments:
        x: Images on the unit interval.
        noise: A generator on the CPU.
    """
    num = len(x)

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(num, generator=noise)).to(x.device)

    scale = uniform(MIN_SCALE, 1.0)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    shift_x, shift_y = uniform(-1, 1) * (1 - scale), uniform(-1, 1) * (1 - scale)
    zero = torch.zeros_like(scale)
    rows = torch.stack([torch.stack([mirror * scale, zero, shift_x], -1), torch.stack([zero, scale, shift_y], -1)], 1)
    size = [num, x.shape[1], *(min(side, MAX_CROP) for side in x.shape[2:])]
    crops = F.grid_sample(x, F.affine_grid(rows, size, align_corners=False), padding_mode="border", align_corners=False)
    gain, offset = uniform(1 - CONTRAST, 1 + CONTRAST), uniform(-BRIGHTNESS, BRIGHTNESS)
    return ((crops - 0.5) * gain[:, None, None, None] + 0.5 + offset[:, None, None, None]).clamp(0, 1)


def _cache_key(images: ImageSet) -> str:
    """A hash of everything that determines the features."""
    digest = hashlib.sha256(json.dumps([VERSION, images.shape, len(images)]).encode())
    for positions in torch.arange(len(images)).split(1024):
        digest.update(images.gather(positions).cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _load(network: FeatureNetwork, path: Path) -> None:
    """Loads the weights of a network.

    Raises:
        Exception: FileNotFoundError if there are none, or any exception that :func:`_ensure` catches if they are damaged.
    """
    network.load_state_dict(load_file(path))


def _write(path: Path, network: FeatureNetwork) -> None:
    """Writes the weights of a network.

    Raises:
        DataError: If the cache cannot be written.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            partial.write_bytes(save(weights))
    except OSError as error:
        raise DataError(
            f"{path.parent}: the cache cannot be written ({error.strerror or error}); "
            "set VAEKIT_CACHE to a folder that can be written"
        ) from None
