"""A region whose input comes row by row: one call of its function for each row.

The call for row r runs the first segment's moments from the one at which the row is due to the one before the next row
is: that of row 0 from the very first, that of the last row to the end. The function then returns 1, which says that
more rows are wanted and makes TVM's main function return at once. With the last row in, it runs on. Nothing else is
different: what the segment keeps lies in the arena from call to call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tir

from tvm_pex.graph import Graph
from tvm_pex.scheduling.schedule import Segment, Stage
from tvm_pex.scheduling.steps import arrival_stage

MORE_ROWS = 1


@dataclass(frozen=True)
class Rows:
    """``stage`` takes the rows; ``number`` is a buffer with the number of the row that this call brings."""

    stage: Stage
    number: Any

    def moments(self, ib: Any, extent: int) -> tuple[Any, Any]:
        """(the first, how many) of a segment's ``extent`` moments along rows to run in this call."""
        number = ib.let("arrived", self.number[0])
        stride, delay, last = self.stage.stride[0], self.stage.delay[0], self.stage.domain[0] - 1
        first, count = number * stride + delay, tir.const(stride)
        if delay:  # other inputs are worked on before the first row comes
            first = tir.Select(number == 0, tir.const(0), first)
            count = tir.Select(number == 0, count + delay, count)
        return first, tir.Select(number == last, extent - first, count)


def rows_of(graph: Graph, segment: Segment, number: Any) -> Rows:
    """The rows of the streamed input of ``graph``, whose first segment is ``segment``."""
    stage = arrival_stage(graph, segment)
    assert "rows" in segment.axes and not segment.repeats
    return Rows(stage, tir.ir_builder.create().buffer_ptr(number))


def return_unless_last(rows: Rows) -> Any:
    """Ends the call of every row but the last."""
    more = tir.Evaluate(tir.ret(tir.const(MORE_ROWS, "int32")))
    return tir.IfThenElse(rows.number[0] < rows.stage.domain[0] - 1, more, None)
