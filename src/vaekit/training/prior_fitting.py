r"""Fitting a prior to the latents of a trained model, whose encoder and decoder stay as they are.

Each step takes fresh samples of the aggregate posterior, :math:`z \sim q(z|x_n)`, and moves the prior along the gradient of
its loss by Adam. The loss of validation images, by the moving average of the weights and with the same noise each time, says
which weights are kept and when to stop. Results depend on the seed alone.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim.swa_utils import AveragedModel

from vaekit.core.errors import ConfigError, Diverged
from vaekit.core.progress import track, working
from vaekit.core.rng import fixed_seed, generator
from vaekit.distributions import Prior
from vaekit.distributions.latent_set import FitSchedule, LatentSet
from vaekit.training.ema import moving_average

NUM_VALIDATIONS = 20
"""The number of validations in the steps of a schedule."""
MAX_VALIDATED = 5_000
"""The maximum number of samples in a validation."""
WARMUP_SHARE = 0.05
"""The share of the steps in which the learning rate rises."""
CLIP_NORM = 10.0
"""The norm to which gradients are cut."""
CHUNK_SIZE = 1_000
"""The number of samples whose loss is computed at a time in a validation."""


@dataclass
class FitRecord:
    """How a prior was fitted.

    Arguments:
        steps: The number of steps.
        best_step: The step whose weights are kept.
        seconds: The time, without the encoding of the images.
        losses: The step and the validation loss of each validation.
    """

    steps: int = 0
    best_step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)


def fit(prior: Prior, train: LatentSet, valid: LatentSet, schedule: FitSchedule, name: str, seed: int) -> FitRecord:
    """Fits a prior, which ends in evaluation mode with the weights of the best validation.

    Arguments:
        prior: The prior, on the device of the latents.
        train: The posteriors of the training images.
        valid: Those of the validation images.
        schedule: The steps.
        name: The name of the prior, for the bar and for messages.
        seed: The seed of samples and noise.

    Raises:
        Diverged: If a loss is not finite.
    """
    begun, record = time.monotonic(), FitRecord()
    with fixed_seed(seed):
        with working(f"fitting the prior {name}"):
            prior.start(train, seed)
        if schedule.steps:
            best = _Best(copy.deepcopy(prior.state_dict()))
            for step, average in _steps(prior, train, schedule, name, seed):
                loss = validation_loss(average, valid)
                record.losses.append((step, loss))
                best.offer(step, loss, average)
                if best.num_worse >= schedule.patience:
                    break
            record.steps, record.best_step = record.losses[-1][0], best.step
            prior.load_state_dict(best.weights)
    record.seconds = time.monotonic() - begun
    prior.requires_grad_(True).eval()
    return record


def require_schedule(name: str, prior: Prior | type[Prior]) -> FitSchedule:
    """Returns how a prior is fitted.

    Raises:
        ConfigError: If there is nothing to fit.
    """
    if prior.schedule is None:
        raise ConfigError(f"{name}: this prior cannot be fitted to a trained model; choose another --name")
    return prior.schedule


@torch.no_grad()
def validation_loss(prior: nn.Module, valid: LatentSet) -> float:
    """Returns the mean loss of samples of the validation images, with the same noise each time."""
    with fixed_seed(0):
        rows = torch.randperm(len(valid), generator=generator(0))[:MAX_VALIDATED]
        z, context = valid.sample(rows, generator(1))
        chunks = zip(z.split(CHUNK_SIZE), [None] * len(z) if context is None else context.split(CHUNK_SIZE), strict=False)
        loss = torch.cat([prior.fit_loss(part, its) for part, its in chunks]).double().mean()  # type: ignore[operator]
    return float(loss)


def log_densities(pz: Callable[[int, Tensor | None], Distribution], latents: LatentSet, seed: int = 0) -> Tensor:
    """Returns log p(z) of one sample of each posterior, in nats, with shape (N); the same samples for each prior.

    Arguments:
        pz: The number and the contexts of images to their p(z).
        latents: The posteriors.
        seed: The seed of the samples.
    """
    z, context = latents.sample(torch.arange(len(latents)), generator(seed))
    contexts = [None] * len(z) if context is None else context.split(CHUNK_SIZE)
    with torch.no_grad():
        values = [pz(len(part), its).log_prob(part) for part, its in zip(z.split(CHUNK_SIZE), contexts, strict=False)]
    return torch.cat(values)


class _Best:
    """The weights of the best validation so far."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights, self.step, self.loss, self.num_worse = weights, 0, math.inf, 0

    def offer(self, step: int, loss: float, average: nn.Module) -> None:
        """Keeps the weights of a validation if it is the best."""
        if not math.isfinite(loss):
            raise Diverged(f"the validation loss of the prior is {loss} at step {step}; lower the learning rate (--lr)")
        self.num_worse += 1
        if loss < self.loss:
            self.weights, self.step, self.loss = copy.deepcopy(average.state_dict()), step, loss
            self.num_worse = 0


def _steps(prior: Prior, train: LatentSet, schedule: FitSchedule, name: str, seed: int) -> Iterator[tuple[int, nn.Module]]:
    """Takes the steps, and yields from time to time their number and the prior with averaged weights."""
    prior.train().requires_grad_(True)
    optimizer = torch.optim.Adam(prior.parameters(), lr=schedule.lr)
    lr = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _lr_factor(step, schedule.steps))
    average = AveragedModel(prior, multi_avg_fn=moving_average(schedule.ema)).eval()
    batches = _batches(train, schedule.batch_size, seed)
    every = max(1, schedule.steps // NUM_VALIDATIONS)
    for step in track(range(1, schedule.steps + 1), f"fitting the prior {name}"):
        z, context = next(batches)
        loss = prior.fit_loss(z, context).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(prior.parameters(), CLIP_NORM)
        optimizer.step()
        lr.step()
        average.update_parameters(prior)
        if step % every == 0 or step == schedule.steps:
            yield step, average.module


def _lr_factor(step: int, steps: int) -> float:
    """The learning rate at a step, as a share of the highest."""
    warmup = max(1, round(WARMUP_SHARE * steps))
    return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps)))


def _batches(train: LatentSet, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Fresh samples of random posteriors, each as often as the others, without end."""
    source, rows = generator(seed), torch.empty(0, dtype=torch.int64)
    while True:
        while len(rows) < batch_size:
            rows = torch.cat([rows, torch.randperm(len(train), generator=source)])
        yield train.sample(rows[:batch_size], source)
        rows = rows[batch_size:]
