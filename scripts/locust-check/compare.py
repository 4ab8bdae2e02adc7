"""Compares the files of `aside bench --csv` with those that locust wrote for the same
server: the same first line, and in each column cells of the same form.

    compare.py OURS THEIRS [THEIRS...]     (prefixes of the files)
"""

import csv
import re
import sys

# What locust 2.47 writes in a column: the union of what its code can write there.
WHOLE = r"\d+"
FLOAT = r"\d+\.\d+(e[-+]\d+)?"
NUMBER = rf"({WHOLE}|{FLOAT})"
TEXT = r"[^\r\n]*"
FORMS = {
    "Request Count": WHOLE,
    "Failure Count": WHOLE,
    "Total Request Count": WHOLE,
    "Total Failure Count": WHOLE,
    "Occurrences": WHOLE,
    "Timestamp": r"\d{10}",
    "User Count": WHOLE,
    "Type": "(GET|POST|PUT|PATCH|DELETE|)",
    "Method": "(GET|POST|PUT|PATCH|DELETE)",
    "First Seen": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "Last Seen": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
}
FILES = ("_stats.csv", "_stats_history.csv", "_failures.csv", "_exceptions.csv")


def form(name, file):
    if name in FORMS:
        return FORMS[name]
    if name.endswith("%"):
        return f"({WHOLE}|N/A)"
    if name.endswith("/s"):
        return r"\d+\.\d{6}" if "history" in file else FLOAT
    if name.endswith("Average Response Time"):
        return FLOAT
    if name.endswith(("Time", "Size")):
        return NUMBER
    return TEXT


def check(prefix, file, heads):
    path = prefix + file
    data = open(path, newline="").read()
    faults = []
    if data.replace("\r\n", "").count("\r") or not data.endswith("\r\n"):
        faults.append(f"{path}: a line does not end with CR LF")
    rows = list(csv.reader(data.splitlines(keepends=True)))
    for row in rows[1:]:
        if len(row) != len(rows[0]):
            faults.append(f"{path}: {len(row)} cells in {row}")
        for name, cell in zip(rows[0], row):
            if not re.fullmatch(form(name, file), cell):
                faults.append(f"{path}: {name} is {cell!r}, want {form(name, file)}")
    if file != "_exceptions.csv" and len(rows) < 2:
        faults.append(f"{path} has no rows")
    heads.setdefault(file, {})[path] = data.split("\r\n")[0]
    return faults


def main(prefixes):
    heads, faults = {}, []
    for prefix in prefixes:
        for file in FILES:
            faults += check(prefix, file, heads)
    for file, of in heads.items():
        if len(set(of.values())) != 1:
            faults.append(f"the first lines differ: {of}")
    for fault in faults[:20]:
        print("locust-check:", fault, file=sys.stderr)
    return 1 if faults else 0


sys.exit(main(sys.argv[1:]))
