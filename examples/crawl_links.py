"""Links between hosts in web archives: which host links to which other one, and on how many pages.

    cmpirun python crawl_links.py [FILE.warc.gz...]

Without files it makes a small archive for itself, always the same one.
"""

import gzip
import os
import random
import re
import sys
import tempfile
from urllib.parse import urljoin, urlsplit

from cmpi import data

HREF = re.compile(rb"""<a\s[^>]*?href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


def links_between_hosts(page):
    """The pairs of this page's host and each other host that it links to."""
    here = urlsplit(page.url).hostname
    found = {
        urlsplit(urljoin(page.url, link.decode("utf-8", "replace"))).hostname
        for link in HREF.findall(page.body)
    }
    return [(here, there) for there in sorted(found - {here, None})]


def make_archive(path, pages=300, hosts=12):
    """Write an archive of pages with random links; a host is the more popular the lower its number."""
    rng = random.Random(7)
    with open(path, "wb") as archive:
        for number in range(pages):
            links = [int(hosts * rng.random() ** 3) for _ in range(3)]
            html = (
                "".join(f'<a href="http://host{n}.example/{number}">{n}</a>' for n in links)
                + '<a href="/">up</a>'
            )
            answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>{html}</html>".encode()
            head = (
                "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n"
                f"WARC-Target-URI: http://host{number % hosts}.example/{number}\r\n"
                f"Content-Type: application/http\r\nContent-Length: {len(answer)}\r\n\r\n"
            )
            archive.write(gzip.compress(head.encode() + answer + b"\r\n\r\n"))


def show(paths):
    """Print the number of pages, and the pairs of hosts with most links."""
    pages = data.warc(paths, types=["response"]).filter(lambda page: page.status == 200)
    count, top = pages.fork(data.count(), data.flat_map(links_between_hosts) | data.most_frequent(5))
    print(f"{count} pages")
    for (here, there), n in top:
        print(f"{n:6} {here} -> {there}")


if sys.argv[1:]:
    show(sys.argv[1:])
else:
    with tempfile.TemporaryDirectory() as folder:
        make_archive(os.path.join(folder, "made.warc.gz"))
        show(os.path.join(folder, "made.warc.gz"))
