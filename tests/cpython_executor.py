"""CPython's own tests of executors, run against `ProcessPool`.

    cmpirun python tests/cpython_executor.py [UNITTEST ARGUMENTS]

The tests are those of the Python that runs this file (`test.test_concurrent_futures`; on Debian in the
package libpython3.N-testsuite). Exit code 0: all passed except those in SKIPPED, each with its reason; 77:
this Python has no tests.
"""

import pathlib
import sys
import time
import unittest

try:
    if sys.version_info >= (3, 12):
        from test.test_concurrent_futures import executor as executors
        from test.test_concurrent_futures import (
            test_as_completed,
            test_deadlock,
            test_process_pool,
            test_shutdown,
            test_wait,
        )
        from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin

        sources = (executors, test_as_completed, test_deadlock, test_process_pool, test_shutdown, test_wait)
    else:
        from test import test_concurrent_futures
        from test.test_concurrent_futures import BaseTestCase, ExecutorMixin

        sources = (test_concurrent_futures,)
except ImportError:
    print("this Python comes without its tests", file=sys.stderr)
    sys.exit(77)

import cmpi

INTERNALS = "looks into ProcessPoolExecutor's own attributes"
CONTEXTS = "is about fork, spawn and forkserver"
UNPICKLING = "expects a broken pool; here the future raises what unpickling raised"
SKIPPED = {
    "test_hang_gh83386": "starts a plain Python, which is in no job",
    "test_traceback": "compares a private class; tests/mpi/test_pool.py has its own",
    "test_interpreter_shutdown": "starts a plain Python, which is in no job",
    "test_submit_after_interpreter_shutdown": "starts a plain Python, which is in no job",
    "test_processes_terminate": INTERNALS,
    "test_context_manager_shutdown": INTERNALS,
    "test_del_shutdown": INTERNALS,
    "test_shutdown_no_wait": INTERNALS,
    "test_killed_child": "a killed worker breaks a ProcessPoolExecutor; here it costs its own task only",
    "test_map_chunksize": "asks for the error text of chunksize=0 before the pool reads its input",
    "test_ressources_gced_in_workers": INTERNALS,
    "test_saturation": INTERNALS,
    "test_idle_process_reuse_one": INTERNALS,
    "test_idle_process_reuse_multiple": INTERNALS,
    "test_max_tasks_per_child": INTERNALS,
    "test_max_tasks_per_child_defaults_to_spawn_context": CONTEXTS,
    "test_max_tasks_early_shutdown": CONTEXTS,
    "test_max_workers_too_large": "is about Windows",
    "test_shutdown_deadlock": INTERNALS,
    "test_shutdown_deadlock_pickle": INTERNALS,
    "test_crash_big_data": INTERNALS,
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": INTERNALS,
    "test_error_at_task_unpickle": UNPICKLING,
    "test_exit_at_task_unpickle": "expects a broken pool; here the task alone fails, with WorkerDied",
    "test_crash_at_task_unpickle": "as test_exit_at_task_unpickle",
    "test_error_during_result_unpickle_in_result_handler": UNPICKLING,
    "test_exit_during_result_unpickle_in_result_handler": UNPICKLING,
    "test_force_shutdown_workers": INTERNALS,
}


class Executor(cmpi.ProcessPool):
    """Accepts an argument that has no meaning here."""

    def __init__(self, max_workers=None, *, mp_context=None, **options):
        super().__init__(max_workers, **options)


class ProcessPoolMixin(ExecutorMixin):
    """Does what CPython's mixins do for the executors of the standard library."""

    executor_type = Executor
    ctx = "cmpi"

    def setUp(self):
        super(ExecutorMixin, self).setUp()
        self.t1 = time.monotonic()
        self.executor = self.executor_type(max_workers=self.worker_count, **self.executor_kwargs)
        self.executor.submit(int).result()  # some tests expect a worker at once, as with fork

    def get_context(self):
        return None


def found(name):
    return next(getattr(source, name) for source in sources if hasattr(source, name))


def cases():
    for name in ("ExecutorTest", "WaitTests", "AsCompletedTests", "ExecutorShutdownTest"):
        yield type(f"ProcessPool{name}", (ProcessPoolMixin, found(name), BaseTestCase), {})
    for name in ("ProcessPoolExecutorTest", "ExecutorDeadlockTest"):
        base = found(name)
        yield type(f"ProcessPool{name}", (ProcessPoolMixin, base, BaseTestCase), {})


def load_tests(loader, tests, pattern):
    suite = unittest.TestSuite()
    for case in cases():
        for test in loader.loadTestsFromTestCase(case):
            reason = SKIPPED.get(test._testMethodName)
            if reason is not None:
                setattr(test, test._testMethodName, unittest.skip(reason)(lambda: None))
            suite.addTest(test)
    return suite


if __name__ == "__main__":
    cmpi.init()
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    unittest.main(verbosity=2)
