"""A model whose weights are finite and whose outputs overflow: every command ends with one line."""

from pathlib import Path
from shutil import copytree

import pytest
import torch

from tests.commands import one_line, vae
from tests.test_contracts import make_vae
from vaekit.core.errors import ModelError
from vaekit.data import ImageSet
from vaekit.evaluation.evaluation_config import QUICK
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.latents.encodings import Encodings, encode_images
from vaekit.evaluation.likelihood.bounds import bound_values
from vaekit.evaluation.likelihood.scores import scores
from vaekit.evaluation.model_evaluation import evaluate_model
from vaekit.evaluation.samples.pixel_errors import pixel_errors
from vaekit.evaluation.samples.reconstruction import reconstruction_quality
from vaekit.models import VAE, load_vae, save_vae
from vaekit.presentation.projection import project
from vaekit.runs.run_folder import RunFolder


@pytest.fixture(scope="module")
def overflowing(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs whose encoder or decoder has finite weights of about 1e30."""
    folders = {}
    for part in ("encoder", "decoder"):
        folder = folders[part] = copytree(trained, tmp_path_factory.mktemp("overflow") / part)
        model = load_vae(folder)
        assert isinstance(model, VAE)
        with torch.no_grad():
            for parameter in getattr(model, part).parameters():
                parameter.mul_(1e30)
        save_vae(model, folder, belongs_to=RunFolder(folder).environment["run"])
    return folders


COMMANDS = [
    ("encoder", "map", "means of q"),
    ("encoder", "embed", "means of q"),
    ("encoder", "evaluate --quick", "rates of images"),
    ("encoder", "score", "log-probabilities"),
    ("encoder", "report", "not finite"),
    ("encoder", "rates", "means of q"),
    ("decoder", "sample", "samples"),
    ("decoder", "reconstruct", "reconstructions"),
    ("decoder", "errors", "reconstructions"),
    ("decoder", "traverse", "decoded images"),
    ("decoder", "manifold", "decoded images"),
    ("decoder", "interpolate 1 2", "decoded images"),
    ("decoder", "animate --through 1,2", "decoded images"),
    ("decoder", "evaluate --quick", "distortions of images"),
    ("decoder", "score", "log-probabilities"),
]


@pytest.mark.parametrize(("part", "command", "says"), COMMANDS)
def test_a_command_says_what_is_not_finite(part: str, command: str, says: str, overflowing: dict[str, Path]) -> None:
    name, *rest = command.split()
    one_line(vae(name, overflowing[part], *rest), says, "not finite")


def test_every_estimator_says_what_is_not_finite() -> None:
    model, images = make_vae(shape=(1, 12, 12)), ImageSet(torch.randint(0, 256, (20, 1, 12, 12), dtype=torch.uint8))
    torch.nn.init.constant_(model.decoder.output.weight, float("nan"))
    for estimate in (
        lambda: evaluate_model(model, images, config=QUICK),
        lambda: scores(model, images, num_samples=2),
        lambda: pixel_errors(model, images),
        lambda: reconstruction_quality(model, images),
    ):
        with pytest.raises(ModelError, match=r"not finite.*lower learning rate"):
            estimate()
    torch.nn.init.constant_(model.posterior.logvar.weight, float("nan"))
    with pytest.raises(ModelError, match=r"standard deviations of q\(z\|x\).*20 of 20"):
        encode_images(model, images)


def test_validation_reports_what_is_not_finite_and_does_not_raise() -> None:
    """A run that diverges ends by its gradient, with a message about the step."""
    model, images = make_vae(shape=(1, 4, 4)), ImageSet(torch.zeros(5, 1, 4, 4, dtype=torch.uint8))
    torch.nn.init.constant_(model.decoder.output.weight, float("nan"))
    values = bound_values(model, images)
    assert torch.tensor(values["elbo"]).isnan()
    assert torch.tensor(values["rate"]).isfinite()


@pytest.mark.parametrize("method", ["pca", "tsne", "umap"])
def test_means_whose_distances_overflow_are_not_projected(method: str) -> None:
    means = 1e38 * torch.randn(30, 3).sign()
    encodings = Encodings(means, torch.ones(30, 3), torch.ones(3), torch.zeros(3), torch.ones(3))
    with pytest.raises(ModelError, match=r"means of q.*not finite"):
        project(encodings, torch.arange(30), method)  # type: ignore[arg-type]


def test_some_values_of_many() -> None:
    values = torch.ones(5, 3)
    assert require_finite(values, "the values") is values
    values[1, 2] = float("inf")
    with pytest.raises(ModelError, match="the values of this model are not finite for 1 of 5: its weights"):
        require_finite(values, "the values")
