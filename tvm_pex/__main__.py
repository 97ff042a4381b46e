"""``python -m tvm_pex`` is the command ``tvm-pex``."""

from tvm_pex.cli import main

if __name__ == "__main__":
    main(prog_name="tvm-pex")
