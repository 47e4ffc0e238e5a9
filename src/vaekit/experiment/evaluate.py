"""``vaekit.evaluate`` and ``vae evaluate``: the evaluation of a run on its test images, or on other images."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from vaekit.core.arguments import Seed, checked
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.evaluation.cost import estimate_seconds, limit_seconds, seconds_per_decoding, seconds_per_feature_vector
from vaekit.evaluation.evaluation_config import FULL, EvaluationConfig
from vaekit.evaluation.evaluation_result import Evaluation
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples.features import FeatureExtractor
from vaekit.evaluation.samples.inception import inception_features, refusal
from vaekit.models import Model
from vaekit.runs.run_folder import RunFolder
from vaekit.training import find_device

Features = Literal["cnn", "inception"]
"""The features for fidelity: learned from the training images, or those of Inception, for the FID."""


@dataclass(frozen=True)
class EvaluationInputs:
    """What an evaluation of a run needs, loaded once.

    Arguments:
        model: The model.
        images: The images to evaluate on.
        train: The training images; None for a model folder, or for images other than the run's.
        gray: The images and the training images before binarization; None if there are no training images.
        extractor: The features for fidelity; None to learn them from the training images.
    """

    model: Model
    images: ImageSet
    train: ImageSet | None = None
    gray: tuple[ImageSet, ImageSet] | None = None
    extractor: FeatureExtractor | None = None

    def evaluate(self, config: EvaluationConfig, seed: int = 0) -> Evaluation:
        """Evaluates the model."""
        return evaluate_model(
            self.model,
            self.images,
            train=self.train,
            gray=self.gray,
            extractor=self.extractor,
            config=config,
            seed=seed,
        )

    def limited(self, config: EvaluationConfig, max_seconds: float) -> EvaluationConfig:
        """Returns the configuration with fewer images, so that no part takes longer than ``max_seconds`` on this machine."""
        return limit_seconds(config, len(self.images), self._decoding_seconds, max_seconds)

    def seconds(self, config: EvaluationConfig) -> dict[str, float]:
        """Returns the approximate time of each expensive part on this machine, in seconds, by the name of the part."""
        return estimate_seconds(config, len(self.images), self._decoding_seconds, self._feature_seconds)

    @cached_property
    def _decoding_seconds(self) -> float:
        return seconds_per_decoding(self.model, self.images)

    @cached_property
    def _feature_seconds(self) -> float:
        return 0.0 if self.extractor is None else seconds_per_feature_vector(self.extractor, self.images)


@checked(DataError)
def evaluate(
    run: RunFolder | str | Path,
    *,
    data: str | Path | None = None,
    config: EvaluationConfig = FULL,
    features: Features = "cnn",
    seed: Seed = 0,
    device: str = "cpu",
) -> Evaluation:
    """Evaluates a run by all estimators; :func:`vaekit.evaluate_model` does so for a model and a data set in memory.

    Arguments:
        run: A run, its folder, a model folder, or a hub id.
        data: Images other than the run's test images: a name, folder, array or hub id.
        config: The numbers of images and samples, e.g. :data:`vaekit.evaluation.evaluation_config.QUICK`.
        features: The features for fidelity: ``cnn`` are learned from the training images, ``inception`` gives the FID.
        seed: The seed of all samples.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        VaekitError: If the run, the images, the device or the weights of Inception are missing, or Inception does not take
            the images.

    Example:
        >>> evaluation = vaekit.evaluate("runs/mnist-mlp")
        >>> evaluation.metrics["log_likelihood"].value
    """
    return load_inputs(run, data=data, features=features, device=device).evaluate(config, seed)


def load_inputs(
    run: RunFolder | str | Path, *, data: str | Path | None = None, features: Features = "cnn", device: str = "cpu"
) -> EvaluationInputs:
    """Loads the model and the images of an evaluation; arguments and errors of :func:`evaluate`."""
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    model, images = folder.model.to(find_device(device)), folder.images(data)
    train, gray = None, None
    if data is None and folder.has_recipe:
        train = folder.images(split="train")
        gray = folder.images(binarized=False), folder.images(split="train", binarized=False)
    if features == "inception" and train is None:
        raise DataError("an FID compares with training images, and there are none; name a run folder, and no --data")
    if features == "inception" and images.shape[0] not in (1, 3):  # before its weights are looked for
        raise DataError(refusal(images.shape[0]))
    extractor = inception_features(model.device) if features == "inception" else None
    return EvaluationInputs(model, images, train, gray, extractor)
