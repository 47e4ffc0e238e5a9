"""The lines of training: one per epoch, aligned under a header, at most 78 characters wide."""

from collections.abc import Mapping
from typing import Any

LEGEND = "nats per image, ELBO = -(distortion + rate), higher is better; * best so far"
LEGEND_OF_LAST = "nats per image, ELBO = -(distortion + rate); no bound is trained, last kept"
"""The legend where the weights of the last epoch are kept, because the objective is no bound of log p(x)."""
WIDTHS = {"epoch": 8, "valid": 12, "distortion": 11, "rate": 8, "train": 12, "speed": 10, "beta": 8, "lr": 8}
"""The widths of the columns. One character for the mark of the best epoch follows the validation ELBO."""


class EpochTable:
    """Formats the records of epochs. The KL weight and the learning rate are written only where they change.

    Arguments:
        epochs: The number of epochs of the run, at most.
        keeps_last: Whether the weights of the last epoch are kept; then no epoch is marked.
    """

    def __init__(self, epochs: int, keeps_last: bool = False) -> None:
        self.epochs = epochs
        self.keeps_last = keeps_last
        self._shown = {"beta": "", "lr": ""}

    def header(self, record: Mapping[str, Any]) -> list[str]:
        """Returns the lines above the first epoch: what the numbers are, and the names of the columns."""
        train = "train ELBO" if "elbo" in record["train"] else "train loss"
        names = {"valid": "valid ELBO", "train": train, "speed": "images/s", "beta": "", "lr": ""}
        if "beta" in record["train"]:
            names["beta"] = "beta"
        return [
            LEGEND_OF_LAST if self.keeps_last else LEGEND,
            _line({key: names.get(key, key) for key in WIDTHS} | {"lr": "lr"}),
        ]

    def line(self, record: Mapping[str, Any]) -> str:
        """Returns the line of an epoch."""
        train, valid = record["train"], record["valid"]
        cells = {
            "epoch": f"{record['epoch']}/{self.epochs}",
            "valid": _number(valid["elbo"]),
            "distortion": _number(valid["distortion"]),
            "rate": _number(valid["rate"]),
            "train": _number(train.get("elbo", train["loss"])),
            "speed": f"{record['images_per_second']:,.0f}",
            "beta": self._if_changed("beta", f"{train['beta']:.3g}" if "beta" in train else ""),
            "lr": self._if_changed("lr", f"{record['lr']:.1e}"),
        }
        return _line(cells, "*" if self.is_marked(record) else "")

    def is_marked(self, record: Mapping[str, Any]) -> bool:
        """Returns whether an epoch is marked, as the best so far."""
        return bool(record["best"]) and not self.keeps_last

    def _if_changed(self, key: str, text: str) -> str:
        changed = text != self._shown[key]
        self._shown[key] = text
        return text if changed else ""


def _line(cells: Mapping[str, str], mark: str = "") -> str:
    """The cells, each to the right end of its column; one that is too wide takes of the space before the next."""
    text, end = "", 0
    for key, width in WIDTHS.items():
        end += width
        text += f"{cells[key]:>{max(end - len(text), len(cells[key]) + bool(text))}}"
        if key == "valid":
            text, end = f"{text}{mark or ' '}", end + 1
    return text.rstrip()


def _number(value: float) -> str:
    """A number of nats with two decimals, or with fewer where that would be longer than eight characters."""
    return next((text for digits in (2, 1, 0) if len(text := f"{value:.{digits}f}") <= 8), f"{value:.2e}")
