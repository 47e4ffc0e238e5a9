"""Files of tensors: what was written comes back, equal content gives equal bytes, and any other bit is noticed."""

import os
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.core.tensor_files import DamagedFile, check, first_not_finite, read_header, read_tensors, write_tensors

TENSORS = {
    "b": torch.arange(6.0).view(2, 3),
    "a": torch.tensor([True, False]),
    "scalar": torch.tensor(3.5, dtype=torch.float64),
    "empty": torch.zeros(0, 4),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "transposed": torch.arange(6.0).view(2, 3).T,
}


def test_tensors_come_back_and_other_programs_read_them(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, {"of": "a test"})
    for read in (read_tensors(path), load_file(path)):
        assert read.keys() == TENSORS.keys()
        assert all(torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in TENSORS.items())
    header = read_header(path)
    assert header.metadata == {"of": "a test"}
    assert header.shapes["transposed"] == (3, 2)
    assert header.num_bytes == sum(value.numel() * value.element_size() for value in TENSORS.values())


def test_shared_memory_is_written_twice(tmp_path: Path) -> None:
    weight = torch.randn(3, 2)
    write_tensors(tmp_path / "t", {"encoder": weight, "decoder": weight, "row": weight[1]}, {})
    read = read_tensors(tmp_path / "t")
    assert torch.equal(read["encoder"], weight)
    assert torch.equal(read["decoder"], weight)
    assert torch.equal(read["row"], weight[1])


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_tensors(tmp_path / "one", TENSORS, {"x": "1", "y": "2", "z": "3"})
    write_tensors(tmp_path / "two", dict(reversed(TENSORS.items())), {"z": "3", "y": "2", "x": "1"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_tensors(path, {"a": torch.arange(4.0)}, {"of": "a test"})
    content = path.read_bytes()
    checksum = read_header(path).checksum
    for position in range(8 * len(content)):
        data = bytearray(content)
        data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
        try:
            check(path)
            header = read_header(path)
        except DamagedFile:
            continue
        assert header.checksum != checksum  # without a checksum, which the readers of runs and models require
        assert header.checksum is None


def test_a_file_that_holds_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_tensors(path, TENSORS, {})
    before = path.stat()
    write_tensors(path, TENSORS, {})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    write_tensors(path, TENSORS, {})
    assert torch.equal(read_tensors(path)["b"], TENSORS["b"])


def test_a_file_is_flushed_before_it_gets_its_name_and_its_folder_afterwards(tmp_path: Path) -> None:
    calls, replace, fsync = [], Path.replace, os.fsync

    def note_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(path, target)

    with patch("os.fsync", note_fsync), patch.object(Path, "replace", note_replace):
        write_tensors(tmp_path / "t", TENSORS, {})
    assert calls == ["file", "replace", "folder"]


def test_files_of_other_programs_are_read_without_a_checksum(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "t", metadata={"format": "pt"})
    assert read_header(tmp_path / "t").checksum is None
    assert read_tensors(tmp_path / "t")["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "content", [b"", b"12345678", b"\xff" * 100, b"\x02" + bytes(7) + b"{}x", b"\x02" + bytes(7) + b"[]"]
)
def test_what_is_no_file_of_tensors_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(content)
    for read in (read_header, read_tensors, check):
        with pytest.raises(DamagedFile):
            read(tmp_path / "t")
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "nowhere")


def test_values_that_are_not_finite_are_named() -> None:
    assert first_not_finite({"a": torch.ones(2), "b": torch.tensor([1, 2])}) is None
    assert first_not_finite({"a": torch.ones(2), "b": torch.tensor([1.0, torch.inf]), "c": torch.tensor(torch.nan)}) == "b"


def test_a_path_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_tensors(folder / "a.safetensors", {"x": torch.arange(3)}, {})
    assert read_tensors(folder / "a.safetensors")["x"].tolist() == [0, 1, 2]
