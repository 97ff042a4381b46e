"""Which channels go next: the methods. Pure.

A *step* of a group is a share of its channels, those of least importance. A method takes steps until a *measure* of the
program is at its target:

1. ``pex``: the step that lowers the measure most for each unit of importance lost; for RAM that is the arena of the
   compiler's own schedule and plan, made anew for each candidate. Where several places hold the peak together, no step
   lowers it alone: then the one that lowers most of what lies above the target.
2. ``layers``: the same against memory layer by layer.
3. ``magnitude``: the step that loses least importance a channel, whatever it is good for.
4. ``width``: a step of every group.

A round ends early where it would take more than half of a group's channels: scores tell what one is worth beside all
others, not what is left when most of them are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tvm_pex.codesign.architecture import Architecture
from tvm_pex.codesign.network import Load, int8_graph
from tvm_pex.codesign.wiring import Wiring, without
from tvm_pex.graph import Graph

METHODS = "pex", "layers", "magnitude", "width"
_MOST = 0.5  # of a group, in a round: a DS-CNN that lost 94 % of one at once did not learn again

Measure = Callable[[Sequence[Graph]], Sequence[Load]]
Note = Callable[[int], None]


class Unreachable(Exception):
    """No channel is left whose removal would help."""


@dataclass(frozen=True)
class Step:
    """Channels of some groups to be removed, and the importance lost with them."""

    gone: frozenset[int]
    lost: float


@dataclass(frozen=True)
class Ground:
    """What steps are taken on: the network, which of its channels are one, what each is worth.

    A step takes ``share`` of a group, at least one channel, and leaves one.
    """

    architecture: Architecture
    wires: Wiring
    worth: Mapping[int, float]
    share: float

    def too_much(self, gone: frozenset[int]) -> bool:
        """Whether a group loses more than a round may take of it."""
        return any(len(gone.intersection(all_.tolist())) > _MOST * len(all_) for all_ in self.wires.groups.values())

    def graph(self, gone: frozenset[int]) -> Graph:
        return int8_graph(without(self.architecture, self.wires, gone))

    def steps(self, gone: frozenset[int]) -> list[Step]:
        """One for each group that has a channel to spare."""
        found = []
        for channels in self.wires.groups.values():
            left = sorted((c for c in channels.tolist() if c not in gone), key=lambda c: (self.worth[c], c))
            count = min(max(1, round(self.share * len(left))), len(left) - 1)
            if count:
                found.append(Step(frozenset(left[:count]), sum(self.worth[c] for c in left[:count])))
        return found


def choose(ground: Ground, method: str, measure: Measure, target: int, note: Note) -> frozenset[int]:
    """Channels without which the measure is at most ``target``, or as close to it as one round takes it.

    One step is always taken. ``note`` is called with each value of the measure. Raises Unreachable.
    """
    gone: frozenset[int] = frozenset()
    (load,) = measure([ground.graph(gone)])
    while load.peak > target:
        note(load.peak)
        steps = ground.steps(gone)
        if not steps:
            raise Unreachable(f"{load.peak} is the least, with one channel in each group; not {target}")
        if method == "width":
            more = gone.union(*(step.gone for step in steps))
        elif method == "magnitude":
            more = gone | min(steps, key=lambda step: (step.lost / len(step.gone), sorted(step.gone))).gone
        else:
            loads = measure([ground.graph(gone | step.gone) for step in steps])
            more = gone | steps[_best(steps, loads, load, target)].gone
        if gone and ground.too_much(more):
            break
        gone = more
        (load,) = measure([ground.graph(gone)])
    note(load.peak)
    return gone


def _best(steps: Sequence[Step], loads: Sequence[Load], now: Load, target: int) -> int:
    for saved in (
        [now.peak - max(load.peak, target) for load in loads],
        [now.above(target) - load.above(target) for load in loads],
    ):
        rates = [(gain / max(step.lost, 1e-12), -at) for at, (gain, step) in enumerate(zip(saved, steps)) if gain > 0]
        if rates:
            return -max(rates)[1]
    raise Unreachable(f"{now.peak}: no step of any group lowers it towards {target}")
