r"""Monte Carlo EM: learning a decoder without an encoder.

Each training image :math:`x_n` keeps one latent :math:`z_n`, the state of a Markov chain whose target is its posterior. An
update takes a batch and does two things:

.. math::
    \text{E} \quad & z_n \gets \text{the end of a Hamiltonian trajectory that leaves } p_\theta(z|x_n) \text{ invariant} \\
    \text{M} \quad & \theta \gets \theta + \eta \, \nabla_\theta \frac1B \sum_n \log p_\theta(x_n, z_n)
        \text{, several times}

The step size of the trajectories is adapted so that nine in ten are accepted. Trajectories are in float32 for every
precision of training: with rounded gradients they would not be reversible. Nothing is approximated except that chains may
lag behind the weights. In return, encoding a new image takes a chain of its own, and one latent is kept per training image.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), where it is a baseline, https://arxiv.org/abs/1312.6114
    | A Monte Carlo Implementation of the EM Algorithm (Wei & Tanner, 1990), https://doi.org/10.1080/01621459.1990.10474930
"""

from functools import partial
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor

from vaekit.core.errors import ModelError
from vaekit.core.rng import generator
from vaekit.core.shares import batch_draw, batch_mean, gather
from vaekit.core.terms import StepContext
from vaekit.data import Batch
from vaekit.distributions import Quantizer
from vaekit.mcmc.hmc import State, Trajectory, transition
from vaekit.mcmc.step_size import adapt_step
from vaekit.training.step import Step, StepSetup

ACCEPTANCE = 0.9
FIRST_STEP = 0.1


class MonteCarloEM(Step):
    """One trajectory of each image's chain, then several updates of decoder and prior.

    The objective is not used. The encoder does not learn, so that the validation ELBO says nothing of the decoder: measure
    it by :func:`vaekit.evaluation.likelihood.posterior_sampling.posterior_log_likelihood`, and set no patience.

    Arguments:
        setup: Model, optimizer, device.
        leapfrog: The number of leapfrog steps of a trajectory.
        updates: The number of updates of the weights for each trajectory.

    Raises:
        ModelError: If the model is conditional or discrete, or the objective has networks.
    """

    def __init__(self, setup: StepSetup, leapfrog: PositiveInt = 10, updates: PositiveInt = 5) -> None:
        super().__init__(setup)
        if self.model.condition is not None:
            raise ModelError("step: monte-carlo-em is for models without labels; train without --conditional")
        if isinstance(getattr(self.model, "posterior", None), Quantizer):
            raise ModelError("step: monte-carlo-em needs a density of z, and codes have none; choose another posterior")
        if any(True for _ in self.objective.parameters()):
            raise ModelError("step: monte-carlo-em does not train the networks of an objective; choose objective elbo")
        self.leapfrog = leapfrog
        self.updates = updates
        self.random = generator(setup.seed)
        self.step_size = torch.tensor(FIRST_STEP, dtype=torch.float64)
        self.z = torch.randn(setup.num_images, self.model.latent_dim, generator=self.random)

    def update(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """Logs ``loss``, the mean of -log p(x, z) before the last update of the weights, and the ``acceptance`` rate."""
        z, acceptance = self._move_chains(batch.x, self.z[batch.rows].to(batch.x.device))
        self.z[gather(batch.rows)] = gather(z).cpu()  # every process keeps all chains
        for _ in range(self.updates):
            with self.setup.accelerator.autocast():
                log_pz, log_px = self.model.log_joint(batch.x)(z)
            loss = -(log_pz + log_px).mean()
            norm = self.descend(loss)
        return {"loss": loss.detach(), "acceptance": acceptance, "grad_norm": norm}

    def _move_chains(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of shape (B, D) after one trajectory each, and the acceptance rate."""
        log_joint = self.model.log_joint(x)

        def log_densities(points: Tensor) -> tuple[Tensor]:
            log_pz, log_px = log_joint(points)
            return (log_pz + log_px,)

        trajectory = Trajectory(float(self.step_size), self.leapfrog, z.new_ones(()))
        noise = batch_draw(partial(torch.randn, generator=self.random), z.shape).to(z.device)
        uniform = batch_draw(partial(torch.rand, generator=self.random), (len(z),)).to(z.device)
        state, accepted = transition(State.at(z, log_densities), z.new_ones(1), log_densities, trajectory, noise, uniform)
        acceptance = batch_mean(accepted)
        self.step_size = adapt_step(self.step_size, acceptance.cpu(), ACCEPTANCE)
        return state.z, acceptance

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights, the optimizer and the chains."""
        chains = {"z": self.z, "step_size": self.step_size, "random": self.random.get_state()}
        return super().state_dict() | {"chains": chains}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the weights, the optimizer and the chains."""
        super().load_state_dict(state)
        chains = state["chains"]
        self.z, self.step_size = chains["z"], chains["step_size"]
        self.random.set_state(chains["random"])
