"""Co-design: a Keras network is pruned where its own schedule has its memory peak, until it fits a budget.

Imports go down only::

    pruning              the loop: choose, remove, fine-tune, log
    choice, importance   which channels go
    planner              a process of TVM's that plans int8 programs; TensorFlow's own process never loads TVM
    removal              a Keras model with fewer channels
    network              architecture -> graph of the int8 program        (pure)
    wiring               which channels are one                           (pure)
    architecture         a Keras functional model as plain data           (pure, but for the function that reads one)
"""
