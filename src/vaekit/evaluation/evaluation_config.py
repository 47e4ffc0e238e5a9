"""The configuration of an evaluation, and presets."""

from dataclasses import dataclass, field

from vaekit.core.arguments import NumOrZero, require_fields
from vaekit.core.errors import ConfigError
from vaekit.evaluation.likelihood.annealing import Annealing


@dataclass(frozen=True)
class EvaluationConfig:
    """How many images and samples an evaluation uses.

    The images of each part are a random sample of the set. A number of images of 0 leaves the part out.

    Arguments:
        num_samples: K of the importance-weighted bound of log p(x); 0 leaves it out.
        max_images: The number of images for that bound; None for all.
        annealing: The settings of annealed importance sampling.
        num_annealed: The number of images for annealed importance sampling, and of sampled images for its bracket.
        num_refined: The number of images for the amortization gap.
        num_aggregated: The number of images for the decomposition of the rate.
        num_compared: The number of images of each set for the fidelity of samples.
        num_probed: The number of training images, and of test images, for downstream tasks.

    Raises:
        ConfigError: If a number is none, or negative.
    """

    num_samples: NumOrZero = 5000
    max_images: NumOrZero | None = 1000
    annealing: Annealing = field(default_factory=lambda: Annealing(num_chains=8, num_distributions=300))
    num_annealed: NumOrZero = 100
    num_refined: NumOrZero = 200
    num_aggregated: NumOrZero = 10_000
    num_compared: NumOrZero = 5000
    num_probed: NumOrZero = 10_000

    def __post_init__(self) -> None:
        require_fields(self, ConfigError)


FULL = EvaluationConfig()
"""All parts. It takes minutes for a small model."""
QUICK = EvaluationConfig(
    num_samples=500,
    max_images=200,
    annealing=Annealing(num_chains=8, num_distributions=100),
    num_annealed=20,
    num_refined=50,
    num_aggregated=2000,
    num_compared=1000,
    num_probed=2000,
)
"""All parts with fewer images and samples, so with larger standard errors. It takes about a minute for a small model."""
BRIEF = EvaluationConfig(num_samples=100, num_annealed=0, num_refined=0, num_aggregated=0, num_compared=0, num_probed=0)
"""The bounds, the active latents and the reconstructions only, as at the end of training."""
