"""The beta-TC objective: the rate taken apart, with a weight on the total correlation of the latents.

    rate = I(x; z) + TC(z) + sum_d KL(q(z_d) || p(z_d)),    loss = distortion + rate + (beta - 1) TC

q(z) is the mean of q(z|x_j) over the batch. The gradient is that of minibatch-weighted sampling, whose log q(z) is lower by
log N.

Source: Isolating Sources of Disentanglement in VAEs (Chen et al., 2018), https://arxiv.org/abs/1802.04942

    python examples/beta_tc.py
    vae train digits --plugin examples/beta_tc.py --set "objective={name: beta-tc, beta: 6}"
"""

import math
from pathlib import Path

from torch import Tensor

import vaekit
from vaekit.core.terms import LatentTerms, Loss, Terms
from vaekit.objectives import OBJECTIVES, Objective


def total_correlation(latent: LatentTerms) -> Tensor:
    """Returns the estimate of KL(q(z) || prod_d q(z_d)) of a batch whose posteriors are diagonal Gaussians, in nats."""
    z = latent.z[0]  # (B, D)
    log_q = latent.qz.base_dist.log_prob(z.unsqueeze(1))  # (B, B, D): log q(z_d of image i | x_j)
    log_num = math.log(len(z))
    log_qz = log_q.sum(-1).logsumexp(1) - log_num
    log_marginals = (log_q.logsumexp(1) - log_num).sum(-1)
    return (log_qz - log_marginals).mean()


@OBJECTIVES.register("beta-tc")
class BetaTC(Objective):
    def __init__(self, beta: float = 6.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, terms: Terms, epoch: float) -> Loss:
        correlation = total_correlation(terms.latents[0])
        loss = -terms.elbo().mean() + (self.beta - 1) * correlation
        return Loss(loss, terms.logs() | {"total_correlation": correlation.detach()})


def main(out: Path = Path("runs/beta-tc"), epochs: int = 50) -> vaekit.RunFolder:
    return vaekit.train("digits", objective=BetaTC(), out=out, epochs=epochs, force=True)


if __name__ == "__main__":
    main()
