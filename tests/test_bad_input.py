"""Every mistake of a user is exit code 2 and one line that names it, and leaves everything as it was."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

import vaekit
from tests.commands import QUICK, Outcome, Refuse, one_line, vae
from vaekit.core.config import to_data
from vaekit.core.errors import ConfigError, VaekitError
from vaekit.core.terms import Loss, Terms
from vaekit.distributions import LIKELIHOODS, DiagonalGaussian, StandardNormal
from vaekit.models import ClassLabel, describe_vae, load_vae, save_vae
from vaekit.networks import MLPDecoder, MLPEncoder
from vaekit.objectives import ELBO, OBJECTIVES
from vaekit.runs.recipe import complete, load_recipe, parse_overrides
from vaekit.runs.run_folder import STATE, RunFolder
from vaekit.training import write_state

Make = Callable[[Path], object]
HUGE = 10**15
"""More than any machine can address."""
HUB_SECONDS = 10.0
"""How long a user may have to wait to be told that the hub does not answer."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: two that share a busy core are many times slower on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be damaged."""
    return shutil.copytree(trained, tmp_path / "copy")


def small_model(likelihood: str = "bernoulli", classes: int | None = None) -> vaekit.VAE:
    """A VAE that takes no time."""
    shape, context = (1, 4, 5), classes or 0
    return vaekit.VAE(
        MLPEncoder(shape, context, hidden=[6]),
        DiagonalGaussian(6, 2),
        StandardNormal(2, context),
        MLPDecoder(2, shape, 1, context, hidden=[6]),
        LIKELIHOODS[likelihood](),
        ClassLabel([f"class {index}" for index in range(classes)]) if classes else None,
    )


# Recipes and options

SET_MISTAKES = {
    # unknown keys, with the nearest valid one
    "training.epoch=3": ("training.epoch", "'epochs'"),
    "trainig.epochs=3": ("trainig", "'training'"),
    "model.encoder.hiden=[8]": ("model.encoder.hiden", "'hidden'"),
    "optimizer.weight_decy=0.1": ("optimizer.weight_decy", "'weight_decay'"),
    "objective.beta={name: linear, epoch: 3}": ("objective.beta", "epoch"),
    "data.binarize=dynamic": ("data.binarize", "'binarize'"),
    "scheduler.warm=1": ("scheduler.warm", "'warmup'"),
    # unknown names, with the nearest valid one
    "model.likelihood.name=bernouli": ("model.likelihood.name", "'bernouli'", "'bernoulli'"),
    "model.encoder.name=mpl": ("model.encoder.name", "'mlp'"),
    "model.prior.name=normal": ("model.prior.name", "'standard-normal'"),
    "objective.name=elb": ("objective.name", "'elbo'"),
    "optimizer.name=adm": ("optimizer.name", "'adam'"),
    "scheduler.name=cosin": ("scheduler.name", "'cosine'"),
    "model.encoder.name=torch.nn.Linear": ("model.encoder.name", "torch.nn.Linear"),
    "model.encoder.activation=relo": ("model.encoder.activation", "'relu'", "'relo'"),
    "data.binarize=maybe": ("data.binarize", "'dynamic'", "'maybe'"),
    "training.device=tpu": ("training.device", "'cuda'", "'tpu'"),
    "training.precision=float8": ("training.precision", "'bfloat16'", "'float8'"),
    # wrong types
    "training.epochs=many": ("training.epochs", "integer", "'many'"),
    "training.epochs=1.5": ("training.epochs", "integer", "1.5"),
    "model.latent_dim=[1]": ("model.latent_dim", "integer", "[1]"),
    "data.validation=some": ("data.validation", "number", "'some'"),
    "data.name=5": ("data.name", "string"),
    "model=3": ("model", "dictionary"),
    "model.encoder=mlp": ("model.encoder", "dictionary", "'mlp'"),
    "model.encoder={}": ("model.encoder.name",),
    "training=null": ("training", "dictionary"),
    "data.name.first=x": ("data.name.first", "data.name"),
    "optimizer.betas=[0.9]": ("optimizer.betas",),
    # wrong ranges
    "training.batch_size=0": ("training.batch_size", "greater than 0"),
    "training.seed=-1": ("training.seed", "greater than or equal to 0"),
    "training.ema=1": ("training.ema", "less than 1"),
    "training.clip_norm=0": ("training.clip_norm", "greater than 0"),
    "training.patience=0": ("training.patience", "greater than 0"),
    "data.validation=1": ("data.validation", "less than 1"),
    "data.size=0": ("data.size", "1"),
    "data.channels=2": ("data.channels", "1", "3"),
    "evaluation.num_samples=-1": ("evaluation.num_samples", "greater than or equal to 0"),
    "model.encoder.hidden=[]": ("model.encoder.hidden", "at least 1"),
    "model.encoder.hidden=[8, 0]": ("model.encoder.hidden", "greater than 0"),
    "model.likelihood.scale=0": ("model.likelihood.scale", "greater than 0"),
    "objective.beta=-1": ("objective.beta", "greater than or equal to 0", "-1"),
    "optimizer.lr=-1e-3": ("optimizer.lr", "greater than 0", "-0.001"),
    "objective.beta=.nan": ("objective.beta", "finite", "nan"),
    "optimizer.lr=.inf": ("optimizer.lr", "finite", "inf"),
    "objective={name: elbo, free_bits: 1, capacity: 2}": ("free_bits", "capacity"),
    # assignments that are none
    "nonsense": ("--set nonsense", "place=value"),
    "=3": ("--set =3", "place=value"),
    "data.size=[8": ("--set data.size=[8", "YAML"),
}


@pytest.mark.parametrize("change", SET_MISTAKES)
def test_change_that_cannot_be(change: str, refuse: Refuse) -> None:
    refuse("train", "--set", change, "--out", "run", says=SET_MISTAKES[change])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["mnist-mpl"], ("mnist-mpl", "did you mean 'mnist-mlp'", "vae recipes")),
        (["zzz"], ("zzz: no such recipe", "digits")),
        (["nowhere.yaml"], ("nowhere.yaml", "cannot be read")),
        (["--data", "mnits"], ("mnits", "did you mean 'mnist'")),
        (["--data", "./nowhere"], ("./nowhere: no such path",)),
        (["--lr", "-1"], ("optimizer.lr", "greater than 0", "-1")),
        (["--lr", "0"], ("optimizer.lr", "greater than 0", "0")),
        (["--lr", "nan"], ("optimizer.lr", "finite", "nan")),
        (["--latent-dim", "0"], ("model.latent_dim", "greater than 0", "got 0")),
        (["--epochs", "0"], ("training.epochs", "greater than 0", "got 0")),
        (["--beta", "nan"], ("objective.beta", "finite", "nan")),
        (["--batch-size", "-5"], ("training.batch_size", "greater than 0", "-5")),
        (["--seed", "-1"], ("training.seed", "greater than or equal to 0", "-1")),
        (["--device", "tpu"], ("training.device", "'cuda'", "'tpu'")),
        (["--seed", str(2**70)], ("seed", "less than")),
        (["--latent-dim", str(HUGE)], ("memory",)),
    ],
)
def test_option_that_cannot_be(args: list[str], says: tuple[str, ...], refuse: Refuse) -> None:
    refuse("train", *args, "--out", "run", says=says)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train", "--epochs", "many"], ("--epochs", "integer")),
        (["train", "--epoch", "3"], ("--epoch", "--epochs")),
        (["sample", "run", "-n", "0"], ("-n", "1")),
        (["sample", "run", "--temperature", "nan"], ("--temperature",)),
        (["interpolate", "run", "0", "1", "--steps", "1"], ("--steps", "2")),
        (["sample"], ("RUN",)),
        (["trian"], ("trian", "train")),
    ],
)
def test_command_line_that_cannot_be_read(args: list[str], says: tuple[str, ...], refuse: Refuse) -> None:
    refuse(*args, says=says)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_device_that_is_not_there(refuse: Refuse) -> None:
    refuse("train", "--device", "cuda", "--out", "run", says=("no cuda", "cpu", "--device auto"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"title: [", ("not YAML",)),
        (b"", ("mapping", "data")),
        (b"- 1\n- 2\n", ("mapping", "data")),
        (b"\xff\xfe\x00recipe", ("cannot be read",)),
        (b"title: \x00\n", ("not YAML",)),
        (b"title: only a title\n", ("data: missing",)),
        (b"data: {name: digits}\nmodel: {latent_dim: 2, encoder: {name: mlp}, decoder: {name: mlp}}\n", ("likelihood",)),
        (b"data: &a {name: digits, more: *a}\nmodel: {}\n", ("recipe.yaml",)),
        (b"1: 2\n", ("data: missing",)),
    ],
)
def test_recipe_file_that_is_none(text: bytes, says: tuple[str, ...], refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(text)
    refuse("train", "recipe.yaml", "--out", "run", says=says)


def test_recipe_without_an_optimizer_takes_a_learning_rate(tmp_path: Path) -> None:
    recipe, path = to_data(load_recipe("digits")), tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump({key: recipe[key] for key in ("data", "model")}))
    changed = load_recipe(path, {"lr": 0.5, "beta": 2, "scheduler.warmup": 3})
    assert (changed.optimizer["name"], changed.optimizer["lr"]) == ("adam", 0.5)
    assert (changed.objective["name"], changed.scheduler["warmup"]) == ("elbo", 3)


def places(data: Any, prefix: str = "") -> list[str]:
    """The dotted places of a recipe."""
    if not isinstance(data, dict):
        return [prefix]
    return [prefix] * bool(prefix) + [p for key in data for p in places(data[key], f"{prefix}.{key}".lstrip("."))]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["mlp", "conv", "bernoulli", "gaussian", "pixel", "os.system", "linear", "class-label", "1e400"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def result_or_line(call: Callable[[], Any]) -> Any:
    """What a call returns, or what the VaekitError says that it raises, which must be one line."""
    try:
        return call()
    except VaekitError as error:
        line = str(error)
    assert line.splitlines() == [line]
    return line


@settings(max_examples=100, deadline=None)
@given(place=st.sampled_from(places(to_data(load_recipe("digits")))), value=VALUES)
def test_any_change_makes_a_recipe_or_a_line(place: str, value: object) -> None:
    result = result_or_line(lambda: load_recipe("digits", {place: value}))
    if isinstance(result, str):
        assert result.startswith(place.split(".")[0])
    else:
        assert complete(to_data(result), {}) == result


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_any_assignment_is_read_or_refused(text: str) -> None:
    result = result_or_line(lambda: parse_overrides([text]))
    if isinstance(result, str):
        assert result.startswith(f"--set {text}: ")
    else:
        assert list(result) == [text.partition("=")[0].strip()]


# Images


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def image(path: Path, size: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(size, size)).save(path)
    return path


def cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


def folder_with(name: str, data: bytes | None) -> Make:
    """A folder of good images and one other file, or of that file alone."""

    def make(path: Path) -> None:
        for index in range(5):
            image(path / f"good{index}.png")
        (path / name).write_bytes((path / "good0.png").read_bytes()[:60] if data is None else data)

    return make


def text_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no image\n")


def climbing_zip(path: Path) -> None:
    """A zip with an image that would land beside the folder that it is unpacked to."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.png", b"")


def climbing_tar(path: Path) -> None:
    """A tar with an image that would land beside the folder that it is unpacked to."""
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("../evil.png"))


def text_zip(path: Path) -> None:
    """A zip without an image."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")


def cut_array(name: str, keep: float) -> Make:
    def make(path: Path) -> None:
        if name.endswith(".npz"):
            np.savez(path, images=noise(20, 8, 8))
        else:
            np.save(path, noise(20, 8, 8))
        cut(path, keep)

    return make


DATA_MISTAKES: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "empty folder": ("pics", Path.mkdir, ("pics: no images",)),
    "folder of text": ("pics", text_folder, ("pics: no images",)),
    "folder with a file that is no image": ("pics", folder_with("bad.png", b"hello"), ("bad.png", "not an image")),
    "folder with an image cut short": ("pics", folder_with("bad.png", None), ("bad.png",)),
    "another kind of file": ("pics.doc", lambda path: path.write_bytes(b"PK"), ("pics.doc", "folder", ".npz", ".zip")),
    "damaged zip": ("pics.zip", lambda path: path.write_bytes(b"PK"), ("pics.zip", "not an archive", "safely")),
    "zip that climbs out": ("pics.zip", climbing_zip, ("pics.zip", "../evil.png", "outside")),
    "tar that climbs out": ("pics.tar", climbing_tar, ("pics.tar", "evil.png", "outside")),
    "archive of text": ("pics.zip", text_zip, ("no images found",)),
    "damaged parquet": ("a.parquet", lambda path: path.write_bytes(b"PAR1"), ("a.parquet", "no images found")),
    "list of nothing": ("list.txt", lambda path: path.write_text("# none\n"), ("list", "no images")),
    "list of missing files": (
        "list.txt",
        lambda path: path.write_text("a.png\nb.png\n"),
        ("2 of 2 images", "a.png", "b.png"),
    ),
    "list that is no text": ("list.txt", lambda path: path.write_bytes(b"\xff\xfe\x00\x80"), ("list.txt", "not a list")),
    "array of another shape": (
        "a.npy",
        lambda path: np.save(path, noise(20, 3, 32, 32)),
        ("3x32x32", "3x9x9", "--size 32x32"),
    ),
    "pickled objects": ("a.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True), ("a.npy", "safely")),
    "pickled objects in an archive": (
        "a.npz",
        lambda path: np.savez(path, images=np.array([{}], object)),
        ("a.npz", "safely"),
    ),
    "array cut short": ("a.npy", cut_array("a.npy", 0.5), ("a.npy", "not a NumPy array")),
    "array cut in its header": ("a.npy", cut_array("a.npy", 0.03), ("a.npy", "not a NumPy array")),
    "empty array file": ("a.npy", cut_array("a.npy", 0), ("a.npy", "not a NumPy array")),
    "archive cut short": ("a.npz", cut_array("a.npz", 0.5), ("a.npz", "not a NumPy array")),
    "empty archive": ("a.npz", cut_array("a.npz", 0), ("a.npz", "not a NumPy array")),
    "archive without images": (
        "a.npz",
        lambda path: np.savez(path, faces=noise(20, 8, 8)),
        ("a.npz", "faces", "'images'"),
    ),
    "labels of other images": (
        "a.npz",
        lambda path: np.savez(path, images=noise(20, 8, 8), labels=np.arange(19)),
        ("19 labels", "20 images"),
    ),
    "two channels": ("a.npy", lambda path: np.save(path, noise(20, 2, 8, 8)), ("a.npy", "(20, 2, 8, 8)")),
    "two axes": ("a.npy", lambda path: np.save(path, noise(20, 64)), ("a.npy", "(20, 64)")),
    "integers": ("a.npy", lambda path: np.save(path, noise(20, 8, 8).astype(int)), ("a.npy", "uint8", "int64")),
    "numbers above 1": ("a.npy", lambda path: np.save(path, noise(20, 8, 8) / 100), ("a.npy", "between 0 and 1")),
    "not a number": ("a.npy", lambda path: np.save(path, np.full((20, 8, 8), np.nan)), ("a.npy", "between 0 and 1")),
    "no images": ("a.npy", lambda path: np.save(path, noise(0, 8, 8)), ("a", "no images")),
    "one image": ("a.npy", lambda path: np.save(path, noise(1, 8, 8)), ("a: one image", "more")),
}


@pytest.mark.parametrize("what", DATA_MISTAKES)
def test_data_that_cannot_be_used(what: str, refuse: Refuse, tmp_path: Path) -> None:
    name, make, says = DATA_MISTAKES[what]
    make(tmp_path / name)
    size = ["--size", "9"] if what == "array of another shape" else []
    refuse("train", "--data", name, *size, "--out", "run", says=says)
    refuse("train", "digits", "--data", name, *size, "--out", "run")


def test_array_of_another_shape_than_a_recipe_from_the_hub(refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 3, 32, 32))
    says = ("3x32x32", "1x28x28", "--size 32x32 --channels 3")
    refuse("train", "mnist-mlp", "--data", "a.npy", "--out", "run", says=says)


def test_nothing_is_unpickled(refuse: Refuse, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.save(tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=np.array([Trap()], object))
    refuse("train", "--data", "a.npy", "--out", "run")
    refuse("train", "--data", "b.npz", "--out", "run")
    assert not (tmp_path / "sprung").exists()


def test_conditional_model_of_images_without_labels(refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 8, 8))
    refuse("train", "--data", "a.npy", "--conditional", "--out", "run", says=("a: has no labels", "--conditional"))


def test_cache_that_cannot_be_written(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "file" / "cache"))
    line = refuse("train", "--out", "run", says=("file/cache", "set VAEKIT_CACHE to a folder that can"))
    assert "--clear" not in line  # there is room enough


# The hub, without a network


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A port at which somebody listens and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        guests: list[socket.socket] = []

        def welcome() -> None:
            while True:
                try:
                    guests.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=welcome, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for guest in guests:
            guest.close()


@pytest.fixture(scope="module")
def closed_port() -> int:
    """A port at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


HUB_COMMANDS = {"train": ["train", "mnist-mlp", "--out", "run"], "sample": ["sample", "nobody/nothing", "-o", "x.png"]}
ASKING = """
import json, signal, sys, time
from pathlib import Path
from tests.test_cli import vae
import huggingface_hub, vaekit.experiment.train

class Hung(BaseException):
    pass

def ring(number, frame):
    raise Hung

signal.signal(signal.SIGALRM, ring)
limit, commands = json.loads(sys.argv[1])
for name, command in commands.items():
    signal.setitimer(signal.ITIMER_REAL, limit)
    begun = time.monotonic()
    try:
        outcome = vae(*command)
        signal.setitimer(signal.ITIMER_REAL, 0)
        told = vars(outcome)
    except Hung:
        told = None
    left = sorted(path.name for path in Path.cwd().iterdir())
    print(json.dumps([name, told, time.monotonic() - begun, left]), flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def asking(silent_port: int, closed_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Processes that ask a hub without an answer, from the first test of this file on, since they mostly wait."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VAEKIT_DATA", "HF_"))}
    kept["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [kept.get("PYTHONPATH")])])
    processes = {}
    for name, port in (("silent", silent_port), ("closed", closed_port)):
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path_factory.mktemp("hf"))}
        hub["VAEKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))  # else the second would wait for the first
        processes[name] = subprocess.Popen(
            [sys.executable, "-c", ASKING, json.dumps([HUB_SECONDS, HUB_COMMANDS])],
            cwd=tmp_path_factory.mktemp(name),
            env=kept | hub | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def answers(asking: dict[str, subprocess.Popen[str]]) -> dict[tuple[str, str], Any]:
    """What each command told on each port (None if it had to be stopped), after how long, and what it left behind."""
    lines = {port: process.communicate(timeout=90)[0].splitlines() for port, process in asking.items()}
    return {(name, port): rest for port, told in lines.items() for name, *rest in map(json.loads, told)}


# Output folders


def only_a_recipe(path: Path) -> None:
    path.mkdir()
    (path / "recipe.yaml").write_text("title: my own notes\n")
    (path / "thesis.tex").write_text("the only copy\n")


def only_notes(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("the only copy\n")


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("make", "place", "says"),
    [
        (only_notes, "out", ("out: exists and is no run folder", "--out")),
        (only_a_recipe, "out", ("out: exists", "--out")),
        (lambda path: path.write_text("a file\n"), "out", ("out: exists and is no run folder", "--out")),
        (lambda path: path.write_text("a file\n"), "out/run", ("out/run: cannot be made",)),
    ],
)
def test_output_folder_that_is_taken(
    force: list[str], make: Make, place: str, says: tuple[str, ...], refuse: Refuse, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    refuse("train", "--out", place, *QUICK, *force, says=says)


def test_place_that_may_not_be_looked_into(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(path: Path, **options: object) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "exists", shut)
    refuse("train", "--out", "shut/run", says=("shut/run: Permission denied", "another place"))


def test_run_that_is_there_already(copy: Path, refuse: Refuse) -> None:
    refuse("train", "--out", copy, says=("copy: exists", "--force", "--out", f"vae train --resume {copy}"))


@pytest.mark.parametrize("args", [["--data", "mnits"], ["--lr", "-1"], ["--set", "model.latent_dim=0"]])
def test_force_replaces_nothing_before_all_is_found(args: list[str], copy: Path, refuse: Refuse) -> None:
    refuse("train", *args, "--out", copy, "--force")


# Model folders


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of a small model."""
    save_vae(small_model(), tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("keep", [0, 0.001, 0.3, 0.999])
def test_weights_that_are_cut_short(keep: float, copy: Path, refuse: Refuse) -> None:
    cut(copy / "model.safetensors", keep)
    for command in (["sample", copy], ["evaluate", copy], ["reconstruct", copy], ["interpolate", copy, 0, 1]):
        refuse(*command, says=("copy/model.safetensors", "damaged or cut short", "copy it again"))


def test_weights_that_are_missing(copy: Path, refuse: Refuse) -> None:
    (copy / "model.safetensors").unlink()
    refuse("sample", copy, says=("copy/model.safetensors: missing",))


def test_folder_without_a_model(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for command in (["sample", "empty"], ["evaluate", "empty"], ["reconstruct", "empty", "--data", "digits"]):
        refuse(*command, says=("empty: no config.json", "no model folder"))


@pytest.mark.parametrize(
    "options", [{"likelihood": "continuous-bernoulli"}, {"classes": 3}], ids=["same shapes", "other shapes"]
)
def test_weights_of_another_model(options: dict[str, Any], small: Path, refuse: Refuse, tmp_path: Path) -> None:
    save_vae(small_model(**options), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", small)
    refuse("sample", small, says=("model/model.safetensors", "another config.json", "one run"))


def test_weights_of_other_shapes_without_a_hash(small: Path, refuse: Refuse) -> None:
    weights = load_file(small / "model.safetensors")
    weights["posterior.mu.weight"] = torch.zeros(3, 6)
    save_file(weights, small / "model.safetensors")
    refuse("sample", small, says=("model/model.safetensors", "do not fit config.json"))


CONFIG_MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[str, ...]]] = {
    "unknown part": (lambda c: c["encoder"].update(name="mpl"), ("encoder.name", "'mpl'", "'mlp'")),
    "import path": (lambda c: c["encoder"].update(name="torch.nn.Linear"), ("encoder.name", "torch.nn.Linear")),
    "function": (lambda c: c["likelihood"].update(name="os.system"), ("likelihood.name", "os.system")),
    "module in the folder": (lambda c: c["decoder"].update(name="evil.Decoder"), ("decoder.name", "evil.Decoder")),
    "list as name": (lambda c: c["prior"].update(name=["mlp"]), ("prior.name", "['mlp']")),
    "no name": (lambda c: c["posterior"].clear(), ("posterior.name",)),
    "unknown argument": (lambda c: c["encoder"].update(hiden=[6]), ("encoder.hiden", "'hidden'")),
    "inferred argument": (lambda c: c["encoder"].update(shape=[1, 4, 5]), ("encoder.shape", "unknown key")),
    "wrong type": (lambda c: c["encoder"].update(hidden="wide"), ("encoder.hidden", "'wide'")),
    "unknown key": (lambda c: c.update(latents=2), ("latents", "latent_dim")),
    "missing key": (lambda c: c.pop("decoder"), ("decoder: missing",)),
    "part that is no mapping": (lambda c: c.update(encoder="mlp"), ("encoder", "'mlp'")),
    "no latents": (lambda c: c.update(latent_dim=0), ("latent_dim", "at least 1")),
    "negative side": (lambda c: c.update(shape=[1, -4, 5]), ("shape", "at least 1")),
    "two sides": (lambda c: c.update(shape=[4, 5]), ("shape",)),
    "unknown condition": (lambda c: c.update(condition={"name": "text"}), ("condition.name", "class-label")),
    "classes that are none": (lambda c: c.update(condition={"name": "class-label", "classes": []}), ("condition.classes",)),
    "too large to build": (lambda c: c.update(latent_dim=HUGE), ("config.json",)),
    "too large to count": (lambda c: c.update(latent_dim=10**30), ("config.json",)),
}


@pytest.mark.parametrize("what", CONFIG_MISTAKES)
def test_configuration_that_cannot_be(what: str, small: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    change, says = CONFIG_MISTAKES[what]
    change_config(small, change)
    trap = small / "evil.py"
    trap.write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(small))
    refuse("sample", small, says=("model/config.json", *says))
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"{",
        b"[1, 2]",
        b"null",
        b'"mlp"',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"latent_dim": ' + b"9" * 5000 + b"}",
        b'{"latent_dim": NaN}',
    ],
    ids=["empty", "text", "cut", "list", "null", "string", "bytes", "deep", "long number", "NaN"],
)
def test_configuration_that_is_none(text: bytes, small: Path, refuse: Refuse) -> None:
    (small / "config.json").write_bytes(text)
    refuse("sample", small, says=("model/config.json",))


def nested_keys(data: Any) -> list[tuple[Any, ...]]:
    """The paths to everything in nested dictionaries and lists."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for key, value in items for path in [(key,), *((key, *rest) for rest in nested_keys(value))]]


BASE = json.loads(json.dumps(to_data(describe_vae(small_model(classes=3)))))
EDIT = st.tuples(st.sampled_from(nested_keys(BASE)), st.none() | st.tuples(VALUES))
EDITS = st.lists(EDIT, min_size=1, max_size=3)


def edited(edits: list[tuple[tuple[Any, ...], tuple[Any] | None]]) -> Any:
    """The configuration with some values replaced and some removed."""
    config = json.loads(json.dumps(BASE))
    for (*parents, key), value in edits:
        section = config
        try:
            for parent in parents:
                section = section[parent]
            if value is None:
                del section[key]
            else:
                section[key] = value[0]
        except (KeyError, IndexError, TypeError):  # an earlier edit took it away
            continue
    return config


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS)
def test_any_configuration_loads_or_is_refused(small: Path, edits: list[Any]) -> None:
    save_vae(small_model(classes=3), small)
    (small / "config.json").write_text(json.dumps(edited(edits)))
    result = result_or_line(lambda: load_vae(small))
    assert isinstance(result, vaekit.VAE) or str(small) in result


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["config.json", "model.safetensors"]), place=st.integers(0, 1200), byte=st.integers(0, 255))
def test_any_byte_may_be_wrong(small: Path, name: str, place: int, byte: int) -> None:
    save_vae(small_model(), small)
    data = bytearray((small / name).read_bytes())
    data[place % len(data)] = byte
    (small / name).write_bytes(data)
    result = result_or_line(lambda: load_vae(small))
    assert str(small) in result if isinstance(result, str) else result.shape == (1, 4, 5)


READERS = [["sample"], ["reconstruct"], ["interpolate", "0", "1"], ["evaluate"]]


@pytest.mark.parametrize("command", [*READERS, ["train", "--resume"]])
@pytest.mark.parametrize("run", ["nowhere", "./no/where", "/nowhere/at/all"])
def test_no_such_run(command: list[str], run: str, refuse: Refuse) -> None:
    name, *rest = command
    args = [name, *rest, run] if name == "train" else [name, run, *rest]
    refuse(*args, says=(str(Path(run)),))


def test_model_folder_without_its_images(small: Path, refuse: Refuse) -> None:
    for args in (["evaluate", small], ["reconstruct", small], ["interpolate", small, 0, 1]):
        refuse(*args, says=("model", "--data"))


# What a model is asked for


LABELLED = [["sample"], ["reconstruct"], ["reconstruct", "x.png"], ["interpolate", "0", "1"]]


@pytest.mark.parametrize("args", LABELLED)
def test_label_for_a_model_without_classes(args: list[str], trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    image(tmp_path / "x.png")
    name, *rest = args
    refuse(name, trained, *rest, "--label", 3, "-o", "out.png", says=("not conditional", "--label", "--conditional"))


@pytest.mark.parametrize("args", LABELLED)
@pytest.mark.parametrize(("label", "known"), [("ten", "known: 0, 1"), ("10", "'1'"), ("-1", "'1'"), ("", "known: 0, 1")])
def test_label_of_no_class(
    args: list[str], label: str, known: str, trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    image(tmp_path / "x.png")
    name, *rest = args
    refuse(name, trained_conditional, *rest, f"--label={label}", "-o", "out.png", says=(f"{label}: no such class", known))


@pytest.mark.parametrize(
    "args", [["reconstruct", "x.png"], ["interpolate", "x.png", "x.png"], ["interpolate", "x.png", "@3"]]
)
def test_conditional_model_without_a_label(
    args: list[str], trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    image(tmp_path / "x.png")
    name, *rest = args
    refuse(name, trained_conditional, *rest, "-o", "out.png", says=("conditional", "--label", "0, 1, 2"))


@pytest.mark.parametrize("args", [["reconstruct"], ["interpolate", "@0", "@1"], ["evaluate", "--num-samples", "0"]])
def test_conditional_model_on_images_without_labels(
    args: list[str], trained_conditional: Path, refuse: Refuse, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", noise(20, 8, 8))
    name, *rest = args
    refuse(name, trained_conditional, *rest, "--data", "a.npy", "-o", "out.png", says=("conditional", "label"))


def test_labels_of_another_number_than_images(trained_conditional: Path, refuse: Refuse, tmp_path: Path) -> None:
    image(tmp_path / "x.png")
    labels = ["--label", 1, "--label", 2]
    refuse("reconstruct", trained_conditional, *["x.png"] * 3, *labels, "-o", "out.png", says=("2 labels", "3 images"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, ("x.png: no such image",)),
        (lambda path: path.mkdir(), ("x.png: no such image",)),
        (lambda path: path.write_text("hello"), ("x.png: not an image",)),
        (lambda path: path.write_bytes(b""), ("x.png: not an image",)),
        (lambda path: cut(image(path, 200), 0.5), ("x.png: not an image",)),
    ],
    ids=["missing", "folder", "text", "empty", "cut short"],
)
def test_file_that_is_no_image(make: Make, says: tuple[str, ...], trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    make(tmp_path / "x.png")
    refuse("reconstruct", trained, "x.png", "-o", "out.png", says=says)
    refuse("interpolate", trained, "@0", "x.png", "-o", "out.png", says=says)


@pytest.mark.parametrize("index", ["359", "99999999999999999999"])
def test_number_of_no_test_image(index: str, trained: Path, refuse: Refuse) -> None:
    refuse("interpolate", trained, "@0", f"@{index}", "-o", "out.png", says=(index, "359 test images"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sample", "-n", str(HUGE)], ("memory",)),
        (["interpolate", "0", "1", "--steps", str(HUGE)], ("--steps",)),
        (["sample", "--seed", str(2**70)], ("seed",)),
        (["evaluate", "--seed", str(2**70)], ("seed",)),
    ],
)
def test_number_that_is_too_large(args: list[str], says: tuple[str, ...], trained: Path, refuse: Refuse) -> None:
    name, *rest = args
    refuse(name, trained, *rest, "-o", "out.png", says=says)


@pytest.mark.parametrize(
    "args", [["sample"], ["reconstruct"], ["interpolate", "0", "1"], ["evaluate", "--num-samples", "0"]]
)
def test_output_into_a_folder_that_is_not_there(
    args: list[str], trained: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*args: object, **options: object) -> None:
        raise AssertionError("measured before it was known where to write")

    monkeypatch.setattr("vaekit.evaluation.model_evaluation.evaluate", measure)
    name, *rest = args
    refuse(name, trained, *rest, "-o", "nowhere/x.png", says=("nowhere/x.png", "nowhere does not exist"))


def test_output_of_a_kind_that_is_not_known(trained: Path, refuse: Refuse) -> None:
    refuse("sample", trained, "-n", 4, "-o", "x.xyz", says=("x.xyz: cannot be written",))


def test_data_of_another_shape_than_the_model(trained: Path, refuse: Refuse, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 3, 32, 32))
    refuse("evaluate", trained, "--data", "a.npy", says=("a: ", "3x32x32", "1x8x8"))


# Resuming


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


RESUME_MISTAKES: dict[str, tuple[Make, list[str], tuple[str, ...]]] = {
    "finished": (lambda run: None, [], ("copy: finished after 3 epochs", "--epochs")),
    "fewer epochs": (lambda run: None, ["--epochs", "2"], ("copy: finished after 3 epochs", "--epochs")),
    "learning rate": (lambda run: None, ["--lr", "0.1", "--epochs", "5"], ("optimizer.lr", "training.epochs")),
    "seed": (lambda run: None, ["--seed", "5"], ("training.seed", "training.epochs")),
    "other images": (lambda run: None, ["--data", "mnist"], ("data.name", "training.epochs")),
    "other latents": (lambda run: None, ["--latent-dim", "3"], ("model.latent_dim", "training.epochs")),
    "nonsense": (lambda run: None, ["--set", "training.epoch=5"], ("training.epoch", "'epochs'")),
    "no run": (lambda run: (run / "recipe.yaml").unlink(), ["--epochs", "4"], ("copy: no recipe.yaml", "no run folder")),
    "no checkpoint": (lambda run: (run / STATE).unlink(), ["--epochs", "4"], ("state.safetensors: no checkpoint",)),
    "checkpoint cut short": (lambda run: cut(run / STATE, 0.5), ["--epochs", "4"], ("state.safetensors: damaged",)),
    "checkpoint cut at its end": (lambda run: cut(run / STATE, 0.9999), ["--epochs", "4"], ("state.safetensors: damaged",)),
    "empty checkpoint": (lambda run: cut(run / STATE, 0), ["--epochs", "4"], ("state.safetensors: damaged",)),
    "model as checkpoint": (
        lambda run: shutil.copy(run / "model.safetensors", run / STATE),
        ["--epochs", "4"],
        ("state.safetensors: damaged",),
    ),
    "checkpoint of another thing": (
        lambda run: write_state(run / STATE, {"a": 1}),
        ["--epochs", "4"],
        ("checkpoint",),
    ),
    "recipe that is none": (lambda run: (run / "recipe.yaml").write_text("["), ["--epochs", "4"], ("copy/recipe.yaml",)),
    "recipe of bytes": (
        lambda run: (run / "recipe.yaml").write_bytes(b"\xff\xfe"),
        ["--epochs", "4"],
        ("copy/recipe.yaml",),
    ),
    "no environment": (lambda run: (run / "environment.json").unlink(), ["--epochs", "4"], ("copy/environment.json",)),
    "environment cut short": (lambda run: cut(run / "environment.json", 0.5), ["--epochs", "4"], ("copy/environment.json",)),
    "images that changed": (
        lambda run: edit_json(run / "environment.json", data={"train": "0", "test": "0", "name": "digits"}),
        ["--epochs", "4"],
        ("digits", "changed"),
    ),
}


@pytest.mark.parametrize("what", RESUME_MISTAKES)
def test_run_that_cannot_be_resumed(what: str, copy: Path, refuse: Refuse) -> None:
    damage, options, says = RESUME_MISTAKES[what]
    damage(copy)
    refuse("train", "--resume", copy, *options, says=says)


@pytest.mark.parametrize(
    ("args", "what"), [(["mnist-mlp"], "recipe"), (["--out", "elsewhere"], "--out"), (["--force"], "--force")]
)
def test_resume_with_what_it_would_ignore(args: list[str], what: str, copy: Path, refuse: Refuse) -> None:
    refuse("train", *args, "--resume", copy, "--epochs", "4", says=("--resume", what))


# Numbers that are not finite

BLOWN = ("--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e30", "--set", "scheduler.name=constant")


def test_training_that_diverges_names_the_step_and_leaves_nothing(refuse: Refuse) -> None:
    refuse("train", *BLOWN, "--out", "run", says=("not finite", "step 2 (epoch 1)", "--lr", "training.clip_norm"))


def test_training_that_ends_on_weights_that_are_not_finite_says_so(refuse: Refuse) -> None:
    refuse("train", *BLOWN, "--batch-size", 2000, "--epochs", 1, "--out", "run", says=("not finite", "epoch 1", "--lr"))


class Bomb(ELBO):
    """The evidence lower bound for an epoch, and then nothing that is a number."""

    def __call__(self, terms: Terms, epoch: float) -> Loss:
        loss = super().__call__(terms, epoch)
        return loss if epoch < 1 else Loss(loss.value * torch.nan, loss.logs)


def test_training_that_diverges_later_keeps_the_last_good_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "bomb", Bomb)
    run = tmp_path / "run"
    outcome = vae("train", "--set", "objective.name=bomb", "--set", "evaluation.num_samples=0", "--out", run)
    one_line(outcome, "step 22 (epoch 2)", f"{run} keeps the last good epoch, 1")
    assert [record["epoch"] for record in RunFolder(run).history] == [1]
    assert all(bool(value.isfinite().all()) for value in load_vae(run).state_dict().values())
    assert not (run / "metrics.json").exists()
    assert not list(run.rglob(".*"))


# --debug


@pytest.mark.parametrize("args", [("--debug", "train", "mnist-mpl"), ("train", "mnist-mpl", "--debug")])
def test_debug_lets_the_error_through_with_its_traceback(args: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="no such recipe") as raised:
        vae(*args)
    assert "load_recipe" in [entry.name for entry in raised.traceback]


# The hub, last because its processes were started first


@pytest.mark.parametrize("port", ["silent", "closed"])
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", ("mnist", "cannot be reached", "VAEKIT_DATA", "--data digits")),
        ("sample", ("nobody/nothing", "Hub")),
    ],
)
def test_hub_that_cannot_be_reached(
    command: str, port: str, says: tuple[str, ...], answers: dict[tuple[str, str], Any]
) -> None:
    told, seconds, left = answers[command, port]
    assert told is not None, f"still waiting for the hub after {HUB_SECONDS} s"
    one_line(Outcome(**told), *says)
    assert seconds < HUB_SECONDS
    assert left == []
