"""The final numbers as people read them: what each is called, what it means, and how it is written."""

from collections.abc import Mapping
from typing import Any

MEANINGS = {
    "elbo": ("ELBO", "A lower bound of log p(x): how probable the model finds a picture it never saw. Higher is better."),
    "distortion": ("distortion", "What is lost by drawing a picture from its latents: −E log p(x|z). Lower is better."),
    "rate": (
        "rate",
        "What the latents say about a picture beyond the prior: KL(q(z|x) ‖ p(z)). ELBO = −(distortion + rate).",
    ),
    "bits_per_dim": ("bits/dim", "The ELBO as the bits that each number of a picture costs. Lower is better."),
    "log_likelihood": ("log p(x)", "A tighter bound than the ELBO, by importance sampling. Higher is better."),
    "active_units": ("active latents", "Latents whose posterior mean moves with the picture; the others carry nothing."),
    "psnr": ("PSNR", "How near reconstructions are to their pictures, in decibels of squared error. Higher is better."),
    "ssim": ("SSIM", "How alike reconstructions and pictures are in structure; 1 is equal. Higher is better."),
}
"""The final numbers, each with its name and what it means."""
HIGHER_IS_BETTER = ("elbo", "log_likelihood", "psnr", "ssim")


def value_of(key: str, number: Mapping[str, Any]) -> str:
    """Returns a number with its standard error."""
    if key == "active_units":
        return f"{number['value']} of {number['of']}"
    digits = 4 if key in ("ssim", "bits_per_dim") else 2
    value = f"{number['value']:.{digits}f}"
    return f"{value} ± {number['standard_error']:.{digits}f}" if "standard_error" in number else value


def unit_of(key: str, number: Mapping[str, Any]) -> str:
    """Returns the unit of a number, and what it rests on where that is not said elsewhere."""
    if key == "active_units":
        return f"variance over {number['threshold']:g}"
    unit = "" if key == "ssim" else str(number["unit"])
    if key == "log_likelihood":
        return f"{unit}, {number['num_samples']:,} samples each, first {number['num_pictures']:,} pictures"
    return unit


def duration(seconds: float) -> str:
    """Returns a time that people read, e.g. ``12 min 4 s``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
