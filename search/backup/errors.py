"""What a backup or its restoring is refused for.

AnyseekError
├── BackupCorrupt     the file is cut short, damaged, or no backup
├── BackupUnknown     it has a format or tables that this version does not know
└── TargetNotEmpty    there is something already where it would be restored
"""

from search.errors import AnyseekError, Conflict


class BackupCorrupt(AnyseekError):
    code = "backup-corrupt"


class BackupUnknown(AnyseekError):
    code = "backup-unknown"


class TargetNotEmpty(Conflict):
    code = "target-not-empty"
