"""Does a network give the bytes of TFLite's reference kernels, up to the last operator that Pex owns?

Behind that operator lies what TVM computes in its own way, mostly a softmax. So the file is cut there, compiled and run
like any other; besides, the outputs of the whole network are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm_pex._tvm import relay
from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.quantized_io import leave_quantisation
from tvm_pex.frontend.tflite_model import Model, parse_model
from tvm_pex.frontend.values import strip_views
from tvm_pex.options import PlanOptions
from tvm_pex.port_files import Array
from tvm_pex.relay_pass import read_module
from tvm_pex.rounding import ROUNDINGS, Rounding
from tvm_pex.verification.host_run.run import HostRun
from tvm_pex.verification.tflite_file import ending_before
from tvm_pex.verification.tflite_reference import NoReference, Reference, run_reference
from tvm_pex.verification.verify import (
    TOLERANCE,
    Verification,
    differs_as_float,
    largest_difference,
    run_compiled,
    same,
    sample_inputs,
)


@dataclass(frozen=True)
class Agreement:
    """Of elements with TFLite's: the share of those that are equal, and the largest difference, in their own units."""

    equal_share: float
    max_abs_diff: float


@dataclass(frozen=True)
class Agreements:
    """By rounding: of the tensors ``compared``, up to which all is Pex's, and of the network's ``outputs``.

    ``runtime``: whose kernels were the reference.
    """

    runtime: str
    compared: tuple[str, ...]
    owned: Mapping[Rounding, Agreement]
    outputs: Mapping[Rounding, Agreement]


@dataclass(frozen=True)
class _Comparison:
    """A program that was run beside TFLite: what TFLite gave, and what the program gave and wrote."""

    reference: Reference
    run: HostRun

    @property
    def pairs(self) -> list[tuple[Array, Array]]:
        values = self.run.outputs.values()
        return [(one.reshape(other.shape), other) for one, other in zip(self.reference.outputs, values, strict=True)]

    @property
    def agreement(self) -> Agreement:
        equal = sum(int((one == other).sum()) for one, other in self.pairs)
        largest = max(largest_difference(one, other) for one, other in self.pairs)
        return Agreement(equal / sum(one.size for one, _ in self.pairs), largest)


def tflite_agreements(
    model: Model, options: PlanOptions = PlanOptions(), inputs: int = 20, seed: int = 0
) -> Agreements:
    """How near the network comes to TFLite with either rounding, on ``inputs`` inputs. Raises NoReference, HostError.

    Of ``options`` only ``quantized_io`` and ``core`` count: no value depends on the schedule, so there is no search.
    """
    whole = _whole(model, options)
    owned = _owned(whole)
    plain = _unsliced(options)

    def compare(part: Model) -> dict[Rounding, _Comparison]:
        return {rounding: _compared(part, _rounding(plain, rounding), inputs, seed) for rounding in ROUNDINGS}

    of_whole = compare(whole)
    return _agreements(owned, of_whole, of_whole if owned is whole else compare(owned))


def verify_tflite(
    model: Model,
    compiled: CompiledModel,
    options: PlanOptions,
    *,
    inputs: int = 20,
    seed: int = 0,
    sanitize: bool = False,
) -> tuple[Verification, Agreements]:
    """Compare ``compiled``, which was made of ``model`` with ``options``, with TFLite; ``sanitize`` as for ``verify``.

    Exact is what is the same up to the last operator of Pex. Raises NoReference, and HostError as ``verify`` does.
    """
    whole = _whole(model, options)
    owned = _owned(whole)
    plain = _rounding(_unsliced(options), "tvm")
    of_whole = _compared(whole, options, inputs, seed, sanitize, compiled)
    of_owned = of_whole if owned is whole else _compared(owned, options, inputs, seed, sanitize)
    stock = _compared(whole, plain, inputs, seed)
    stock_owned = stock if owned is whole else _compared(owned, plain, inputs, seed)
    pairs = of_owned.pairs
    faults = (*of_whole.run.guard_faults, *(of_owned.run.guard_faults if owned is not whole else ()))
    result = Verification(
        exact=all(same(one, other) for one, other in pairs),
        inputs=inputs,
        arena_bytes=compiled.arena_bytes,
        pools=compiled.pools,
        guard_intact=not faults,
        max_abs_diff=of_owned.agreement.max_abs_diff,
        undefined_shift_channels=0,
        guard_faults=faults,
        tolerance=TOLERANCE if any(differs_as_float(one, other) for one, other in pairs) else None,
        pushes=of_whole.run.pushes,
    )
    return result, _agreements(owned, {"tvm": stock, "tflite": of_whole}, {"tvm": stock_owned, "tflite": of_owned})


def _unsliced(options: PlanOptions) -> PlanOptions:
    return PlanOptions(axes=(), quantized_io=options.quantized_io, core=options.core)


def _rounding(options: PlanOptions, rounding: Rounding) -> PlanOptions:
    return dataclasses.replace(options, rounding=rounding)


def _agreements(
    owned: Model, of_whole: Mapping[Rounding, _Comparison], of_owned: Mapping[Rounding, _Comparison]
) -> Agreements:
    return Agreements(
        of_owned["tflite"].reference.runtime,
        tuple(port.name for port in owned.outputs),
        {rounding: comparison.agreement for rounding, comparison in of_owned.items()},
        {rounding: comparison.agreement for rounding, comparison in of_whole.items()},
    )


def _compared(
    part: Model,
    options: PlanOptions,
    inputs: int,
    seed: int,
    sanitize: bool = False,
    compiled: CompiledModel | None = None,
) -> _Comparison:
    compiled = compiled or compile_model(part, options)
    samples = sample_inputs(compiled.model, inputs, seed)
    reference = run_reference(part.data, compiled.model.inputs, samples)
    return _Comparison(reference, run_compiled(compiled, samples, sanitize=sanitize))


def _whole(model: Model, options: PlanOptions) -> Model:
    """The model as its file has it, less the ends that ``quantized_io`` leaves to the caller."""
    if not model.data:
        raise NoReference(f"{model.name} was not read from a file")
    if not options.quantized_io:
        return model
    model = parse_model(model.name, model.data)
    left = leave_quantisation(model)
    changed = {
        index
        for index, (before, after) in enumerate(zip(model.outputs, left.outputs, strict=True))
        if before.dtype != after.dtype
    }
    return _cut(model, changed) if changed else model


def _cut(model: Model, positions: set[int]) -> Model:
    try:
        return parse_model(model.name, ending_before(model.data, positions))
    except ValueError as error:
        raise NoReference(f"TVM computes all of an output: {error}") from None


def _owned(part: Model) -> Model:
    """The beginning of the model, whose outputs are Pex's; the model itself if they all are. Raises NoReference."""
    while True:
        stock = _stock_outputs(part)
        if not stock:
            return part
        part = _cut(part, stock)


def _stock_outputs(part: Model) -> set[int]:
    """Which outputs are computed by TVM."""
    mod, reading, _ = read_module(part.mod, overwrite_input=False, rounding="tflite")
    made = {op.output for op in reading.graph.operators}
    names = {expr: name for name, expr in reading.expressions.items()}
    body = mod["main"].body
    results: Sequence[relay.Expr] = list(body.fields) if isinstance(body, relay.Tuple) else [body]
    if not made:
        reasons = [refusal.reason for refusal in reading.refused]
        raise NoReference(": ".join(["no operator of it is Pex's", *reasons[:1]]))
    return {index for index, result in enumerate(results) if names.get(strip_views(result)) not in made}
