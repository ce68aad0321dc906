"""Histories of the real thing: server, client and sockets under faults, and what must hold then."""
