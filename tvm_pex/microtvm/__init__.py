"""What leaves the compiler: the archive with C sources, headers and metadata, and firmware of two kinds.

``tvm-pex run`` builds firmware to measure it: ``bare_metal`` has its C and its build, ``boards`` the machines,
``emulation`` runs it, ``elf`` and ``operator_profile`` read what it says; for that, ``executed_blocks`` watches the
emulator and ``inner_loops`` finds the loops. Inputs and outputs go through files.

``generate_project`` makes a folder whose firmware serves a model over a serial line: ``templates`` and ``firmware``
have its C, ``project_api`` the servers that build and run it, ``generated_project`` and ``serial_protocol`` the host's
side. The folder has to build without TVM and without tvm_pex, so it takes nothing from the first kind.
"""

from tvm_pex.microtvm.generated_project import Project, generate_project

__all__ = ["Project", "generate_project"]
