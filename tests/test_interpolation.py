"""Ways through latents against closed forms, and what a model draws along them decoded by hand."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.distributions import Bernoulli, DiagonalGaussian, StandardNormal
from vaekit.models import VAE, ClassLabel, chunks
from vaekit.models.interpolation import PATHS, along, linear, spherical
from vaekit.networks import MLPDecoder, MLPEncoder

SHAPE, DIM, CLASSES = (2, 3, 4), 3, ["cat", "dog", "owl"]
WEIGHTS = torch.linspace(0, 1, 11)
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def make_vae(classes: list[str] | None = None) -> VAE:
    """A VAE of two small networks, whose images depend on every latent and on the class."""
    context = len(classes or ())
    parts = MLPEncoder(SHAPE, context, hidden=[9]), DiagonalGaussian(9, DIM), StandardNormal(DIM, context)
    decoder = MLPDecoder(DIM, SHAPE, context_dim=context, hidden=[16], activation="tanh")
    with torch.no_grad():
        decoder.output.weight.mul_(8)
    return VAE(*parts, decoder, Bernoulli(), ClassLabel(classes) if classes else None)


def decoded(model: VAE, z: Tensor, context: Tensor | None = None) -> Tensor:
    """The image of one latent, through the parts of the model alone."""
    with torch.no_grad():
        return torch.sigmoid(model.decoder(z[None], None if context is None else context[None]))[0]


def apart(images: Tensor) -> float:
    """How far the most alike of some images are apart, in the pixel where they differ most."""
    flat = images.flatten(1)
    return float(((flat[:, None] - flat).abs().amax(-1) + torch.eye(len(flat))).min())


# Paths


def test_line_is_straight_and_even() -> None:
    a, b = torch.randn(11, 5), torch.randn(11, 5)
    found = linear(a, b, WEIGHTS)
    torch.testing.assert_close(found, a + WEIGHTS[:, None] * (b - a))
    assert torch.equal(found[0], a[0])
    assert torch.equal(found[-1], b[-1])


@pytest.mark.parametrize("dim", [2, 5, 64])
@pytest.mark.parametrize("angle", [0.01, 0.7, math.pi / 2, 3.0])
def test_arc_of_unit_vectors_keeps_norm_and_turns_evenly(dim: int, angle: float) -> None:
    first, second = torch.linalg.qr(torch.randn(dim, 2, dtype=torch.float64)).Q.T
    a, b = first, math.cos(angle) * first + math.sin(angle) * second
    arc = spherical(a.expand(11, -1), b.expand(11, -1), WEIGHTS.double())
    turned = WEIGHTS.double()[:, None] * angle
    torch.testing.assert_close(arc, turned.cos() * first + turned.sin() * second)
    torch.testing.assert_close(arc.norm(dim=1), torch.ones(11, dtype=torch.float64))
    steps = torch.stack([torch.linalg.vecdot(p, q).clamp(max=1).acos() for p, q in pairwise(arc)])
    torch.testing.assert_close(steps, torch.full((10,), angle / 10, dtype=torch.float64), atol=1e-6, rtol=0)


def test_arc_of_other_lengths_is_the_formula() -> None:
    a, b = torch.tensor([[3.0, 0.0]] * 3), torch.tensor([[0.0, 0.5]] * 3)
    found = spherical(a, b, torch.tensor([0.0, 1 / 3, 1.0]))
    expected = torch.tensor([[3.0, 0.0], [3 * math.cos(math.pi / 6), 0.5 * math.sin(math.pi / 6)], [0.0, 0.5]])
    torch.testing.assert_close(found, expected)


def test_arc_of_latents_stays_as_far_out_as_they_are_and_a_line_does_not() -> None:
    a, b = F.normalize(torch.randn(2, 200, 64), dim=-1) * 8
    half = torch.full((200,), 0.5)
    torch.testing.assert_close(spherical(a, b, half).norm(dim=1), torch.full((200,), 8.0), atol=1e-3, rtol=0)
    assert linear(a, b, half).norm(dim=1).max() < 7


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1.0, 2.0, 2.0), (1.0, 2.0, 2.0)),
        ((1.0, 2.0, 2.0), (3.0, 6.0, 6.0)),
        ((1.0, 2.0, 2.0), (-1.0, -2.0, -2.0)),
        ((0.0, 0.0, 0.0), (1.0, 2.0, 2.0)),
        ((1.0, 2.0, 2.0), (0.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1e-30, 0.0, 0.0), (0.0, 1e-30, 0.0)),
        ((1e18, 0.0, 0.0), (-1e18, 0.0, 0.0)),
    ],
    ids=["same", "parallel", "opposite", "from zero", "to zero", "zero", "tiny", "opposite and huge"],
)
def test_arc_without_a_plane_is_the_line(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    ends = torch.tensor(a).expand(11, 3), torch.tensor(b).expand(11, 3)
    found = spherical(*ends, WEIGHTS)
    assert found.isfinite().all()
    torch.testing.assert_close(found, torch.lerp(*ends, WEIGHTS[:, None]), atol=1e-6, rtol=1e-4)


def test_arc_near_the_opposite_stays_within_the_sphere() -> None:
    a = F.normalize(torch.randn(500, 8), dim=-1)
    b = F.normalize(-a + 10 ** torch.empty(500, 1).uniform_(-6, -1) * torch.randn(500, 8), dim=-1)
    for weight in WEIGHTS:
        assert spherical(a, b, weight.expand(500)).norm(dim=1).max() < 1.5


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_way_passes_its_points_exactly_and_closes(path: str, kind: torch.dtype) -> None:
    points = 3 * torch.randn(4, DIM)
    found = along(points, torch.tensor([0, 1, 2, 3, 4, 7, 401], dtype=kind), path)
    assert torch.equal(found, points[[0, 1, 2, 3, 0, 3, 1]])
    assert found.dtype == points.dtype
    torch.testing.assert_close(along(points, torch.tensor([4 - 1e-6], dtype=kind), path)[0], points[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("path", PATHS)
def test_way_lies_between_the_two_points_of_its_position(path: str) -> None:
    points, way = torch.randn(3, DIM), PATHS[path]
    found = along(points, torch.tensor([2.75, 0.25, 1.5]), path)
    for row, (before, after, weight) in zip(found, [(2, 0, 0.75), (0, 1, 0.25), (1, 2, 0.5)], strict=True):
        expected = way(points[before, None], points[after, None], torch.tensor([weight]))[0]
        torch.testing.assert_close(row, expected)
    assert not torch.allclose(along(points, torch.tensor([0.5]), "linear"), along(points, torch.tensor([0.5]), "spherical"))


def test_way_through_one_point_stays_there() -> None:
    point = torch.randn(1, DIM)
    for path in PATHS:
        torch.testing.assert_close(along(point, torch.tensor([0.0, 0.3, 0.9, 1.0]), path), point.expand(4, DIM))


# What a model draws


@pytest.mark.parametrize("path", PATHS)
def test_journey_decodes_the_latents_of_its_way(path: str) -> None:
    model, z = make_vae(), 2 * torch.randn(3, DIM)
    positions = torch.tensor([0.0, 0.2, 1.0, 1.7, 2.0, 2.5], dtype=torch.float64)
    frames = model.decode_path(z, positions, path=path)
    for frame, position in zip(frames, positions.tolist(), strict=True):
        before, weight = int(position), position % 1
        a, b = z[before].double(), z[(before + 1) % 3].double()
        angle = math.acos(float(a @ b / a.norm() / b.norm()))
        line, arc = (1 - weight, weight), (math.sin((1 - weight) * angle), math.sin(weight * angle))
        u, v = line if path == "linear" else (part / math.sin(angle) for part in arc)
        torch.testing.assert_close(frame, decoded(model, (u * a + v * b).float()))
    assert apart(frames) > 0.05


@pytest.mark.parametrize("path", PATHS)
def test_path_of_a_conditional_model_moves_the_context_in_a_line(path: str) -> None:
    model, z, labels = make_vae(CLASSES), torch.randn(3, DIM), torch.tensor([2, 0, 0])
    positions = torch.tensor([0.0, 0.25, 1.0, 1.5, 2.75])
    frames = model.decode_path(z, positions, labels, path)
    cat, owl = 3**0.5 * torch.eye(3)[[0, 2]]
    contexts = [owl, 0.75 * owl + 0.25 * cat, cat, cat, 0.25 * cat + 0.75 * owl]
    latents = along(z, positions, path)
    for frame, latent, context in zip(frames, latents, contexts, strict=True):
        torch.testing.assert_close(frame, decoded(model, latent, context))
    there = decoded(model, latents[1], owl)
    assert (frames[1] - there).abs().max() > 0.01


@pytest.mark.parametrize("path", PATHS)
def test_interpolation_goes_between_posterior_means(path: str) -> None:
    model, (a, b) = make_vae(), torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    with torch.no_grad():
        ends = model.posterior.mu(model.encoder(torch.stack([a, b]) / 255))
    expected = [decoded(model, along(ends, torch.tensor([w]), path)[0]) for w in (0.0, 0.25, 0.5, 0.75)]
    found = model.interpolate(a, b, 5, path=path)
    torch.testing.assert_close(found, torch.stack([*expected, decoded(model, ends[1])]))
    torch.testing.assert_close(found[[0, 4]], model.reconstruct(torch.stack([a, b])))


def test_interpolation_of_a_conditional_model_moves_from_class_to_class() -> None:
    model, x = make_vae(CLASSES), torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    labels = torch.tensor([1, 2])
    found = model.interpolate(x[0], x[1], 3, labels)
    contexts = 3**0.5 * torch.eye(3)[labels]
    with torch.no_grad():
        ends = model.posterior.mu(model.encoder(x / 255, contexts))
    torch.testing.assert_close(found[[0, 2]], model.reconstruct(x, labels))
    torch.testing.assert_close(found[1], decoded(model, ends.mean(0), contexts.mean(0)))


@pytest.mark.parametrize("classes", [None, CLASSES])
def test_traversal_changes_one_latent_per_row(classes: list[str] | None) -> None:
    model, z = make_vae(classes), torch.randn(DIM)
    label = None if classes is None else torch.tensor([1])
    context = None if classes is None else 3**0.5 * torch.eye(3)[1]
    values = torch.tensor([[-2.0, 0.0, 2.0, 3.0], [5.0, 1.0, -1.0, -3.0]])
    found = model.traverse(z, [2, 0], values, label)
    for row, latent in enumerate((2, 0)):
        for column in range(4):
            point = z.clone()
            point[latent] = values[row, column]
            torch.testing.assert_close(found[row, column], decoded(model, point, context))
    assert apart(found.flatten(0, 1)) > 0.01


@pytest.mark.parametrize("classes", [None, CLASSES])
@pytest.mark.parametrize(("numbers", "chunk_size"), [(3 * 24, 3), (3 * 24 - 1, 2), (1, 1), (2**21, 10)])
def test_many_images_are_decoded_in_chunks(
    classes: list[str] | None, numbers: int, chunk_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, z = make_vae(classes), torch.randn(10, DIM)
    labels = None if classes is None else torch.arange(10) % 3
    contexts = [None] * 10 if classes is None else list(3**0.5 * torch.eye(3)[torch.arange(10) % 3])
    expected = torch.stack([decoded(model, *pair) for pair in zip(z, contexts, strict=True)])
    seen: list[int] = []

    def count(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(len(inputs[0]))

    monkeypatch.setattr(chunks, "CPU_CHUNK_BUDGET", numbers)
    assert min(model.chunk_size, 10) == chunk_size
    model.decoder.register_forward_pre_hook(count)
    torch.testing.assert_close(model.decode_mean(z, labels), expected)
    assert seen == [chunk_size] * (10 // chunk_size) + [10 % chunk_size] * (10 % chunk_size > 0)
