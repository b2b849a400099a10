"""--requeue-before: a job that saves its state ahead of its time limit, and goes on in the next one."""

SAVES = """
import os, signal, sys, time
import cmpi

def saves(number, frame):
    time.sleep(1)
    open(f"saved.{os.environ['RANK']}", "w").write("42")
    print("saved", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, saves)
if os.path.exists(f"saved.{os.environ['RANK']}"):
    print("goes on", cmpi.slurm.restarts(), flush=True)
    if os.environ["RANK"] == "1":
        open("said", "w").close()
        sys.exit(0)
    while not os.path.exists("said"): time.sleep(0.05)  # a failure ends the other rank
    sys.exit(3)
print("begins", cmpi.slurm.restarts(), flush=True)
time.sleep(100)
"""


def test_a_job_saves_its_state_ahead_of_its_limit_and_goes_on_in_the_next(slurm, jobs):
    # A minute is the shortest limit; Slurm looks at it every half minute, and sends the signal early.
    options = ("--slurm", "--output", "plain", "-n", "2", "--time", "1", "--requeue-before", "25")
    result = jobs.run("cmpirun", *options, "python", jobs.script(SAVES), timeout=120)
    assert result.out == "begins 0\n" * 2 + "saved\n" * 2 + "goes on 1\n" * 2, result
    assert result.code == 3 and "the time limit is near" in result.err, result


def test_a_job_that_ends_by_itself_is_not_queued_again(slurm, jobs):
    options = ("--slurm", "--output", "plain", "--requeue-before", "30")
    result = jobs.run("cmpirun", *options, "sh", "-c", "echo once; exit 4")
    assert (result.code, result.out) == (4, "once\n"), result
