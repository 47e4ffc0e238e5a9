"""The beta-TC objective: the rate taken apart, with a weight on the total correlation of the latents.

    rate = I(x; z) + TC(z) + sum_d KL(q(z_d) || p(z_d)),    loss = distortion + rate + (beta - 1) TC

q(z) is the mean of q(z|x_j) over the N training images. For image i it is estimated by q(z|x_i) / N and, for the N - 1
others, by the mean over the other images of the batch: stratified sampling. N is in the context of the step.

Source: Isolating Sources of Disentanglement in VAEs (Chen et al., 2018), https://arxiv.org/abs/1802.04942

    python examples/beta_tc.py
    vae train digits --plugin examples/beta_tc.py --set "objective={name: beta-tc, beta: 6}"
"""

import math
from pathlib import Path

from torch import Tensor

import vaekit
from vaekit.core.terms import LatentTerms, Loss, StepContext, Terms
from vaekit.objectives import OBJECTIVES, Objective


def total_correlation(latent: LatentTerms, num_images: int) -> Tensor:
    """Returns the estimate of KL(q(z) || prod_d q(z_d)) of a batch whose posteriors are diagonal Gaussians, in nats."""
    z = latent.z[0]  # (B, D)
    log_q = latent.qz.base_dist.log_prob(z.unsqueeze(1))  # (B, B, D): log q(z_d of image i | x_j)
    log_weights = z.new_full((len(z), len(z)), math.log((num_images - 1) / num_images / max(len(z) - 1, 1)))
    log_weights.fill_diagonal_(-math.log(num_images))
    log_qz = (log_q.sum(-1) + log_weights).logsumexp(1)
    log_marginals = (log_q + log_weights.unsqueeze(-1)).logsumexp(1).sum(-1)
    return (log_qz - log_marginals).mean()


@OBJECTIVES.register("beta-tc")
class BetaTC(Objective):
    def __init__(self, beta: float = 6.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, terms: Terms, context: StepContext) -> Loss:
        correlation = total_correlation(terms.latents[0], context.num_images)
        loss = -terms.elbo().mean() + (self.beta - 1) * correlation
        return Loss(loss, terms.logs() | {"total_correlation": correlation.detach()})


def main(out: Path = Path("runs/beta-tc"), epochs: int = 50) -> vaekit.RunFolder:
    return vaekit.train("digits", objective=BetaTC(), out=out, epochs=epochs, force=True)


if __name__ == "__main__":
    main()
