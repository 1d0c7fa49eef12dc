"""Kill real command-line runs at random moments, resume them, and compare their end with that of an undisturbed run.

    python -m scripts.torture --kills 200                  some twenty minutes; the same command goes on where it was
    python -m scripts.torture --kills 5 --only burgers     one kind of run

Every run is small and takes a checkpoint after every step, so that a kill by SIGKILL, SIGTERM or SIGINT often falls
into the writing of one. A reader opens the folder all the time: whatever it finds must be whole. After some kills a
run is left to end; weights, optimizer, points, history and scores must then be those of the undisturbed run, bit by
bit, and every picture and export must open. Exit code 0 if all of this holds, else 1 with the faults in words.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nfsolve import InputError
from nfsolve.run.folder import RunFolder, load_tensors
from scripts.measuring import ONE_THREAD

SMALL = "--n-points 60 --n-face 10 --field mlp --field.width 8 --field.depth 2"
LINEAR = "--optimizer linear_least_squares"
FEW = "--frames 0 --mesh 0 --cells 16 --samples 24"
RATES = "--schedule cosine --warmup 0.1"
KINDS = {
    "poisson": f"poisson {SMALL} --steps 30",
    "burgers": f"burgers {SMALL} --optimizer adam --steps 60 {RATES} --weighting ntk --resample 7",
    "adaptive": f"burgers {SMALL} --optimizer soap --steps 40 --adaptive rad --resample 5",
    "windows": f"allen_cahn {SMALL} --optimizer esgd --steps 15 --windows 3",
    "inverse": "inverse_diffusivity --n-points 60 --n-face 10 --optimizer ssbroyden --steps 30",
    "features": f"klein_gordon --n-points 300 --n-face 40 --field random_features --field.width 60 {LINEAR} --steps 6",
    "operator": "deeponet_antiderivative --n-functions 40 --field.width 8 --field.latent 4 --optimizer adam --steps 40",
    "image": "image --size 32 --field.width 12 --steps 40",
    "ct": "ct_phantom --size 24 --field.width 12 --steps 30",
    "scene": f"nerf_scene --size 16 --views 6 {FEW} --field.width 8 --steps 20",
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
KILLS_OF_A_RUN = 6
CLOCKS = ("seconds", "cpu_seconds", "elapsed", "began", "parts", "per_second", "peak_bytes")  # what no two runs share
CHILD = (
    "import nfsolve.run.loop as loop; loop.CHECKPOINT_SECONDS = 0.0; from nfsolve.cli import run_cli; run = run_cli()"
)
STATE = "torture.json"


@dataclass
class Tally:
    """What has happened so far, kept in a file so that a torture may be interrupted too."""

    path: Path
    kills: dict[str, int] = field(default_factory=dict)  # by signal
    ended: dict[str, int] = field(default_factory=dict)  # runs by kind
    reads: int = 0
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> "Tally":
        """Read the file, or begin."""
        return cls(path, **json.loads(path.read_text())) if path.is_file() else cls(path)

    def save(self) -> None:
        """Write the file."""
        text = json.dumps({name: value for name, value in vars(self).items() if name != "path"}, indent=1)
        part = self.path.with_suffix(".part")
        part.write_text(text)
        part.replace(self.path)

    def count(self, number: int) -> None:
        """Count a kill."""
        name = signal.Signals(number).name
        self.kills[name] = self.kills.get(name, 0) + 1

    def summary(self) -> str:
        """Say what has happened."""
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        runs = ", ".join(f"{count} {kind}" for kind, count in sorted(self.ended.items()))
        head = f"{sum(self.kills.values())} kills ({kills}); runs compared: {runs or 'none'}; {self.reads} reads"
        return "\n".join([head, *(f"FAULT {text}" for text in self.faults), f"{len(self.faults)} faults"])


class Reader:
    """Reads a run folder again and again while somebody writes to it."""

    def __init__(self, folder: Path):
        self.folder, self.reads = folder, 0
        self.faults: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._over.wait(0.03) and not self.faults:
            self.faults, self.reads = unreadable(self.folder), self.reads + 1


def unreadable(folder: Path) -> list[str]:
    """Return what cannot be read in a run folder at this moment, in words."""
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if ".part" in str(path.relative_to(folder)) or path.name == ".lock" or not path.is_file():
            continue
        try:
            _open(path)
        except FileNotFoundError:  # replaced in between
            continue
        except Exception as error:  # whatever a reader raises is the fault that is looked for
            found.append(f"{path.name} cannot be read: {type(error).__name__} {str(error)[:200]}")
    return found


def _open(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.name == "checkpoint.pt":
        try:
            RunFolder(path.parent).load_checkpoint()  # with as many rows of history as it counts
        except InputError as error:
            if path.exists():
                raise
            raise FileNotFoundError from error
    elif path.suffix == ".pt":
        load_tensors(path)
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            list(csv.reader(file))
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a checksum does not agree")
    elif path.suffix == ".npy":
        np.load(path)
    elif path.suffix in (".png", ".gif", ".jpg"):
        with Image.open(path) as image:
            image.load()


def start(kind: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a run, or resume it where there is a folder."""
    words = ["run", "--resume", str(folder)] if (folder / "config.json").is_file() else ["run", *KINDS[kind].split()]
    words += [] if words[1] == "--resume" else ["--out", str(folder)]
    child = [sys.executable, "-c", f"import sys; {CHILD}; sys.exit(run)", *words]
    return subprocess.Popen(
        child, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def undisturbed(kind: str, out: Path) -> tuple[Path, float]:
    """Return the folder of a run that nobody kills, and the seconds that it takes."""
    folder, took = out / kind / "whole", out / kind / "seconds"
    if not took.is_file():
        begun = time.monotonic()
        while (process := start(kind, folder)).wait() is None or not (folder / "metrics.json").is_file():
            raise SystemExit(f"{kind} ends with {process.returncode} undisturbed:\n{process.communicate()[0]}")
        took.write_text(str(time.monotonic() - begun))
    return folder, float(took.read_text())


def disturbed(kind: str, folder: Path, seconds: float, dice: random.Random, tally: Tally, kills: int) -> list[str]:
    """Kill a run some times, wait for its end, and return what went wrong."""
    faults: list[str] = []
    for left in range(kills, -1, -1):
        with Reader(folder) as reader:
            process = start(kind, folder)
            output, number = _wait(process, dice.uniform(0.3, 1.0) * seconds if left else None, dice)
        tally.reads += reader.reads
        faults += reader.faults + unreadable(folder)
        if number:
            tally.count(number)
        expected = {0, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT} if number else {0}
        if process.returncode not in expected:
            faults.append(f"exit code {process.returncode} after {number or 'no'} signal: {output[-600:]}")
        elif "Traceback" in output and process.returncode == 0:
            faults.append(f"a traceback: {output[-600:]}")
        if faults or process.returncode == 0:
            return faults
    return faults


def _wait(process: "subprocess.Popen[str]", seconds: float | None, dice: random.Random) -> tuple[str, int]:
    """Wait for the end of a process, or send it a signal after some seconds; return its output and the signal."""
    number = 0
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        number = dice.choice(SIGNALS)
        process.send_signal(number)
        output, _ = process.communicate()
    return output, int(number)


def differences(whole: Path, parts: Path) -> list[str]:
    """Return in what two finished runs differ."""
    found = []
    for name in ("checkpoint.pt", "field.pt"):
        a, b = load_tensors(whole / name), load_tensors(parts / name)
        found += [f"{name}: {key} differs" for key in a if key not in CLOCKS and not same(a[key], b.get(key))]
    for read in (RunFolder.history, RunFolder.metrics):
        a, b = (_timeless(read(RunFolder(path))) for path in (whole, parts))
        found += [] if same(a, b) else [f"{read.__name__} differs"]
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (whole, parts)]
    found += [f"only one of the folders has {', '.join(sorted(names[0] ^ names[1]))}"] if names[0] != names[1] else []
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return {key: item for key, item in value.items() if not any(clock in key for clock in CLOCKS)}


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal, bit by bit, but for the seconds that they took."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(k in CLOCKS or same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def main() -> int:
    """Torture until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="kills in all, those of earlier calls included")
    parser.add_argument("--only", nargs="*", choices=KINDS, help="kinds of runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "nfsolve-torture")
    said = parser.parse_args()
    said.out.mkdir(parents=True, exist_ok=True)
    tally, kinds = Tally.of(said.out / STATE), said.only or list(KINDS)
    while (done := sum(tally.kills.values())) < said.kills:
        kind = kinds[sum(tally.ended.values()) % len(kinds)]
        whole, seconds = undisturbed(kind, said.out)
        round_, dice = sum(tally.ended.values()), random.Random(f"{said.seed} {done}")
        folder = said.out / kind / f"{round_}-{done}-{time.time_ns()}"
        faults = disturbed(kind, folder, seconds, dice, tally, min(KILLS_OF_A_RUN, said.kills - done))
        faults += [] if faults else differences(whole, folder)
        tally.faults += [f"{folder}: {text}" for text in faults]
        tally.ended[kind] = tally.ended.get(kind, 0) + 1
        tally.save()
        print(f"{kind}: {sum(tally.kills.values())} of {said.kills} kills, {len(tally.faults)} faults", flush=True)
    print(tally.summary())
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
