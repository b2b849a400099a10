"""Programs and environments that travel to other hosts."""

from tests.cluster.programs import PRELUDE, THREE, came_up

SHIPPED = (
    PRELUDE
    + """
import helper
def where(parent):
    import late  # not before it runs, on the host where it runs
    say_where(parent)
    Sender[tuple](parent).send((helper.VALUE, late.VALUE, os.getcwd(), open("data/file").read()))
mine = os.getcwd()
for host, pid in sorted(on_each_host(where).items()):
    value, late, cwd, text = Receiver[tuple](pid).recv(timeout=20)
    print(host, value, late, cwd == mine, text)
"""
)


def test_a_program_that_other_hosts_lack_is_sent_to_them_and_removed_at_the_end(on_hosts):
    files = {"job__py": SHIPPED, "helper__py": "VALUE = 7", "late__py": "VALUE = 8", "data/file": "text"}
    on_hosts.only_on_h1("/tmp/mine", **files)
    result = on_hosts.run(*THREE, "python", "job.py", cwd="/tmp/mine")
    expected = ["h1 7 8 True text", "h2 7 8 False text", "h3 7 8 False text"]
    assert result.out.splitlines() == expected and result.code == 0, result
    # The ranks as well, started from another folder, with an argument that is a file of the program.
    text = "import sys, os; print(os.path.basename(os.getcwd())[:5], open(sys.argv[1]).read())"
    on_hosts.only_on_h1("/tmp/mine", show__py=text)
    options = ("--host", "h1:1,h2:1", "--output", "plain", "-n", "2", "--ship", "/tmp/mine")
    result = on_hosts.run(*options, "python", "/tmp/mine/show.py", "mine/data/file", cwd="/tmp")
    assert sorted(result.out.splitlines()) == ["ship- text", "tmp text"], result


def test_a_program_that_some_hosts_lack_is_sent_from_the_host_where_all_ranks_are_elsewhere(on_hosts):
    on_hosts.only_on_h1("/tmp/mine", job__py="import os; print(os.uname().nodename)")
    result = on_hosts.run(
        "--host", "h2:2", "--output", "plain", "-n", "2", "python", "job.py", cwd="/tmp/mine"
    )
    assert result.out.split() == ["h2", "h2"] and result.code == 0, result


RETURNS = (
    PRELUDE
    + """
def where(parent):
    import helper
    Sender[tuple](parent).send((os.uname().nodename, helper.VALUE, os.path.basename(os.getcwd())[:5]))
def ask():
    pid = cmpi.spawn(where, resources=Resources(cpus=1, host="h3"))
    print(*Receiver[tuple](pid).recv(timeout=20), cmpi.wait(pid, timeout=10), flush=True)
def until(ready):
    while not ready(): time.sleep(0.1)
all_cpus = cmpi.capacity().total.cpus
if "added" not in sys.argv:
    ask()
    until(lambda: cmpi.capacity().total.cpus < all_cpus)
    print("lost", flush=True)
    until(lambda: cmpi.capacity().total.cpus == all_cpus)
else:
    print("up", flush=True)
    until(lambda: cmpi.capacity().total.cpus > all_cpus)
ask()
"""
)


def test_a_host_that_comes_back_or_is_added_gets_the_program_if_it_lacks_it(on_hosts):
    on_hosts.only_on_h1("/tmp/mine", job__py=RETURNS, helper__py="VALUE = 7")
    job = on_hosts.start(*THREE, "python", "job.py", cwd="/tmp/mine")
    assert job.stdout.readline() == b"h3 7 ship- 0\n"
    on_hosts.hosts.power_off("h3")
    assert job.stdout.readline() == b"lost\n"
    on_hosts.hosts.restore("h3")
    out, err = (text.decode() for text in job.communicate(timeout=60))
    assert (out, job.returncode) == ("h3 7 ship- 0\n", 0), out + err
    two = ("--host", "h1:2,h2:2", "--output", "plain")
    job = on_hosts.start(*two, "python", "job.py", "added", cwd="/tmp/mine")
    came_up(job)
    assert on_hosts.run("--add-host", "h3:2").code == 0
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert (out, job.returncode) == ("h3 7 ship- 0\n", 0), out + err


ENVIRONMENT = """
def look(parent):
    say_where(parent)
    Sender[tuple](parent).send((os.environ["MINE"], os.environ["LOGNAME"], "SSH_CONNECTION" in os.environ))
for host, pid in on_each_host(look).items():
    print(host, *Receiver[tuple](pid).recv(timeout=20))
"""


def test_the_environment_is_sent_except_for_variables_that_belong_to_a_host(on_hosts, jobs):
    mine = {"MINE": "a b", "LOGNAME": "somebody"}
    result = on_hosts.job(PRELUDE + ENVIRONMENT, options=THREE, env=mine)
    expected = ["h1 a b somebody False", "h2 a b root True", "h3 a b root True"]
    assert result.out.splitlines() == expected, result
    script = jobs.script("import os; print(os.uname().nodename, os.environ['MINE'], os.environ['LOGNAME'])")
    result = on_hosts.run("--host", "h2:1", "--output", "plain", "python", script, env=mine)
    assert result.out == "h2 a b root\n", result
