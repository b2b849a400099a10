"""Which library a thread belongs to that Python does not know."""

import ctypes
import subprocess
import sys
import threading

import pytest

from cmpi._runtime.linux import foreign_threads

ASK = """
import os, threading
from cmpi._runtime.linux import foreign_threads
known = {os.getpid()}
"""


def answer(text):
    done = subprocess.run([sys.executable, "-c", ASK + text], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_threads_known_to_python_are_not_counted_as_foreign():
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    known = {each.native_id for each in threading.enumerate()}
    try:
        # Threads that the test session has loaded must make no difference.
        assert foreign_threads.may_call_back(known) == foreign_threads.may_call_back(known | {0})
        assert foreign_threads.may_call_back(known - {thread.native_id})
    finally:
        event.set()
        thread.join()


def test_threads_of_numpys_blas_never_call_python():
    text = """
import numpy as np, time
np.ones((400, 400)) @ np.ones((400, 400))
end = time.monotonic() + 90  # they spin for a while, which is long on a busy machine
while (doubt := foreign_threads.may_call_back(known)) and time.monotonic() < end: time.sleep(0.05)
print(len(os.listdir("/proc/self/task")) > 1, doubt)
"""
    with_threads, doubt = answer("os.environ['OPENBLAS_NUM_THREADS'] = '3'" + text)
    if with_threads == "False":
        pytest.skip("numpy's library has no threads here")
    assert doubt == "False"


def test_the_thread_of_a_c_timer_may_call_python():
    long = ctypes.sizeof(ctypes.c_long)
    assert long == 8, "struct sigevent is laid out by hand"
    text = """
import ctypes
call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
event, timer = (ctypes.c_long * 8)(0, 2 << 32, ctypes.cast(call, ctypes.c_void_p).value), ctypes.c_void_p()
print(foreign_threads.may_call_back(known), foreign_threads.timers())
assert ctypes.CDLL(None).timer_create(1, event, ctypes.byref(timer)) == 0
print(foreign_threads.may_call_back(known))
"""
    before, _, after = answer(text)
    assert (before, after) == ("False", "True")
