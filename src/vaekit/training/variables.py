"""Environment variables: the recipe says how a model is trained, and what is left in the environment changes nothing of it.

``accelerate`` takes precision, compilation, gradient accumulation and ways of sharding from variables that
``accelerate launch`` sets. They are hidden from it, and what they ask for is named. Some libraries below torch compute in a
lower precision if a variable says so; that cannot be undone once they are loaded, so that such a variable is refused.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from vaekit.core.errors import RunError
from vaekit.core.progress import notify
from vaekit.core.safe_text import printable

HIDDEN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "FORK_LAUNCHED")
"""The variables by which ``accelerate`` finds several processes."""
HIDDEN_PREFIXES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "FP8_")
"""The beginnings of all other variables that it takes its settings from."""
SETTINGS = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1",),
    "ACCELERATE_GRADIENT_CLIPPING": (),
    "ACCELERATE_MIXED_PRECISION": ("no",),
    "ACCELERATE_DYNAMO_BACKEND": ("no",),
    "ACCELERATE_TORCH_DEVICE": (),
    "ACCELERATE_USE_CPU": ("false", "no", "0"),
    "ACCELERATE_USE_DEEPSPEED": ("false",),
    "ACCELERATE_USE_FSDP": ("false",),
    "ACCELERATE_USE_MEGATRON_LM": ("false",),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("false",),
}
"""The settings of ``accelerate`` that a user may expect to matter, with the values that ask for nothing."""
EXACT = {
    "ONEDNN_DEFAULT_FPMATH_MODE": ("strict",),
    "DNNL_DEFAULT_FPMATH_MODE": ("strict",),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": ("0", "n", "no", "off", "f", "false"),
}
"""The variables by which libraries compute in a lower precision, with the values that do not ask for it."""
MAX_VALUE = 20
"""The number of characters to which a value is cut where it is shown."""


@contextmanager
def hidden_from_accelerate() -> Iterator[None]:
    """Hides inside the context every variable that ``accelerate`` takes a setting from."""
    hidden = {name: value for name, value in os.environ.items() if name in HIDDEN or name.startswith(HIDDEN_PREFIXES)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def note_ignored_settings() -> None:
    """Says which settings of ``accelerate`` in the environment change nothing, if there are any."""
    found = [_shown(name) for name, unset in SETTINGS.items() if _asks(name, unset)]
    if found:
        notify(
            f"{', '.join(found)} in the environment {'change' if len(found) > 1 else 'changes'} nothing: "
            "the recipe decides; use --batch-size, --precision, --device or --set"
        )


def require_exact_arithmetic() -> None:
    """Checks that no variable lowers the precision of single operations below that of the recipe.

    Raises:
        RunError: If one does; it names the variable.
    """
    for name, exact in EXACT.items():
        if _asks(name, exact):
            raise RunError(
                f"{_shown(name)} in the environment makes float32 less precise than the recipe says; remove it from the "
                "environment, or use --precision bfloat16 instead"
            )


def _asks(name: str, unset: tuple[str, ...]) -> bool:
    """Whether a variable is set to a value that asks for something."""
    value = os.environ.get(name, "").strip().lower()
    return bool(value) and value not in unset


def _shown(name: str) -> str:
    return f"{name}={printable(os.environ[name], MAX_VALUE)}"
