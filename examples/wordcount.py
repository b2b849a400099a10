"""The most frequent words of text files: a stream whose splits the workers of a pool read.

    cmpirun python wordcount.py [FILE...]

Without files it counts the words of the examples themselves.
"""

import glob
import os
import re
import sys

from cmpi import data

paths = sys.argv[1:] or sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "*.py")))
words = data.text(paths).flat_map(re.compile(r"[a-z]+").findall)
for word, n in words.group_by(into=data.count()).sort_n_by(5, key=lambda pair: (pair[1], pair[0])):
    print(f"{n:6} {word}")
