r"""The Kullback-Leibler divergence of a posterior from a prior, called the **rate** throughout vaekit.

.. math:: \mathrm{KL}(q(z|x) \,\|\, p(z)) = \mathbb{E}_{q(z|x)}[\log q(z|x) - \log p(z)]

It is analytic where torch registers the pair of distributions, for example two Gaussians, and a Monte Carlo estimate over
samples of the posterior otherwise.
"""

from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions.kl import kl_divergence


def kl_per_latent(qz: Distribution, pz: Distribution, z: Tensor) -> Tensor:
    r"""Returns KL(q(z|x) || p(z)) of each latent, in nats, with shape (B, D).

    Where it is not analytic, it is the estimate :math:`\frac1K \sum_k \log q(z_k|x) - \log p(z_k)`. It is averaged over the
    K samples of the layers above, if either distribution depends on them. If one of the two does not factorize over latents,
    there is no divergence of each latent: the joint one is returned, with D = 1.

    Arguments:
        qz: The posterior, with batch shape (B) or (K, B) and the event shape of z.
        pz: The prior, with batch shape (B) or (K, B) and the event shape of z.
        z: Samples of the posterior, with shape (K, B, *event).
    """
    q, p = qz, pz
    if isinstance(q, Independent) and isinstance(p, Independent):
        q, p = q.base_dist, p.base_dist
    try:
        kl = kl_divergence(q, p)
        depends_on_samples = max(len(qz.batch_shape), len(pz.batch_shape)) == 2
        kl = kl.mean(0) if depends_on_samples else kl
    except NotImplementedError:
        kl = (q.log_prob(z) - p.log_prob(z)).mean(0)
    return kl.flatten(1) if kl.dim() > 1 else kl.unsqueeze(-1)
