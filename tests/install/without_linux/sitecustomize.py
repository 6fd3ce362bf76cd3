# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Takes from Python what Windows does not have: with this folder in PYTHONPATH, before anything else is imported.

``sys.platform`` stays as it is: by it Python and compiled libraries choose modules that are not built here.
"""

import os
import shutil
import signal
import sys
import tempfile  # noqa: F401 - with the names that it looks for while it is imported

for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None  # importing it raises ImportError

OF_OS = (
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fork", "forkpty", "getegid", "geteuid", "getgid"),
    *("getloadavg", "getpgid", "getuid", "killpg", "mkfifo", "sched_getaffinity", "sched_setaffinity", "setsid"),
    *("statvfs", "wait3", "wait4"),
)
OF_SIGNAL = (
    *("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "ITIMER_REAL"),
    *("alarm", "pthread_sigmask", "setitimer", "sigwait"),
)
for module, names in ((os, OF_OS), (signal, OF_SIGNAL)):
    for name in names:
        delattr(module, name)
os.supports_dir_fd.clear()
shutil._use_fd_functions = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Let Python find no /proc and /sys, and open no folder."""
    if event != "open" or not isinstance(arguments[0], str):
        return
    path, mode, _ = arguments
    if path.startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "there is no such file on this system", path)
    if mode is None and os.path.isdir(path):
        raise PermissionError(13, "this system opens no folders", path)


sys.addaudithook(_refuse)
