"""Every honest number of a model, in one call."""

from typing import Any

from vaekit.data import ImageSet
from vaekit.evaluation.latents import active_units
from vaekit.evaluation.likelihood import bits_per_dimension, elbo_terms, log_likelihood, meaning
from vaekit.evaluation.reconstruction import reconstruction_quality
from vaekit.models import VAE


def evaluate(
    model: VAE, images: ImageSet, *, num_samples: int = 100, max_pictures: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Evaluates a model on pictures.

    Arguments:
        model: The model.
        images: The pictures, binarised if the model's likelihood is to be one of binary pixels.
        num_samples: K of the importance-weighted estimate of log p(x); 0 leaves it out.
        max_pictures: How many pictures, from the first on, that estimate is made for; None for all.
        seed: The seed of everything that is drawn.

    Returns:
        A dictionary that JSON can hold: ``data`` and ``meaning`` say what the numbers are, and each number comes with its
        standard error, unit and counts.
    """
    numbers: dict[str, Any] = {
        "data": {
            "name": images.name,
            "split": images.split,
            "num_pictures": len(images),
            "shape": list(images.shape),
            "pixels": images.binary or "grey levels",
            "fingerprint": images.fingerprint,
        },
        "meaning": meaning(model, images),
    }
    terms = elbo_terms(model, images, seed=seed)
    numbers |= {name: estimate.to_data() for name, estimate in terms.items()}
    if model.likelihood.measure == "mass" and model.likelihood.support == "grey levels":
        numbers["bits_per_dim"] = bits_per_dimension(terms["elbo"], images).to_data()
    if num_samples:
        part = images if max_pictures is None else images.first(max_pictures)
        numbers["log_likelihood"] = log_likelihood(model, part, num_samples=num_samples, seed=seed).to_data()
    numbers["active_units"] = active_units(model, images)
    numbers |= {name: estimate.to_data() for name, estimate in reconstruction_quality(model, images).items()}
    return numbers
