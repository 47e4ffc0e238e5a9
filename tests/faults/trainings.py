"""Trainings of a fraction of a second, one for each feature whose state has to survive."""

TINY = (
    *("train", "digits", "--batch-size", "400", "--latent-dim", "2"),
    *("--set", "model.encoder.hidden=[8]", "--set", "model.decoder.hidden=[8]"),
)
SETTINGS = ("evaluation.num_samples=0", "training.images_every=100")
"""Changes of each training; a feature may set the same places to other values."""
EPOCHS = 3
BRIEF = ("--num-samples", "2", "--max-images", "4", "--num-annealed", "0", "--num-refined", "0")
"""Options that make an evaluation short."""

FEATURES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "drawn": ("training.images_every=2",),
    "images": ("training.images_every=1",),
    "within-epochs": ("training.checkpoint_minutes=1e-9",),
    "augmented": ("data.augment={rotate: 20, shift: 0.1, flip: 0.5, jitter: 0.2}",),
    "binarized": ("data.binarize=dynamic", "model.likelihood.name=bernoulli"),
    "static": ("data.binarize=static", "model.likelihood.name=bernoulli"),
    "cyclical": ("objective.beta={name: cyclical, epochs: 2}",),
    "no-average": ("training.ema=null",),
    "free-bits": ("objective.free_bits=0.5",),
    "capacity": ("objective.capacity={name: linear, epochs: 3, start: 0, end: 5}",),
    "samples": ("objective.num_samples=3",),
    "perceptual": ("objective.perceptual=5",),
    "iwae": ("objective.name=iwae", "objective.num_samples=5"),
    "iwae-doubly": ("objective.name=iwae", "objective.num_samples=5", "objective.gradient=doubly-reparameterized"),
    "iwae-landing": ("objective.name=iwae", "objective.num_samples=5", "objective.gradient=sticking-the-landing"),
    "wake-sleep": ("objective.name=wake-sleep",),
    "monte-carlo-em": ("step.name=monte-carlo-em",),
    "plateau": ("scheduler.name=plateau", "scheduler.patience=0", "scheduler.threshold=100"),
    "stages": ("scheduler.name=stages",),
    "patience": ("training.patience=1", "optimizer.lr=1e-9"),
    "conditional": ("model.conditional=true",),
    "bfloat16": ("training.precision=bfloat16",),
    "clipped": ("training.clip_norm=0.1",),
    "vamp": ("model.prior.name=vamp",),
    "sgd": ("optimizer.name=sgd", "optimizer.lr=1e-6"),
    "conv": (
        "model.encoder={name: conv, channels: [4], blocks: [0], hidden: 4}",
        "model.decoder={name: conv, channels: [4], blocks: [0], hidden: 4}",
    ),
}
"""Changes of the tiny recipe, by the name of the feature; ``drawn`` has its figures and its report drawn."""


def training(feature: str, *options: str, epochs: int = EPOCHS, out: str = "run") -> tuple[str, ...]:
    """The command that trains with a feature, in the folder ``run``."""
    settings = dict(change.split("=", 1) for change in (*SETTINGS, *FEATURES[feature]))
    changes = [word for place, value in settings.items() for word in ("--set", f"{place}={value}")]
    return (*TINY, *changes, "--epochs", str(epochs), "--out", out, *options)
