"""The messages between master and workers, over Locust's own connection.

| message | from | says |
|---|---|---|
| ``prepared`` | worker | the fingerprint of its workload, or why it has none |
| ``ping``, ``pong`` | both | what the worker's clocks showed, to place the master's zero on them |
| ``go`` | master | run, part, and zero on the worker's own clock |
| ``report`` | worker | cumulative numbers and blocks with a sequence number, and the rows since |
| ``halt`` | master | another worker has found a reason to end the run: send no more, and report |
| ``stop`` | master | end now, and report |
"""

from __future__ import annotations

PREFIX = "edgekpi."
PREPARED, PING, PONG = PREFIX + "prepared", PREFIX + "ping", PREFIX + "pong"
GO, REPORT, STOP = PREFIX + "go", PREFIX + "report", PREFIX + "stop"
HALT = PREFIX + "halt"
