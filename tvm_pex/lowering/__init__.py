"""Graph and schedule to TIR, and a whole module to C in one planned arena. Knows TIR and TVM's code generator."""
