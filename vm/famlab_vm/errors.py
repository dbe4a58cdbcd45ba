# SPDX-License-Identifier: Apache-2.0
"""Every way a lab can fail, as a type, with the exit code of the famlab command for it."""

from __future__ import annotations


class FamlabError(Exception):
    """Base of all errors that famlab reports without a traceback."""

    exit_code = 1


class UsageError(FamlabError):
    """The caller asked for something that cannot be: wrong name, wrong option, wrong file."""

    exit_code = 2


class TopologyError(UsageError):
    """A topology or workload file does not say something valid."""


class BootError(FamlabError):
    """A guest did not reach the state in which it can be used.

    `host` names the guest; `evidence` holds the lines (console, QEMU's stderr) that show why.
    """

    exit_code = 13

    def __init__(self, host: str, summary: str, evidence: str = "") -> None:
        self.host = host
        self.summary = summary
        self.evidence = evidence
        tail = f"\n{evidence.rstrip()}" if evidence.strip() else ""
        super().__init__(f"{host}: {summary}{tail}")


class BootPanic(BootError):
    """The guest kernel panicked before the guest was ready."""

    exit_code = 10


class NoRegion(BootError):
    """The guest runs, but it could not make its shared memory usable (CXL region, dax device)."""

    exit_code = 11


class AgentSilent(BootError):
    """The guest's init ran, but the guest agent never answered."""

    exit_code = 12


class QemuDied(BootError):
    """The QEMU process ended, or never started."""


class BootTimeout(BootError):
    """The guest's init printed nothing conclusive in the time allowed."""


class WorkloadFailed(FamlabError):
    """A command of the workload failed in a guest."""

    exit_code = 14


class PrerequisiteMissing(FamlabError):
    """The machine lacks something that a lab needs; the message says what to do."""

    exit_code = 15


class LabStateError(FamlabError):
    """The lab or host is not in a state that allows this: not up, already up, not running."""

    exit_code = 16


class AgentError(FamlabError):
    """The guest agent refused a request or could not be reached: the command did not run."""

    exit_code = 125


class CommandTimeout(FamlabError):
    """A command in a guest took longer than allowed; it was killed there."""

    exit_code = 124


class OutputLimit(FamlabError):
    """A command in a guest wrote more than allowed; it was killed there."""

    exit_code = 124


class CommandFailed(FamlabError):
    """A command in a guest ended with a status other than 0 and the caller asked for a check."""

    def __init__(self, message: str, returncode: int, stdout: bytes, stderr: bytes) -> None:
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        super().__init__(message)
