"""Killed in every state: the real updater and real agents, in processes, on real folders and a real broker.

    python -m tests.update            the matrix, with its figures
    python -m tests.update --help     parts of it

A box is updated again and again. In each run the updater is killed at one of its durable steps: alone, and started
again as systemd does; or with the whole box, as by a power cut, after which everything that was not synced is undone.
Each run must end with a running agent, of a release that proved itself, its outbox drained at the broker.
"""
