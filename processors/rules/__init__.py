"""Pure rules: what a window, a session and a point are. No I/O, no clock."""

from processors.rules.options import RuleOptions
from processors.rules.outbox import Drained
from processors.rules.partition import Outcome, PartitionRules
from processors.rules.tables import TABLE_SPECS, Table, Tables, TableSpec

__all__ = ["TABLE_SPECS", "Drained", "Outcome", "PartitionRules", "RuleOptions", "Table", "TableSpec", "Tables"]
