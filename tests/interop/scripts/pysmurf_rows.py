"""Has a PysmurfMonitor enter what is announced, without a router: `pysmurf_rows.py DATABASE < datagrams`, one a line.

Runs with the published packages alone; prints the rows as JSON.
"""

import json
import sqlite3
import sys
import threading
from unittest import mock

from socs.agents.pysmurf_monitor import agent

COLUMNS = "local_path, local_md5sum, archive_name, remote_path, deletable"
LONGEST = 60.0


def main(db_path: str) -> None:
    args = agent.make_parser().parse_args(["--db-path", db_path, "--udp-port", "8200"])
    monitor = agent.PysmurfMonitor(mock.MagicMock(), args)
    for line in sys.stdin.buffer:
        monitor.datagramReceived(line, ("127.0.0.1", 9))
    run = threading.Thread(target=monitor.run, args=(mock.MagicMock(), {"test_mode": True}), daemon=True)
    run.start()
    run.join(LONGEST)
    with sqlite3.connect(db_path) as link:
        json.dump(link.execute(f"SELECT {COLUMNS} FROM supersync_v0 ORDER BY id").fetchall(), sys.stdout)


main(sys.argv[1])
