# SPDX-License-Identifier: Apache-2.0
"""The description of one guest and the libvirt XML that it becomes. Pure: touches no machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from famlab_vm import account
from famlab_vm.coherence import CacheFiles, Memory
from famlab_vm.fabric import fabric_arguments
from famlab_vm.qemu_option import escape
from famlab_vm.topology import Topology

# What the kernel is told besides famlab's own words. nokaslr: addresses match vmlinux in gdb.
# panic=-1: a panic before pvpanic is loaded still ends the guest. unknown_nmi_panic: an injected
# NMI panics the guest, however stuck it is. The rest saves boot time under emulation; loglevel=6:
# what is for information goes to dmesg alone, until init sets the kernel's own default.
_KERNEL_ARGUMENTS = (
    "root=/dev/vda rootfstype=erofs ro init=/usr/lib/famlab/init console=ttyS0 loglevel=6 panic=-1 "
    "unknown_nmi_panic nokaslr mitigations=off cryptomgr.notests tsc=reliable no_timer_check"
)
# The timer of an emulated CPU has no known frequency, and to measure it takes 0.1 s. A single CPU
# can do with the machine's timer.
_ONE_EMULATED_CPU = "nolapic_timer"

# Intel's family: the kernel routes an injected machine check to memory failure handling only
# there; with QEMU's default vendor the same injection panics the guest. Page tables have four
# levels: with five, KASAN has false reports of an interrupt while the CPU's features are read.
_CPU = "vendor=GenuineIntel,family=6,model=106,la57=off"
# A CPU that announces fast string instructions makes the kernel and libc copy and clear memory with
# them, byte by byte; emulated, they are slower than words.
_NO_FAST_STRINGS = "erms=off,fsrm=off,fzrm=off,fsrs=off,fsrc=off"


def cpu_option(kvm: bool) -> str:
    """Return the CPU that QEMU gives to guests."""
    return f"host,{_CPU}" if kvm else f"max,{_CPU},{_NO_FAST_STRINGS}"


@dataclass(frozen=True)
class GuestFiles:
    """Paths on the host that belong to one guest, all inside the host's own directory."""

    directory: Path

    @property
    def lab(self) -> str:
        """The name of the lab."""
        return self.directory.parent.name

    @property
    def console_log(self) -> Path:
        """What the guest wrote to its serial console, over all its boots."""
        return self.directory / "console.log"

    @property
    def shell_socket(self) -> Path:
        """Unix socket of the interactive shell (virtio console hvc0)."""
        return self.directory / "shell.sock"

    @property
    def agent_socket(self) -> Path:
        """Unix socket of the guest agent; libvirt is its only client."""
        return self.directory / "agent.sock"

    @property
    def gdb_socket(self) -> Path:
        """Unix socket of QEMU's gdb stub."""
        return self.directory / "gdb.sock"

    @property
    def start_socket(self) -> Path:
        """Unix socket of the port on which a starting guest is told that it is its turn."""
        return self.directory / "start.sock"

    @property
    def exchange(self) -> Path:
        """Directory that the guest can write to: commands' input, output and status."""
        return self.directory / "exchange"

    @property
    def description(self) -> Path:
        """The libvirt XML of the guest as it was started."""
        return self.directory / "domain.xml"


@dataclass(frozen=True)
class GuestDescription:
    """Everything that determines how one guest is started. Sizes in bytes.

    `clock_offset`: by how many seconds its clock is ahead of this machine's when it starts. `user`:
    whom QEMU becomes; empty if it starts as its user.
    """

    host: str
    domain_name: str
    uuid: str
    lab_uuid: str
    topology: Topology
    memory_files: Mapping[str, Path]
    dax: str
    kvm: bool
    kernel: Path
    image: Path
    share: Path
    emulator: Path
    files: GuestFiles
    extra_kernel_arguments: str = ""
    clock_offset: int = 0
    user: str = ""
    coherence: Memory = Memory()

    @property
    def cache_files(self) -> CacheFiles:
        """The files of the guest's caches, if memory is not coherent."""
        memory = next(iter(self.memory_files.values())).parent
        return CacheFiles(memory, self.files.directory, self.host)

    @property
    def memory(self) -> int:
        """Private RAM of the guest in bytes."""
        return self.topology.memory

    @property
    def cpus(self) -> int:
        """Number of virtual CPUs."""
        return self.topology.cpus

    @property
    def console_log(self) -> Path:
        """Where QEMU writes the serial console."""
        return self.files.console_log

    @property
    def shell_socket(self) -> Path:
        """Where QEMU listens for the interactive shell."""
        return self.files.shell_socket

    @property
    def agent_socket(self) -> Path:
        """Where QEMU listens for the agent's client."""
        return self.files.agent_socket

    @property
    def start_socket(self) -> Path:
        """Where QEMU listens for the word that it is the guest's turn."""
        return self.files.start_socket

    @property
    def exchange(self) -> Path:
        """The directory of this machine that the guest shares read-write."""
        return self.files.exchange

    @property
    def kernel_arguments(self) -> str:
        """The kernel command line."""
        words = [
            _KERNEL_ARGUMENTS,
            *([_ONE_EMULATED_CPU] if self.cpus == 1 and not self.kvm else []),
            f"famlab.host={self.host}",
            f"famlab.uuid={self.uuid}",
            f"famlab.lab={self.lab_uuid}",
            f"famlab.dax={self.dax}",
            f"famlab.fabric={self.topology.fabric}",
        ]
        if self.coherence.blame:
            words.append("norandmaps")  # programs are found by where they lie
        if self.clock_offset and self.kvm:
            # KVM's clock would give the guest this machine's time; without it the RTC's is taken.
            words.append("no-kvmclock")
        return " ".join([*words, self.extra_kernel_arguments]).strip()

    @property
    def _mapped_files(self) -> Mapping[str, Path]:
        if self.coherence.coherent:
            return self.memory_files
        return {name: self.cache_files.cache(name) for name in self.memory_files}

    @property
    def qemu_arguments(self) -> list[str]:
        """What libvirt has no words for."""
        return [
            "-cpu", cpu_option(self.kvm),
            "-machine", "i8042=off,sata=off,smbus=off",
            # A guest that resets while no famlab process watches must not run on unnoticed.
            "-action", "reboot=shutdown",
            "-gdb", f"unix:{escape(self.files.gdb_socket)},server=on,wait=off",
            *account.qemu_arguments(self.user),
            *fabric_arguments(self.topology, self._mapped_files),
            *([] if self.coherence.coherent else self.cache_files.qemu_arguments),
        ]


def domain_xml(guest: GuestDescription) -> str:
    """Return the libvirt XML of `guest`."""
    import jinja2  # takes 100 ms to import, and only starting a guest needs it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("domain.xml.j2").render(guest=guest)
