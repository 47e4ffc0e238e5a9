"""Every public function refuses wrong arguments in one line that names the argument, never with an error of a library below.

A row is a call, and a word of its message. The names that calls may use are those of :func:`names`.
"""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaekit
from tests.test_contracts import make_vae, pixels
from vaekit.core.errors import VaekitError
from vaekit.evaluation.likelihood.annealing import Annealing
from vaekit.experiment.embed import Embedding
from vaekit.experiment.score import ScoredImages
from vaekit.plots import Animation
from vaekit.runs.run_folder import RunFolder

MODEL = """
vae.encode(None) | image
vae.encode(3) | image
vae.encode("no-such.png") | no-such.png
vae.encode("no-such-folder") | no-such-folder
vae.encode([]) | empty
vae.encode({}) | image
vae.encode(["no-such.png"]) | no-such.png
vae.encode(x[:, :1]) | shape
vae.encode(x[0]) | shape
vae.encode(x[None]) | shape
vae.encode(x[..., :3]) | shape
vae.encode(x[:0]) | at least 1
vae.encode(x.float()) | divide by 255
vae.encode(x > 5) | bool
vae.encode(torch.zeros(4, 2, 6, 5, dtype=torch.complex64)) | complex64
vae.encode(torch.full((4, 2, 6, 5), -3)) | 0 to 255
vae.encode(torch.full((4, 2, 6, 5), 300)) | 0 to 255
vae.encode(torch.full((4, 2, 6, 5), float("nan"))) | not finite
vae.encode(torch.zeros(4, 2, 6, 5, device="meta")) | meta
vae.encode(torch.tensor(0.5)) | shape
vae.encode(x.to_sparse()) | sparse
vae.encode(np.zeros((6, 5), dtype=object)) | image
vae.encode(np.zeros((3, 3, 3, 3, 3))) | image
vae.encode(images) | ImageSet
vae.encode(x, torch.zeros(4)) | not conditional
vae.encode(x, [0, 1]) | not conditional
vae.encode(x, 1) | not conditional
vae.prepare(None) | image
vae.prepare(7) | image
vae.prepare("") | empty
vae.prepare(["a.png", 3]) | image
vae.prepare(Path("no-such.png")) | no-such.png
vae.reconstruct(None) | image
vae.reconstruct(x[:0]) | at least 1
vae.reconstruct(x[:, :, :3]) | shape
vae.reconstruct(x[0]) | shape
vae.reconstruct(x.float()) | divide by 255
vae.reconstruct(x, "7") | not conditional
vae(None) | image
vae(x.float()) | divide by 255
vae(x.double()) | divide by 255
vae(x > 5) | bool
vae(x[:, :1]) | shape
vae(x[0]) | shape
vae(x[:0]) | at least 1
vae("a.png") | image
vae(np.zeros((4, 2, 6, 5))) | image
vae(torch.zeros(4, 2, 6, 5, device="meta")) | meta
vae(x, num_samples=0) | num_samples
vae(x, num_samples=-1) | num_samples
vae(x, num_samples="5") | num_samples
vae(x, num_samples=1.5) | num_samples
vae(x, labels=torch.zeros(4)) | not conditional
vae(x, noise=3) | noise
vae.latent_terms(x[:, :1]) | shape
vae.latent_terms(x, num_samples=0) | num_samples
vae.log_joint(None) | image
vae.log_joint(x.float()) | divide by 255
vae.elbo(None) | image
vae.elbo(x[:0]) | at least 1
vae.elbo(x[0]) | shape
vae.elbo(x, num_samples=0) | num_samples
vae.elbo(x, num_samples=2.5) | num_samples
vae.elbo(x, labels=torch.zeros(4).long()) | not conditional
vae.log_likelihood(None) | image
vae.log_likelihood(x[:0]) | at least 1
vae.log_likelihood(x[:, :1], num_samples=5) | shape
vae.log_likelihood(x, num_samples=0) | num_samples
vae.log_likelihood(x, num_samples="many") | num_samples
vae.log_likelihood(x, num_samples=None) | num_samples
list(vae.log_weights(x, num_samples=-1)) | num_samples
list(vae.log_weights(x[:, :1])) | shape
vae.decode(None) | latents
vae.decode("z") | latents
vae.decode(np.zeros((4, 3))) | latents
vae.decode(torch.zeros(3)) | latents
vae.decode(torch.zeros(4, 2)) | latents
vae.decode(torch.zeros(3, 4)) | latents
vae.decode(torch.tensor(1.0)) | latents
vae.decode(torch.zeros(0, 3)) | at least 1
vae.decode(torch.zeros(4, 3).double()) | float64
vae.decode(torch.zeros(4, 3).long()) | int64
vae.decode(torch.zeros(4, 3, device="meta")) | meta
vae.decode(torch.zeros(4, 3), torch.zeros(4)) | not conditional
vae.decode_mean(None) | latents
vae.decode_mean([[0.0, 1.0, 2.0]]) | latents
vae.decode_mean(torch.zeros(3)) | latents
vae.decode_mean(torch.zeros(4, 2)) | latents
vae.decode_mean(torch.zeros(2, 4, 3)) | latents
vae.decode_mean(torch.zeros(4, 3).double()) | float64
vae.decode_mean(torch.zeros(4, 3).long()) | int64
vae.decode_mean(torch.zeros(0, 3)) | at least 1
vae.decode_path(None, torch.zeros(3)) | latents
vae.decode_path(torch.zeros(4, 2), torch.zeros(3)) | latents
vae.decode_path(torch.zeros(4, 3), None) | positions
vae.decode_path(torch.zeros(4, 3), 0.5) | positions
vae.decode_path(torch.zeros(4, 3), torch.zeros(3), path="curved") | linear
vae.decode_path(torch.zeros(4, 3), torch.zeros(2, 3)) | positions
vae.traverse(None, [0], torch.zeros(1, 3)) | latents
vae.traverse(torch.zeros(2), [0], torch.zeros(1, 3)) | latents
vae.traverse(torch.zeros(4, 3), [0], torch.zeros(1, 3)) | latents
vae.traverse(torch.zeros(3), 0, torch.zeros(1, 3)) | latents
vae.traverse(torch.zeros(3), [7], torch.zeros(1, 3)) | latent 7
vae.traverse(torch.zeros(3), [-1], torch.zeros(1, 3)) | latent
vae.traverse(torch.zeros(3), [0, 1], torch.zeros(1, 3)) | values
vae.traverse(torch.zeros(3), [0], torch.zeros(3)) | values
vae.traverse(torch.zeros(3), [0], [0.0, 1.0]) | values
vae.interpolate(None, None) | image
vae.interpolate(x[0], None) | image
vae.interpolate("a.png", "b.png") | image
vae.interpolate(x[:2], x[:2]) | shape
vae.interpolate(x[0], x[0, :1]) | shape
vae.interpolate(x[0], x[1], steps=0) | steps
vae.interpolate(x[0], x[1], steps="10") | steps
vae.interpolate(x[0], x[1], steps=2.5) | steps
vae.interpolate(x[0], x[1], path="straight") | linear
vae.interpolate(x[0], x[1], path=3) | linear
vae.sample(0) | at least 1
vae.sample(-3) | at least 1
vae.sample("64") | whole number
vae.sample(6.5) | whole number
vae.sample(None) | whole number
vae.sample(True) | whole number
vae.sample((4, 4)) | whole number
vae.sample(torch.tensor(4)) | whole number
vae.sample(4, temperature="hot") | temperature
vae.sample(4, temperature=None) | temperature
vae.sample(4, temperature=-1.0) | temperature
vae.sample(4, temperature=float("nan")) | temperature
vae.sample(4, torch.zeros(4).long()) | not conditional
vae.sample_joint(0) | at least 1
vae.sample_joint("3") | whole number
vae.prior_of(0) | at least 1
vae.prior_of(2.0) | whole number
vae.qz(None) | tensor
vae.top_qz(None) | tensor
vae.save(3) | path
vae.save(None) | path
vae.save("") | path
vae.context(None, "3") | whole number
"""

CONDITIONAL = """
cvae.encode(x) | label
cvae.encode(x, "b") | labels
cvae.encode(x, 1) | labels
cvae.encode(x, [0, 1, 2, 0]) | labels
cvae.encode(x, ["a", "b", "c", "a"]) | labels
cvae.encode(x, np.zeros(4, dtype=int)) | labels
cvae.encode(x, torch.zeros(3).long()) | 3 labels
cvae.encode(x, torch.zeros(5).long()) | 5 labels
cvae.encode(x, torch.tensor(1)) | labels
cvae.encode(x, torch.zeros(4)) | float32
cvae.encode(x, torch.zeros(4, dtype=torch.bool)) | bool
cvae.encode(x, torch.zeros(4, 1).long()) | labels
cvae.encode(x, torch.full((4,), 3)) | labels
cvae.encode(x, torch.full((4,), -1)) | labels
cvae.encode(x, torch.zeros(4, device="meta").long()) | meta
cvae(x) | label
cvae(x, torch.zeros(3).long()) | 3 labels
cvae(x, torch.zeros(4)) | float32
cvae(x, [0, 0, 0, 0]) | labels
cvae(x, torch.full((4,), 9)) | labels
cvae.sample(4) | label
cvae.sample(4, torch.zeros(3).long()) | 3 labels
cvae.sample(4, "b") | labels
cvae.decode(torch.zeros(4, 3)) | label
cvae.decode(torch.zeros(4, 3), torch.zeros(3).long()) | 3 labels
cvae.decode_mean(torch.zeros(4, 3), torch.zeros(1).long()) | 1 label
cvae.decode_path(torch.zeros(4, 3), torch.zeros(2)) | label
cvae.traverse(torch.zeros(3), [0], torch.zeros(1, 3)) | label
cvae.traverse(torch.zeros(3), [0], torch.zeros(1, 3), torch.zeros(2).long()) | labels
cvae.traverse(torch.zeros(3), [0], torch.zeros(1, 3), 1) | labels
cvae.interpolate(x[0], x[1]) | label
cvae.interpolate(x[0], x[1], labels=torch.zeros(1).long()) | 1 label
cvae.elbo(x, torch.zeros(1).long()) | 1 label
cvae.log_likelihood(x, num_samples=5) | label
cvae.condition.index("z") | z
cvae.condition.index(5) | label
cvae.condition(torch.tensor([5])) | labels
"""

DATA = """
vaekit.load_images(None) | images are
vaekit.load_images(3) | images are
vaekit.load_images("") | empty
vaekit.load_images({}) | images are
vaekit.load_images([]) | empty
vaekit.load_images([None]) | NoneType
vaekit.load_images("no-such-set") | no-such-set
vaekit.load_images("./no/such/folder") | no/such/folder
vaekit.load_images(Path("no-such-folder")) | no-such-folder
vaekit.load_images(torch.zeros(3)) | shape
vaekit.load_images(np.zeros((4, 4), dtype=object)) | images
vaekit.load_images("digits", "tset") | split
vaekit.load_images("digits", None) | split
vaekit.load_images("digits", 3) | split
vaekit.load_images("digits", size=True) | size
vaekit.load_images("digits", size="abc") | size
vaekit.load_images("digits", size=0) | size
vaekit.load_images("digits", size=2.5) | size
vaekit.load_images("digits", size=(8,)) | size
vaekit.load_images("digits", size=(8, True)) | size
vaekit.load_images("digits", channels=0) | channels
vaekit.load_images("digits", channels=True) | channels
vaekit.load_images("digits", channels="3") | channels
vaekit.load_images("digits", channels=2.5) | channels
vaekit.load_images("digits", channels=99) | channels
vaekit.load_images("digits", fit="croop") | crop
vaekit.load_images("digits", fit=None) | crop
vaekit.load_images("digits", fit=3) | crop
vaekit.load_images("digits", background="nocolor") | nocolor
vaekit.load_images("digits", background=None) | background
vaekit.load_images("digits", background=3) | background
vaekit.load_images("digits", levels="dark") | levels
vaekit.load_images("digits", levels=3) | levels
vaekit.load_images("digits", levels=(3,)) | levels
vaekit.load_images("digits", levels=(9, 3)) | levels
vaekit.ImageSet(None) | store
vaekit.ImageSet(np.zeros((4, 1, 2, 2), dtype=np.uint8)) | store
vaekit.ImageSet(torch.zeros(4, 1, 2, 2)) | uint8
vaekit.ImageSet(torch.zeros(4, 2, 2).byte()) | shape
vaekit.ImageSet(torch.zeros(0, 1, 2, 2).byte()) | no images
vaekit.ImageSet(x, [0, 1, 2, 3]) | labels
vaekit.ImageSet(x, torch.zeros(3).long()) | 3 labels
vaekit.ImageSet(x, torch.zeros(4)) | float32
vaekit.ImageSet(x, torch.zeros(4, 1).long()) | labels
vaekit.ImageSet(x, torch.full((4,), -1)) | labels
vaekit.ImageSet(x, torch.zeros(4).long(), "ab") | classes
vaekit.ImageSet(x, torch.zeros(4).long(), (1, 2)) | classes
vaekit.ImageSet(x, name=3) | name
vaekit.ImageSet(x, rows=[0, 1]) | rows
vaekit.ImageSet(x, rows=torch.tensor([0, 9])) | rows
vaekit.ImageSet(x, rows=torch.tensor([0.0])) | rows
vaekit.TensorSet(None) | store
vaekit.TensorSet([1, 2, 3]) | store
vaekit.TensorSet(torch.tensor(1.0)) | shape
vaekit.TensorSet(torch.zeros(0, 3)) | no rows
images.gather(3) | positions
images.gather([0, 1]) | positions
images.gather(torch.tensor([99999])) | positions
images.gather(torch.tensor([0.5])) | positions
images.take(torch.tensor([99999])) | positions
images.take([0, 1]) | positions
images.take(torch.tensor([]).long()) | no images
images.take(torch.tensor([0]), split=3) | split
images.first(0) | num
images.first(-1) | num
images.first("3") | num
images.first(2.5) | num
images.sample(0, 0) | num
images.sample("3", 0) | num
images.sample(3, "a") | seed
images.sample(3, None) | seed
images.sample(3, -1) | seed
images.sample(3, 1.5) | seed
images.sample(3, 2**64) | seed
images.sampled_positions(-1, 0) | num
images.spread(0, 0) | num
images.spread(3, "x") | seed
images.shown_positions("x") | seed
images.to("nowhere") | device
images.to(None) | device
images.to(3.5) | device
vaekit.binarize(None, seed=0) | images
vaekit.binarize(x, seed=0) | images
vaekit.binarize(images, seed="a") | seed
vaekit.binarize(images, seed=None) | seed
vaekit.binarize(images, seed=-1) | seed
vaekit.hold_out(None, 0.1, seed=0, splits=("a", "b")) | dataset
vaekit.hold_out(images, "0.1", seed=0, splits=("a", "b")) | share
vaekit.hold_out(images, 2.0, seed=0, splits=("a", "b")) | share
vaekit.hold_out(images, -0.1, seed=0, splits=("a", "b")) | share
vaekit.hold_out(images, 0.1, seed="a", splits=("a", "b")) | seed
vaekit.hold_out(images, 0.1, seed=0, splits="ab") | splits
vaekit.hold_out(images, 0.1, seed=0, splits=("a",)) | splits
"""

RUNS = """
vaekit.load(None) | path
vaekit.load(3) | path
vaekit.load("") | path
vaekit.load("no-such-run") | no-such-run
vaekit.load(Path("./no/such/run")) | no/such/run
vaekit.load(run.folder, revision=3) | revision
vaekit.RunFolder(None) | path
vaekit.RunFolder(["a"]) | path
run.images(3) | source
run.images("no-such-set") | no-such-set
run.images(split="tset") | split
run.images(split=None) | split
run.images(binarized="yes") | binarized
run.look_at("3") | epoch
run.is_own(3) | path
vaekit.evaluate(None) | path
vaekit.evaluate(run, data=3) | data
vaekit.evaluate(run, data="no-such-set") | no-such-set
vaekit.evaluate(run, config=None) | config
vaekit.evaluate(run, config={}) | config
vaekit.evaluate(run, config="quick") | config
vaekit.evaluate(run, features="resnet") | cnn
vaekit.evaluate(run, seed="a") | seed
vaekit.evaluate(run, seed=-1) | seed
vaekit.evaluate(run, seed=None) | seed
vaekit.evaluate(run, device="gpu") | device
vaekit.evaluate(run, device=3) | device
vaekit.evaluate(run, device="cuda:99") | device
vaekit.evaluate_model(None, images) | model
vaekit.evaluate_model("runs/x", images) | model
vaekit.evaluate_model(run.model, None) | data
vaekit.evaluate_model(run.model, "digits") | data
vaekit.evaluate_model(run.model, x) | data
vaekit.evaluate_model(run.model, [1, 2]) | data
vaekit.evaluate_model(run.model, images, train=x) | train
vaekit.evaluate_model(run.model, images, gray=images) | gray
vaekit.evaluate_model(run.model, images, extractor=3) | extractor
vaekit.evaluate_model(run.model, images, config=3) | config
vaekit.evaluate_model(run.model, images, seed="0") | seed
vaekit.evaluate_model(run.model, other) | shape
vaekit.evaluate_model(crun.model, unlabeled) | label
vaekit.evaluate_model(torch.nn.Linear(3, 3), images) | model
vaekit.score(None) | path
vaekit.score(run, 3) | data
vaekit.score(run, "no-such-set") | no-such-set
vaekit.score(run, against=3) | against
vaekit.score(run, against="no-such-set") | no-such-set
vaekit.score(run, by="log_py") | log_px
vaekit.score(run, by=7) | by
vaekit.score(run, num_samples=0) | num_samples
vaekit.score(run, num_samples="5") | num_samples
vaekit.score(run, max_images=0) | max_images
vaekit.score(run, max_images="5") | max_images
vaekit.score(run, max_images=-5) | max_images
vaekit.score(run, split="tset") | split
vaekit.score(run, split=3) | split
vaekit.score(run, seed="a") | seed
vaekit.score(run, seed=-1) | seed
vaekit.score(run, device="gpu") | device
vaekit.score(run, device=None) | device
vaekit.embed(None) | path
vaekit.embed(run, 3) | data
vaekit.embed(run, "no-such-set") | no-such-set
vaekit.embed(run, split="tset") | split
vaekit.embed(run, device="gpu") | device
vaekit.embed(run, device=None) | device
vaekit.fit_prior(None, "gaussian") | path
vaekit.fit_prior("no-such-run", "gaussian") | no-such-run
vaekit.fit_prior(run, None) | name
vaekit.fit_prior(run, "gausian") | 'gaussian'
vaekit.fit_prior(run, "vamp") | fitted
vaekit.fit_prior(run, "transformer") | codes
vaekit.fit_prior(run, "mixture", 20) | arguments
vaekit.fit_prior(run, "mixture", {"num_componnets": 20}) | num_components
vaekit.fit_prior(run, "mixture", {"num_components": "many"}) | num_components
vaekit.fit_prior(run, "flow", out=3) | out
vaekit.fit_prior(run, "flow", out=run.folder) | --out
vaekit.fit_prior(run, "flow", steps=0) | steps
vaekit.fit_prior(run, "flow", steps="many") | steps
vaekit.fit_prior(run, "flow", batch_size=1) | batch_size
vaekit.fit_prior(run, "flow", lr=0) | lr
vaekit.fit_prior(run, "flow", lr=float("nan")) | lr
vaekit.fit_prior(run, "flow", passes=0) | passes
vaekit.fit_prior(run, "flow", seed=-1) | seed
vaekit.fit_prior(run, "flow", device="gpu") | device
vaekit.fit_prior(run, "flow", force="yes") | force
vaekit.fit_prior(run, "flow", console=3) | console
vaekit.export_model(None, "diffusers") | path
vaekit.export_model("no-such-run", "diffusers") | no-such-run
vaekit.export_model(run, "difusers") | format
vaekit.export_model(run, None) | format
vaekit.export_model(run, "diffusers") | autoencoder-kl
vaekit.export_model(run, "diffusers", out=3) | out
vaekit.export_model(run, "diffusers", data=3) | data
vaekit.export_model(run, "diffusers", device=None) | device
scored.most_unusual(0) | num
scored.most_unusual("3") | num
embedding.write(3) | path
embedding.write(Path("a.txt")) | .txt
embedding.write("a.txt") | .txt
vaekit.EvaluationConfig(num_samples=-1) | num_samples
vaekit.EvaluationConfig(num_samples="5") | num_samples
vaekit.EvaluationConfig(num_samples=None) | num_samples
vaekit.EvaluationConfig(num_samples=2.5) | num_samples
vaekit.EvaluationConfig(num_annealed=True) | num_annealed
vaekit.EvaluationConfig(max_images="all") | max_images
vaekit.EvaluationConfig(annealing=3) | annealing
Annealing(num_chains=0) | num_chains
Annealing(num_distributions="5") | num_distributions
Annealing(num_leapfrog_steps=2.5) | num_leapfrog_steps
Annealing(start="postrior") | posterior
Annealing(acceptance=1.0) | acceptance
Annealing(acceptance="high") | acceptance
"""

GALLERY = """
vaekit.Gallery(None) | model
vaekit.Gallery(3, images) | model
vaekit.Gallery(run.model, x) | images
vaekit.Gallery(run.model, "digits") | images
vaekit.Gallery(run.model, images, "crop") | fitting
vaekit.Gallery(run.model, images, channels=9) | channel
vaekit.Gallery(run.model, images, channels="red") | channels
vaekit.Gallery(run.model, images, look="dark") | look
vaekit.Gallery(run.model, other).reconstructions() | shape
vaekit.Gallery(run.model).reconstructions() | images
gallery.showing(9) | channel
gallery.showing("a") | channels
gallery.looking(pixelatd=True) | pixelated
gallery.looking(theme="blue") | theme
gallery.looking(size=0) | size
gallery.looking(pixelated="yes") | pixelated
gallery.samples(0) | at least 1
gallery.samples("9") | num
gallery.samples(2.5) | num
gallery.samples(None) | num
gallery.samples(4, labels="7") | labels
gallery.samples(4, labels=[7]) | labels
gallery.samples(4, labels=["7"]) | not conditional
gallery.samples(4, temperature="hot") | temperature
gallery.samples(4, temperature=-1) | temperature
gallery.layer_samples(0) | fixed
gallery.layer_samples(num="many") | num
gallery.samples(4, seed="a") | seed
gallery.samples(4, seed=-1) | seed
gallery.samples(4, columns=0) | columns
gallery.samples(4, columns="2") | columns
gallery.reconstructions(0) | num
gallery.reconstructions("4") | num
gallery.reconstructions(files="a.png") | files
gallery.reconstructions(files=[3]) | files
gallery.reconstructions(files=[Path("no-such.png")]) | no-such.png
gallery.traversals(0) | num
gallery.traversals("3") | num
gallery.traversals(2, steps=0) | steps
gallery.traversals(2, start="@99999") | 99999
gallery.traversals(2, start=[1]) | start
gallery.traversals(2, start="no-such-class") | no-such-class
gallery.traverse(2, None) | weights
gallery.traverse(0, torch.zeros(3)) | num
gallery.manifold(0) | steps
gallery.manifold("20") | steps
gallery.manifold(3, plane="curved") | active
gallery.manifold(3, plane=3) | active
gallery.manifold(3, label=3) | label
gallery.manifold(3, label="7") | label
gallery.plane(0) | steps
gallery.interpolation("1", None) | b is
gallery.interpolation("1", "9", steps=0) | steps
gallery.interpolation("1", "9", steps="5") | steps
gallery.interpolation("1", "9", path="curved") | linear
gallery.interpolation("1", "no-such-class") | no-such-class
gallery.interpolation("1", "@-5") | @-5
gallery.interpolation("1", 2.5) | b is
gallery.interpolation("1", "9", labels="1") | labels
gallery.waypoints("1") | names
gallery.waypoints([]) | waypoint
gallery.waypoints([None]) | names
gallery.latent_map("isomap") | umap
gallery.latent_map(3) | pca
gallery.latent_map("pca", 0) | num
gallery.latent_map("pca", "9") | num
gallery.latent_map("pca", widths="yes") | widths
gallery.errors(0) | num
gallery.errors("6") | num
gallery.errors(2, 0) | max_images
gallery.animation("1,9") | waypoints
gallery.animation(["1"]) | two waypoints
gallery.animation(["1", "9"], steps=-1) | steps
gallery.animation(["1", "9"], steps="5") | steps
gallery.animation(["1", "9"], hold=-1) | hold
gallery.animation(["1", "9"], hold="5") | hold
gallery.animation(["1", "9"], size=0) | size
gallery.animation(["1", "9"], size="big") | size
gallery.animation(["1", "9"], path="curved") | linear
gallery.pi_animation(0) | digits
gallery.pi_animation("3") | digits
gallery.pi_animation(3, steps=-1) | steps
gallery.animation(["1", "9"], steps=2).save(3) | path
gallery.animation(["1", "9"], steps=2).save("film.txt") | .txt
gallery.labels("1", 4) | names
gallery.labels([], -1) | num
gallery.file_labels([1], 4) | names
gallery.read_files("a.png") | paths
gallery.read_files(["no-such.png"]) | no-such.png
gallery.describe_latent("z") | latent
gallery.latents_of("z") | layer
gallery.latents_of(7) | layer
gallery.traversal_animation(0) | num
gallery.traversal_animation(2, steps=0) | steps
gallery.traversal_animation(2, size=-1) | size
"""

TRAINING = """
vaekit.train(3) | path
vaekit.train(vae) | data
vaekit.train(vae, None) | data
vaekit.train(None) | recipe
vaekit.train("no-such-recipe") | no-such-recipe
vaekit.train(Path("no-such.yaml")) | no-such.yaml
vaekit.train(other_model, images) | VAE
vaekit.train(torch.nn.Linear(3, 3), images) | model
vaekit.train(vae, images) | shape
vaekit.train("digits", 3) | images are
vaekit.train("digits", "no-such-set") | no-such-set
vaekit.train("digits", test=x) | test
vaekit.train("digits", test="digits") | test
vaekit.train("digits", images, test=other) | shape
vaekit.train("digits", start=3) | path
vaekit.train("digits", start="no-such-run") | no-such-run
vaekit.train(vae, images, start=run.folder) | start
vaekit.train("digits", objective="iwae") | objective
vaekit.train("digits", objective=3) | objective
vaekit.train("digits", callbacks=print) | callbacks
vaekit.train("digits", callbacks=[print]) | callbacks
vaekit.train("digits", callbacks=None) | callbacks
vaekit.train("digits", out=3) | path
vaekit.train("digits", force="yes") | force
vaekit.train("digits", report=3) | report
vaekit.train("digits", console=3) | console
vaekit.train("digits", epochs=0) | epochs
vaekit.train("digits", epochs="many") | epochs
vaekit.train("digits", lr=-1) | lr
vaekit.train("digits", device="gpu") | device
vaekit.train("digits", seed="a") | seed
vaekit.train("digits", seed=-1) | seed
vaekit.train("digits", epoch=3) | epochs
vaekit.IWAE(num_samples=0) | num_samples
vaekit.IWAE(num_samples="5") | num_samples
vaekit.ELBO(beta="big") | beta
vaekit.ELBO(beta=None) | beta
vaekit.ELBO(free_bits=-1) | free_bits
vaekit.ELBO(free_bits="a") | free_bits
vaekit.ELBO(num_samples=2.5) | num_samples
vaekit.VAE(1, 2, 3, 4, 5) | encoder
vaekit.VAE(vae.encoder, vae.posterior, vae.prior, vae.decoder, "bernoulli") | likelihood
vaekit.VAE(vae.encoder, vae.prior, vae.posterior, vae.decoder, vae.likelihood) | posterior
vaekit.VAE(vae.encoder, vae.posterior, vae.prior, vae.decoder, vae.likelihood, 3) | condition
"""

BLOCKS = (MODEL, CONDITIONAL, DATA, RUNS, GALLERY, TRAINING)
CALLS = [tuple(line.rsplit(" | ", 1)) for block in BLOCKS for line in block.strip().splitlines()]


class OtherModel(vaekit.Model):
    """A model that is no composition of parts."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_vae(shape=(1, 8, 8))
        self.likelihood = self.inner.likelihood

    shape = property(lambda self: self.inner.shape)  # type: ignore[assignment]
    latent_dim = property(lambda self: self.inner.latent_dim)  # type: ignore[assignment]

    def qz(self, x: torch.Tensor, context: torch.Tensor | None = None) -> Any:
        return self.inner.qz(x, context)

    def pz(self, num: int, context: torch.Tensor | None = None) -> Any:
        return self.inner.pz(num, context)

    def px(self, z: torch.Tensor, context: torch.Tensor | None = None) -> Any:
        return self.inner.px(z, context)


@pytest.fixture(scope="module")
def names(trained: Path, trained_conditional: Path) -> dict[str, Any]:
    """What a call of the table may use."""
    torch.manual_seed(0)
    run = RunFolder(trained)
    return {
        "vaekit": vaekit,
        "torch": torch,
        "np": np,
        "Path": Path,
        "Annealing": Annealing,
        "vae": make_vae(),
        "cvae": make_vae(classes=["a", "b", "c"]),
        "x": pixels(4),
        "run": run,
        "crun": RunFolder(trained_conditional),
        "gallery": run.gallery,
        "images": run.images(),
        "other": vaekit.ImageSet(pixels(20)),
        "unlabeled": vaekit.ImageSet(run.images().pixels[:20]),
        "embedding": vaekit.embed(run),
        "scored": vaekit.score(run, num_samples=2, max_images=5),
        "other_model": OtherModel(),
    }


CONTRACT = {"px", "pz", "top_pz", "refuse_wrong_scale", "require_input", "labels_of", "add_module", "forward"}
"""What a model defines, or the package calls; of ``forward`` the calls are ``vae(...)``."""


def public_functions() -> set[str]:
    """The names of the public functions, and of the methods with arguments of what they take and return."""
    kinds = (
        vaekit.VAE,
        vaekit.ImageSet,
        vaekit.TensorSet,
        vaekit.RunFolder,
        vaekit.Gallery,
        Embedding,
        ScoredImages,
        Animation,
    )
    functions = {name for name in vaekit.__all__ if inspect.isfunction(getattr(vaekit, name))}
    methods = [(name, method) for kind in kinds for name, method in inspect.getmembers(kind, inspect.isfunction)]
    own = {
        name
        for name, method in methods
        if method.__module__.startswith("vaekit") and len(inspect.signature(method).parameters) > 1
    }
    return functions | {name for name in own if not name.startswith("_")} - CONTRACT


def test_every_public_function_is_called_wrongly() -> None:
    text = "\n".join(call for call, _ in CALLS)
    assert len(public_functions()) > 50
    assert {name for name in public_functions() if f".{name}(" not in text} == set()
    assert len(CALLS) > 450


def test_numbers_of_numpy_are_numbers(names: dict[str, Any]) -> None:
    vae, images = names["vae"], names["images"]
    assert vae.sample(np.int64(3), temperature=np.float32(0.5)).shape == (3, 2, 6, 5)
    assert torch.equal(images.sample(np.int32(5), np.int64(7)).pixels, images.sample(5, 7).pixels)
    loaded = vaekit.load_images("digits", size=np.int64(4), channels=np.int64(1))
    assert torch.equal(loaded.pixels, vaekit.load_images("digits", size=4, channels=1).pixels)


@pytest.mark.parametrize(("call", "noun"), CALLS, ids=[call for call, _ in CALLS])
def test_a_wrong_argument_is_named_in_one_line(
    call: str, noun: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VaekitError) as raised:
        eval(call, dict(names))
    assert noun in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
