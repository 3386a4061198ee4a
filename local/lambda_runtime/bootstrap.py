"""What Lambda's python3.13 runtime starts: sets the import paths as Lambda does, then runs the runtime client.

Like the runtime's /var/runtime/bootstrap.py, it imports the client before it sets the paths: what the client imports
(simplejson) comes from the runtime, and stays that even if a layer brings another version.
"""

from __future__ import annotations

import os
import site
import sys

from awslambdaric.__main__ import main as serve

LANGUAGE = f"python{sys.version_info.major}.{sys.version_info.minor}"
LAYERS = [f"/opt/python/lib/{LANGUAGE}/site-packages", "/opt/python"]


def main() -> None:
    task = os.environ["LAMBDA_TASK_ROOT"]
    sys.path[:0] = [task, *LAYERS, f"/var/lang/lib/{LANGUAGE}/site-packages"]
    for folder in (task, *LAYERS):
        site.addsitedir(folder)
    os.environ["PYTHONPATH"] = os.environ["LAMBDA_RUNTIME_DIR"]
    serve([task, os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
