"""Callbacks: code of the user that the trainer calls at fixed points of a run."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from vaekit.training.trainer import Trainer


class Callback:
    """Methods that do nothing; override those that you need, and pass the callback to ``vaekit.train(callbacks=[...])``.

    A callback may read anything of the trainer. It must not draw from torch's global generators, or a run with it is not the
    run without it: use :func:`vaekit.core.rng.fixed_seed` or a generator.

    Example:
        >>> class PrintRate(Callback):
        ...     def on_epoch(self, trainer, record):
        ...         print(record["epoch"], record["valid"]["rate"])
    """

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Called once, before the first step of a new or resumed run."""

    def on_step(self, trainer: "Trainer", logs: dict[str, Tensor]) -> None:
        """Called after each update.

        Arguments:
            trainer: The trainer; ``trainer.progress`` counts steps, epochs and images.
            logs: The scalars of this step, on the device: ``loss``, and what the step and its objective log, for example
                ``elbo``, ``rate``, ``grad_norm``. Reading one makes an accelerator wait.
        """

    def on_epoch(self, trainer: "Trainer", record: dict[str, Any]) -> None:
        """Called after the validation of each epoch.

        Arguments:
            trainer: The trainer; ``trainer.averaged_model`` is the model that was validated.
            record: The line of ``metrics.jsonl``: ``epoch``, ``train``, ``valid``, ``lr``, ``best``, ...
        """

    def on_best(self, trainer: "Trainer") -> None:
        """Called when the validation ELBO is better than in all epochs before, ahead of :meth:`on_epoch`."""

    def on_checkpoint(self, trainer: "Trainer", state: dict[str, Any]) -> None:
        """Called when the state is to be saved: after each epoch, within long ones, and when training is asked to stop.

        Arguments:
            trainer: The trainer.
            state: Everything that an exact resume needs.
        """

    def on_train_end(self, trainer: "Trainer") -> None:
        """Called once when training ends, also by an error or an interruption."""
