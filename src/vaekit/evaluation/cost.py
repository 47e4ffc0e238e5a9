"""How long an evaluation will take: how often its dear parts decode an image, times what that takes here.

A gradient with respect to z counts as a second decoding, since none of the weights has one. To look at images is dear
with Inception alone. The rest of an evaluation, one pass over the images a part, is left out: it is over in seconds for
small models, and is not what one waits for.
"""

import time
from dataclasses import replace
from typing import Any

import torch

from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import batches
from vaekit.evaluation.likelihood.amortization import DRAWS, NUM_SAMPLES, STEPS
from vaekit.evaluation.likelihood.annealing import PILOT
from vaekit.evaluation.model_evaluation import EvaluationConfig
from vaekit.evaluation.samples.features import FeatureExtractor
from vaekit.models import VAE

TIMED = 50
"""How many images are decoded at once to see how long one takes."""
TIMED_LOOKS = 10
"""How many images are looked at for the same."""
LOOKED_AT = 5
"""How many sets of images are looked at: training images, other ones, reconstructions, samples, noise."""


def decodings(effort: EvaluationConfig, num_images: int) -> dict[str, int]:
    """Returns how many images each part decodes, by its name, of a set of so many."""
    how, annealed, refined = effort.annealing, min(effort.annealed, num_images), min(effort.refined, num_images)
    weighed = 0 if effort.max_images == 0 else min(effort.max_images or num_images, num_images)
    chains = 3 * annealed + 2 * min(annealed, PILOT)  # to the posterior, there and back with dreams, and both pilots
    return {
        "importance samples": effort.num_samples * weighed,
        "annealing": chains * how.chains * how.distributions * how.leapfrog * 2,
        "refinement": refined * (STEPS * DRAWS * 2 + 2 * NUM_SAMPLES),
    }


def forecast(effort: EvaluationConfig, num_images: int, seconds: float, look: float = 0.0) -> dict[str, float]:
    """Returns how many seconds each part will take, about, by name, if a decoding and a look at an image take so many."""
    waits = {part: num * seconds for part, num in decodings(effort, num_images).items()}
    waits["features"] = LOOKED_AT * min(effort.compared, num_images) * look
    return {part: wait for part, wait in waits.items() if wait}


def shortened(effort: EvaluationConfig, num_images: int, seconds: float, most: float) -> EvaluationConfig:
    """Returns an effort with so few images, none if need be, that no part takes longer than ``most`` seconds."""
    for part, field in (("importance samples", "max_images"), ("annealing", "annealed"), ("refinement", "refined")):
        given: int | None = getattr(effort, field)
        asked = num_images if given is None else min(given, num_images)
        fewer: list[dict[str, Any]] = [{field: num} for num in range(asked, -1, -1)]
        takes = (forecast(replace(effort, **change), num_images, seconds).get(part, 0.0) for change in fewer)
        first = next(index for index, wait in enumerate(takes) if wait <= most)
        effort = replace(effort, **fewer[first]) if first else effort
    return effort


def seconds_per_decoding(model: VAE, images: ImageSet) -> float:
    """Measures how long it takes to decode an image, in a batch, where the model lives."""
    with model.inference():
        x, labels = next(batches(model, images, most=TIMED))
        z = torch.zeros(len(x), model.latent_dim, device=model.device)
        for _ in range(2):  # the first call is slower
            begun = time.monotonic()
            float(model.decode(z, labels).mean.sum())  # waits for an accelerator
            seconds = time.monotonic() - begun
    return seconds / len(x)


def seconds_per_look(extractor: FeatureExtractor, images: ImageSet) -> float:
    """Measures how long an extractor takes for an image, in a batch."""
    pixels = to_unit_interval(images.gather(torch.arange(min(TIMED_LOOKS, len(images)))))
    for _ in range(2):  # the first call is slower
        begun = time.monotonic()
        float(extractor(pixels).sum())  # waits for an accelerator
        seconds = time.monotonic() - begun
    return seconds / len(pixels)
