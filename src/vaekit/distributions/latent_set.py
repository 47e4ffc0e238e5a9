r"""The posteriors of a set of images, to which a prior is fitted, and how it is fitted.

The ELBO depends on the prior through :math:`\mathbb{E}_{q(z|x)} \log p(z)` alone. Its mean over images is an expectation
over the **aggregate posterior**, :math:`q(z) = \frac1N \sum_n q(z|x_n)`, with mean and covariance

.. math:: \mu = \frac1N \sum_n \mu_n, \qquad
          \Sigma = \frac1N \sum_n (\mu_n - \mu)(\mu_n - \mu)^\top + \mathrm{diag}\, \frac1N \sum_n \sigma_n^2.

A prior that is fitted to fresh samples of q(z) by maximum likelihood raises the ELBO of a frozen encoder and decoder by
exactly the log-likelihood that it gains.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
    | ELBO surgery (Hoffman & Johnson, 2016), http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
    | From Variational to Deterministic Autoencoders (Ghosh et al., 2019), https://arxiv.org/abs/1903.12436
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

MIN_STDDEV = 1e-6
"""The smallest standard deviation of a latent that is divided by."""


@dataclass(frozen=True)
class FitSchedule:
    """How a prior is fitted by gradient steps.

    Arguments:
        steps: The maximum number of steps; 0 for a prior that needs none.
        batch_size: B, the number of latents in a step.
        lr: The highest learning rate of Adam; it rises over the first steps and falls to 0 by a cosine.
        ema: The decay of the moving average of the weights.
        patience: The number of validations without a better one after which fitting ends; there are 20 in ``steps``.
    """

    steps: int = 2000
    batch_size: int = 256
    lr: float = 2e-3
    ema: float = 0.995
    patience: int = 6


@dataclass(frozen=True)
class LatentSet:
    """The posteriors of N images, each a Gaussian with independent latents, on one device.

    A posterior of another family is represented by samples, each with a standard deviation of 0.

    Arguments:
        means: The means, with shape (N, D).
        stddevs: The standard deviations, with shape (N, D).
        context: The contexts of a conditional model, with shape (N, E), or None.
    """

    means: Tensor
    stddevs: Tensor
    context: Tensor | None = None

    def __len__(self) -> int:
        """N, the number of posteriors."""
        return len(self.means)

    @cached_property
    def mean(self) -> Tensor:
        """The mean of the aggregate posterior, with shape (D)."""
        return self.means.double().mean(0).to(self.means.dtype)

    @cached_property
    def stddev(self) -> Tensor:
        """The standard deviation of each latent under the aggregate posterior, with shape (D)."""
        return self.covariance.diagonal().sqrt().clamp(min=MIN_STDDEV).to(self.means.dtype)

    @cached_property
    def covariance(self) -> Tensor:
        """The covariance of the aggregate posterior as float64, with shape (D, D)."""
        centered = self.means.double() - self.means.double().mean(0)
        return centered.T @ centered / len(self) + (self.stddevs.double() ** 2).mean(0).diag()

    def take(self, rows: Tensor) -> "LatentSet":
        """Returns the posteriors at rows of shape (M)."""
        context = None if self.context is None else self.context[rows]
        return LatentSet(self.means[rows], self.stddevs[rows], context)

    def sample(self, rows: Tensor, source: Generator) -> tuple[Tensor, Tensor | None]:
        """Samples the posteriors at rows of shape (B): latents of shape (B, D), and their contexts of shape (B, E) or None.

        The noise is made on the CPU, so that it is the same for every device.
        """
        noise = torch.randn(len(rows), self.means.shape[1], generator=source).to(self.means.device)
        context = None if self.context is None else self.context[rows]
        return self.means[rows] + self.stddevs[rows] * noise, context

    def by_group(self, num_groups: int) -> list["LatentSet"]:
        """Returns the posteriors of each class, by the largest entry of the context; all of them for a group without any.

        Arguments:
            num_groups: The number of classes; 1 for all posteriors as one group.
        """
        if self.context is None or num_groups == 1:
            return [self]
        groups = self.context.argmax(1)
        found = [(groups == group).nonzero().squeeze(1) for group in range(num_groups)]
        return [self.take(rows) if len(rows) > 1 else self for rows in found]
