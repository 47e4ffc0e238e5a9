"""The results of an evaluation, and the metrics in it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vaekit.data import Dataset, ImageSet
from vaekit.evaluation.estimate import Estimate, Metric
from vaekit.evaluation.latents import code_use, encodings
from vaekit.evaluation.latents.aggregate_posterior import RateDecomposition
from vaekit.evaluation.latents.collapse import CollapseReport
from vaekit.evaluation.latents.downstream import DownstreamScores
from vaekit.evaluation.latents.encodings import LatentCount
from vaekit.evaluation.likelihood import amortization, annealing, bounds
from vaekit.evaluation.likelihood.annealing import Bracket
from vaekit.evaluation.likelihood.conditional import NUM_CLASSES
from vaekit.evaluation.samples import reconstruction
from vaekit.evaluation.samples.fidelity import Fidelity

METRICS: dict[str, Metric] = {
    metric.key: metric
    for module in (bounds, annealing, amortization, encodings, code_use, reconstruction)
    for metric in module.METRICS
}
"""The metrics of :attr:`Evaluation.metrics` by key, in the order in which they are printed."""


@dataclass(frozen=True)
class EvaluatedData:
    """The data set of an evaluation.

    Arguments:
        name: The name of the data set.
        split: The split.
        num_images: N, the number of images.
        shape: The shape of an image.
        pixels: ``gray levels``, how they were binarized, or the type of values that are no pixels.
        fingerprint: The hash of the data.
    """

    name: str
    split: str
    num_images: int
    shape: tuple[int, ...]
    pixels: str
    fingerprint: str

    @classmethod
    def of(cls, data: Dataset) -> "EvaluatedData":
        """Describes a data set."""
        dtype = str(data.store.dtype).removeprefix("torch.")
        pixels = (data.binary or "gray levels") if isinstance(data, ImageSet) else dtype
        return cls(data.name, data.split, len(data), data.shape, pixels, data.fingerprint)

    def to_data(self) -> dict[str, Any]:
        """Returns the description as a dictionary for JSON."""
        return asdict(self) | {"shape": list(self.shape)}


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Arguments:
        data: The data set.
        meaning: What the model's log-probabilities of the data are, in one line.
        metrics: Estimates by the keys of :data:`METRICS`.
        left_out: The reason for each part that the model or the data does not allow.
        skipped: The name and the reason of each image that could not be read, of the data set and of the training images.
        num_classes: The number of classes, if the log-probabilities are those of images given their class.
        bracket: The two bounds of bidirectional Monte Carlo.
        latents: The decomposition of the rate.
        collapse: Whether the model uses its latents.
        fidelity: Comparisons of samples and reconstructions with training images.
        usefulness: The scores of downstream tasks on the latents.
    """

    data: EvaluatedData
    meaning: str
    metrics: Mapping[str, Estimate | LatentCount]
    left_out: Mapping[str, str]
    skipped: Sequence[Mapping[str, str]] = ()
    num_classes: int | None = None
    bracket: Bracket | None = None
    latents: RateDecomposition | None = None
    collapse: CollapseReport | None = None
    fidelity: Fidelity | None = None
    usefulness: DownstreamScores | None = None

    def to_data(self) -> dict[str, Any]:
        """Returns the results as a dictionary for JSON: each metric under its key, beside the sections that exist."""
        sections = {
            "bracket": self.bracket,
            "latents": self.latents,
            "collapse": self.collapse,
            "fidelity": self.fidelity,
            "usefulness": self.usefulness,
        }
        return {
            "data": self.data.to_data(),
            "meaning": self.meaning,
            **({} if self.num_classes is None else {NUM_CLASSES: self.num_classes}),
            **{key: result.to_data() for key, result in self.metrics.items()},
            **{key: section.to_data() for key, section in sections.items() if section is not None},
            **({"skipped": [dict(image) for image in self.skipped]} if self.skipped else {}),
            **({"left_out": dict(self.left_out)} if self.left_out else {}),
        }
