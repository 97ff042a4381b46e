"""What leaves the compiler: the archive with C sources, headers and metadata, and firmware projects made from it."""

from tvm_pex.microtvm.generated_project import Project, generate_project

__all__ = ["Project", "generate_project"]
