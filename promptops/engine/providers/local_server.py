"""The embedded model's process: a script that `local.py` starts, not a module to import.

Loading the model holds Python's global lock for about half a second, which would block every page and socket of the
parent. So the model has its own process. The first line on standard input is its configuration. It answers with one
line on standard output: the address to call. The process ends when its standard input closes; the operating system
closes it even if the parent is killed.
"""

import json
import os
import sys


def main() -> None:
    """Serve the model until standard input closes."""
    config = json.loads(sys.stdin.readline())
    answer = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # the library prints to both, and its lines do not belong in the parent's terminal
    os.dup2(silent, 2)

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model_path"]
    params.model_alias = {config["model_name"]}  # the name in answers; by default it is the path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["api_key"]]
    params.n_ctx = config["context_tokens"]
    params.n_parallel = config["parallel"]
    params.cpuparams.n_threads = config["threads"]
    params.cpuparams_batch.n_threads = config["threads"]
    params.n_predict = 1024
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = -1
    server = xllamacpp.Server(params)

    print(server.listening_address, file=answer, flush=True)
    sys.stdin.read()
    os._exit(0)  # nothing to save: skip the library's teardown, which waits for unread answers


if __name__ == "__main__":
    main()
