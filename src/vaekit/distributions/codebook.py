r"""A codebook whose vectors are moving averages of the vectors that they replace, and whose dead codes are restarted.

Each vector of a batch is assigned to its nearest code. With :math:`n_k` vectors in the batch for code k, whose sum is
:math:`s_k`, a training step is one of online k-means:

.. math::
    N_k \gets d N_k + (1 - d) n_k, \qquad S_k \gets d S_k + (1 - d) s_k, \qquad c_k \gets S_k / N_k.

A code is **dead** if :math:`N_k` is at most a share of the mean of all :math:`N_k`. At the beginning of each step dead codes
become vectors of the batch, chosen at random with probabilities as their squared distances to the nearest code, as k-means++
does. In the first step all codes become random vectors. Processes that share a batch compute the same update of the whole
batch.

References:
    | Neural Discrete Representation Learning (van den Oord et al., 2017), appendix A.1, https://arxiv.org/abs/1711.00937
    | k-means++: The Advantages of Careful Seeding (Arthur & Vassilvitskii, 2007),
      https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf
    | Jukebox (Dhariwal et al., 2020), section 3.1, for restarts, https://arxiv.org/abs/2005.00341
"""

import torch
from torch import Tensor, nn

from vaekit.core.shares import gather

MAX_DISTANCES = 2**24
"""The number of distances held in memory at once: 64 MB of float32."""
MIN_COUNT = 1e-6
"""The average number of vectors below which a code stays where it is."""


class Codebook(nn.Module):
    """K code vectors. All numbers are buffers in float32, which are saved with the model and need no optimizer.

    Arguments:
        num_codes: K.
        dim: d, the size of a vector.
        decay: The decay of the moving averages; 0 for those of the last batch.
        restart: The share of the mean count up to which a code is dead; 0 for no restarts after the first step.

    Attributes:
        vectors: The code vectors, with shape (K, d).
        counts: The moving averages of the numbers of vectors of a batch, with shape (K); 0 before the first batch.
        sums: The moving averages of their sums, with shape (K, d).
        num_restarts: How many codes were restarted, those of the first step not counted.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor
    num_restarts: Tensor

    def __init__(self, num_codes: int, dim: int, decay: float, restart: float) -> None:
        super().__init__()
        self.decay = decay
        self.restart = restart
        self.register_buffer("vectors", torch.randn(num_codes, dim))
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, dim))
        self.register_buffer("num_restarts", torch.tensor(0))

    def nearest(self, vectors: Tensor) -> Tensor:
        """Returns the index of the nearest code of each vector, with shape (*), for vectors of shape (*, d)."""
        flat = vectors.flatten(0, -2)
        squares = self.vectors.square().sum(-1)
        chunks = flat.split(max(1, MAX_DISTANCES // len(squares)))
        nearest = [torch.addmm(squares, chunk, self.vectors.T, alpha=-2).argmin(-1) for chunk in chunks]
        return torch.cat(nearest).reshape(vectors.shape[:-1])

    def find(self, vectors: Tensor) -> Tensor:
        """Returns the indices of code vectors, with shape (*), for vectors of shape (*, d).

        The distance of a code vector to itself is exactly 0 here, and not in :meth:`nearest`, which is faster: there the
        squares of vectors that are near each other cancel, and rounding may choose another code.
        """
        flat = vectors.flatten(0, -2)
        chunks = flat.split(max(1, MAX_DISTANCES // len(self.vectors)))
        exact = "donot_use_mm_for_euclid_dist"
        found = [torch.cdist(chunk, self.vectors, compute_mode=exact).argmin(-1) for chunk in chunks]
        return torch.cat(found).reshape(vectors.shape[:-1])

    @torch.no_grad()
    def learn(self, vectors: Tensor) -> None:
        """Moves the codes by the vectors of a batch, which several processes may share.

        Arguments:
            vectors: The vectors of the images of this process, with shape (B, *, d).
        """
        everyone = gather(vectors.detach()).flatten(0, -2)
        self._restart(everyone)
        indices = self.nearest(everyone)
        sums = torch.zeros_like(self.sums).index_add_(0, indices, everyone)
        self.counts.lerp_(indices.bincount(minlength=len(self.counts)).to(sums), 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        alive = (self.counts > MIN_COUNT).unsqueeze(-1)
        self.vectors.copy_(torch.where(alive, self.sums / self.counts.clamp(min=MIN_COUNT).unsqueeze(-1), self.vectors))

    def _restart(self, candidates: Tensor) -> None:
        """Replaces dead codes by vectors of the batch, as if each had the mean count; all codes in the first step."""
        mean = self.counts.mean()
        if not bool(mean):
            chosen = torch.randperm(len(candidates))[: len(self.counts)]
            dead, count = torch.arange(len(chosen)), mean.new_tensor(len(candidates) / len(self.counts))
        else:
            dead, count = (self.counts <= self.restart * mean).nonzero().squeeze(1), mean
            if not (self.restart and len(dead)):
                return
            chosen = self._far(candidates, len(dead))
            dead = dead[: len(chosen)]
            self.num_restarts += len(dead)
        self.vectors[dead] = candidates[chosen]
        self.sums[dead] = count * candidates[chosen]
        self.counts[dead] = count

    def _far(self, candidates: Tensor, num: int) -> Tensor:
        """Positions of up to ``num`` vectors, chosen at random with probabilities as their squared distances to codes."""
        squares = (candidates - self.vectors[self.nearest(candidates)]).square().sum(-1).cpu()
        possible = int((squares > 0).sum())
        return squares.multinomial(min(num, possible)).to(candidates.device) if possible else torch.arange(0)
