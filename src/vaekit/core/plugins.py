"""Plugins: Python files of the user that register parts.

A plugin is code that the user names on the command line, ``vae train --plugin my_parts.py``. Nothing else loads one: neither
a recipe nor a model folder can ask for it.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from vaekit.core.errors import ConfigError
from vaekit.core.files import user_path
from vaekit.core.signals import StopSignal


def load_plugin(path: Path) -> None:
    """Executes a Python file, once per process.

    Raises:
        ConfigError: If there is no such file, or it cannot be executed.
    """
    path = user_path(path).resolve()
    name = f"vaekit_plugin_{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path):
        return
    spec = spec_from_file_location(name, path) if path.is_file() and path.suffix == ".py" else None
    if spec is None or spec.loader is None:
        raise ConfigError(f"--plugin {path}: no such Python file; name a .py file that registers parts")
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it is executed, so that its classes can look up their own annotations
    try:
        spec.loader.exec_module(module)
    except (ConfigError, KeyboardInterrupt, StopSignal):
        del sys.modules[name]
        raise
    except BaseException as error:  # whatever the user's file raises, also to end the process, is the user's to mend
        del sys.modules[name]
        raise ConfigError(f"--plugin {path}: cannot be executed ({_describe(error)}); mend the file") from error


def _describe(error: BaseException) -> str:
    """The type of an error of the user, and its text where it has one."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # of a text that itself fails
        return type(error).__name__
