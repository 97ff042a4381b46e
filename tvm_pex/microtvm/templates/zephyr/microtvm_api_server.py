"""The Project API server of this folder, which is a template or a project that was generated from it."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE if (HERE / "project_api").is_dir() else HERE.parents[1]))

from project_api.server import main  # noqa: E402
from project_api.zephyr import ZephyrHandler  # noqa: E402

if __name__ == "__main__":
    main(ZephyrHandler(HERE))
