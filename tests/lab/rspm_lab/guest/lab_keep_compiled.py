"""Have Python keep what it compiles of modules that come in a zip file, until the next start of the machine.

Ansible sends every task's module in a new one, and compiling what is in it takes a fifth of what a task takes on these
machines. What is kept goes by the source, so that it can't be that of another one.
"""

import marshal
import os
import zipimport

_KEPT = "/run/lab-keep-compiled"
_compile = zipimport._compile_source  # type: ignore[attr-defined]


def _compile_source(path: str, source: bytes) -> object:
    import hashlib  # every Python starts with this file, and few need this

    kept = f"{_KEPT}/{hashlib.md5(source, usedforsecurity=False).hexdigest()}"
    try:
        with open(kept, "rb") as file:
            return marshal.loads(file.read())
    except (OSError, EOFError, ValueError):
        pass  # not there yet, or a power cut left half of it
    code = _compile(path, source)
    try:
        os.makedirs(_KEPT, mode=0o700, exist_ok=True)
        part = f"{kept}.{os.getpid()}"
        with open(part, "wb") as file:
            file.write(marshal.dumps(code))
        os.rename(part, kept)
    except OSError:
        pass  # another account's process: it compiles anew
    return code


zipimport._compile_source = _compile_source  # type: ignore[attr-defined]
