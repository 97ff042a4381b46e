"""Random Keras networks as int8 files beside the graphs that ``tvm_pex.codesign`` says their programs have.

``python keras_files.py FOLDER SEED..`` writes FOLDER/SEED.tflite and FOLDER/SEED.json. For a process without TVM.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from keras_networks import line_network, padded_network, random_network

from tvm_pex.codesign.architecture import architecture_of
from tvm_pex.codesign.conversion import to_tflite
from tvm_pex.codesign.network import int8_graph
from tvm_pex.graph import graph_to_json

folder, *seeds = sys.argv[1:]
for seed in seeds:
    special = {"line": line_network, "padded": padded_network}
    model = special[seed]() if seed in special else random_network(int(seed))
    samples = np.random.default_rng(0).normal(0, 1, (4, *model.input_shape[1:])).astype(np.float32)
    Path(folder, f"{seed}.tflite").write_bytes(to_tflite(model, samples))
    Path(folder, f"{seed}.json").write_text(graph_to_json(int8_graph(architecture_of(model))))
