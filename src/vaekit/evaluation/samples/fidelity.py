r"""How much images look like a data set: distances between two sets of features, and how far each set covers the other.

With features :math:`a_1 \dots a_M` and :math:`b_1 \dots b_N` in :math:`\mathbb{R}^F`, of means :math:`\mu` and covariances
:math:`\Sigma`, the **Fréchet distance** is the squared Wasserstein distance of two Gaussians,

.. math:: \mathrm{FD} = |\mu_a - \mu_b|^2 + \operatorname{tr} \Sigma_a + \operatorname{tr} \Sigma_b
          - 2 \operatorname{tr} \bigl(\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2}\bigr)^{1/2},

the **kernel distance** is the squared maximum mean discrepancy of the kernel :math:`k(a, b) = (a^\top b / F + 1)^3`,

.. math:: \mathrm{KD} = \mathbb{E}\, k(a, a') + \mathbb{E}\, k(b, b') - 2\, \mathbb{E}\, k(a, b),

without bias, so it is as often below 0 as above where the distributions are equal. Around each point lies a ball that
reaches to its k-th nearest neighbor in its own set. **Precision** is the share of generated points in any ball of a real
one, **recall** the share of real points in any ball of a generated one (k = 3); **density** is how many real balls a
generated point lies in, over k, which may exceed 1, and **coverage** the share of real balls with a generated point in
them (k = 5). Equal distributions do not reach 1 in all four, and FD depends on N: so every row has one N, and stands beside
the row of real images against real ones.

Features make these numbers what they are. Their extractor's name stands in every column's head, and only the network of
the FID paper gives an FID.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
      https://arxiv.org/abs/1706.08500
    | Demystifying MMD GANs (Bińkowski et al., 2018), https://arxiv.org/abs/1801.01401
    | Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019),
      https://arxiv.org/abs/1904.06991
    | Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020), https://arxiv.org/abs/2002.09797
    | Limit laws of the empirical Wasserstein distance: Gaussian distributions (Rippl et al., 2016),
      https://arxiv.org/abs/1507.04090
    | A Class of Statistics with Asymptotically Normal Distribution (Hoeffding, 1948),
      https://doi.org/10.1214/aoms/1177730196
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import DataError
from vaekit.core.progress import working
from vaekit.core.rng import fixed_seed
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate, batches, mean_over_images
from vaekit.evaluation.samples.features import FeatureExtractor, column
from vaekit.models import VAE

PRECISION_NEIGHBORS, COVERAGE_NEIGHBORS = 3, 5
"""k of precision and recall, and k of density and coverage, as published."""
CHUNK_NUMBERS = 2**22
"""How many pairs of points are compared at a time: 32 MB of float64."""
ROUNDING = 1e-12
"""What is lost to rounding in a squared distance, as a share of the mean squared length: a point this near to a ball's rim
lies on the rim."""
DISTANCE = "0 is equal"
SHARE = "share of images"
DENSITY = "real balls per generated image, over k"

Draw = Callable[[Tensor, Tensor | None, slice], Tensor]
"""uint8 images of shape (B, C, H, W), their labels and places in, as many images on the unit interval out."""


def frechet_distance(a: Tensor, b: Tensor) -> tuple[float, float]:
    r"""Returns the Fréchet distance of two sets of features and its standard error.

    It is biased upwards, by about 1 / N: compare numbers of one N only. Covariances are never formed. With
    :math:`\Sigma = R^\top R` by QR of the centered features, the last trace is the sum of the singular values of
    :math:`R_a R_b^\top = U S V^\top`, which is accurate for singular covariances too.

    The standard error is the delta method's: to first order the estimate is a mean of

    .. math:: 2 (\mu_a - \mu_b)^\top \tilde a + |\tilde a|^2 - \tilde a^\top T \tilde a,
              \qquad \tilde a^\top T \tilde a = |S^{1/2} U^\top R_a^{-\top} \tilde a|^2,

    over the points :math:`\tilde a = a - \mu_a`, with T the optimal map from one Gaussian to the other, and of the same
    over b. Where the two distributions are equal it is somewhat too large, and the bias larger still.

    Arguments:
        a: Features, with shape (M, F).
        b: Features, with shape (N, F).
    """
    (mean_a, a, root_a, white_a), (mean_b, b, root_b, white_b) = _factors(a), _factors(b)
    u, s, vt = torch.linalg.svd(root_a @ root_b.T, full_matrices=False)
    shift = mean_a - mean_b
    value = shift @ shift + root_a.square().sum() + root_b.square().sum() - 2 * s.sum()
    influence_a = 2 * a @ shift + a.square().sum(1) - (white_a @ u).square() @ s
    influence_b = -2 * b @ shift + b.square().sum(1) - (white_b @ vt.T).square() @ s
    error = (influence_a.var() / len(a) + influence_b.var() / len(b)).sqrt()
    return max(0.0, float(value)), float(error)


def kernel_distance(a: Tensor, b: Tensor) -> tuple[float, float]:
    r"""Returns the kernel distance of two sets of features, without bias, and its standard error.

    Means are over all pairs, not over random subsets. The variance is Hoeffding's of this statistic. With
    :math:`g(a) = \mathbb{E}\, k(a, a') - \mathbb{E}\, k(a, b)`, and :math:`\zeta` the variance of a kernel that is
    centered in both arguments,

    .. math:: \mathrm{Var} = \frac4M \mathrm{Var}\, g(a) + \frac4N \mathrm{Var}\, g(b)
              + \frac2{M^2} \zeta_{aa} + \frac2{N^2} \zeta_{bb} + \frac4{MN} \zeta_{ab},

    of which the second line remains where the distributions are equal. The sampled :math:`g` vary by
    :math:`\zeta_{aa} / M + \zeta_{ab} / N` more than the true ones, which is taken off.

    Arguments:
        a: Features, with shape (M, F).
        b: Features, with shape (N, F).
    """
    a, b = a.double(), b.double()
    (m, n), (aa, zeta_aa), (bb, zeta_bb) = (len(a), len(b)), _within(a), _within(b)
    rows, columns, squares = _kernel_sums(a, b)
    ab, ba = rows / n, columns / m
    zeta_ab = (squares / (m * n) - ab.square().mean() - ba.square().mean() + ab.mean().square()).clamp(min=0)
    second = 2 * zeta_aa / m**2 + 2 * zeta_bb / n**2 + 4 * zeta_ab / (m * n)
    first = (4 * (aa - ab).var() / m + 4 * (bb - ba).var() / n - 2 * second).clamp(min=0)
    return float(aa.mean() + bb.mean() - 2 * ab.mean()), float((first + second).sqrt())


def precision_recall(real: Tensor, fake: Tensor, k: int = PRECISION_NEIGHBORS) -> tuple[Tensor, Tensor]:
    """Returns which generated points lie among real ones, and which real points among generated ones.

    Arguments:
        real: Features, with shape (M, F).
        fake: Features, with shape (N, F).
        k: Which neighbor a ball reaches to, below M and N.

    Returns:
        Zeros and ones of shape (N), whose mean is precision, and of shape (M), whose mean is recall.
    """
    inside_real, _ = _hits(fake, real, squared_radii(real, k))
    inside_fake, _ = _hits(real, fake, squared_radii(fake, k))
    return (inside_real > 0).double(), (inside_fake > 0).double()


def density_coverage(real: Tensor, fake: Tensor, k: int = COVERAGE_NEIGHBORS) -> tuple[Tensor, Tensor]:
    """Returns how densely real points lie around generated ones, and which real points have a generated one near.

    Arguments:
        real: Features, with shape (M, F).
        fake: Features, with shape (N, F).
        k: Which neighbor a ball reaches to, below M.

    Returns:
        Balls over k, of shape (N), whose mean is density, and zeros and ones of shape (M), whose mean is coverage.
    """
    inside, held = _hits(fake, real, squared_radii(real, k))
    return inside / k, (held > 0).double()


def squared_radii(points: Tensor, k: int) -> Tensor:
    """Returns the squared distance of each point to its k-th nearest other one, with shape (N), for points of shape (N, F).

    Raises:
        DataError: If there are not more than k points.
    """
    if len(points) <= k:
        raise DataError(f"{len(points)} images have no {k} neighbors each; give more than {k} images")
    radii = []
    for start, distances in _distances(points, points):
        rows = torch.arange(len(distances), device=points.device)
        distances[rows, start + rows] = torch.inf  # a point is no neighbor of its own
        radii.append(distances.topk(k, largest=False).values[:, -1])
    return torch.cat(radii)


def fidelity(
    model: VAE, images: ImageSet, train: ImageSet, extractor: FeatureExtractor, *, num: int, seed: int = 0
) -> dict[str, Any]:
    """Compares images of a model with training images, beside what anchors the numbers.

    The reference is the train split. Against it stand other real images (the floor: no model can be expected to do
    better), their reconstructions, samples of the model, with the labels of those images where the model is conditional,
    and uniform noise. Reconstructions and samples are mean images of p(x|z), which are smoother than draws of it. So
    compare like with like: where a model was trained on a binarization of gray images, hand in the gray ones, for both
    splits. Features that were learned on ``train`` may know it better than other images, which raises the floor.

    The standard errors of precision, recall, density and coverage are over the images that each is a mean of, with the
    other set held.

    Arguments:
        model: The model.
        images: Other real images, usually the test split.
        train: The reference.
        extractor: Images to features.
        num: How many images of each kind to compare; fewer where a split has fewer, and the same number in every row.
        seed: The seed of which images are taken, and of what is drawn.

    Returns:
        A dictionary that JSON can hold: the extractor, N, whether that is too ``few`` for a covariance of full rank, so that
        a Fréchet distance is bias before all, the columns' heads, and rows of numbers by those heads, each with its
        standard error, unit and N.

    Raises:
        DataError: If there are not more than 5 images of each kind.
        ModelError: If the model is conditional and the images have no labels.
    """
    num = min(num, len(images), len(train))
    if num <= COVERAGE_NEIGHBORS:
        raise DataError(f"{num} images are too few to compare sets of them; give more than {COVERAGE_NEIGHBORS}")
    reference, images = train.sample(num, seed), images.sample(num, seed)
    real = _features(model, reference, extractor, "train", _itself, seed)
    latents = _latents(model, images, seed)
    rows: dict[str, Draw] = {
        "test against train": _itself,
        "reconstructions": lambda pixels, labels, places: model.reconstruct(pixels, labels),
        "samples": lambda pixels, labels, places: model.decode_mean(latents[places], labels),
        "noise": lambda pixels, labels, places: torch.rand(pixels.shape).to(pixels.device),
    }
    table = {}
    for name, draw in rows.items():
        fake = _features(model, images, extractor, name, draw, seed)
        with working(f"comparing {name}"):
            numbers = compare(real, fake)
        space = f"{extractor.name} features"
        table[name] = {
            column(extractor, measure): replace(number, space=space).to_data() for measure, number in numbers.items()
        }
    return {
        "extractor": {"name": extractor.name, "description": extractor.description, "dim": extractor.dim},
        "reference": {"name": train.name, "split": train.split, "pixels": train.binary or "gray levels"},
        "images": {"name": images.name, "split": images.split, "pixels": images.binary or "gray levels"},
        "num_images": num,
        "few": num <= extractor.dim,
        "columns": [column(extractor, measure) for measure in numbers],
        "rows": table,
    }


def compare(real: Tensor, fake: Tensor) -> dict[str, Estimate]:
    """Returns every measure of two sets of features, real ones and generated ones, each with shape (N, F)."""
    frechet, kernel = frechet_distance(real, fake), kernel_distance(real, fake)
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    return {
        "FD": Estimate(*frechet, DISTANCE, len(fake)),
        "KD": Estimate(*kernel, DISTANCE, len(fake)),
        "precision": mean_over_images(precision, SHARE),
        "recall": mean_over_images(recall, SHARE),
        "density": mean_over_images(density, DENSITY),
        "coverage": mean_over_images(coverage, SHARE),
    }


def _factors(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean, the centered points, R with covariance R'R, and the whitened points W, so that the centered ones are WR."""
    x = x.double()
    mean = x.mean(0)
    q, r = torch.linalg.qr(x - mean)
    scale = (len(x) - 1) ** 0.5
    return mean, x - mean, r / scale, q * scale


def _kernel_sums(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sums of k(a, b) over b, with shape (M), over a, with shape (N), and of its square over both."""
    rows, columns, squares = [], b.new_zeros(len(b)), b.new_zeros(())
    for part, room in _chunks(a, b):
        kernel = torch.mm(part, b.T, out=room).div_(a.shape[1]).add_(1).pow_(3)
        rows.append(kernel.sum(1))
        columns += kernel.sum(0)
        squares += kernel.square_().sum()
    return torch.cat(rows), columns, squares


def _within(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of k(x, x') over all other points, with shape (N), and the variance of the centered kernel."""
    num, itself = len(x), (x.square().sum(1) / x.shape[1] + 1) ** 3
    rows, _, squares = _kernel_sums(x, x)
    means = (rows - itself) / (num - 1)
    square = (squares - itself.square().sum()) / (num * (num - 1))
    return means, (square - 2 * means.square().mean() + means.mean().square()).clamp(min=0)


def _distances(points: Tensor, centers: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields the squared distances of some points after the other to all centers, and the place of the first of them.

    They are overwritten by the next.
    """
    origin = centers.double().mean(0)  # near the points, so that little is lost where lengths are taken apart
    points, centers = points.double() - origin, centers.double() - origin
    lengths, start = centers.square().sum(1), 0
    for part, room in _chunks(points, centers):
        products = torch.addmm(lengths, part, centers.T, alpha=-2, out=room)
        yield start, products.add_(part.square().sum(1, keepdim=True)).clamp_(min=0)
        start += len(part)


def _hits(points: Tensor, centers: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """In how many balls each point lies, with shape (N), and how many points each ball holds, with shape (M)."""
    reach = radii + ROUNDING * (centers.double() - centers.double().mean(0)).square().sum(1).mean()
    inside, held = [], torch.zeros_like(reach)
    for _, distances in _distances(points, centers):
        near = distances <= reach
        inside.append(near.sum(1).double())
        held += near.sum(0)
    return torch.cat(inside), held


def _chunks(points: Tensor, others: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields some points after the other, with room for a number for each pair of them and all others.

    It is the same room each time: where large tensors are freed and asked for again, memory is left in pieces.
    """
    parts = points.split(max(1, CHUNK_NUMBERS // len(others)))
    room = points.new_empty(len(parts[0]), len(others))
    for part in parts:
        yield part, room[: len(part)]


def _itself(pixels: Tensor, labels: Tensor | None, places: slice) -> Tensor:
    return to_unit_interval(pixels)


def _latents(model: VAE, images: ImageSet, seed: int) -> Tensor:
    """Draws of the prior, with the label of each image where the model is conditional, with shape (N, D)."""
    with model.inference(), fixed_seed(seed):
        return model.prior_of(len(images), images.labels if model.condition is not None else None).sample()


def _features(model: VAE, images: ImageSet, extractor: FeatureExtractor, name: str, draw: Draw, seed: int) -> Tensor:
    """The features of what is drawn for each image, on the CPU, with shape (N, F)."""
    with fixed_seed(seed), torch.no_grad():
        features: list[Tensor] = []
        place = 0
        for pixels, labels in batches(model, images, f"{extractor.name} features: {name}"):
            drawn = draw(pixels, labels, slice(place, place + len(pixels)))
            features.append(extractor(drawn.clamp(0, 1)).cpu().double())
            place += len(pixels)
        return torch.cat(features)
