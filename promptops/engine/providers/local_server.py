"""The embedded model's process: a script that `local.py` starts, not a module to import.

Loading the model holds Python's global lock for about half a second, which would freeze every page and socket of the
parent, so the model lives in a process of its own. The first line on standard input says what to load; the address
to call is the answer, one line on standard output. The process ends when its standard input closes, which the
operating system sees to even when the parent is killed.
"""

import json
import os
import sys


def main() -> None:
    """Serve the model until standard input closes."""
    config = json.loads(sys.stdin.readline())
    answer = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # the library prints to both; nothing of that belongs in the parent's terminal
    os.dup2(silent, 2)

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model_path"]
    params.model_alias = {config["model_name"]}  # the name that answers give; it would be the path
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
    os._exit(0)  # nothing to save: skip the library's teardown, which waits for answers nobody will read


if __name__ == "__main__":
    main()
