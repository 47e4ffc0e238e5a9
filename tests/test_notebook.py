"""The lesson: its notebook and the answers to its exercises run from top to bottom, and the numbers say what the words say.

``python -m tests.test_notebook`` runs it anew and writes its outputs into the repository.
"""

import os
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "variational_autoencoder_pytorch.ipynb"
MAX_BYTES = 2_500_000
ABSOLUTE = re.compile(r"(?<![\w:/})])(/(tmp|home|root|work|usr|opt|var|mnt|private|Users)/|[A-Z]:\\)")
NUMBER = r"(-?[\d,]+\.\d+)"
ROW = re.compile(rf"^(\S.*?) +{' +'.join([f'{NUMBER} ± {NUMBER}'] * 4)} +(\d+) of (\d+)$", re.MULTILINE)
"""A line of a table of the lesson: a name, four estimates with their standard errors, and the active latents."""


FOLDED = re.compile(
    r"<details><summary>Answer</summary>\n\n```python\n(?P<code>.+?)\n```\n\n"
    r"It prints.*?:\n\n```text\n(?P<prints>.*?)```\n\n(?P<words>.+)\n\n</details>",
    re.DOTALL,
)
"""A folded answer: code, what it prints, and words."""


@dataclass(frozen=True)
class Row:
    """What a table says of a run, in nats per image."""

    elbo: float
    distortion: float
    rate: float
    log_likelihood: float
    active: int
    latents: int


def read() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Runs a notebook in a folder, on one thread and without the settings of whoever runs it; raises if a cell does."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=1200,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / "ipython")})


def tidy(notebook: NotebookNode) -> None:
    """Takes out what differs between machines, and the JPEG that Pillow adds to each PNG."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress(output)]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/jpeg", None)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prints(notebook: NotebookNode) -> str:
    """All that the cells print."""
    return prints_of(code_cells(notebook))


def prints_of(cells: list[NotebookNode]) -> str:
    """All that some cells print."""
    outputs = [output for cell in cells for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def is_progress(output: NotebookNode) -> bool:
    """Whether an output is lines about the state of long work, of which a quick machine prints none."""
    if output.output_type != "stream" or output.name != "stderr":
        return False
    return all(
        re.fullmatch(r".+: ([\d,]+ of [\d,]+(, about [\d:]+ left)?|[\d:]+ so far)", line)
        for line in output.text.splitlines()
    )


def complaints(notebook: NotebookNode) -> list[str]:
    """What the cells write to the stream of errors, and the errors that stop them."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs if not is_progress(output)]
    streams = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    return streams + [output.evalue for output in outputs if output.output_type == "error"]


def tables(notebook: NotebookNode) -> dict[str, Row]:
    """The rows of all tables, by name."""
    return rows_of(prints(notebook))


def rows_of(text: str) -> dict[str, Row]:
    """The rows of all tables that were printed, by name."""
    found = {}
    for name, *cells in ROW.findall(text):
        means = [float(cell.replace(",", "")) for cell in cells[:8:2]]
        found[name] = Row(*means, int(cells[8]), int(cells[9]))
    return found


def numbers(notebook: NotebookNode, start: str) -> list[float]:
    """The numbers of the one line that starts so."""
    (line,) = [line for line in prints(notebook).splitlines() if line.startswith(start)]
    return [float(number) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", line.removeprefix(start))]


def code_blocks(notebook: NotebookNode) -> list[str]:
    """The code that stands in the text, the answers to the exercises above all."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """The folded answer below an exercise: its code, what that prints, and what is concluded from it."""

    code: str
    prints: str
    words: str


def answers(notebook: NotebookNode) -> dict[str, Answer]:
    """The folded answer below each exercise, by the exercise's letter."""
    found = {}
    for cell, below in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "markdown" and (exercise := re.search(r"^\*\*\((\w)\) ", cell.source, re.MULTILINE)):
            answer = FOLDED.fullmatch(below.source)
            assert answer, f"exercise {exercise[1]} has no answer folded below it, of code and words"
            found[exercise[1]] = Answer(answer["code"], answer["prints"], answer["words"].replace("\n", " "))
    return found


def with_answers(notebook: NotebookNode) -> NotebookNode:
    """A copy with the code of the text in cells at its end."""
    whole = nbformat.from_dict(notebook)
    whole.cells = [*notebook.cells, *(nbformat.v4.new_code_cell(code) for code in code_blocks(notebook))]
    return whole


def fill_answers(notebook: NotebookNode, executed: NotebookNode) -> None:
    """Writes what the code of each answer has printed below it."""
    printed = {cell.source.strip(): prints_of([cell]) for cell in code_cells(executed)[len(code_cells(notebook)) :]}
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (answer := FOLDED.fullmatch(cell.source)):
            start, end = answer.span("prints")
            cell.source = cell.source[:start] + printed[answer["code"].strip()] + cell.source[end:]


def prose(text: str) -> str:
    """The words of a cell: without code, formulas, links, headings, years, and numbers of sections."""
    for left_out in (r"```.*?```", r"\$\$.*?\$\$", r"\$.*?\$", r"\[[^\]]*\]\([^)]*\)", r"`[^`]*`"):
        text = re.sub(left_out, "", text, flags=re.DOTALL)
    text = re.sub(r"^#+ .*$|^\d\. ", "", text, flags=re.MULTILINE)
    return re.sub(r"section \d+|\b(19|20)\d\d\b", "", text)


def values(text: str) -> set[str]:
    """The numbers in a text, as they are written, without signs."""
    return set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text))


def quoted(words: str, pattern: str) -> list[float]:
    """The numbers that words quote in the groups of a pattern."""
    found = re.search(pattern, words)
    assert found, f"{pattern!r} is not in: {words}"
    return [float(number.replace("−", "-").replace("+", "")) for number in found.groups()]


@pytest.fixture(scope="module")
def committed() -> NotebookNode:
    return read()


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """A copy, run from top to bottom, and after it the code of the text in the same kernel."""
    notebook = with_answers(read())
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    execute(notebook, tmp_path_factory.mktemp("notebook"))
    return notebook


# As it is committed


def test_committed_outputs_are_of_one_run_from_top_to_bottom(committed: NotebookNode) -> None:
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert complaints(committed) == []
    results = [output for cell in cells for output in cell.outputs if output.output_type == "execute_result"]
    assert all(output.execution_count in range(1, len(cells) + 1) for output in results)
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) >= 15


def test_committed_file_is_small_and_knows_no_machine(committed: NotebookNode) -> None:
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    nbformat.validate(committed)
    assert "widgets" not in committed.metadata
    assert all(cell.metadata == {} for cell in committed.cells)
    words = [cell.source for cell in committed.cells] + [prints(committed)]
    words += [
        text
        for cell in code_cells(committed)
        for output in cell.outputs
        for kind, text in output.get("data", {}).items()
        if kind.startswith("text/")
    ]
    assert [found[0] for text in words for found in ABSOLUTE.finditer(text)] == []


def test_every_exercise_has_a_folded_answer(committed: NotebookNode) -> None:
    assert list(answers(committed)) == ["a", "b", "c"]
    assert len(code_blocks(committed)) == 4  # and the remedies for collapse


def test_one_line_chooses_the_images(committed: NotebookNode) -> None:
    sources = [cell.source for cell in code_cells(committed)]
    assert sources[0].startswith('DATA = "digits"')
    assert not any(re.search(r'["\']digits["\']', source) for source in sources[1:])


def test_every_number_of_an_answer_is_printed_by_its_code(committed: NotebookNode) -> None:
    exercises = {
        found[1]: cell.source for cell in committed.cells if (found := re.search(r"^\*\*\((\w)\) ", cell.source, re.M))
    }
    for letter, answer in answers(committed).items():
        known = values(answer.prints) | values(exercises[letter]) | {"0"}
        assert values(prose(answer.words)) - known == set(), f"exercise {letter} states numbers that its code does not print"
        assert len(values(answer.prints)) >= 4


def test_every_number_of_the_text_is_printed_by_a_cell(committed: NotebookNode) -> None:
    settings = {letter: values(answer.code) for letter, answer in answers(committed).items()}
    for cell in committed.cells:
        if cell.cell_type == "markdown" and not FOLDED.fullmatch(cell.source):
            exercise = re.search(r"^\*\*\((\w)\) ", cell.source, re.MULTILINE)
            known = values(prints(committed)) | (settings[exercise[1]] if exercise else set())
            assert values(prose(cell.source)) - known == set(), cell.source


def test_the_answers_use_numbers_of_the_text_above(committed: NotebookNode) -> None:
    rows = {**tables(committed), **rows_of(answers(committed)["a"].prints), **rows_of(answers(committed)["b"].prints)}
    assert rows["8 latents"] == rows["right (1)"] == rows["KL weight 1"]


# As it runs


def test_nothing_fails_and_nothing_complains(executed: NotebookNode) -> None:
    assert complaints(executed) == []
    assert all(cell.execution_count for cell in code_cells(executed))


def test_committed_tables_are_those_of_a_new_run(committed: NotebookNode, executed: NotebookNode) -> None:
    old, new = tables(committed), tables(executed)
    assert len(old) == 7
    for name, row in old.items():
        assert row.latents == new[name].latents
        assert row.elbo == pytest.approx(new[name].elbo, abs=4)
        assert row.rate == pytest.approx(new[name].rate, rel=0.2, abs=0.05)


def test_the_bound_is_minus_distortion_and_rate_below_the_likelihood(executed: NotebookNode) -> None:
    rows = tables(executed)
    assert len(rows) == 9
    for row in rows.values():
        assert row.elbo == pytest.approx(-(row.distortion + row.rate), abs=0.016)  # of three rounded numbers
        assert row.elbo < row.log_likelihood
    elbo, distortion, rate = (numbers(executed, name)[-1] for name in ("ELBO          ", "distortion    ", "rate          "))
    assert elbo == pytest.approx(-(distortion + rate), abs=0.0016)


def test_training_pays_rate_for_distortion(executed: NotebookNode) -> None:
    lines = re.findall(rf"^epoch +(\d+) +validation ELBO +{NUMBER} = -\( *{NUMBER} \+ +{NUMBER}\)", prints(executed), re.M)
    epochs, elbos, distortions, rates = ([float(value) for value in column] for column in zip(*lines, strict=True))
    assert epochs == sorted(epochs)
    assert len(epochs) >= 6
    assert elbos[-1] > elbos[0] + 20
    assert distortions == sorted(distortions, reverse=True)
    assert rates[-1] > rates[0] + 5


def test_learned_noise_is_the_error_of_training_images(executed: NotebookNode) -> None:
    sigma, error, _ = numbers(executed, "train  sigma")
    same, other, _ = numbers(executed, "test   sigma")
    assert sigma == same
    assert error == pytest.approx(sigma, rel=0.1)
    assert error < other < 1.5 * error


def test_rates_fall_and_distortions_rise_with_the_kl_weight(executed: NotebookNode) -> None:
    rows = tables(executed)
    little, right, much = rows["too little (0.02)"], rows["right (1)"], rows["too much (4)"]
    assert little.rate > 2 * right.rate > 4 * much.rate > 4
    assert little.distortion + 2 < right.distortion < much.distortion - 10
    assert right.elbo > max(little.elbo, much.elbo) + 5
    assert little.active == right.active == 8
    assert much.active < 8


def test_the_two_heads_give_the_rate_of_the_report(executed: NotebookNode) -> None:
    summed, reported = numbers(executed, "sum of the KL:")
    assert summed == pytest.approx(reported, abs=0.011)
    assert reported == tables(executed)["right (1)"].rate
    lines = [line for line in prints(executed).splitlines() if re.match(r"z\d ", line)]
    latents = [[float(value) for value in line.split()[1:]] for line in lines]
    assert len(latents) == 8
    assert sum(latent[0] for latent in latents) == pytest.approx(summed, abs=0.05)
    assert [latent[0] for latent in latents] == sorted((latent[0] for latent in latents), reverse=True)
    assert sum(latent[1] > 0.01 for latent in latents) == tables(executed)["right (1)"].active


def test_posteriors_fill_the_prior_unless_the_rate_is_cheap(executed: NotebookNode) -> None:
    right = [float(line.split()[-1]) for line in prints(executed).splitlines() if re.match(r"z\d ", line)]
    little = numbers(executed, "too little KL weight, variance of all posteriors together:")
    assert len(little) == len(right) == 8
    assert 0.7 < statistics.mean(right) < 1.7
    assert min(little) > 2
    assert statistics.mean(little) > 2 * statistics.mean(right)


def test_two_latents_carry_less_than_eight(executed: NotebookNode) -> None:
    two, eight = tables(executed)["2 latents"], tables(executed)["8 latents"]
    assert (two.active, two.latents) == (2, 2)
    assert two.rate < eight.rate / 2
    assert two.elbo < eight.elbo - 10


def test_collapse_shows_in_the_numbers(executed: NotebookNode) -> None:
    row = tables(executed)["collapsed (64)"]
    assert (row.active, row.latents) == (0, 8)
    assert row.rate < 0.02
    assert row.log_likelihood < tables(executed)["too much (4)"].elbo
    (threshold,) = numbers(executed, "by the linear argument all latents are inactive from a KL weight of")
    assert 4 < threshold < 64
    own, shuffled, difference, away = numbers(executed, "collapsed   ")
    assert abs(difference) < 0.2
    assert own == pytest.approx(row.distortion, abs=0.2)
    assert shuffled - own == pytest.approx(difference, abs=0.011)
    assert away < 8
    _, _, difference, away = numbers(executed, "right       ")
    assert difference > 50
    assert away > 30


def test_each_estimate_is_nearer_to_the_likelihood(executed: NotebookNode) -> None:
    found = re.findall(rf"^log p\(x\), .*?{NUMBER}(?: +higher by +{NUMBER} ± {NUMBER})? nats", prints(executed), re.M)
    (elbo, *_), *tighter = found
    assert len(tighter) == 3
    assert all(float(gain) > 3 * float(error) > 0 for _, gain, error in tighter)
    assert float(tighter[-1][0]) - float(elbo) == pytest.approx(7, abs=2)
    lower, upper = numbers(executed, "samples from the model: log p(x) from")
    assert lower - 0.5 < upper < lower + 2


def test_answer_a_sixty_four_latents_change_little(executed: NotebookNode) -> None:
    words = answers(executed)["a"].words
    eight, wide = tables(executed)["8 latents"], tables(executed)["64 latents"]
    assert wide.latents == 64
    assert wide.elbo == pytest.approx(eight.elbo, abs=4)
    assert wide.rate == pytest.approx(eight.rate, abs=4)
    _, first, _, more = numbers(executed, "the first")
    assert 70 < first < more <= 100
    (used,) = numbers(executed, "latents with more than 0.1 nats:")
    assert 6 <= used <= 24
    gain, error = numbers(executed, "ELBO of 64 latents minus ELBO of 8:")
    assert gain == pytest.approx(wide.elbo - eight.elbo, abs=1)
    wide_said, eight_said = quoted(words, r"([\d.]+) ± .* with 64 latents and ([\d.]+) ± .* with 8")
    assert [wide_said, eight_said] == pytest.approx([wide.elbo, eight.elbo], abs=4)
    said, said_error = quoted(words, r"says more: ([−+]?[\d.]+) ± ([\d.]+), which is not significant")
    assert said == pytest.approx(gain, abs=4)
    assert said_error == pytest.approx(error, abs=0.5)
    assert abs(said) < 2 * said_error
    assert quoted(words, r"of 64 carry (\d+)%") == pytest.approx([first], abs=10)
    assert quoted(words, r"(\d+) latents carry more than 0.1 nats") == pytest.approx([used], abs=8)
    assert quoted(words, r"active latents says (\d+)") == pytest.approx([wide.active], abs=16)


def test_answer_b_a_lower_weight_lowers_the_elbo(executed: NotebookNode) -> None:
    lower, one = tables(executed)["KL weight 0.3"], tables(executed)["KL weight 1"]
    assert lower.rate > one.rate + 4
    assert lower.distortion < one.distortion - 4
    gain, error = numbers(executed, "ELBO of the lower weight minus ELBO of weight 1:")
    assert gain + 2 * error < 0
    assert gain == pytest.approx(lower.elbo - one.elbo, abs=1)
    assert lower.rate - one.rate > one.distortion - lower.distortion
    words = answers(executed)["b"].words
    assert quoted(words, r"from ([\d.]+) to ([\d.]+) nats") == pytest.approx([one.rate, lower.rate], abs=3)
    assert quoted(words, r"from (−[\d.]+) to (−[\d.]+):") == pytest.approx([one.distortion, lower.distortion], abs=4)
    assert quoted(words, r"lower, ([\d.]+) ± .* of ([\d.]+) ±") == pytest.approx([lower.elbo, one.elbo], abs=4)
    said, said_error = quoted(words, r"it is (−[\d.]+) ± ([\d.]+) nats per image, many standard errors below 0")
    assert said == pytest.approx(gain, abs=3)
    assert said + 4 * said_error < 0


def test_answer_c_samples_are_no_copies(executed: NotebookNode) -> None:
    (sample,) = numbers(executed, "from a sample to the nearest training image:")
    (copy,) = numbers(executed, "from a reconstruction of a training image:")
    (real,) = numbers(executed, "from a test image itself:")
    assert sample > copy + 5
    assert sample == pytest.approx(real, rel=0.4)
    said = quoted(answers(executed)["c"].words, r"sample is ([\d.]+) gray levels .* image, ([\d.]+)\. .* are ([\d.]+) away")
    assert said == pytest.approx([sample, real, copy], abs=4)


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    lesson = read()
    whole = with_answers(lesson)
    with TemporaryDirectory() as scratch:
        execute(whole, Path(scratch))
    fill_answers(lesson, whole)
    tidy(lesson)
    NOTEBOOK.write_text(nbformat.writes(lesson) + "\n")
