"""What the scripts share that run bench_training and its PyTorch peer side by side."""
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEER = ROOT / "bench" / "peers" / "pytorch_training.py"
# What makes it fastest: malloc that neither trims nor maps, OpenMP threads that sleep.
PEER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_WAIT_POLICY": "passive",
}


def stop(message):
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(2)


def find_python(wanted):
    for python in [wanted] if wanted else ["python3", "/usr/bin/python3"]:
        try:
            if subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            continue
    stop(f"{wanted or 'python3'} has no PyTorch (Debian: apt-get install python3-torch), see --python")


def run(command, extra_environment=None):
    """The JSON line that the command prints last."""
    done = subprocess.run([str(word) for word in command], env={**os.environ, **(extra_environment or {})},
                          stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        stop(f"exit code {done.returncode} and {len(lines)} JSON lines from: "
             + " ".join(str(word) for word in command))
    return json.loads(lines[-1])
