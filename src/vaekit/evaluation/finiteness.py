"""What a model with finite weights computes may still overflow: then a number would be meaningless, and is refused."""

from torch import Tensor

from vaekit.core.errors import ModelError


def require_finite(values: Tensor, what: str) -> Tensor:
    """Returns values that are all finite.

    Arguments:
        values: Values for each image, with shape (N, ...), or one value.
        what: What they are, for the message: ``the reconstructions``.

    Raises:
        ModelError: If one is not finite.
    """
    finite = values.isfinite().reshape(len(values) if values.dim() else 1, -1).all(1)
    if bool(finite.all()):
        return values
    share = f" for {int((~finite).sum()):,} of {len(finite):,}" if len(finite) > 1 else ""
    raise ModelError(
        f"{what} of this model are not finite{share}: its weights are too large, as after a run that diverged; "
        "use an earlier checkpoint, or train it again with a lower learning rate"
    )
