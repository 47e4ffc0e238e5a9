"""Priors fitted to ladders: the prior of the top layer changes, everything below it stays as it is."""

import pytest
import torch
from torch import Tensor

from tests.ladders import ladder
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.experiment.prior_fit import fit_to_model
from vaekit.models import LadderVAE


def images(num: int = 60) -> ImageSet:
    """Images of noise, binary."""
    draw = torch.Generator().manual_seed(4)
    return ImageSet((torch.rand(num, 1, 8, 8, generator=draw) < 0.4).to(torch.uint8) * 255)


def conditionals(model: LadderVAE, x: Tensor) -> Tensor:
    """log q of all layers minus log p of all but the top layer, at one sample of z."""
    with fixed_seed(1), torch.no_grad():
        terms = model(x)
    return terms.log_px + sum((layer.log_ratio() for layer in terms.latents[1:]), torch.zeros_like(terms.log_px))


@pytest.mark.parametrize("name", ["gaussian", "mixture", "two-stage", "flow-matching"])
def test_prior_of_the_top_layer_is_fitted(name: str) -> None:
    model, data = ladder(), images()
    arguments = {
        "gaussian": {},
        "mixture": {"num_components": 2},
        "two-stage": {"hidden": [8]},
        "flow-matching": {"width": 8},
    }
    steps = 0 if name in ("gaussian", "mixture") else 5
    fitted = fit_to_model(model, name, data, data, arguments=arguments[name], changes={"steps": steps})
    after = fitted.model
    assert isinstance(after, LadderVAE)
    assert after.prior.latent_dim == model.top_dim == model.layer_sizes[0]
    for part in ("encoder", "decoder", "posterior"):
        old, new = (getattr(each, part).state_dict() for each in (model, after))
        assert all(torch.equal(old[key], new[key]) for key in old)
    assert after.sample(3).shape == (3, 1, 8, 8)
    if fitted.gain is None:
        assert not after.has_density
        return
    x = data.pixels.float() / 255
    torch.testing.assert_close(conditionals(after, x), conditionals(model, x))
    with fixed_seed(2):
        before_elbo = torch.stack([model.elbo(x) for _ in range(60)]).mean()
    with fixed_seed(2):
        after_elbo = torch.stack([after.elbo(x) for _ in range(60)]).mean()
    assert fitted.gain.value > 0.1
    assert float(after_elbo - before_elbo) == pytest.approx(fitted.gain.value, abs=0.15 * fitted.gain.value + 0.1)
