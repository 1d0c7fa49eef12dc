"""Damaged files of every kind: a reader gives finite numbers or a sentence, whatever bytes changed, went or came."""

import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from nfsolve._core.arrays import read_arrays
from nfsolve._core.errors import InputError
from nfsolve.data.latlon import read_map
from nfsolve.data.photos import read_photographs
from nfsolve.data.pictures import read as read_picture
from nfsolve.data.scans.scan import read_scan
from nfsolve.data.slices import read_slice, read_volume
from nfsolve.data.sounds import read_wav
from nfsolve.forward.cameras import dome
from nfsolve.functions import FunctionFile, read_pairs
from nfsolve.meshes import Mesh

STEPS = np.arange(12.0)
IMAGE = Image.fromarray((20 * np.mgrid[0:9, 0:12, 0:3].sum(0)[:, :, :3] % 256).astype(np.uint8)).resize((48, 36))
TETRA = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
)
FRAMES = [
    {"file_path": f"{i}.png", "transform_matrix": pose.tolist()} for i, pose in enumerate(dome(3, 4.0, (0.1, 1.2)))
]
SCENE = {"fl_x": 50.0, "w": 48, "h": 36, "k1": 0.01, "frames": FRAMES}
SCAN = {
    "sinogram": 0.1 * (1 + STEPS[:, None] + np.arange(5)),
    "angles_deg": 15 * STEPS,
    "geometry": "parallel",
    "spacing": 0.5,
}
PAIRS = {"f": np.outer(STEPS, STEPS), "x": STEPS, "s": np.outer(STEPS, STEPS[:12])}


def saved(write: Callable[..., Any], *args: Any, **named: Any) -> bytes:
    """Return what a function writes to a file."""
    file = io.BytesIO()
    write(file, *args, **named)
    return file.getvalue()


def exported(ending: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        TETRA.write(Path(folder) / f"a.{ending}")
        return (Path(folder) / f"a.{ending}").read_bytes()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("transforms.json", json.dumps(SCENE))
        for i in range(3):
            archive.writestr(f"{i}.png", saved(IMAGE.save, format="PNG"))
    return file.getvalue()


def scene(path: Path) -> Any:
    for i in range(3):
        IMAGE.save(path.parent / f"{i}.png")
    return read_photographs(path).colours


def mesh(path: Path) -> Any:
    return Mesh.read(path).vertices


def picture(path: Path) -> Any:
    return read_picture(str(path), False)


READERS: dict[str, tuple[str, bytes, Callable[[Path], Any]]] = {
    "table": ("a.csv", b"\xef\xbb\xbfx;u\n1;2.5\n3;4e-3 # five\n", lambda p: [*read_arrays(p)]),
    "archive": ("a.npz", saved(np.savez, x=STEPS, u=np.outer(STEPS, STEPS)), lambda p: [*read_arrays(p)]),
    "compressed": ("a.npz", saved(np.savez_compressed, x=STEPS, u=STEPS), lambda p: [*read_arrays(p)]),
    "map": ("a.npz", saved(np.savez, lat=STEPS, lon=STEPS, v=PAIRS["f"]), lambda p: read_map(p)[2]),
    "pairs": ("a.npz", saved(np.savez, **PAIRS), lambda p: read_pairs(p).take([0, 3])[2]),
    "streamed pairs": ("f.npy", saved(np.save, PAIRS["f"]), lambda p: streamed(p)),
    "functions": ("a.npz", saved(np.savez, f=PAIRS["f"], x=STEPS), lambda p: FunctionFile(str(p))._grid),
    "scan": ("a.npz", saved(np.savez, **SCAN), lambda p: read_scan(p).sinogram),
    "slice": ("a.npz", saved(np.savez, hu=PAIRS["f"], pixel_mm=0.5), lambda p: read_slice(p).image),
    "volume": ("a.npy", saved(np.save, np.ones((2, 3, 4))), lambda p: read_volume(p).values),
    "sound": ("a.wav", saved(wavfile.write, 8000, np.arange(60, dtype=np.int16)), lambda p: read_wav(p)[0]),
    "float sound": ("a.wav", saved(wavfile.write, 8000, STEPS.astype(np.float32) / 12), lambda p: read_wav(p)[0]),
    "scene": ("transforms.json", json.dumps(SCENE).encode(), scene),
    "zipped scene": ("a.zip", zipped(), lambda p: read_photographs(p).colours),
}
READERS |= {
    kind: (f"a.{kind}", saved(IMAGE.save, format=kind), picture) for kind in ("PNG", "JPEG", "TIFF", "PPM", "GIF")
}
READERS |= {ending: (f"a.{ending}", exported(ending), mesh) for ending in ("stl", "obj", "ply", "off")}


def streamed(path: Path) -> Any:
    np.save(path.parent / "x.npy", PAIRS["x"])
    np.save(path.parent / "s.npy", PAIRS["s"])
    return read_pairs(path.parent).take([0, 3])[2]


Change = tuple[str, float, bytes]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "insert", "remove", "cut"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, changes: list[Change]) -> bytes:
    for kind, share, text in changes:
        at = int(share * len(content))
        rest = {"write": at + len(text), "insert": at, "remove": at + len(text), "cut": len(content)}[kind]
        content = content[:at] + (text if kind in ("write", "insert") else b"") + content[rest:]
    return content


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=max(25, settings.default.max_examples // 4), deadline=None)
@given(changes=CHANGES)
def test_a_damaged_file_gives_finite_numbers_or_a_sentence(name: str, changes: list[Change]):
    file, content, read = READERS[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what a scene says and is not read
        path = Path(folder) / file
        path.write_bytes(damaged(content, changes))
        refused = None
        try:
            values = read(path)
        except InputError as error:
            refused = error
    if refused is not None:
        assert len(str(refused)) < 2000 and refused.do
    else:
        assert name in ("table", "archive", "compressed") or np.isfinite(np.asarray(values)).all()


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name: str, tmp_path: Path):
    file, content, read = READERS[name]
    (tmp_path / file).write_bytes(content)
    assert np.size(read(tmp_path / file))
