"""How long an evaluation will take: how often its dear parts decode a picture, times what that takes here.

A gradient with respect to z counts as a second decoding, since none of the weights has one. To look at pictures is dear
with Inception alone. The rest of an evaluation, one pass over the pictures a part, is left out: it is over in seconds for
small models, and is not what one waits for.
"""

import time
from dataclasses import replace
from typing import Any

import torch

from vaekit.data import ImageSet
from vaekit.evaluation.annealing import PILOT
from vaekit.evaluation.estimates import batches
from vaekit.evaluation.evaluate import Effort
from vaekit.evaluation.features import FeatureExtractor
from vaekit.evaluation.refinement import DRAWS, NUM_SAMPLES, STEPS
from vaekit.models import VAE
from vaekit.units import to_unit_interval

TIMED = 50
"""How many pictures are decoded at once to see how long one takes."""
TIMED_LOOKS = 10
"""How many pictures are looked at for the same."""
LOOKED_AT = 5
"""How many sets of pictures are looked at: training pictures, other ones, reconstructions, samples, noise."""


def decodings(effort: Effort, num_pictures: int) -> dict[str, int]:
    """Returns how many pictures each part decodes, by its name, of a set of so many."""
    how, annealed, refined = effort.annealing, min(effort.annealed, num_pictures), min(effort.refined, num_pictures)
    weighed = 0 if effort.max_pictures == 0 else min(effort.max_pictures or num_pictures, num_pictures)
    chains = 3 * annealed + 2 * min(annealed, PILOT)  # to the posterior, there and back with dreams, and both pilots
    return {
        "importance samples": effort.num_samples * weighed,
        "annealing": chains * how.chains * how.distributions * how.leapfrog * 2,
        "refinement": refined * (STEPS * DRAWS * 2 + 2 * NUM_SAMPLES),
    }


def forecast(effort: Effort, num_pictures: int, seconds: float, look: float = 0.0) -> dict[str, float]:
    """Returns how many seconds each part will take, about, by name, if a decoding and a look at a picture take so many."""
    waits = {part: num * seconds for part, num in decodings(effort, num_pictures).items()}
    waits["features"] = LOOKED_AT * min(effort.compared, num_pictures) * look
    return {part: wait for part, wait in waits.items() if wait}


def shortened(effort: Effort, num_pictures: int, seconds: float, most: float) -> Effort:
    """Returns an effort with so few pictures, none if need be, that no part takes longer than ``most`` seconds."""
    for part, field in (("importance samples", "max_pictures"), ("annealing", "annealed"), ("refinement", "refined")):
        given: int | None = getattr(effort, field)
        asked = num_pictures if given is None else min(given, num_pictures)
        fewer: list[dict[str, Any]] = [{field: num} for num in range(asked, -1, -1)]
        takes = (forecast(replace(effort, **change), num_pictures, seconds).get(part, 0.0) for change in fewer)
        first = next(index for index, wait in enumerate(takes) if wait <= most)
        effort = replace(effort, **fewer[first]) if first else effort
    return effort


def seconds_per_decoding(model: VAE, images: ImageSet) -> float:
    """Measures how long it takes to decode a picture, in a batch, where the model lives."""
    with model.inference():
        x, labels = next(batches(model, images, most=TIMED))
        z = torch.zeros(len(x), model.latent_dim, device=model.device)
        for _ in range(2):  # the first call is slower
            begun = time.monotonic()
            float(model.decode(z, labels).mean.sum())  # waits for an accelerator
            seconds = time.monotonic() - begun
    return seconds / len(x)


def seconds_per_look(extractor: FeatureExtractor, images: ImageSet) -> float:
    """Measures how long an extractor takes for a picture, in a batch."""
    pictures = to_unit_interval(images.gather(torch.arange(min(TIMED_LOOKS, len(images)))))
    for _ in range(2):  # the first call is slower
        begun = time.monotonic()
        float(extractor(pictures).sum())  # waits for an accelerator
        seconds = time.monotonic() - begun
    return seconds / len(pictures)
