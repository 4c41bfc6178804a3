"""Every fault that a drill can cause, by the alert that has to see it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.drill.fault import Fault
from app.drill.faults_records import RECORD_FAULTS
from app.drill.faults_service import SERVICE_FAULTS
from app.drill.faults_stores import STORE_FAULTS

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {fault.alert: fault for fault in (*SERVICE_FAULTS, *STORE_FAULTS, *RECORD_FAULTS)}
)
