"""Gives a list of requests to locust's own CSV writer, with a clock that the list drives.

    replay.py REQUESTS.csv DIRECTORY

A line of REQUESTS.csv is: second, method, name, milliseconds, bytes. A line with an error
instead of milliseconds and bytes is a failure; it counts only in the file of failures. All
requests of a second are made in its middle.
"""

import csv
import sys
import types

import locust.stats as stats

START = 1795341600
USERS = 3


def main(requests, directory):
    seconds = {}
    for second, method, name, took, size in csv.reader(open(requests, newline="")):
        seconds.setdefault(int(second), []).append((method, name, took, size))

    now = float(START)
    stats.time = types.SimpleNamespace(time=lambda: now)
    all_stats = stats.RequestStats()
    runner = types.SimpleNamespace(user_count=USERS, exceptions={})
    environment = types.SimpleNamespace(stats=all_stats, runner=runner)

    def sleep(_):
        nonlocal now
        second = int(now) - START
        if second > max(seconds):
            raise KeyboardInterrupt
        now += 0.5
        for method, name, took, size in seconds.get(second, []):
            if size:
                all_stats.log_request(method, name, float(took), int(size))
                continue
            key = stats.StatsError.create_key(method, name, took)
            all_stats.errors.setdefault(key, stats.StatsError(method, name, took)).occurred()
        now += 0.5

    stats.gevent = types.SimpleNamespace(sleep=sleep)
    writer = stats.StatsCSVFileWriter(environment, stats.PERCENTILES_TO_REPORT, directory + "/replay")
    writer.stats_writer()
    writer.close_files()


main(*sys.argv[1:])
