"""The audit log: who did or asked for what on this box, append-only and chained by hashes."""

from agent.audit.log import AuditLog, Entry, Verdict, folder_beside, verify
from agent.audit.reporter import AuditReporter

__all__ = ["AuditLog", "AuditReporter", "Entry", "Verdict", "folder_beside", "verify"]
