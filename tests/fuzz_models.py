"""Does every damaged model file end in success or in one clear line? Run by hand for many cases, by pytest for a few.

    python tests/fuzz_models.py --cases 100000 --jobs 2
    python tests/fuzz_models.py --case 4711 -o damaged.tflite     # the file of one case

Case N is the same file whenever it is made from the same models. Workers do with it what ``tvm-pex plan`` and
``compile`` do: all read it, some of those who can go on to the schedule, and some of these to the C. A network that a
worker has had before is not planned again: most damage is outside what the network computes. The parent sees a worker
that crashes, hangs or takes too much memory, and starts another one after the case that did it.
"""

from __future__ import annotations

import os
import pickle
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import click
from mutations import Place, mutated, places_read
from small_models import SMALL_MODELS

from tvm_pex import _tvm
from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Request, compile_loaded, load_request
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.options import PlanOptions
from tvm_pex.relay_pass import partition

_WEIGHTS = {"dense": 10, "convolutions": 5, "moves": 4, "floats": 4}
_MEMORY = 4 << 30  # address space of a worker
_GROWTH = 300 << 10  # KiB of resident memory that a case may add
_BATCH = 1500  # cases of a worker: then its memory is looked at, and another one begins
_PLANNED = 3  # one case of so many goes on to the schedule
_COMPILED = 60  # and one of so many to the C
_OPTIONS = PlanOptions(core="cortex-m4")
_IDLE = 10  # times the limit that a worker may take by the clock on the wall: others want the processor, too
_BEGUN = struct.Struct("<qdd")  # a case, when it began, and seconds that the worker had had of the processor


@dataclass(frozen=True)
class Seed:
    """A file to damage, and the places in it that are read."""

    name: str
    data: bytes
    places: tuple[Place, ...]
    weight: int


@dataclass
class Result:
    """How many cases ended how, and what must not have happened: (case, what)."""

    classes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    growth_kib: int = 0

    def add(self, other: Result) -> None:
        self.classes.update(other.classes)
        self.faults += other.faults
        self.slowest = max(self.slowest, other.slowest)
        self.growth_kib = max(self.growth_kib, other.growth_kib)


def seeds(models: Sequence[Path], folder: Path) -> list[Seed]:
    """The small models, and ``models``, which count as one of them together."""
    files = {name: make() for name, make in SMALL_MODELS.items()} | {str(path): path.read_bytes() for path in models}
    found = []
    for name, data in files.items():
        path = folder / "seed.tflite"
        path.write_bytes(data)
        places = places_read(lambda path=path: load_model(path))
        found.append(Seed(name, data, tuple(places), _WEIGHTS.get(name, 1)))
    return found


def damaged_file(known: Sequence[Seed], number: int) -> bytes:
    """The file of a case."""
    rng = random.Random(number)
    seed = rng.choices(known, [seed.weight for seed in known])[0]
    return mutated(seed.data, seed.places, rng)


def run_cases(known: Sequence[Seed], cases: range, timeout: float) -> Result:
    """One worker after another, until every case has been tried."""
    result, left = Result(), cases
    with tempfile.TemporaryDirectory() as name:
        while left:
            batch = left[:_BATCH]
            done, fault = _supervised(known, batch, Path(name), timeout)
            result.add(done)
            for number, what in (*done.faults, *([fault] if fault else [])):
                click.echo(f"case {number}: {what}", err=True)
            if fault:
                result.faults.append(fault)
                result.classes[re.sub("[0-9.]+", "N", fault[1])] += 1
                left = left[left.index(fault[0]) + 1 :]
            else:
                left = left[len(batch) :]
    return result


def _supervised(
    known: Sequence[Seed], batch: range, folder: Path, timeout: float
) -> tuple[Result, tuple[int, str] | None]:
    """What a worker found in a batch, and the case that ended it early."""
    answer = folder / "answer"
    answer.unlink(missing_ok=True)
    told, telling = os.pipe()  # what is written to it at once is read whole, which shared memory does not promise
    pid = os.fork()
    if not pid:
        try:
            _work(known, batch, folder, telling, answer)
            os._exit(0)
        finally:
            os._exit(70)
    os.close(telling)
    with open(told, "rb", buffering=0) as begun:
        return _watched(pid, begun, batch[0], answer, timeout)


def _watched(pid: int, begun: FileIO, case: int, answer: Path, timeout: float) -> tuple[Result, tuple[int, str] | None]:
    """As ``_supervised``, of the worker ``pid``, which tells each case that it begins; ``case`` is its first."""
    os.set_blocking(begun.fileno(), False)
    began, worked, status = time.monotonic(), 0.0, None
    while status is None:
        done, code = os.waitpid(pid, os.WNOHANG)
        if lines := begun.read(_BATCH * _BEGUN.size):
            case, began, worked = _BEGUN.unpack_from(lines, len(lines) - _BEGUN.size)
        if done:
            status = code
        elif _seconds_worked(pid) - worked > timeout or time.monotonic() - began > _IDLE * timeout:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return _partial(answer), (case, f"hang: longer than {timeout:.0f} s")
        else:
            time.sleep(0.02)
    if os.WIFSIGNALED(status):
        return _partial(answer), (case, f"crash: {signal.Signals(os.WTERMSIG(status)).name}")
    if os.WEXITSTATUS(status):
        return _partial(answer), (case, f"the worker ended with status {os.WEXITSTATUS(status)}")
    return _partial(answer), None


def _partial(answer: Path) -> Result:
    """What a worker has told before it ended: one Result for each case."""
    result = Result()
    if answer.exists():
        with answer.open("rb") as file:
            while True:
                try:
                    result.add(pickle.load(file))
                except EOFError:
                    return result


def _work(known: Sequence[Seed], batch: range, folder: Path, telling: int, answer: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    noise = os.open(folder / "noise", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    path, planned = folder / "model.tflite", set[int]()
    with answer.open("wb", buffering=0) as file:
        for case in batch:
            began, before = time.monotonic(), _peak()
            os.write(telling, _BEGUN.pack(case, began, time.process_time()))
            path.write_bytes(damaged_file(known, case))
            result = Result()
            kind = _outcome(path, planned, case)
            seconds, growth = time.monotonic() - began, _peak() - before
            sys.stdout.flush()
            sys.stderr.flush()
            if (said := os.fstat(noise).st_size) and not kind.startswith("fault"):
                kind = f"fault: {said} bytes of noise: {os.pread(noise, 300, 0)!r}"
            os.ftruncate(noise, 0)
            os.lseek(noise, 0, os.SEEK_SET)
            if growth > _GROWTH:
                result.faults.append((case, f"memory: {growth >> 10} MiB more than before"))
            if kind.startswith("fault"):
                result.faults.append((case, kind))
            result.classes[re.sub("[0-9.e+-]*[0-9]+", "N", kind)[:90]] += 1
            result.slowest, result.growth_kib = (seconds, case), growth
            file.write(pickle.dumps(result))


def _seconds_worked(pid: int) -> float:
    """Seconds that a process has had of the processor; 0 when it has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak() -> int:
    """KiB of resident memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _outcome(path: Path, planned: set[int], case: int) -> str:
    request = Request(path, _OPTIONS, as_json=True)
    try:
        model = load_request(request, lambda *_: None)
        network = int(_tvm.tvm.ir.structural_hash(model.mod))
        if network in planned:
            return "success: a network as before"
        planned.add(network)
        if case % _PLANNED:
            return "success: read"
        if case % _COMPILED:
            partition(model.mod, _OPTIONS)
            return "success: planned"
        compile_loaded(model, request, lambda *_: None)
        return "success: compiled"
    except BadInput as error:
        said = error.message
        if "\n" in said or not said.startswith(f"{path}: ") or len(said) > 600:
            return f"fault: not one clear line: {said!r}"
        return f"refused: {re.sub(_NAMES, '...', said.removeprefix(f'{path}: '))}"
    except Exception as error:
        (*_, last) = traceback.extract_tb(error.__traceback__)
        return f"fault: {type(error).__name__} in {Path(last.filename).name}:{last.name}: {str(error)[-300:]}"


_NAMES = r"\b(?:tensor|input|output) \S+|\([^()]*\)|\[[^\[\]]*\]"
"""What differs between answers of one kind."""


@click.command()
@click.option("--cases", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first case.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes at work at once.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds that a case may take.")
@click.option("--case", type=click.IntRange(min=0), help="Only write the file of this case.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("damaged.tflite"), show_default=True)
@click.argument("models", type=click.Path(path_type=Path, exists=True), nargs=-1)
def main(
    cases: int, first: int, jobs: int, timeout: float, case: int | None, output: Path, models: tuple[Path, ...]
) -> None:
    """Damage small models of many kinds of operators, and MODELS beside them: see the text of this file."""
    _tvm.silence()
    with tempfile.TemporaryDirectory() as name:
        known = seeds(models, Path(name))
    if case is not None:
        output.write_bytes(damaged_file(known, case))
        return
    children = []
    for job in range(jobs):
        part = range(first + job, first + cases, jobs)
        answer = Path(tempfile.mkstemp()[1])
        pid = os.fork()
        if not pid:
            answer.write_bytes(pickle.dumps(run_cases(known, part, timeout)))
            os._exit(0)
        children.append((pid, answer))
    result = Result()
    for pid, answer in children:
        os.waitpid(pid, 0)
        result.add(pickle.loads(answer.read_bytes()))
        answer.unlink()
    for kind, count in result.classes.most_common():
        click.echo(f"{count:8}  {kind}")
    click.echo(f"{sum(result.classes.values())} cases; the slowest took {result.slowest[0]:.1f} s: {result.slowest[1]}")
    click.echo(f"no case added more than {result.growth_kib >> 10} MiB of memory; {len(result.faults)} faults")
    kinds = Counter[str]()
    for number, what in sorted(result.faults):
        kinds[kind := re.sub("[0-9.]+", "N", what)[:80]] += 1
        if kinds[kind] <= 3:
            click.echo(f"  case {number}: {what}")
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()
