"""A batch that processes share, without processes: slices, random numbers, augmentation and binarization."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Laplace

from tests.test_contracts import DISCRETE, make_vae, pixels
from vaekit.core.rng import generator
from vaekit.core.shares import Share, batch_draw, batch_mean, current_share, own_random_numbers, share_of, sharing
from vaekit.data import Augmentation, Batch, Batches, ImageSet, Transform, augmenter, compose, sample_binary
from vaekit.distributions import POSTERIORS, Posterior

AUGMENTATIONS: list[dict[str, float]] = [
    {},
    {"flip": 0.5},
    {"vertical_flip": 0.5, "rotate": 20.0},
    {"shift": 0.2, "zoom": 0.2},
    {"crop": 0.4},
    {"jitter": 0.4},
    {"hue": 0.3, "jitter": 0.3},
    {"flip": 0.5, "rotate": 10.0, "shift": 0.1, "zoom": 0.1, "crop": 0.2, "jitter": 0.2},
]


@contextmanager
def process(rank: int, num: int) -> Iterator[None]:
    """Acts as one of several processes."""
    with patch("vaekit.core.shares.rank", return_value=rank), patch("vaekit.core.shares.num_processes", return_value=num):
        yield


def shares(total: int, num: int) -> list[Share | None]:
    """The share of each of ``num`` processes."""
    found = []
    for rank in range(num):
        with process(rank, num):
            found.append(share_of(total))
    return found


def epoch_of_each(images: ImageSet, num: int, batch_size: int, transform: Transform | None) -> list[list[Batch]]:
    """Two epochs of each of ``num`` processes."""
    found = []
    for rank in range(num):
        with process(rank, num):
            batches = Batches(images, batch_size, seed=3, transform=transform, shared=True)
            found.append([batch for _ in range(2) for batch in batches])
    return found


@pytest.mark.parametrize("num", [2, 3, 7])
@pytest.mark.parametrize("total", [1, 2, 3, 5, 7, 64])
def test_shares_are_contiguous_and_have_every_image_once(total: int, num: int) -> None:
    found = [share for share in shares(total, num) if share is not None]
    assert len(found) == num
    counted = [share for share in found if share.weight]
    assert [i for share in counted for i in range(share.start, share.stop)] == list(range(total))
    assert sum(share.weight for share in found) == pytest.approx(1, abs=1e-12)
    assert all(share.weight in (0, share.size / total) for share in found)
    assert all(0 <= share.start < share.stop <= share.total == total for share in found)
    assert max(share.size for share in found) - min(share.size for share in found) <= 1


def test_one_process_has_no_share() -> None:
    assert shares(5, 1) == [None]
    assert current_share(5) is None
    assert torch.equal(batch_mean(torch.arange(4.0).reshape(2, 2), 0), torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("num", [2, 3, 5])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", AUGMENTATIONS)
def test_order_augmentation_and_binarization_do_not_depend_on_the_number_of_processes(
    options: dict[str, float], channels: int, num: int
) -> None:
    """The images of all processes together are those of one, bit for bit; the last batch is smaller than their number."""
    options = options | {"hue": 0.0} if channels == 1 else options
    images = ImageSet(pixels(17, (channels, 9, 12)), torch.arange(17))
    steps = [augmenter(Augmentation(**options), (channels, 9, 12))] if options else []
    transform = compose([*steps, sample_binary])
    [alone] = epoch_of_each(images, 1, 8, transform)
    found = epoch_of_each(images, num, 8, transform)
    assert [batch.total for batch in alone] == [8, 8, 1] * 2
    for position, whole in enumerate(alone):
        parts = [batches[position] for batches in found]
        assert all(part.total == len(whole) for part in parts)
        counted = [part for part in parts if part.share is not None and part.share.weight]
        for name in ("rows", "y", "x"):
            assert torch.equal(torch.cat([getattr(part, name) for part in counted]), getattr(whole, name)), name
        for part in parts:
            assert part.share is not None
            assert torch.equal(part.x, part.share.of(whole.x))


def test_augmentation_without_binarization_is_the_same_in_each_process() -> None:
    images = ImageSet(pixels(16, (3, 9, 12)))
    transform = augmenter(Augmentation(rotate=30.0, crop=0.3, jitter=0.3, hue=0.2), (3, 9, 12))
    [alone] = epoch_of_each(images, 1, 8, transform)
    halves = epoch_of_each(images, 2, 8, transform)
    for whole, first, second in zip(alone, *halves, strict=True):
        assert torch.equal(torch.cat([first.x, second.x]), whole.x)


def test_batches_that_are_not_shared_are_whole() -> None:
    with patch("vaekit.core.shares.num_processes", return_value=2):
        [batch] = Batches(ImageSet(pixels(6)), 6, seed=0)
    assert (len(batch), batch.share) == (6, None)


def parts(values: Tensor, share: Share, dim: int) -> Tensor:
    return values.narrow(dim, share.start, share.size)


@pytest.mark.parametrize("dim", [0, 1])
def test_random_numbers_are_slices_of_those_of_the_batch(dim: int) -> None:
    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=noise)

    noise = generator(5)
    shape = (3, 7, 2) if dim else (7, 2)
    whole = batch_draw(draw, shape, dim)
    after = noise.get_state()
    for share in (Share(0, 3, 7, 3 / 7), Share(3, 7, 7, 4 / 7), Share(6, 7, 7, 0.0)):
        noise = generator(5)
        with sharing(share):
            own = batch_draw(draw, (*shape[:dim], share.size, *shape[dim + 1 :]), dim)
        assert torch.equal(own, parts(whole, share, dim))
        assert torch.equal(noise.get_state(), after)


def test_random_numbers_of_one_process_alone_move_the_generators_equally() -> None:
    values, states = [], []
    for rank in range(2):
        torch.manual_seed(4)
        with patch("vaekit.core.shares.rank", return_value=rank), sharing(Share(rank, rank + 1, 2, 0.5)):
            with own_random_numbers():
                values.append(torch.rand(rank + 3))
            states.append(torch.get_rng_state())
    assert not torch.equal(values[0], values[1][:3])
    assert torch.equal(states[0], states[1])


class LaplacePosterior(Posterior):
    """A posterior that is not made of normal noise."""

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.loc = torch.nn.Linear(num_features, latent_dim)

    def forward(self, features: Tensor) -> Independent:
        return Independent(Laplace(self.loc(features), 1.0), 1)


@pytest.mark.parametrize("name", [name for name in POSTERIORS if name not in (*DISCRETE, "residual")])
def test_samples_of_z_are_those_of_torch_and_slices_of_them(name: str) -> None:
    """One process samples as the distribution itself does, bit for bit, gradients included."""
    vae, x = make_vae(posterior=name), pixels(7)
    torch.manual_seed(2)
    expected = vae.qz(x).rsample(torch.Size([3]))
    following = torch.rand(2)
    torch.manual_seed(2)
    z = vae(x, num_samples=3).latents[0].z
    assert torch.equal(z, expected)
    assert torch.equal(torch.rand(2), following)
    weights = list(vae.posterior.parameters())
    for a, b in zip(
        torch.autograd.grad((z**3).sum(), weights, allow_unused=True),
        torch.autograd.grad((expected**3).sum(), weights, allow_unused=True),
        strict=True,
    ):
        assert (a is None and b is None) or torch.equal(a, b)
    share = Share(2, 6, 7, 4 / 7)
    torch.manual_seed(2)
    with sharing(share):
        own = vae(share.of(x), num_samples=3).latents[0].z
    torch.testing.assert_close(own, share.of(z, 1))
    assert torch.equal(torch.rand(2), following)


def test_a_posterior_without_normal_noise_is_sampled_by_each_process_for_itself() -> None:
    vae, x = make_vae(), pixels(6)
    vae.posterior = LaplacePosterior(vae.posterior.num_features, 3)
    torch.manual_seed(2)
    expected = vae.qz(x).rsample(torch.Size([3]))
    torch.manual_seed(2)
    assert torch.equal(vae(x, num_samples=3).latents[0].z, expected)
    found = []
    for rank in range(2):
        torch.manual_seed(2)
        with patch("vaekit.core.shares.rank", return_value=rank), sharing(Share(3 * rank, 3 * rank + 3, 6, 0.5)):
            z = vae(x[:3], num_samples=2).latents[0].z
        assert z.requires_grad
        found.append((z, torch.rand(2)))
    assert (found[0][0] != found[1][0]).all()
    assert torch.equal(found[0][1], found[1][1])
