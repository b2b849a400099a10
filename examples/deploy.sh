#!/bin/bash
# A job that stays, and programs that come and go in it.   Run:  bash deploy.sh
set -eu

cmpirun --serve --name "lab-$$" > /dev/null &
until cmpirun --jobs | grep -q "^lab-$$ "; do sleep 0.1; done

# One after another: each starts at once, for what starts slowly is there.
cmpirun --in "lab-$$" -n 4 python hello.py

# Side by side. Each has its own output and its own exit code; that one fails is nothing to the other.
cmpirun --in "lab-$$" -n 2 python hello.py &
hello=$!
cmpirun --in "lab-$$" sh -c "exit 7" || echo "exit code $?"
wait $hello

cmpirun --stop "lab-$$"
