"""The time that an evaluation takes: the number of decoded images of its expensive parts, times the measured time per image.

The gradient with respect to z counts as a second decoding, since no gradient of the weights is computed. Features are
counted for Inception only. The other parts take one pass over the images each, and are not counted.
"""

import time
from dataclasses import replace
from typing import Any

import torch

from vaekit.core.units import to_unit_interval
from vaekit.data import Dataset, ImageSet
from vaekit.evaluation.estimate import batches
from vaekit.evaluation.evaluation_config import EvaluationConfig
from vaekit.evaluation.likelihood.amortization import NUM_SAMPLES, NUM_STEP_SAMPLES, NUM_STEPS
from vaekit.evaluation.likelihood.annealing import NUM_ADAPTATION_IMAGES
from vaekit.evaluation.samples.features import FeatureExtractor
from vaekit.models import Model

NUM_TIMED_DECODINGS = 50
"""The number of images that are decoded to measure the time per image."""
NUM_TIMED_FEATURES = 10
"""The number of images whose features are computed to measure the time per image."""
NUM_FEATURE_SETS = 5
"""The number of sets that fidelity compares: training images, test images, reconstructions, samples and noise."""


def num_decodings(config: EvaluationConfig, num_images: int) -> dict[str, int]:
    """Returns the number of images that each part decodes, by the name of the part, for a set of ``num_images``."""
    annealing = config.annealing
    num_annealed, num_refined = min(config.num_annealed, num_images), min(config.num_refined, num_images)
    num_iw = 0 if config.max_images == 0 else min(config.max_images or num_images, num_images)
    # forward on the data, forward and backward on samples of the model, and the two adaptations
    num_paths = 3 * num_annealed + 2 * min(num_annealed, NUM_ADAPTATION_IMAGES)
    num_steps = annealing.num_distributions * annealing.num_leapfrog_steps
    return {
        "importance samples": config.num_samples * num_iw,
        "annealing": num_paths * annealing.num_chains * num_steps * 2,
        "refinement": num_refined * (NUM_STEPS * NUM_STEP_SAMPLES * 2 + 2 * NUM_SAMPLES),
    }


def estimate_seconds(
    config: EvaluationConfig, num_images: int, decoding_seconds: float, feature_seconds: float = 0.0
) -> dict[str, float]:
    """Returns the approximate time of each part that takes any, in seconds, by the name of the part.

    Arguments:
        config: The configuration.
        num_images: The number of images in the data set.
        decoding_seconds: The time to decode one image.
        feature_seconds: The time to compute the features of one image.
    """
    seconds = {part: num * decoding_seconds for part, num in num_decodings(config, num_images).items()}
    seconds["features"] = NUM_FEATURE_SETS * min(config.num_compared, num_images) * feature_seconds
    return {part: value for part, value in seconds.items() if value}


def limit_seconds(
    config: EvaluationConfig, num_images: int, decoding_seconds: float, max_seconds: float
) -> EvaluationConfig:
    """Returns the configuration with fewer images, possibly 0, so that no part takes longer than ``max_seconds``."""
    fields = {"importance samples": "max_images", "annealing": "num_annealed", "refinement": "num_refined"}
    for part, field in fields.items():
        current: int | None = getattr(config, field)
        num = num_images if current is None else min(current, num_images)
        changes: list[dict[str, Any]] = [{}, *({field: fewer} for fewer in range(num - 1, -1, -1))]
        configs = (replace(config, **change) for change in changes)
        config = next(
            each for each in configs if estimate_seconds(each, num_images, decoding_seconds).get(part, 0.0) <= max_seconds
        )
    return config


def seconds_per_decoding(model: Model, data: Dataset) -> float:
    """Measures the time to decode one image in a batch, on the model's device."""
    with model.inference():
        x, labels = next(batches(model, data, max_batch_size=NUM_TIMED_DECODINGS))
        z = torch.zeros(len(x), model.latent_dim, device=model.device)
        for _ in range(2):  # the first call is slower
            start = time.monotonic()
            float(model.decode(z, labels).mean.sum())  # waits for an accelerator
            seconds = time.monotonic() - start
    return seconds / len(x)


def seconds_per_feature_vector(extractor: FeatureExtractor, images: ImageSet) -> float:
    """Measures the time to compute the features of one image in a batch."""
    pixels = to_unit_interval(images.gather(torch.arange(min(NUM_TIMED_FEATURES, len(images)))))
    for _ in range(2):  # the first call is slower
        start = time.monotonic()
        float(extractor(pixels).sum())  # waits for an accelerator
        seconds = time.monotonic() - start
    return seconds / len(pixels)
