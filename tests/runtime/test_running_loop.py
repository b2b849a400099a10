import asyncio
import sys
import types

from cmpi._runtime.process.running_loop import running_loop


def test_the_running_loop_is_that_of_the_calling_thread():
    async def loops():
        return running_loop() is asyncio.get_running_loop()

    assert running_loop() is None and asyncio.run(loops())


def test_there_is_no_running_loop_while_another_thread_imports_asyncio(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncio.events", types.ModuleType("asyncio.events"))
    assert running_loop() is None
