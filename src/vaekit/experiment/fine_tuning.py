"""``vae train --from RUN``: a new run that begins with the weights of another, on other images or with other settings.

The model stays that of the run: its recipe is taken over, images are fitted to its shape, and classes keep their numbers.
The recipe of the new run names the run and a hash of the weights, so that it stands for these weights and no others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vaekit.core.config import to_data
from vaekit.core.errors import ConfigError, ModelError, RunError
from vaekit.core.safe_text import printable_value
from vaekit.data import is_image_shape
from vaekit.models import Model, describe_vae
from vaekit.runs.identity import first_difference
from vaekit.runs.names import folder_name, short_name
from vaekit.runs.origins import InitialWeights
from vaekit.runs.overrides import by_place
from vaekit.runs.recipe import Recipe, complete, load_recipe
from vaekit.runs.run_folder import RunFolder

KEPT = ("format", "preprocessing")
"""What two configurations of one model may differ in."""


def chosen_recipe(what: str | Path | None, start: str | Path | None, changes: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of a run: with the weights of another to begin with, or without.

    Raises:
        ConfigError: If neither a recipe nor a run is named.
    """
    if start is not None:
        return fine_tuned(start, what, changes)
    if what is None:
        raise ConfigError("nothing to train: name a recipe, as in train('digits'), or a run to begin with: train(start=...)")
    return load_recipe(what, changes)


def fitted_to(start: str | Path | None) -> dict[str, Any]:
    """Returns the options by which images are fitted as those of a run; none without one."""
    if start is None or not is_image_shape(RunFolder(start).model.shape):
        return {}
    folder = RunFolder(start)
    channels, height, width = folder.model.shape
    fitting = folder.fitting
    levels: Any = fitting.levels.write()
    return {
        "size": (height, width),
        "channels": channels,
        "fit": fitting.fit,
        "background": fitting.background,
        "levels": levels,
    }


def fine_tuned(run: str | Path, what: str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of a run that begins with the weights of another.

    Arguments:
        run: The run, a model folder, or a hub id.
        what: The recipe; by default that of the run, whose KL weight then begins where its schedule ends.
        overrides: Changes, by dotted place or short name.

    Raises:
        RunError: If no recipe is given, and the folder has none.
        VaekitError: If the run or the recipe cannot be read, or an override is wrong.
    """
    folder, changes = RunFolder(run), by_place(overrides)
    if what is None and not folder.has_recipe:
        raise RunError(f"{run}: a model folder without a recipe; name one, as in vae train images --from {run}")
    base = folder.recipe if what is None else load_recipe(what)
    data = {key: value for key, value in to_data(base).items() if key not in ("expected", "needs", "prior_fit")}
    if what is None and isinstance(beta := data["objective"].get("beta"), dict) and "end" in beta:
        data["objective"]["beta"] = beta["end"]
    described = describe_vae(folder.model)
    source = changes.get("data.name", base.data.name)
    data["name"] = folder_name(f"{base.name}-{short_name(source) if source != base.data.name else 'again'}")
    data["title"] = f"{base.title or base.name}, from the weights of {short_name(str(run))}"
    data["initial"] = {"run": str(run), "weights": weights_hash(folder.model)}
    data["model"]["conditional"] = folder.model.condition is not None
    if what is None or base.model.fitted:  # networks that follow from the number of images are those of the run
        data["model"] |= {"encoder": described.encoder, "decoder": described.decoder, "fitted": False}
    data["training"].pop("lr_changes", None)
    if is_image_shape(folder.model.shape):
        channels, *size = folder.model.shape
        data["data"] |= {"size": size, "channels": channels}
    return complete(data, changes)


def initial_classes(initial: InitialWeights | None) -> Sequence[str]:
    """Returns the classes of the model that a run begins with, by label; empty without one, or if it is not conditional."""
    condition = None if initial is None else RunFolder(initial.run).model.condition
    return () if condition is None else condition.classes


def begin_with(model: Model, initial: InitialWeights) -> None:
    """Gives a model the weights of a run.

    Raises:
        RunError: If the run has other weights than those that the recipe names.
        ModelError: If it is another model.
    """
    source = RunFolder(initial.run).model
    if initial.weights and initial.weights != weights_hash(source):
        raise RunError(f"{initial.run}: has other weights than the recipe names; begin with them by --from {initial.run}")
    there, here = (_parts(one) for one in (source, model))
    if there["shape"] != here["shape"]:
        shapes = " and ".join("x".join(map(str, parts["shape"])) for parts in (there, here))
        raise ModelError(f"{initial.run}: images of {shapes} here; leave out --size and --channels, which the model decides")
    if (found := first_difference(there, here)) is not None:
        place, before, after = found
        raise ModelError(
            f"{initial.run}: another model (model.{place}: {printable_value(before, 40)} there, "
            f"{printable_value(after, 40)} here); its weights fit that one alone"
        )
    model.load_state_dict(source.state_dict())


def weights_hash(model: Model) -> str:
    """Returns a hash of the weights of a model."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _parts(model: Model) -> dict[str, Any]:
    return {key: value for key, value in to_data(describe_vae(model)).items() if key not in KEPT}
