"""Telling subscribers what happens: events of records from the log, topics of applications, notices of the node."""
