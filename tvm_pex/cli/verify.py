"""``tvm-pex verify``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tvm_pex.cli import hops
from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Request, compile_request, planning, print_json, progress
from tvm_pex.report import tables

if TYPE_CHECKING:
    from tvm_pex.compiler import CompiledModel
    from tvm_pex.frontend.tflite_model import Model
    from tvm_pex.verification.tflite_agreement import Agreements
    from tvm_pex.verification.verify import Verification


@click.command()
@planning
@click.option("--inputs", type=click.IntRange(min=1), default=20, show_default=True, help="Number of inputs to run.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random inputs.")
@click.option("--sanitize", is_flag=True, help="Compile with -fsanitize=address,undefined.")
def verify(request: Request, inputs: int, seed: int, sanitize: bool) -> None:
    """Run the compiled C on this machine and compare every output byte with stock TVM, or with TFLite.

    The C runs in an arena (or pools) of exactly the planned size between guard bytes, filled with noise before each
    run. Inputs are random, and all-minimum, all-maximum and all-zero-point. Exit status 0 only if all outputs are the
    same and no guard byte was written. Float outputs are the same within 1e-5 of their range, because float sums depend
    on their order; the report says so where it mattered. With --stream-input the input is handed in by rows, in random
    pushes, among runs broken off and calls that must be refused; and once as a whole.

    With --rounding tflite the outputs are compared with those of TFLite's reference kernels, up to the last operator
    that is ours: for that the network is compiled once more without what TVM computes behind it, as a softmax. The
    report has the share of equal elements, there and of the network's outputs, with this rounding and with TVM's. It
    needs TFLite Micro, or TensorFlow where that has no kernels.

    \b
    Examples:
      tvm-pex verify model.tflite
      tvm-pex verify model.tflite --inputs 100 --seed 7 --sanitize
      tvm-pex verify --pool sram=64k --pool psram=8m model.tflite
      tvm-pex verify --stream-input --sanitize model.tflite
      tvm-pex verify --rounding tflite model.tflite
      tvm-pex verify --json model.tflite | jq .exact
    """
    if request.hop is not None:
        with progress() as step:
            split = hops.compile_hops(request, step)
            step("running both networks", None, None)
            with _host_errors():
                windows = hops.verify_hops(split, request.options, inputs, seed, sanitize)
        hops.show_verification(request, split, windows)
        sys.exit(0 if windows.exact else 1)
    with progress() as step:
        model, compiled = compile_request(request, step)
        step("running both networks", None, None)
        result, agreements = _verified(request, model, compiled, inputs=inputs, seed=seed, sanitize=sanitize)
    if request.as_json:
        report = dataclasses.asdict(result)
        del report["guard_faults"]
        besides = {"tflite": dataclasses.asdict(agreements)} if agreements else {}
        print_json({"model": model.name, **report, **besides})
    else:
        tables.show_verification(model.name, result, agreements)
    sys.exit(0 if result.passed else 1)


def _verified(
    request: Request, model: Model, compiled: CompiledModel, **how: Any
) -> tuple[Verification, Agreements | None]:
    from tvm_pex.verification.tflite_agreement import verify_tflite
    from tvm_pex.verification.tflite_reference import NoReference
    from tvm_pex.verification.verify import verify as verify_stock

    with _host_errors():
        if request.options.rounding == "tvm":
            return verify_stock(model, compiled, **how), None
        try:
            return verify_tflite(model, compiled, request.options, **how)
        except NoReference as error:
            raise BadInput(f"{request.path}: {error}") from None


@contextmanager
def _host_errors() -> Iterator[None]:
    from tvm_pex.verification.host_run import HostError, NoCompilerError

    try:
        yield
    except NoCompilerError as error:
        raise BadInput(str(error)) from None
    except HostError as error:
        raise click.ClickException(str(error)) from None  # exit status 1: the C was run, and failed
