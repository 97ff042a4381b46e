"""What every command that plans shares: the model, the plan options, the form of the output, and the work itself."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tvm_pex.cli.errors import BadInput, NothingFits
from tvm_pex.options import PlanOptions
from tvm_pex.pools import MemoryPool
from tvm_pex.rounding import ROUNDINGS, Rounding
from tvm_pex.scheduling.kernel_prices import CORES

if TYPE_CHECKING:
    from tvm_pex.compiler import CompiledModel
    from tvm_pex.frontend.tflite_model import Model
    from tvm_pex.scheduling.search import OverBudget

_CHOICES = ("rows", "pixels", "channels"), ("rows", "pixels"), ("rows", "channels"), ("rows",), ("channels",)
AXES: dict[str, tuple[str, ...]] = {",".join(axes): axes for axes in _CHOICES} | {"layers": ()}
PORTABLE = "portable"
DEFAULT_CORE = "cortex-m4"
_UNITS = {"": 1, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2}
_MOST_OVERHEAD = 1000
_COST_STEP = 4  # from one memory to the next
_C_KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"
)

Step = Callable[[str, "int | None", "int | None"], None]


@dataclass(frozen=True)
class Request:
    """A model file, how to plan it, and whether to answer in JSON.

    ``core_given``: the user has named one. ``hop``: rows between successive windows, if any.
    """

    path: Path
    options: PlanOptions
    as_json: bool
    core_given: bool = False
    hop: int | None = None

    def on(self, core: str) -> Request:
        """The same for ``core``, unless the user has named one."""
        return self if self.core_given else replace(self, options=replace(self.options, core=core))


def parse_bytes(text: str, option: str = "--ram") -> int:
    """A number of bytes: 65536, 64k, 64KiB, 1m, 1MiB; raises BadInput for anything else, and for none."""
    match = re.fullmatch(r"([0-9]+) ?([a-z]*)", text.strip().lower())
    count = int(match[1]) * _UNITS.get(match[2], 0) if match else 0
    if count <= 0:
        raise BadInput(f"{option} {text}: give a number of bytes, as 65536, 64k, 256KiB or 1m")
    return count


def byte_count(_context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """For click: the value of an option that takes a number of bytes."""
    return None if text is None else parse_bytes(text, option.opts[0])


def between(low: float, high: float) -> Callable[[click.Context, click.Parameter, float | None], float | None]:
    """For click: a number from ``low`` to ``high``; one that is not a number is not between them."""

    def check(_context: click.Context, option: click.Parameter, value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            raise BadInput(f"{option.opts[0]} {value:g}: give a number from {low:g} to {high:g}")
        return value

    return check


def _factor(_context: click.Context, option: click.Parameter, factor: float) -> float:
    if not 1 <= factor <= _MOST_OVERHEAD:
        raise BadInput(f"{option.opts[0]} {factor}: give a number from 1 to {_MOST_OVERHEAD}, as 1.2")
    return factor


def parse_pools(texts: Sequence[str], option: str = "--pool") -> tuple[MemoryPool, ...]:
    """Memory pools as NAME=BYTES[@COST]; raises BadInput for anything else, and for names that C cannot tell apart.

    Without a COST an access costs 1 in the first pool, and ``_COST_STEP`` times that of the pool before in the others.
    """
    pools: list[MemoryPool] = []
    for text in texts:
        match = re.fullmatch(r"([A-Za-z_]\w*)=([^@]+)(?:@([0-9]+))?", text, re.ASCII)
        if not match or match[1] in _C_KEYWORDS.split():
            raise BadInput(
                f"{option} {text}: give NAME=BYTES[@COST], the name a C identifier, as sram=64k or psram=8m@10"
            )
        if any(match[1].upper() == pool.name.upper() for pool in pools):  # macros are in capitals
            raise BadInput(f"{option} {text}: there is a pool of that name already")
        usual = _COST_STEP * max(pools[-1].cost, 1) if pools else 1
        size = parse_bytes(match[2], f"{option} {match[1]}")
        pools.append(MemoryPool(match[1], size, int(match[3]) if match[3] else usual))
    return tuple(pools)


def _plain(options: PlanOptions) -> PlanOptions:
    return PlanOptions(
        quantized_io=options.quantized_io, core=options.core, stream_input=True, rounding=options.rounding
    )


def _pools(_context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> tuple[MemoryPool, ...]:
    return parse_pools(texts, option.opts[0])


def planning(command: Callable[..., None]) -> Callable[..., None]:
    """Gives ``command`` a Request as its first argument, made of the options that all commands share."""

    @functools.wraps(command)
    def run(
        model: Path,
        as_json: bool,
        axes: str,
        overwrite_input: bool,
        quantized_io: bool,
        ram: int | None,
        max_overhead: float,
        pools: tuple[MemoryPool, ...],
        stream_input: bool,
        max_step: int | None,
        hop: int | None,
        core: str | None,
        rounding: Rounding,
        **own: Any,
    ) -> None:
        if pools and ram is not None:
            raise BadInput("--ram and --pool exclude each other: the size of each pool is its budget")
        if stream_input and "rows" not in AXES[axes]:
            raise BadInput(f"--stream-input needs rows among --axes, which are {axes}")
        if max_step is not None and not stream_input:
            raise BadInput("--max-step is about the time between two rows: it needs --stream-input")
        options = PlanOptions(
            AXES[axes],
            overwrite_input,
            quantized_io,
            ram,
            max_overhead,
            pools,
            None if core == PORTABLE else core or DEFAULT_CORE,
            stream_input,
            max_step,
            rounding=rounding,
        )
        if hop is not None and (not stream_input or options != _plain(options)):
            raise BadInput(
                "--hop needs --stream-input, and of the options of the plan takes --quantized-io, --core and --rounding"
            )
        command(Request(model, options, as_json, core is not None, hop), **own)

    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables."),
        click.option(
            "--axes",
            type=click.Choice(list(AXES)),
            default=next(iter(AXES)),
            metavar="AXES",
            help=f"What the loops may slice; one of: {'; '.join(AXES)} (not at all).  [default: {next(iter(AXES))}]",
        ),
        click.option(
            "--overwrite-input", is_flag=True, help="Let the plan reuse input bytes as soon as they have been read."
        ),
        click.option(
            "--stream-input",
            is_flag=True,
            help="Take the largest input row by row, as the caller gets it; it is never whole in memory.",
        ),
        click.option(
            "--max-step",
            type=click.IntRange(min=1),
            metavar="INSTRUCTIONS",
            help="Run no more than this between two rows of --stream-input, even if it takes more memory.",
        ),
        click.option(
            "--hop",
            type=click.IntRange(min=1),
            metavar="ROWS",
            help="Continuous recognition with --stream-input: a result after every ROWS rows of a stream without end.",
        ),
        click.option(
            "--quantized-io",
            is_flag=True,
            help="Leave the quantisation of float inputs and outputs to the caller; the header has scales.",
        ),
        click.option(
            "--ram",
            metavar="BYTES",
            callback=byte_count,
            help="Take the fastest schedule whose arena fits, as 65536, 64k or 256KiB, not the one of least memory.",
        ),
        click.option(
            "--max-overhead",
            type=float,
            default=1.0,
            metavar="FACTOR",
            callback=_factor,
            help="Allow up to this many times the multiply-accumulates, as 1.2, where that saves memory.",
        ),
        click.option(
            "--pool",
            "pools",
            metavar="NAME=BYTES[@COST]",
            multiple=True,
            callback=_pools,
            help="A memory, as sram=64k; repeat it for others, as psram=8m@10: cold buffers go to the dearer ones. "
            f"COST is in instructions an access.  [default: 1, then {_COST_STEP} times that of the pool before]",
        ),
        click.option(
            "--core",
            type=click.Choice([*CORES, PORTABLE]),
            help="The core for which kernels are packed and priced; the C runs on any. portable: none of our kernels, "
            f"only C that TVM generates.  [default: {DEFAULT_CORE}, or that of --board]",
        ),
        click.option(
            "--rounding",
            type=click.Choice(ROUNDINGS),
            default=ROUNDINGS[0],
            show_default=True,
            help="Whose integers our operators give: stock TVM's, or those of TFLite's reference kernels.",
        ),
        click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.tflite"),
    ):
        run = decorate(run)
    return run


@contextmanager
def progress() -> Iterator[Step]:
    """A bar on standard error while long work runs, only on a terminal. ``step(what, done, total)`` moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done or 0, total=total)


def load_request(request: Request, step: Step) -> Model:
    """The model. What is wrong with the file becomes BadInput."""
    step("loading TVM", None, None)
    try:
        from tvm_pex import _tvm
    except ImportError as error:
        raise BadInput(str(error)) from None
    from tvm_pex.frontend.tflite_model import ModelError, load_model

    _tvm.silence()
    step(f"reading {request.path.name}", None, None)
    try:
        return load_model(request.path)
    except ModelError as error:
        raise BadInput(str(error)) from None


def compile_request(request: Request, step: Step) -> tuple[Model, CompiledModel]:
    """Load and compile. What is wrong with the input becomes BadInput; all else is a bug and keeps its traceback."""
    return compile_loaded(load_request(request, step), request, step)


def compile_loaded(model: Model, request: Request, step: Step) -> tuple[Model, CompiledModel]:
    """As compile_request, for the model that its file holds."""
    from tvm_pex.compiler import compile_model
    from tvm_pex.frontend.streaming import NotStreamable
    from tvm_pex.lowering.aot import AotError
    from tvm_pex.scheduling.search import OverBudget
    from tvm_pex.scheduling.spreading import StepTooLong

    path = request.path
    try:
        report = functools.partial(step, "finding the schedule")
        compiled = compile_model(model, request.options, report)
        return compiled.model, compiled
    except (AotError, NotStreamable) as error:
        raise BadInput(f"{path}: {error}") from None
    except StepTooLong as error:
        shortest = f"taking a row alone takes {error.instructions} instructions, more than {error.limit}"
        raise NothingFits(f"{path}: {shortest}") from None
    except OverBudget as error:
        raise NothingFits(f"{path}: {_shortage(request.options, error)}") from None


def _shortage(options: PlanOptions, error: OverBudget) -> str:
    needed = f"needs at least {error.least_bytes} bytes of RAM"
    most = f"most while {' '.join(error.operators)} run"
    if not options.pools:
        return f"{needed}, not {options.ram}; {most}"
    pools = " and ".join(f"{pool.name} of {pool.bytes} bytes" for pool in options.pools)
    return f"{needed} in one piece, and does not fit in {pools}; {most}"


def check_output(path: Path, option: str) -> None:
    """Say before the long work what would fail after it."""
    if path.is_dir():
        raise BadInput(f"{path}: is a directory; {option} takes the name of a file")
    if not path.parent.is_dir():
        raise BadInput(f"{path}: the folder {path.parent} does not exist")


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; raises BadInput."""
    from tvm_pex.files import write_whole

    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None


def print_json(value: dict[str, Any]) -> None:
    """One object, indented."""
    click.echo(json.dumps(value, indent=2))
