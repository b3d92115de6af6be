"""About the installed library: info, the self-check, and where C programs find it."""

import json
import os.path

from . import _hunze
from ._table import Table


def info():
    """Versions, the CPU, the instruction sets found and allowed, threads and kernels: a dict that prints as a table.

    >>> import hunze as hz
    >>> hz.info()["version"] == hz.__version__
    True
    """
    import platform

    import numpy as np

    return Table(
        {
            **json.loads(_hunze._info()),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "library": os.path.join(get_library_dir(), "libhunze.so.1"),
        }
    )


def get_include():
    """The folder of hunze.h, for C programs.

    >>> import hunze as hz, pathlib
    >>> pathlib.Path(hz.get_include()).name
    'include'
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")


def get_library_dir():
    """The folder of libhunze.so.1, the library that this package uses.

    >>> import hunze as hz, pathlib
    >>> pathlib.Path(hz.get_library_dir()).name
    'lib'
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")


def test(verbose=True):
    """Checks this installation against NumPy on every instruction set of this CPU; True if all is right.

    >>> import hunze as hz
    >>> hz.test(verbose=False)
    True
    """
    from ._selfcheck import run

    return run(verbose)
