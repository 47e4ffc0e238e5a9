"""A model that could not be saved is refused before its first step, and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vaekit
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import ConfigError
from vaekit.data import ImageSet
from vaekit.models import VAE, check_savable
from vaekit.networks import DECODERS, MLPDecoder, Shape

SHAPE = (2, 6, 5)


class Unregistered(MLPDecoder):
    pass


class Forgetful(MLPDecoder):
    """A decoder that does not keep an argument of its own."""

    def __init__(
        self, latent_dim: int, shape: Shape, num_maps: int | None = None, context_dim: int = 0, depth: int = 1
    ) -> None:
        super().__init__(latent_dim, shape, hidden=[8] * depth, num_maps=num_maps, context_dim=context_dim)
        del self.hidden


class Doubling(MLPDecoder):
    """A decoder that keeps another argument than it was given."""

    def __init__(
        self, latent_dim: int, shape: Shape, num_maps: int | None = None, context_dim: int = 0, width: int = 4
    ) -> None:
        super().__init__(latent_dim, shape, hidden=[width], num_maps=num_maps, context_dim=context_dim)
        self.width = 2 * width


class Opaque(MLPDecoder):
    """A decoder whose argument is no data."""

    def __init__(
        self, latent_dim: int, shape: Shape, num_maps: int | None = None, context_dim: int = 0, scale: Tensor | None = None
    ) -> None:
        super().__init__(latent_dim, shape, hidden=[8], num_maps=num_maps, context_dim=context_dim)
        self.scale = torch.ones(1) if scale is None else scale


class WithState(MLPDecoder):
    """A decoder whose state is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


class Scaled(MLPDecoder):
    """A decoder with a setting that is no argument."""

    factor = 1.0

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.factor * super().forward(z, context)


class Shifted(VAE):
    """A model with a computation of its own."""

    def encode(self, x: Tensor, labels: Tensor | None = None) -> torch.distributions.Distribution:
        return super().encode(255 - x, labels)


class Convenient(VAE):
    """A model with a constructor and a method of its own, which nothing else needs."""

    def halves(self) -> int:
        return self.latent_dim // 2


def with_decoder(kind: type[MLPDecoder], *, registered: bool = True) -> Callable[[], VAE]:
    def build() -> VAE:
        if registered:
            DECODERS[kind.__name__.lower()] = kind
        model = make_vae(shape=SHAPE)
        decoder = kind(model.latent_dim, SHAPE, num_maps=model.decoder.num_maps)
        return VAE(model.encoder, model.posterior, model.prior, decoder, model.likelihood)

    return build


def with_weight() -> VAE:
    model = make_vae(shape=SHAPE)
    model.decoder.register_parameter("extra", nn.Parameter(torch.zeros(3)))
    return model


def of_kind(kind: type[VAE]) -> VAE:
    model = make_vae(shape=SHAPE)
    return kind(model.encoder, model.posterior, model.prior, model.decoder, model.likelihood)


def with_factor() -> VAE:
    DECODERS["scaled"] = Scaled
    model = with_decoder(Scaled)()
    model.decoder.factor = 0.5
    return model


CASES = {
    "a setting from outside": (with_factor, "computes something else"),
    "an unregistered part": (with_decoder(Unregistered, registered=False), "Unregistered is not registered"),
    "a lost argument": (with_decoder(Forgetful), "does not keep its argument depth"),
    "another argument": (with_decoder(Doubling), "size mismatch"),
    "an argument that is no data": (with_decoder(Opaque), "constructor argument in an attribute"),
    "a state that is no tensor": (with_decoder(WithState), "decoder._extra_state is dict"),
    "a weight from outside": (with_weight, "decoder.extra"),
    "a method of its own": (lambda: of_kind(Shifted), "Shifted has its own encode"),
}


@pytest.fixture(autouse=True)
def registry() -> object:
    known = dict(DECODERS)
    yield
    DECODERS.clear()
    DECODERS.update(known)


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_saved_is_refused_before_training(case: str, tmp_path: Path) -> None:
    build, reason = CASES[case]
    with pytest.raises(ConfigError, match=reason):
        vaekit.train(build(), ImageSet(pixels(20, SHAPE)), out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_models_that_can_be_saved_pass() -> None:
    model = of_kind(Convenient)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_savable(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
