"""Discrete posteriors: codes, layouts, gradients, and the moving averages of codebooks, against their formulas."""

from itertools import product

import pytest
import torch
from torch import Tensor

from tests.discrete_models import quantizers
from tests.launched import together
from vaekit.core.errors import ConfigError
from vaekit.core.shares import share_of, sharing
from vaekit.distributions import FiniteScalarQuantizer, Quantizer, ResidualQuantizer, VectorQuantizer
from vaekit.distributions.codebook import Codebook
from vaekit.distributions.quantizer_gradient import replaced

# Layouts and indices


@pytest.mark.parametrize("index", range(6))
def test_indices_name_code_vectors(index: int) -> None:
    """Indices of latents, latents of indices; a change of one number is no code vector any more."""
    quantizer = quantizers()[index].eval()
    features = torch.randn(7, *([5] if isinstance(quantizer.num_features, int) else quantizer.num_features))
    qz = quantizer(features)
    assert qz.indices.shape == (7, quantizer.length)
    assert torch.equal(quantizer.embed(qz.indices), qz.loc)
    found, are_codes = quantizer.indices_of(qz.loc.expand(2, 7, -1))
    assert are_codes.all()
    assert torch.equal(found, qz.indices.expand(2, -1, -1))
    moved = qz.loc.detach().clone()
    moved[:, -1] += 1e-3
    assert not quantizer.indices_of(moved)[1].any()
    assert qz.log_prob(qz.sample((2,))).tolist() == [[0.0] * 7] * 2
    assert qz.log_prob(moved).tolist() == [-torch.inf] * 7
    every = torch.randint(quantizer.num_codes, (50, quantizer.length))
    again, are_codes = quantizer.indices_of(quantizer.embed(every))
    assert are_codes.all()
    assert torch.equal(again, every)


@pytest.mark.parametrize("index", range(6))
def test_moments_are_those_of_listed_codes(index: int) -> None:
    quantizer = quantizers()[index].eval()
    probabilities = torch.rand(quantizer.length, quantizer.num_codes).softmax(-1)
    mean, variance = quantizer.moments(probabilities)
    samples = torch.stack([row.multinomial(20_000, replacement=True) for row in probabilities], -1)
    z = quantizer.embed(samples)
    torch.testing.assert_close(z.mean(0), mean, atol=0.06, rtol=0)
    torch.testing.assert_close(z.var(0), variance, atol=0.1, rtol=0)


def test_maps_of_codes_keep_their_place() -> None:
    """The latents of a position are those of the maps at it, as a convolutional decoder reads them."""
    quantizer = VectorQuantizer((5, 2, 3), 12, codes=4).eval()
    features = torch.zeros(1, 5, 2, 3)
    before = quantizer(features).loc.unflatten(1, (2, 2, 3))
    for row, column in product(range(2), range(3)):
        changed = features.clone()
        changed[0, :, row, column] = 9.0
        differs = (quantizer(changed).loc.unflatten(1, (2, 2, 3)) != before).any(1)[0]
        others = differs.clone()
        others[row, column] = False
        assert not others.any()
    vectors = quantizer.project(features).flatten(2).transpose(1, 2)
    torch.testing.assert_close(quantizer(features).inputs.unflatten(1, (2, 2, 3)).flatten(2).transpose(1, 2), vectors)


LEVELS = [[2], [3], [4], [5, 5, 5, 2], [15, 17], [8, 5, 5], [3, 5, 17], [255], [256], [7, 2, 9]]


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_every_combination_of_levels_has_its_index(levels: list[int]) -> None:
    quantizer = FiniteScalarQuantizer(4, len(levels), levels=levels)
    indices = torch.arange(quantizer.num_codes).unsqueeze(-1)
    vectors = quantizer.embed(indices)
    halves = [num // 2 for num in levels]
    listed = [
        [(step - half) / half for step, half in zip(reversed(each), halves, strict=True)]
        for each in product(*[range(num) for num in reversed(levels)])
    ]
    torch.testing.assert_close(vectors, torch.tensor(listed))
    assert len(vectors.unique(dim=0)) == quantizer.num_codes
    again, are_codes = quantizer.indices_of(vectors)
    assert torch.equal(again, indices)
    assert are_codes.all()
    assert not quantizer.indices_of(vectors + 0.4 / max(levels))[1].any()


def test_finite_codes_of_features() -> None:
    """A large number of either sign reaches the outermost levels, and 0 the middle one."""
    quantizer = FiniteScalarQuantizer(2, 2, levels=[5, 4])
    found = [quantizer.quantize(torch.full((1, 1, 2), value))[0].flatten().tolist() for value in (-9.0, 0.0, 9.0)]
    assert found == [[-1.0, -1.0], [0.0, 0.0], [1.0, 0.5]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VectorQuantizer(5, 7, positions=2), r"latent_dim 7.*multiple of 2"),
        (lambda: VectorQuantizer((5, 2, 2), 8, positions=3), r"positions 3.*2x2.*have 4"),
        (lambda: ResidualQuantizer(5, 6, quantizers=4), r"latent_dim 6.*multiple of 4"),
        (lambda: FiniteScalarQuantizer((5, 2, 2), 8, levels=[5, 5, 5]), r"latent_dim 8.*12 latents"),
        (lambda: FiniteScalarQuantizer(5, 3, levels=[256, 256, 2]), r"levels.*131,072 codes.*65,536"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


# Gradients


def test_the_straight_through_gradient_is_the_identity() -> None:
    vectors, codes, gradient = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3), torch.randn(6, 3)
    out = replaced(vectors, codes, "straight-through")
    assert torch.equal(out, codes)
    out.backward(gradient)
    assert vectors.grad is not None
    assert torch.equal(vectors.grad, gradient)


def test_the_rotation_gradient_is_that_of_a_scaled_rotation() -> None:
    vectors, codes, gradient = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3), torch.randn(6, 3)
    out = replaced(vectors, codes, "rotation")
    assert torch.equal(out, codes)
    out.backward(gradient)
    assert vectors.grad is not None
    for e, q, g, found in zip(vectors.detach().double(), codes.double(), gradient.double(), vectors.grad, strict=True):
        unit_e, unit_q = e / e.norm(), q / q.norm()
        r = (unit_e + unit_q) / (unit_e + unit_q).norm()
        rotation = torch.eye(3, dtype=torch.float64) - 2 * torch.outer(r, r) + 2 * torch.outer(unit_q, unit_e)
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))  # it is a rotation
        torch.testing.assert_close(torch.linalg.det(rotation), torch.tensor(1.0, dtype=torch.float64))
        scale = q.norm() / e.norm()
        torch.testing.assert_close(scale * rotation @ e, q)
        torch.testing.assert_close(found.double(), scale * rotation.T @ g, atol=1e-5, rtol=1e-5)


def test_gradients_without_a_direction_are_finite() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    codes = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    replaced(vectors, codes, "rotation").sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize("quantizer", [ResidualQuantizer(5, 12, codes=4, quantizers=3, gradient="straight-through")])
def test_levels_share_the_gradient_of_their_sum(quantizer: ResidualQuantizer) -> None:
    """A function of the sum of all levels passes what one quantizer passes: its own gradient."""
    vectors, gradient = torch.randn(2, 1, 4, requires_grad=True), torch.randn(2, 1, 4)
    codes, _, inputs = quantizer.eval().quantize(vectors)
    (codes.sum(2) * gradient).sum().backward()
    assert vectors.grad is not None
    torch.testing.assert_close(vectors.grad, gradient)
    left = inputs - codes
    torch.testing.assert_close(left[:, :, 0], inputs[:, :, 1])
    torch.testing.assert_close(codes.sum(2) + left[:, :, 2], vectors)


# Codebooks


def reference_step(vectors: Tensor, counts: Tensor, sums: Tensor, batch: Tensor, decay: float) -> tuple[Tensor, ...]:
    """One step of online k-means, by loops in float64."""
    n, s = torch.zeros(len(vectors), dtype=torch.float64), torch.zeros_like(sums, dtype=torch.float64)
    for x in batch.double():
        nearest = int(((vectors.double() - x) ** 2).sum(-1).argmin())
        n[nearest] += 1
        s[nearest] += x
    counts, sums = decay * counts.double() + (1 - decay) * n, decay * sums.double() + (1 - decay) * s
    return sums / counts.unsqueeze(-1), counts, sums


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_codebook_makes_steps_of_online_k_means(decay: float) -> None:
    book = Codebook(4, 3, decay, restart=0.0)
    book.learn(torch.randn(5, 8, 3))
    for _ in range(3):
        before = [book.vectors.clone(), book.counts.clone(), book.sums.clone()]
        batch = torch.randn(5, 8, 3)
        expected = reference_step(*before, batch.flatten(0, 1), decay)
        book.learn(batch)
        for found, value in zip((book.vectors, book.counts, book.sums), expected, strict=True):
            torch.testing.assert_close(found.double(), value, atol=1e-5, rtol=1e-5)
    assert int(book.num_restarts) == 0


def test_a_codebook_finds_the_means_of_clusters() -> None:
    means = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0], [0.0, -5.0]])
    book = Codebook(4, 2, 0.9, restart=0.1)
    for _ in range(80):
        book.learn(means[torch.randint(4, (64,))] + 0.1 * torch.randn(64, 2))
    assert torch.cdist(means, book.vectors).min(1).values.max() < 0.1


def test_dead_codes_are_restarted_and_counted() -> None:
    book = Codebook(4, 2, 0.5, restart=0.2)
    near = torch.randn(32, 2)
    book.learn(near)
    move_away(book)
    for _ in range(8):
        book.learn(torch.randn(32, 2))
        if int(book.num_restarts):
            break
    assert int(book.num_restarts) == 1
    assert book.vectors[2].abs().max() < 10
    assert book.counts[2] > 0.5
    never = Codebook(4, 2, 0.5, restart=0.0)
    never.learn(near)
    move_away(never)
    for _ in range(8):
        never.learn(torch.randn(32, 2))
    assert int(never.num_restarts) == 0
    assert never.vectors[2].min() > 999


def move_away(book: Codebook) -> None:
    """Moves a code where no vector is near it."""
    book.vectors[2] = 1000.0
    book.sums[2] = 1000 * book.counts[2]


def test_codes_that_are_near_each_other_are_told_apart() -> None:
    """Squares of about 30,000 hide differences of 1e-3; the code vectors of an image must still be found."""
    quantizer = VectorQuantizer(5, 24, codes=50, positions=3).eval()
    book = quantizer.codebooks[0]
    book.vectors.copy_(60 + 1e-3 * torch.randn(50, 8))
    every = torch.randint(50, (40, 3))
    found, are_codes = quantizer.indices_of(quantizer.embed(every))
    assert are_codes.all()
    assert torch.equal(found, every)


def test_equal_vectors_of_a_batch_become_one_code() -> None:
    """A batch of one repeated vector and two others: codes that nothing is nearest to are restarted at the others."""
    batch = torch.cat([torch.ones(30, 2), torch.tensor([[5.0, 5.0], [9.0, 9.0]])])
    book = Codebook(3, 2, 0.5, restart=0.1)
    for _ in range(12):
        book.learn(batch)
    assert sorted(book.vectors[:, 0].tolist()) == pytest.approx([1.0, 5.0, 9.0])
    before = int(book.num_restarts)
    only = Codebook(3, 2, 0.5, restart=0.1)
    for _ in range(12):
        only.learn(torch.ones(30, 2))  # nothing else to restart at
    torch.testing.assert_close(only.vectors, torch.ones(3, 2))
    assert before > 0


def test_codes_outnumber_the_vectors_of_a_batch() -> None:
    book = Codebook(10, 2, 0.9, restart=0.1)
    batch = torch.randn(3, 2)
    book.learn(batch)
    used = book.vectors[book.counts > 0]
    assert len(used) == 3
    assert (used.unsqueeze(1) - batch).norm(dim=-1).min(1).values.max() < 1e-6


def check_shares() -> None:
    """Two processes, of 3 and 4 images, move a codebook as one does, bit for bit; so do three for two images."""
    for num_images in (7, 1):
        alone = learned_by(num_images, None)
        share = share_of(num_images)
        assert share is not None
        shared = learned_by(num_images, share)
        assert all(torch.equal(shared[name], value) for name, value in alone.items())


def learned_by(num_images: int, share: object) -> dict[str, Tensor]:
    torch.manual_seed(4)
    book = Codebook(6, 3, 0.8, restart=0.3)
    for _ in range(5):
        batch = torch.randn(num_images, 4, 3)
        with sharing(share):  # type: ignore[arg-type]
            book.learn(batch if share is None else share.of(batch))  # type: ignore[attr-defined]
    return book.state_dict()


def test_processes_move_a_codebook_as_one_does() -> None:
    together(2, check_shares)


# In a model


def test_codes_are_learned_in_training_alone() -> None:
    quantizer = VectorQuantizer(5, 6, codes=4, positions=3)
    x = torch.randn(8, 5)
    before = quantizer.codebooks[0].vectors.clone()
    quantizer.eval()(x)
    with torch.no_grad():
        quantizer.train()(x)
    assert torch.equal(quantizer.codebooks[0].vectors, before)
    qz = quantizer(x)
    assert not torch.equal(quantizer.codebooks[0].vectors, before)
    assert quantizer.indices_of(qz.loc)[1].all()  # the code vectors are those of the moved codebook


@pytest.mark.parametrize("index", range(6))
def test_codes_stay_in_float32_under_autocast(index: int) -> None:
    quantizer: Quantizer = quantizers()[index]
    features = torch.randn(7, *([5] if isinstance(quantizer.num_features, int) else quantizer.num_features))
    with torch.autocast("cpu", torch.bfloat16):
        qz = quantizer(features)
        again, are_codes = quantizer.indices_of(qz.loc)
    assert qz.loc.dtype == qz.inputs.dtype == torch.float32
    assert are_codes.all()
    assert torch.equal(again, qz.indices)
    for codebook in getattr(quantizer, "codebooks", []):
        assert codebook.vectors.dtype == torch.float32


def test_the_nearest_code_is_found_in_float32_under_autocast() -> None:
    quantizer = VectorQuantizer(5, 24, codes=512, positions=3).eval()
    with torch.autocast("cpu", torch.bfloat16):
        qz = quantizer(20 * torch.randn(40, 5))
    inputs = qz.inputs.unflatten(1, (8, 3)).transpose(1, 2).double()
    distances = (inputs.unsqueeze(2) - quantizer.codebooks[0].vectors.double()).norm(dim=-1)
    assert torch.equal(distances.argmin(-1), qz.indices)
