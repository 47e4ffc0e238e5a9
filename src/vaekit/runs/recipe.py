"""Recipes: everything that a run depends on, as data.

A recipe is a YAML file with a title, a reference, its requirements, the expected metrics, and sections for data, model,
objective, optimizer, scheduler, step, training and evaluation. Sections with fixed keys are declared in
:mod:`vaekit.runs.recipe_sections`; a part is a ``name`` and the arguments of its constructor (:mod:`vaekit.core.config`). A
wrong key, type or range is refused with its place and the nearest valid name, before the run starts.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from vaekit.core.config import INFERRED, Section, Spec, check, to_data, validate
from vaekit.core.errors import ConfigError, suggest
from vaekit.core.files import user_path, write_text
from vaekit.core.registry import Registry, require_keys, require_name
from vaekit.core.safe_text import MAX_NAME, printable
from vaekit.core.yaml_text import format_yaml, parse_yaml, read_text
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.networks import DECODERS, ENCODERS
from vaekit.objectives import OBJECTIVES
from vaekit.runs.names import FolderName, folder_name, short_name
from vaekit.runs.origins import InitialWeights, PriorFit
from vaekit.runs.overrides import SHORTHANDS, by_place, override
from vaekit.runs.recipe_sections import DataSection, EvaluationSection, ModelSection
from vaekit.training import OPTIMIZERS, SCHEDULERS, STEPS
from vaekit.training.training_config import TrainingConfig

DEFAULT = "digits"
"""The recipe that is trained by default, which needs no download."""
OWN = "images"
"""The recipe for the images of ``--data`` if no recipe is named."""

PARTS: dict[str, tuple[Registry[Any], tuple[str, ...]]] = {
    "model.encoder": (ENCODERS, INFERRED),
    "model.posterior": (POSTERIORS, INFERRED),
    "model.prior": (PRIORS, INFERRED),
    "model.decoder": (DECODERS, INFERRED),
    "model.likelihood": (LIKELIHOODS, ()),
    "objective": (OBJECTIVES, ()),
    "optimizer": (OPTIMIZERS, ("parameters",)),
    "scheduler": (SCHEDULERS, ("optimizer", "epochs")),
    "step": (STEPS, ("setup",)),
}
"""The parts of a recipe: the registry of each, and the arguments that a recipe does not set."""

NETWORKS = ("model.encoder", "model.decoder")
"""The places of the networks."""


class Recipe(Section):
    """A run as data.

    Arguments:
        name: The name of the recipe, and by default of the run folder.
        title: A description of one line.
        reference: The paper that it follows.
        needs: The data and the time that it requires.
        expected: The expected metrics on the test split, by name.
        initial: The weights to begin with; None for random ones.
        prior_fit: How the prior was fitted afterwards; None if it was trained with the model.
        data: The images.
        model: The parts of the model.
        objective: The objective.
        optimizer: The optimizer.
        scheduler: The schedule of the learning rate.
        step: The update of the weights.
        training: Epochs, batch size, seed, device and so on.
        evaluation: The evaluation at the end of the run.
    """

    name: FolderName
    title: str = ""
    reference: str = ""
    needs: str = ""
    expected: dict[str, float] = {}
    initial: InitialWeights | None = None
    prior_fit: PriorFit | None = None
    data: DataSection
    model: ModelSection
    objective: Spec = {"name": "elbo"}
    optimizer: Spec = {"name": "adam"}
    scheduler: Spec = {"name": "constant"}
    step: Spec = {"name": "gradient"}
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationSection = EvaluationSection()


def recipe_names() -> list[str]:
    """Returns the names of the recipes of the package."""
    return sorted(
        file.name.removesuffix(".yaml") for file in files("vaekit.runs.recipes").iterdir() if file.name.endswith(".yaml")
    )


def load_recipe(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Loads a recipe.

    Arguments:
        name: The name of a recipe of the package, or a YAML file.
        overrides: Changes, by dotted place (``training.epochs``) or short name (``epochs``).

    Returns:
        The recipe with all defaults.

    Raises:
        ConfigError: If there is no such recipe, or a key or value in it is wrong.
    """
    text, stem = _find_recipe(name)
    return read_recipe(text, str(name), {"name": stem}, overrides or {})


def load_outline(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Loads a recipe without importing its parts (see :func:`outline`); arguments as of :func:`load_recipe`.

    Raises:
        ConfigError: If there is no such recipe, or something in it is wrong that can be seen without its parts.
    """
    text, stem = _find_recipe(name)
    return read_outline(text, str(name), {"name": stem}, overrides or {})


def _find_recipe(name: str | Path) -> tuple[str, str]:
    """The text of a recipe, and the name of its file without suffix."""
    path = user_path(name or ".")  # an empty name is no recipe, as any other that is unknown
    if path.suffix in (".yaml", ".yml"):
        return read_text(path), path.stem
    if str(name) in recipe_names():
        return files("vaekit.runs.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8"), str(name)
    if path.is_file():
        raise ConfigError(f"{name}: no recipe file; the name of one ends in .yaml or .yml")
    known = suggest(str(name), recipe_names())
    raise ConfigError(f"{str(name) or repr('')}: no such recipe{known}; vae recipes lists them")


def read_recipe(text: str, place: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Reads a recipe from YAML.

    Arguments:
        text: The YAML.
        place: The name of its source, for messages.
        defaults: Values for keys that the YAML does not have.
        overrides: Changes, by dotted place or short name.

    Raises:
        ConfigError: If the text is not YAML, or a key or value in it is wrong.
    """
    return complete(_read_mapping(text, place, defaults, overrides), overrides)


def read_outline(text: str, place: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Reads a recipe from YAML without importing its parts (see :func:`outline`); arguments as of :func:`read_recipe`.

    Raises:
        ConfigError: If the text is not YAML, or something in it is wrong that can be seen without the parts.
    """
    return outline(_read_mapping(text, place, defaults, overrides), overrides)


def _read_mapping(text: str, place: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    data = parse_yaml(text, place)
    if not isinstance(data, dict):
        raise ConfigError(f"{place}: a recipe is a mapping with the keys {', '.join(Recipe.model_fields)}")
    return _without_expected({**defaults, **data}, overrides)


def outline(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Applies overrides, and checks every section and the names and keys of the parts, for which no part is imported.

    Returns:
        The recipe, whose parts have the arguments that were given and no defaults.

    Raises:
        ConfigError: If a key or value of a section is wrong, or a name or key of a part.
    """
    changed = to_data(data)
    for place in PARTS:
        *parents, key = place.split(".")
        default = Recipe.model_fields[key].default if not parents else ModelSection.model_fields[key].default
        section = changed if not parents else changed.get(parents[0])
        if isinstance(section, dict) and isinstance(default, dict):
            section.setdefault(key, dict(default))
    for place in overrides:
        if "." not in place and place not in SHORTHANDS and place not in Recipe.model_fields:
            raise ConfigError(
                f"{printable(place, MAX_NAME)}: unknown key{suggest(place, [*SHORTHANDS, *Recipe.model_fields])}"
            )
    override(changed, overrides, parts=PARTS)
    if any(place.startswith(NETWORKS) for place in by_place(overrides)) and isinstance(changed.get("model"), dict):
        changed["model"].pop("fitted", None)
    recipe = validate(Recipe, changed, "")
    if recipe.model.latent_dim is None and recipe.model.decoder.get("name") != "ladder":
        raise ConfigError("model.latent_dim: missing")
    for place, (registry, inferred) in PARTS.items():
        spec = _part(recipe, place)
        require_name(registry, spec.get("name"), f"{place}.name")
        require_keys(registry, spec, place=place, inferred=inferred)
    return recipe


def complete(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Applies overrides, checks every section and part, and fills in defaults.

    Raises:
        ConfigError: If a key or value is wrong.
    """
    recipe = outline(data, overrides)
    whole = to_data(recipe)
    for place, (registry, inferred) in PARTS.items():
        *parents, key = place.split(".")
        section, spec = whole[parents[0]] if parents else whole, _part(recipe, place)
        arguments = {name: value for name, value in spec.items() if name != "name"}
        checked = check(registry[spec["name"]], arguments, place=place, inferred=inferred)
        section[key] = {"name": spec["name"]} | to_data(checked)
    return validate(Recipe, whole, "")


def _part(recipe: Recipe, place: str) -> Spec:
    """The part at a place of a recipe."""
    *parents, key = place.split(".")
    spec: Spec = getattr(getattr(recipe, parents[0]) if parents else recipe, key)
    return spec


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe as YAML that can be trained again."""
    write_text(path, format_yaml(to_data(recipe)))


def _run_name(source: str) -> str:
    """The name of a run on one's own images: that of their folder or file, which names no recipe of the package."""
    name = folder_name(short_name(source).split(".")[0])
    return f"{name}-{OWN}" if name in recipe_names() else name


def _without_expected(data: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Removes the expected metrics from a changed recipe; for other images also the needs, and the title names them."""
    if not overrides:
        return data
    data = {key: value for key, value in data.items() if key != "expected"}
    name = by_place(overrides).get("data.name")
    section = data.get("data")
    if name is not None and isinstance(section, dict) and name != section.get("name"):
        data["title"] = f"{data.get('title', data.get('name'))}, on {short_name(str(name))}"
        data.pop("needs", None)
        if data.get("name") == OWN:
            data["name"] = _run_name(str(name))
    return data
