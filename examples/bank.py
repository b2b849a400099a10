"""A server with a name, its clients, and a supervisor that restarts it: `Mailbox`, `call`, `supervise`.

    cmpirun python bank.py

The clients know the bank only by its name. The first process with that name dies in the middle; its
supervisor starts the next one, which continues with the accounts that a separate process keeps.
"""

import os

import cmpi
from cmpi import Call, Child, Mailbox, Pid, Sender


def vault(parent: Pid) -> None:
    """Keeps the balances while banks end and are restarted."""
    balances: dict[str, int] = {}
    for call in Mailbox[Call]("vault"):
        owner, amount = call.request
        balances[owner] = balances.get(owner, 0) + amount
        call.reply(balances[owner])


def bank(parent: Pid) -> None:
    for call in Mailbox[Call]("bank"):
        owner, amount = call.request
        if owner == "robber":
            os._exit(1)
        balance = cmpi.call("vault", (owner, 0))
        if balance + amount < 0:
            call.fail(ValueError(f"{owner} has {balance} and cannot pay {-amount}"))
        else:
            call.reply(cmpi.call("vault", (owner, amount)))


def staff(parent: Pid) -> None:
    children = [Child(vault, name="vault"), Child(bank, name="bank")]
    cmpi.supervise(children, max_restarts=3, within=10, backoff=(0, 0))


def customer(parent: Pid, name: str) -> None:
    for amount in (100, -30):
        cmpi.call("bank", (name, amount))
    Sender[str].to("report").send(f"{name} has {cmpi.call('bank', (name, 0))}")


if __name__ == "__main__":
    cmpi.init()
    report = Mailbox[str]("report")
    supervisor = cmpi.spawn(staff)
    try:
        cmpi.call("bank", ("robber", 0), timeout=20)
    except cmpi.PeerExited as error:
        print(f"the bank was robbed: {error.status}")
    for name in ("ada", "grace"):
        cmpi.spawn(customer, name)
    print(sorted(report.recv(timeout=20) for _ in range(2)))
    try:
        cmpi.call("bank", ("ada", -1000))
    except ValueError as error:
        print(error)
    cmpi.kill(supervisor)
    cmpi.wait(supervisor)
