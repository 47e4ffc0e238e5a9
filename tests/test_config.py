"""Configuration: parts and data are the same thing in two forms, and what is wrong is named with its place."""

from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field, PositiveInt

from vaekit.core.config import INFERRED, build, check, describe
from vaekit.core.errors import ConfigError
from vaekit.core.registry import Registry
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS
from vaekit.networks import DECODERS, ENCODERS, AutoencoderKLDecoder, LadderDecoder
from vaekit.networks.ladder_networks import ladder_sizes
from vaekit.objectives import OBJECTIVES
from vaekit.runs.overrides import combine, parse_overrides
from vaekit.runs.recipe import load_recipe, recipe_names
from vaekit.training import OPTIMIZERS, SCHEDULERS

WIRES: dict[str, object] = {
    "shape": (1, 9, 7),
    "latent_dim": 3,
    "num_features": 5,
    "num_maps": 1,
    "context_dim": 0,
}


class Thing:
    """A part with a name, a range and a default."""

    def __init__(self, size: Annotated[int, Field(gt=0)], color: str = "red") -> None:
        self.size = size
        self.color = color


TABLE = {"thing": Thing, "thong": Thing}


def test_build_and_describe_are_inverse() -> None:
    part = build({"thing": Thing}, {"name": "thing", "size": 3}, place="box")
    assert describe(part, {"thing": Thing}) == {"name": "thing", "size": 3, "color": "red"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "thin", "size": 3}, r"box.name: unknown name 'thin' \(did you mean 'thing'"),
        ({"size": 3}, "box.name: unknown name None"),
        ({"name": "thing"}, "box.size: missing"),
        ({"name": "thing", "size": 0}, "box.size: input should be greater than 0, got 0"),
        ({"name": "thing", "size": "many"}, "box.size: input should be a valid integer.*got 'many'"),
        ({"name": "thing", "size": 3, "colour": "blue"}, r"box.colour: unknown key \(did you mean 'color'\?\)"),
        ({"name": "thing", "size": 0, "color": 3}, r"box.size: .*\(and 1 more\)"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(TABLE, spec, place="box")


class Union:
    def __init__(
        self, side: PositiveInt | tuple[PositiveInt, PositiveInt] = 1, kind: Literal["a"] | Literal["b"] = "a"
    ) -> None:
        self.side = side
        self.kind = kind


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"side": 0}, "box.side: input should be greater than 0 or a list, got 0"),
        ({"side": [1, "x"]}, "box.side.1: input should be a valid integer, unable to parse string as an integer, got 'x'"),
        ({"kind": "c"}, "box.kind: input should be 'a' or 'b', got 'c'"),
        ({"kind": "c", "side": [0, 0]}, "box.side.0: input should be greater than 0, got 0 (and 2 more)"),
    ],
)
def test_a_fault_of_a_union_is_told_once_and_without_inner_names(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build({"union": Union}, {"name": "union", **spec}, place="box")
    assert str(raised.value) == message


def test_a_part_that_is_not_registered_cannot_be_described() -> None:
    with pytest.raises(ConfigError, match=r"test_config.Thing is not registered.*@THINGS.register"):
        describe(Thing(3), Registry("THINGS", {}))


def test_a_decorator_registers_a_class_that_data_can_name() -> None:
    things: Registry[Thing] = Registry("THINGS", {"thing": Thing})

    @things.register("other")
    class Other(Thing):
        pass

    assert type(build(things, {"name": "other", "size": 2}, place="box")) is Other
    assert describe(Other(2), things) == {"name": "other", "size": 2, "color": "red"}
    assert things.register("other")(Other) is Other  # a plugin may be loaded twice
    with pytest.raises(ConfigError, match=r"THINGS: 'thing'.*registered"):
        things.register("thing")(Other)


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table in (ENCODERS, DECODERS, POSTERIORS, PRIORS, LIKELIHOODS, OBJECTIVES) for name in table],
)
def test_every_part_keeps_its_arguments(table: dict[str, type], name: str) -> None:
    """The contract that saving a model rests on: an argument is an attribute of the same name."""
    spec = {"name": name} | check(table[name], {}, place=name, inferred=INFERRED)
    wires = {key: WIRES[key] for key in INFERRED if key in table[name].__init__.__annotations__}
    if table[name] is LadderDecoder:
        wires["latent_dim"] = sum(ladder_sizes(wires["shape"], spec["channels"], spec["layers"], spec["width"]))
    if table[name] is AutoencoderKLDecoder:
        wires["latent_dim"] = 2  # its smallest maps have two points
    part = build(table, spec, place=name, **wires)
    assert describe(part, table, inferred=INFERRED) == describe(
        build(table, describe(part, table, inferred=INFERRED), place=name, **wires), table, inferred=INFERRED
    )
    assert {k: v for k, v in spec.items() if k != "name"} == {k: getattr(part, k) for k in spec if k != "name"}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_complete_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert "http" in recipe.reference
    assert recipe.needs
    assert recipe.expected or "not run to its end yet" in recipe.needs, "say the numbers to expect"


def test_overrides_by_shorthand_and_by_place() -> None:
    recipe = load_recipe("mnist-conv", {"epochs": 3, "lr": 0.01, "beta": 4, "data.binarize": "none", "latent_dim": 7})
    assert (recipe.training.epochs, recipe.optimizer["lr"], recipe.model.latent_dim) == (3, 0.01, 7)
    assert recipe.objective["beta"] == {"name": "constant", "value": 4.0}
    assert recipe.data.binarize == "none"


def test_a_new_name_for_a_part_drops_the_arguments_of_the_old_one() -> None:
    recipe = load_recipe("mnist-conv", {"scheduler.name": "cosine", "scheduler.warmup": 2})
    assert recipe.scheduler == {"name": "cosine", "warmup": 2.0, "final": 0.01}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.epoch": 3}, r"training.epoch: unknown key \(did you mean 'epochs'"),
        ({"trainin.epochs": 3}, r"trainin: unknown key \(did you mean 'training'"),
        ({"epochs": 0}, "training.epochs: input should be greater than 0"),
        ({"lr": -1}, "optimizer.lr: input should be greater than 0, got -1"),
        ({"lr": float("nan")}, "optimizer.lr: input should be .*finite"),
        ({"latent_dim": 0}, "model.latent_dim: input should be greater than 0, got 0"),
        ({"model.encoder.hiden": [3]}, r"model.encoder.hiden: unknown key \(did you mean 'hidden'"),
        (
            {"model.likelihood.name": "bernouli"},
            r"model.likelihood.name: unknown name 'bernouli' \(did you mean 'bernoulli'",
        ),
        ({"objective.beta": {"name": "lineal", "epochs": 3}}, "did you mean 'linear'"),
        ({"data.binarize": "sometimes"}, "data.binarize: input should be 'none', 'dynamic' or 'static'"),
        ({"optimizer.shape": 3}, "optimizer.shape: unknown key"),
        ({"model.encoder.shape": [1, 2, 3]}, "model.encoder.shape: unknown key"),
        ({"title.x": 3}, "title is a single value"),
    ],
)
def test_wrong_overrides_are_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("mnist-mlp", overrides)


def test_assignments_are_yaml_and_numbers_are_numbers() -> None:
    parsed = parse_overrides(["lr=1e-3", "model.encoder.hidden=[3, 4]", "data.size=null", "objective={name: iwae}"])
    assert (parsed["optimizer.lr"], parsed["model.encoder.hidden"]) == (0.001, [3, 4])
    assert (parsed["data.size"], parsed["objective"]) == (None, {"name": "iwae"})
    for wrong in ("lr", "=3", "a=[1"):
        with pytest.raises(ConfigError, match="--set"):
            parse_overrides([wrong])


@pytest.mark.parametrize(
    ("options", "assignments"),
    [
        ({"epochs": 5}, ["training.epochs=10"]),
        ({"epochs": 5}, ["epochs=5"]),
        ({"data": "holiday"}, ["data.name=other"]),
        ({}, ["lr=1", "optimizer.lr=2"]),
    ],
)
def test_a_place_that_is_given_twice_is_refused(options: dict[str, object], assignments: list[str]) -> None:
    with pytest.raises(ConfigError, match="once"):
        combine(options, assignments)
    assert combine({"epochs": None, "beta": 2.0}, ["lr=1"]) == {"objective.beta": 2.0, "optimizer.lr": 1}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_descends(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build(OPTIMIZERS, {"name": name, "lr": 0.05}, place="optimizer", parameters=[weight])
    for _ in range(200):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert (weight**2).sum().item() < 6


def test_learning_rates_follow_their_schedules() -> None:
    def optimizer() -> torch.optim.Optimizer:
        return build(OPTIMIZERS, {"name": "adam", "lr": 0.5}, place="", parameters=[torch.nn.Parameter(torch.zeros(1))])

    def lrs(spec: dict[str, object], times: list[float]) -> list[float]:
        moved = optimizer()
        scheduler = build(SCHEDULERS, spec, place="scheduler", optimizer=moved, epochs=10)
        found = []
        for time in times:
            scheduler.before_step(time)
            found.append(moved.param_groups[0]["lr"])
        return found

    assert lrs({"name": "constant"}, [0, 5, 10]) == [0.5] * 3
    assert lrs({"name": "constant", "warmup": 2}, [0, 1, 2, 9]) == pytest.approx([0.005, 0.2525, 0.5, 0.5])
    assert lrs({"name": "cosine", "warmup": 2, "final": 0.1}, [1, 2, 6, 10, 12]) == pytest.approx(
        [0.2525, 0.5, 0.275, 0.05, 0.05]
    )

    moved = optimizer()
    plateau = build(SCHEDULERS, {"name": "plateau", "patience": 1, "factor": 0.1}, place="", optimizer=moved, epochs=10)
    seen = []
    for elbo in (-100.0, -101.0, -101.0, -90.0, -95.0, -90.005, -95.0):
        plateau.after_epoch(elbo)
        seen.append(moved.param_groups[0]["lr"])
    assert seen == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.05, 0.005, 0.005])
