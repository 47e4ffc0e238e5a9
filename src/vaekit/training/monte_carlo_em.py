r"""Monte Carlo EM: learning a decoder without an encoder.

Each training image keeps one latent :math:`z_n`, a Markov chain that follows its posterior while that changes. A round
takes a minibatch and does two things:

.. math::
    \text{E} \quad & z_n \gets \text{a Hamiltonian trajectory that leaves } p_\theta(z|x_n) \text{ as it is} \\
    \text{M} \quad & \theta \gets \theta + \eta \, \nabla_\theta \frac1B \sum_n \log p_\theta(x_n, z_n) \text{, a few times}

The step of the trajectories is adapted so that nine in ten are accepted. There is no bound and no approximation but that
chains may lag behind; the price is that an image cannot be encoded at once, and that as many latents are kept as there are
images.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), whose baseline it is, https://arxiv.org/abs/1312.6114
    | A Monte Carlo Implementation of the EM Algorithm (Wei & Tanner, 1990), https://doi.org/10.1080/01621459.1990.10474930
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from vaekit.core.rng import generator
from vaekit.data import ImageSet
from vaekit.mcmc.hmc import State, Trajectory, transition
from vaekit.models import VAE
from vaekit.training.trainer import pull_to_prior

ACCEPTANCE = 0.9
SLOWER, FASTER = 0.98, 1.02
"""What the step is multiplied with where too few or too many trajectories are accepted; at 0.9 the two balance."""


class MonteCarloEM:
    """A run of Monte Carlo EM over a set of images.

    Arguments:
        model: The model; its decoder and its prior learn, its encoder is not used.
        images: What it learns from.
        optimizer: What moves its weights.
        batch_size: B, how many images a round takes.
        seed: The seed of order and chains.
        leapfrog: How many leapfrog steps a trajectory has.
        updates: How many updates of the weights a round has.
        weight_prior: The standard deviation of a normal prior of the weights, or None.
    """

    def __init__(
        self,
        model: VAE,
        images: ImageSet,
        optimizer: Optimizer,
        *,
        batch_size: int = 100,
        seed: int = 0,
        leapfrog: int = 10,
        updates: int = 5,
        weight_prior: float | None = None,
    ) -> None:
        self.model = model
        self.images = images
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.leapfrog = leapfrog
        self.updates = updates
        self.weight_prior = weight_prior
        self.random = generator(seed)
        self.step = 0.1
        self.z = torch.randn(len(images), model.latent_dim, generator=self.random)
        self.samples = 0

    def epoch(self) -> float:
        """Goes through all images once, and returns the mean of log p(x, z), before a round's last update, in nats."""
        order = torch.randperm(len(self.images), generator=self.random)
        self.model.train()
        values = [self._round(part) * len(part) for part in order.split(self.batch_size)]
        return sum(values) / len(self.images)

    def _round(self, rows: Tensor) -> float:
        x = self.images.gather(rows).to(self.model.device)
        z = self._sampled(x, self.z[rows].to(self.model.device))
        self.z[rows] = z.cpu()
        for _ in range(self.updates):
            log_pz, log_px = self.model.joint(x)(z)
            loss = -(log_pz + log_px).mean()
            self.optimizer.zero_grad()
            loss.backward()
            pull_to_prior(list(self.model.parameters()), self.weight_prior, len(self.images))
            self.optimizer.step()
            self.samples += len(rows)
        return -float(loss.detach())

    def _sampled(self, x: Tensor, z: Tensor) -> Tensor:
        """Latents of shape (B, D), moved by one trajectory each."""
        joint = self.model.joint(x)

        def log_densities(points: Tensor) -> tuple[Tensor]:
            log_pz, log_px = joint(points)
            return (log_pz + log_px,)

        trajectory = Trajectory(self.step, self.leapfrog, z.new_ones(()))
        noise = torch.randn(z.shape, generator=self.random).to(z.device)
        uniform = torch.rand(len(z), generator=self.random).to(z.device)
        state, accepted = transition(State.at(z, log_densities), z.new_ones(1), log_densities, trajectory, noise, uniform)
        self.step *= FASTER if float(accepted.mean()) > ACCEPTANCE else SLOWER
        return state.z

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that an exact resume needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "step": self.step,
            "z": self.z,
            "samples": self.samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a saved state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        self.step, self.z, self.samples = state["step"], state["z"], state["samples"]
