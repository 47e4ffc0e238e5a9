r"""Distances between two sets of features: the Fréchet distance and the kernel distance.

With features :math:`a_1 \dots a_M` and :math:`b_1 \dots b_N` in :math:`\mathbb{R}^F`, of means :math:`\mu` and covariances
:math:`\Sigma`, the **Fréchet distance** is the squared Wasserstein distance of two Gaussians,

.. math:: \mathrm{FD} = |\mu_a - \mu_b|^2 + \operatorname{tr} \Sigma_a + \operatorname{tr} \Sigma_b
          - 2 \operatorname{tr} \bigl(\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2}\bigr)^{1/2},

and the **kernel distance** is the squared maximum mean discrepancy of the kernel :math:`k(a, b) = (a^\top b / F + 1)^3`,

.. math:: \mathrm{KD} = \mathbb{E}\, k(a, a') + \mathbb{E}\, k(b, b') - 2\, \mathbb{E}\, k(a, b).

The estimate of FD is biased upwards and depends on N. The estimate of KD is unbiased, so it is negative half of the time if
the distributions are equal.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
      https://arxiv.org/abs/1706.08500
    | Demystifying MMD GANs (Bińkowski et al., 2018), https://arxiv.org/abs/1801.01401
    | Limit laws of the empirical Wasserstein distance: Gaussian distributions (Rippl et al., 2016),
      https://arxiv.org/abs/1507.04090
    | A Class of Statistics with Asymptotically Normal Distribution (Hoeffding, 1948),
      https://doi.org/10.1214/aoms/1177730196
"""

import torch
from torch import Tensor

from vaekit.evaluation.samples.pairs import pair_chunks


def frechet_distance(a: Tensor, b: Tensor) -> tuple[float, float]:
    r"""Returns the Fréchet distance of two sets of features and its standard error.

    The bias is positive and about proportional to 1 / N, so only distances with the same N are comparable. Covariances are
    never formed. With :math:`\Sigma = R^\top R` by a QR decomposition of the centered features, the last trace is the sum of
    the singular values of :math:`R_a R_b^\top = U S V^\top`, which is accurate for singular covariances too.

    The standard error is computed by the delta method: to first order the estimate is a mean of

    .. math:: 2 (\mu_a - \mu_b)^\top \tilde a + |\tilde a|^2 - \tilde a^\top T \tilde a,
              \qquad \tilde a^\top T \tilde a = |S^{1/2} U^\top R_a^{-\top} \tilde a|^2,

    over the points :math:`\tilde a = a - \mu_a`, with T the optimal transport map from one Gaussian to the other, and of the
    same over b. If the two distributions are equal, the standard error is too large, and the bias exceeds it.

    Arguments:
        a: Features, with shape (M, F).
        b: Features, with shape (N, F).
    """
    (mean_a, a, root_a, white_a), (mean_b, b, root_b, white_b) = _factorize(a), _factorize(b)
    u, s, vt = torch.linalg.svd(root_a @ root_b.T, full_matrices=False)
    shift = mean_a - mean_b
    value = shift @ shift + root_a.square().sum() + root_b.square().sum() - 2 * s.sum()
    influence_a = 2 * a @ shift + a.square().sum(1) - (white_a @ u).square() @ s
    influence_b = -2 * b @ shift + b.square().sum(1) - (white_b @ vt.T).square() @ s
    error = (influence_a.var() / len(a) + influence_b.var() / len(b)).sqrt()
    return max(0.0, float(value)), float(error)


def kernel_distance(a: Tensor, b: Tensor) -> tuple[float, float]:
    r"""Returns the unbiased estimate of the kernel distance of two sets of features and its standard error.

    The means are over all pairs, not over random subsets. The variance is Hoeffding's for U-statistics. With
    :math:`g(a) = \mathbb{E}\, k(a, a') - \mathbb{E}\, k(a, b)`, and :math:`\zeta` the variance of a kernel that is
    centered in both arguments,

    .. math:: \mathrm{Var} = \frac4M \mathrm{Var}\, g(a) + \frac4N \mathrm{Var}\, g(b)
              + \frac2{M^2} \zeta_{aa} + \frac2{N^2} \zeta_{bb} + \frac4{MN} \zeta_{ab}.

    Only the terms in :math:`\zeta` remain if the distributions are equal. The sample variance of :math:`g` is too large by
    :math:`\zeta_{aa} / M + \zeta_{ab} / N`, which is subtracted.

    Arguments:
        a: Features, with shape (M, F).
        b: Features, with shape (N, F).
    """
    a, b = a.double(), b.double()
    (m, n), (aa, zeta_aa), (bb, zeta_bb) = (len(a), len(b)), _kernel_within(a), _kernel_within(b)
    rows, columns, squares = _kernel_sums(a, b)
    ab, ba = rows / n, columns / m
    zeta_ab = (squares / (m * n) - ab.square().mean() - ba.square().mean() + ab.mean().square()).clamp(min=0)
    second = 2 * zeta_aa / m**2 + 2 * zeta_bb / n**2 + 4 * zeta_ab / (m * n)
    first = (4 * (aa - ab).var() / m + 4 * (bb - ba).var() / n - 2 * second).clamp(min=0)
    return float(aa.mean() + bb.mean() - 2 * ab.mean()), float((first + second).sqrt())


def _factorize(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean, the centered points, R with covariance R'R, and the whitened points W; the centered points are WR."""
    x = x.double()
    mean = x.mean(0)
    q, r = torch.linalg.qr(x - mean)
    scale = (len(x) - 1) ** 0.5
    return mean, x - mean, r / scale, q * scale


def _kernel_sums(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sums of k(a, b) over b, with shape (M), over a, with shape (N), and of its square over both."""
    rows, columns, squares = [], b.new_zeros(len(b)), b.new_zeros(())
    for chunk, buffer in pair_chunks(a, b):
        kernel = torch.mm(chunk, b.T, out=buffer).div_(a.shape[1]).add_(1).pow_(3)
        rows.append(kernel.sum(1))
        columns += kernel.sum(0)
        squares += kernel.square_().sum()
    return torch.cat(rows), columns, squares


def _kernel_within(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of k(x, x') over all other points, with shape (N), and the variance of the centered kernel."""
    num, diagonal = len(x), (x.square().sum(1) / x.shape[1] + 1) ** 3
    rows, _, squares = _kernel_sums(x, x)
    means = (rows - diagonal) / (num - 1)
    square = (squares - diagonal.square().sum()) / (num * (num - 1))
    return means, (square - 2 * means.square().mean() + means.mean().square()).clamp(min=0)
