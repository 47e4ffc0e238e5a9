"""Discrete models with few latents: log p(x) by enumeration, bounds, priors over indices, samples, and what is refused."""

import math
from itertools import product
from pathlib import Path

import pytest
import torch

from tests.discrete_models import all_indices, conditional_vq, linear_vq, log_evidence, perturbed_transformer
from tests.test_contracts import make_objective, make_vae
from vaekit.core.errors import ModelError
from vaekit.core.terms import StepContext
from vaekit.data import ImageSet
from vaekit.distributions import CodeVectors, PointMass, ResidualQuantizer, TransformerPrior, VectorQuantizer
from vaekit.evaluation.latents.code_use import code_use
from vaekit.models import VAE, load_vae, save_vae
from vaekit.objectives import ELBO, OBJECTIVES

X = 3 * torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(0))


# Bounds


@pytest.mark.parametrize("name", ["uniform", "transformer"])
def test_the_elbo_is_below_the_enumerated_evidence(name: str) -> None:
    """It is log p(z) + log p(x|z) at the one z of the posterior, so it is below the sum over all nine."""
    model = linear_vq(None if name == "uniform" else perturbed_transformer(4))
    exact, elbo = log_evidence(model, X), model.elbo(X)
    log_pz, log_px = model.log_joint(X)(model.encode(X).mean)
    torch.testing.assert_close(elbo, log_pz + log_px)
    assert (elbo < exact).all()
    assert (exact - elbo).max() > 0.1


def test_the_elbo_is_the_evidence_where_one_latent_explains_an_image() -> None:
    """With little noise every image of the model has one z, which the posterior finds if the encoder inverts the decoder."""
    model = linear_vq(scale=0.01)
    decoder, posterior = model.decoder, model.posterior
    assert isinstance(posterior, VectorQuantizer)
    inverse = torch.linalg.pinv(decoder.weight)
    posterior.project.weight.data, posterior.project.bias.data = inverse, -inverse @ decoder.bias
    with torch.no_grad():
        x = model.px(posterior.embed(all_indices(model))).sample()
    torch.testing.assert_close(model.elbo(x), log_evidence(model, x), atol=1e-3, rtol=1e-6)
    assert torch.equal(model.encode(x).indices, all_indices(model))  # type: ignore[attr-defined]


def test_the_rate_is_the_length_of_the_code() -> None:
    uniform, learned = linear_vq(), linear_vq(perturbed_transformer(4))
    assert uniform(X).rate().tolist() == pytest.approx([2 * math.log(3)] * 5)
    terms = learned(X)
    assert isinstance(learned.prior, TransformerPrior)
    expected = -learned.prior.indices(5).log_prob(learned.encode(X).indices)  # type: ignore[attr-defined]
    torch.testing.assert_close(terms.rate(), expected)
    torch.testing.assert_close(terms.log_weights()[0], terms.elbo())
    assert expected.detach().std() > 0.01


@pytest.mark.parametrize("num", [1, 7])
def test_every_importance_weighted_bound_is_the_elbo(num: int) -> None:
    model = linear_vq(perturbed_transformer(4))
    torch.testing.assert_close(model.log_likelihood(X, num_samples=num), model.elbo(X))
    [weights] = list(model.log_weights(X, num_samples=num))
    assert weights.shape == (num, 5)


def test_what_is_no_code_vector_has_no_probability() -> None:
    model = linear_vq()
    z = model.encode(X).mean.detach()
    assert model.pz(5).log_prob(z).tolist() == pytest.approx([-2 * math.log(3)] * 5)
    assert model.pz(5).log_prob(z + 0.01).tolist() == [-math.inf] * 5


# Priors


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("conditional", [False, True])
def test_probabilities_of_all_sequences_sum_to_one(levels: int, conditional: bool) -> None:
    prior = perturbed_transformer(12, 3 if conditional else 0)
    prior.adapt(ResidualQuantizer(5, 12, codes=3, quantizers=levels, positions=4 // levels))
    every = torch.tensor(list(product(range(3), repeat=4)))
    context = torch.randn(2, 3) if conditional else None
    log_probs = prior.eval().indices(2, context).log_prob(every.unsqueeze(1).expand(-1, 2, -1))
    torch.testing.assert_close(log_probs.exp().sum(0), torch.ones(2), atol=1e-5, rtol=0)
    assert log_probs.exp().max() > 2 / 81
    if conditional:
        assert (log_probs[:, 0] - log_probs[:, 1]).abs().max() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_of_the_transformer_have_its_probabilities(temperature: float) -> None:
    """At a temperature the logits of each step are divided by it; the keys and values of earlier steps are kept."""
    prior = perturbed_transformer(12, 3)
    prior.adapt(ResidualQuantizer(5, 12, codes=3, quantizers=2, positions=2))
    context = torch.randn(1, 3)
    every = torch.tensor(list(product(range(3), repeat=4)))
    logits = prior.eval().logits(every, context.expand(81, -1)) / temperature
    steps = logits.log_softmax(-1).gather(2, every.unsqueeze(-1)).squeeze(-1)
    expected = steps.sum(1).exp()
    num = 100_000
    with torch.no_grad():
        samples = prior.indices(1, context).tempered(temperature).sample((num,))[:, 0]
    names = samples @ torch.tensor([27, 9, 3, 1])
    found = names.bincount(minlength=81) / num
    error = (expected * (1 - expected) / num).sqrt()
    assert ((found - expected).abs() / error).max() < 5
    assert expected.max() > 0.1


def test_the_most_likely_indices_at_temperature_zero() -> None:
    prior = perturbed_transformer(6)
    prior.adapt(VectorQuantizer(5, 6, codes=3, positions=3))
    first, *others = prior.eval().indices(4).tempered(0.0).sample()
    assert all(torch.equal(first, other) for other in others)
    greedy = torch.zeros(1, 3, dtype=torch.int64)
    for step in range(3):
        greedy[:, step] = prior.logits(greedy, None)[:, step].argmax(-1)
    assert torch.equal(first, greedy[0])


def test_samples_in_chunks_have_their_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = perturbed_transformer(6, 3)
    prior.adapt(VectorQuantizer(5, 6, codes=3, positions=3))
    context = 9 * torch.randn(5, 3)
    whole = prior.eval().indices(5, context).tempered(0.0).sample((2,))
    density = prior.indices(5, context).log_prob(whole)
    monkeypatch.setattr("vaekit.distributions.transformer_prior.CHUNK_SIZE", 9)  # three at a time
    assert torch.equal(prior.indices(5, context).tempered(0.0).sample((2,)), whole)
    with torch.no_grad():
        torch.testing.assert_close(prior.indices(5, context).log_prob(whole), density)
    assert whole[0].unique(dim=0).shape[0] > 1


def test_a_transformer_begins_as_the_uniform_prior() -> None:
    prior = TransformerPrior(4, width=8, num_heads=2, num_blocks=1)
    model = linear_vq(prior)
    torch.testing.assert_close(model.elbo(X), linear_vq().elbo(X))
    torch.testing.assert_close(model.pz(3).mean, linear_vq().pz(3).mean)


def test_a_class_conditional_model_is_below_its_evidence() -> None:
    model, labels = conditional_vq(), torch.tensor([0, 1, 2, 0, 1])
    exact, elbo = log_evidence(model, X, labels), model.elbo(X, labels)
    assert (elbo < exact).all()
    other = model.elbo(X, (labels + 1) % 3)
    assert (elbo - other).abs().min() > 1e-3
    assert model.sample(4, torch.tensor([0, 1, 2, 0])).shape == (4, 1, 2, 3)


# Models


def test_samples_are_decoded_code_vectors() -> None:
    model = linear_vq()
    torch.manual_seed(1)
    x = model.sample(200)
    means = model.px(model.posterior.embed(all_indices(model))).mean  # type: ignore[operator]
    distances = (x.flatten(1).unsqueeze(1) - means.detach().flatten(1)).norm(dim=-1)
    assert distances.min(1).values.max() < 1e-4
    assert len(distances.argmin(1).unique()) == 9


def test_commitment_and_its_gradient() -> None:
    model = linear_vq().train()
    terms = model(X)
    qz = terms.latents[0].qz
    assert isinstance(qz, PointMass)
    expected = (qz.inputs - qz.loc).square().sum(-1)
    torch.testing.assert_close(terms.penalties["commitment"], expected)
    loss = ELBO(penalties={"commitment": 0.25})(terms, StepContext())
    torch.testing.assert_close(loss.value, -terms.elbo().mean() + 0.25 * expected.mean())
    assert float(loss.logs["commitment"]) == pytest.approx(float(expected.mean().detach()))
    [gradient] = torch.autograd.grad(terms.penalties["commitment"].sum(), qz.inputs)
    torch.testing.assert_close(gradient, 2 * (qz.inputs - qz.loc))


@pytest.mark.parametrize("posterior", ["vq", "residual-vq", "fsq"])
@pytest.mark.parametrize("prior", ["uniform-codes", "transformer"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_discrete_models_train_save_and_load(posterior: str, prior: str, network: str, tmp_path: Path) -> None:
    model = discrete(posterior, prior, network)
    x, labels = torch.randint(0, 256, (6, 2, 6, 5), dtype=torch.uint8), torch.tensor([0, 1, 2, 1, 0, 2])
    optimizer, losses = torch.optim.Adam(model.parameters(), 0.01), []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(ELBO()(model(x, labels, 2), StepContext()).value)
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-5:]) < sum(losses[:5])
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    save_vae(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = load_vae(tmp_path)
    for (name, saved), (_, read) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(saved, read), name
    assert torch.equal(loaded.elbo(x, labels), model.elbo(x, labels))
    torch.manual_seed(3)
    expected = model.sample(3, labels[:3])
    torch.manual_seed(3)
    assert torch.equal(loaded.sample(3, labels[:3]), expected)


def discrete(posterior: str, prior: str, network: str) -> VAE:
    options: dict[str, object] = {
        "vq": {"codes": 8},
        "residual-vq": {"codes": 8, "quantizers": 2},
        "fsq": {"levels": [3, 3, 2, 2]},
    }[posterior]
    options["positions"] = 9
    return make_vae(
        network,
        network,
        posterior=posterior,
        prior=prior,
        classes=["a", "b", "c"],
        latent_dim=36,
        encoder_options={"hidden": None} if network == "conv" else {},
        decoder_options={"hidden": None} if network == "conv" else {},
        posterior_options=options,
    )


@pytest.mark.parametrize(
    ("posterior", "prior", "message"),
    [
        ("vq", "standard-normal", r"prior: StandardNormal is a density.*uniform-codes or transformer"),
        ("fsq", "flow", r"prior: FlowPrior is a density.*uniform-codes"),
        ("diagonal-gaussian", "uniform-codes", r"prior: UniformCodes is over codes.*vq"),
        ("flow", "transformer", r"prior: TransformerPrior is over codes.*vq"),
    ],
)
def test_parts_that_do_not_fit_are_refused(posterior: str, prior: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make_vae(posterior=posterior, prior=prior)


def test_a_prior_keeps_to_the_codes_that_it_was_made_for() -> None:
    prior = perturbed_transformer(4)
    linear_vq(prior)
    with pytest.raises(ModelError, match=r"2 indices of 3 codes.*4"):
        prior.adapt(VectorQuantizer(6, 4, codes=3, positions=4))
    with pytest.raises(ModelError, match="no codes yet"):
        perturbed_transformer(4)(3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_train_a_discrete_model_or_refuse_it(name: str) -> None:
    model = linear_vq().train()
    objective = make_objective(name, model)
    if name == "wake-sleep":
        with pytest.raises(ModelError, match=r"wake-sleep.*density"):
            objective(model(X, num_samples=2), StepContext())
        return
    objective(model(X, num_samples=2), StepContext()).value.backward()
    assert model.posterior.project.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_interpolations_and_traversals_decode_points_between_codes() -> None:
    model = linear_vq()
    strip = model.interpolate(X[0], X[1], steps=3)
    z = model.encode(X[:2]).mean
    torch.testing.assert_close(strip[1], model.px(z.mean(0, keepdim=True)).mean[0])
    assert model.traverse(z[0].detach(), [2], torch.tensor([[0.0, 1.0]])).shape == (1, 2, 1, 2, 3)


def test_pz_is_a_distribution_over_code_vectors() -> None:
    pz = linear_vq(noise=0.5).pz(3)
    assert isinstance(pz, CodeVectors)
    torch.testing.assert_close(pz.mean, torch.zeros(3, 4))
    torch.testing.assert_close(pz.variance, torch.full((3, 4), 1.5**2 * 2 / 3))


def test_the_codes_of_each_codebook_are_counted_for_themselves() -> None:
    model = discrete("residual-vq", "uniform-codes", "mlp").eval()
    data = ImageSet(torch.randint(0, 256, (30, 2, 6, 5), dtype=torch.uint8), torch.arange(30) % 3)
    use = code_use(model, data)
    assert use is not None
    indices = model.encode(data.pixels, data.labels).indices  # type: ignore[attr-defined]
    expected = [indices[:, level::2].flatten().bincount(minlength=8).tolist() for level in (0, 1)]
    assert use.counts.tolist() == expected
    assert expected[0] != expected[1]
    assert code_use(make_vae(), data) is None
