"""What a run has from another run: the weights that it begins with, or everything but its prior."""

from vaekit.core.config import Section


class InitialWeights(Section):
    """The weights that a run begins with, instead of random ones.

    Arguments:
        run: The run, a model folder, or a hub id, whose model is the same.
        weights: A hash of the weights; empty for whatever they are.
    """

    run: str
    weights: str = ""


class PriorFit(Section):
    """How the prior of a run was fitted, whose encoder and decoder are those of another run.

    Arguments:
        run: The run whose encoder and decoder it has.
        weights: A hash of the weights of that run.
        steps: The maximum number of gradient steps; 0 for a prior that needs none.
        batch_size: The number of latents in a step.
        lr: The highest learning rate.
        passes: How often each training image was encoded.
        seed: The seed.
    """

    run: str
    weights: str
    steps: int
    batch_size: int
    lr: float
    passes: int
    seed: int
