# SPDX-License-Identifier: Apache-2.0
"""The command line of famlab: its words, its help, and which function does what."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from famlab_vm import commands
from famlab_vm.errors import FamlabError, PrerequisiteMissing
from famlab_vm.paths import DEFAULT_LAB, HOST_PACKAGES
from famlab_vm.replay import replay
from famlab_vm.terminal import show

_EPILOG = """\
examples:
  famlab up                            two hosts that share one CXL device, famfs mounted on both
  famlab exec host1 -- ls -l /mnt/famfs
  famlab shell host0                   a root shell; Ctrl-] leaves it
  famlab kill host0                    as if its power had failed; then: famlab restart host0
  famlab up --name two --topology interleave-2 --hosts 4
  famlab down                          remove the lab and its memory

environment:
  KERNEL, KERNEL_FLAVOR=default|debug|..., QEMU   what guests run on, instead of what make has built
  FAMLAB_RUN     directory of the labs' sockets and state (default: /run/famlab, or one of the user)
  FAMLAB_CACHE   directory of built and remembered things (default: ~/.cache/famlab)

exit codes:
  0 done   2 wrong use or file   10 guest kernel panicked   11 no usable shared memory
  12 guest agent silent   13 QEMU died or boot took too long   14 workload failed
  15 this machine lacks something (see famlab doctor)   16 lab or host not in that state
  exec: the command's own; 124 timeout, 125 could not be run, 127 not found, 128+N signal N
"""

_Parser = argparse.ArgumentParser


def _seconds(text: str) -> float:
    """Return a time limit; 0 would read as none."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _count(text: str) -> int:
    """Return how often; at least once."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _address(text: str) -> int:
    """Return a physical address, decimal or with 0x."""
    value = int(text, 0)
    if not 0 <= value < 1 << 52:
        raise ValueError
    return value


def _clock_offset(text: str) -> tuple[str, int]:
    """Return host and seconds of HOST=SECONDS."""
    host, _, seconds = text.partition("=")
    return host, int(seconds)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands; `args.function` is the one that was chosen."""
    parser = _Parser(
        prog="famlab",
        description="Start and use labs of virtual machines that share CXL memory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, function: Callable[[argparse.Namespace], int], text: str, details: str = "",
        lab: bool = True,
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = subparsers.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=details,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(function=function)
        if lab:
            sub.add_argument("--name", default=DEFAULT_LAB, help="the lab (default: %(default)s)")
        return sub

    def host_command(
        name: str, function: Callable[[argparse.Namespace], int], text: str, details: str = "",
    ) -> argparse.ArgumentParser:
        sub = command(name, function, text, details)
        sub.add_argument("host", metavar="HOST", help="host0, host1, ...")
        return sub

    up = command(
        "up", commands.up, "start a lab with fresh shared memory and run its workload",
        "examples:\n  famlab up --hosts 4\n  famlab up --topology ./mine.yaml --workload none\n\n"
        "If a host does not come up, or on Ctrl-C, nothing is left, unless --keep is given.\n",
    )
    up.add_argument("--hosts", type=int, default=2, metavar="N", help="1 to 8 (default: 2)")
    up.add_argument("--cpus", type=int, metavar="N", help="of each host (default: the topology's)")
    up.add_argument(
        "--topology", default="one-device", metavar="NAME|FILE",
        help="shared memory of the hosts (default: one-device; see famlab topologies)",
    )
    up.add_argument(
        "--dax", default="device_dax", choices=("device_dax", "fsdev_dax"),
        help="driver of the dax devices (default: device_dax)",
    )
    up.add_argument(
        "--memory", default="coherent", metavar="KIND",
        help="coherent, or noncoherent[:POLICY]: hosts see each other's stores only as they write "
        "back and invalidate; POLICY is strict (default) or lenient, with ,seed=N ,evict[=N] "
        ",shuffle ,capacity=MEBIBYTES ,blame ,record ,turnstile",
    )
    up.add_argument(
        "--workload", default="famfs", metavar="NAME|FILE",
        help="commands to run once the hosts are up: famfs, none or a file (default: famfs)",
    )
    up.add_argument("--kernel", metavar="FILE", help="vmlinux or bzImage of the hosts")
    up.add_argument(
        "--kernel-arguments", default="", metavar="TEXT", help="added to the kernel's command line"
    )
    up.add_argument(
        "--clock-offset", type=_clock_offset, action="append", default=[],
        metavar="HOST=SECONDS",
        help="host1=+3600: its clock is an hour ahead at each of its boots; may be repeated",
    )
    up.add_argument("--qemu", metavar="FILE", help="the QEMU program, 11.1 or newer")
    up.add_argument("--share", metavar="DIR", help="directory that hosts see as /opt/famlab")
    up.add_argument(
        "--accelerator", choices=("auto", "kvm", "tcg"), default="auto",
        help="auto: KVM if a probe guest boots with it (default)",
    )
    up.add_argument("--uri", metavar="URI", help="libvirt to use (default: inside this process)")
    up.add_argument(
        "--timeout", type=_seconds, default=None, metavar="SECONDS", help="for each host's boot"
    )
    up.add_argument(
        "--trace", action="store_true",
        help="print when each host reached each step, in ms since the start of famlab",
    )
    up.add_argument("--keep", action="store_true", help="leave a failed lab for examination")

    command("down", commands.down, "remove a lab, its hosts and its memory, whatever its state")

    status = command("status", commands.status, "show all labs, or one")
    status.set_defaults(name=None)
    status.add_argument("--json", action="store_true", help="for programs")

    execute = host_command(
        "exec", commands.execute, "run a command in a host and exit with its status",
        "Output is passed on as it is, also to a terminal, as with ssh: a host that you do not\n"
        "trust can send it control characters. It is killed after 1 GiB of output.\n\n"
        "example:\n  famlab exec host0 -- sh -c 'dmesg | tail'\n"
        "  tar c dir | famlab exec -i host0 -- tar x -C /tmp\n",
    )
    execute.add_argument("-i", "--stdin", action="store_true", help="give it standard input")
    execute.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="kill it after that")
    execute.add_argument(
        "args", nargs="*", metavar="COMMAND", help="after --, with its arguments, as typed"
    )
    execute.usage = "famlab exec [--name NAME] [-i] [--timeout SECONDS] HOST -- COMMAND [ARG ...]"

    host_command(
        "shell", commands.shell, "open an interactive root shell in a host",
        "Ctrl-] leaves the shell, which goes on running. What the host writes is passed on as it\n"
        "is.\n",
    )
    push = host_command("push", commands.push, "copy a file into a host")
    push.add_argument("local", metavar="LOCAL", help="file on this machine")
    push.add_argument("remote", metavar="REMOTE", help="path in the host")
    pull = host_command(
        "pull", commands.pull, "copy a file out of a host",
        "Set-user-id, set-group-id and sticky bits are dropped; FIFOs, sockets and devices are\n"
        "refused, and so are more than 4 GiB, 100,000 files and directories, or 100 levels.\n",
    )
    pull.add_argument("remote", metavar="REMOTE", help="path in the host")
    pull.add_argument("local", metavar="LOCAL", help="file on this machine")

    log = host_command(
        "log", commands.log, "print a host's serial console",
        "On a terminal, control characters are shown as \\xNN.\n",
    )
    log.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    host_command("xml", commands.xml, "print the libvirt description a host was started with")
    host_command("kill", commands.kill, "kill a host at once, as if its power had failed")
    host_command(
        "pause", commands.pause, "stop a host's processors and clock, as when it is suspended",
        "Until it is resumed it runs no commands; the shared memory stays as it is.\n",
    )
    host_command("resume", commands.resume, "let a paused host go on where it stopped")
    host_command("panic", commands.panic, "panic a host's kernel; it stays halted for gdb")
    mce = host_command(
        "mce", commands.mce, "report a memory error to a host's kernel by machine check",
        "The kernel gives up the page at ADDRESS; other hosts that share it are not told.\n\n"
        "example:\n  famlab exec host0 -- cat /sys/bus/dax/devices/dax0.0/resource\n"
        "  famlab mce host0 0x210000000\n",
    )
    mce.add_argument("address", type=_address, metavar="ADDRESS", help="physical, in the host")
    restart = host_command("restart", commands.restart, "start a host again, whatever its state")
    restart.add_argument("--timeout", type=_seconds, default=None, metavar="SECONDS")
    blame = command(
        "blame", commands.blame, "say which places in code do not keep shared memory coherent",
        "For a lab whose memory is noncoherent:strict,blame: each stale load, overwritten line,\n"
        "store that was not written back, write-back without a fence, and announcement that\n"
        "overtook its data, once for each pair of places. Then the flushes that did nothing.\n\n"
        "example:\n  famlab up --memory noncoherent:strict,blame --workload none\n"
        "  famlab exec host0 -- ...\n  famlab blame\n\n"
        "Exit code 0: nothing was wrong; 1: something was.\n",
    )
    blame.add_argument("--json", action="store_true", help="an object with lists")
    blame.add_argument(
        "--programs", metavar="DIR", action="append", default=[],
        help="where programs that hosts execute are on this machine, for their lines",
    )
    blame.add_argument("--html", metavar="FILE", help="write a page with a lane for each host, too")
    play = command(
        "replay", replay, "play a schedule that a failed test of `make test-schedules` has left",
        "Starts a lab of its own and lets its hosts do at once what the file says, in the order\n"
        "of what passes between them and the shared memory that it says.\n\n"
        "Exit code 0: what has to hold then does; 1: it does not.\n",
    )
    play.set_defaults(name="replay")
    play.add_argument("file", metavar="FILE", help="the schedule")
    play.add_argument("--times", type=_count, default=1, metavar="N", help="each in a fresh lab")
    play.add_argument("--kernel", metavar="FILE", help="as for up")
    play.add_argument("--qemu", metavar="FILE", help="as for up")
    host_command("gdb", commands.gdb, "print how to attach gdb to a host's kernel")

    command("topologies", commands.topologies, "list the topologies that come with famlab",
            lab=False)
    doctor = command(
        "doctor", commands.doctor, "say what this machine has and lacks for labs, and why",
        lab=False,
    )
    doctor.add_argument("--kernel", metavar="FILE", help="as for up")
    doctor.add_argument("--qemu", metavar="FILE", help="as for up")
    return parser


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Begin to clean up; a second signal must not cut that short."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. What follows exec's first -- is the command, as it is."""
    given = list(arguments)
    after: list[str] = []
    if given[:1] == ["exec"] and "--" in given:
        # argparse of Python 3.11 drops a second -- as well.
        index = given.index("--")
        given, after = given[:index], given[index + 1:]
    parser = build_parser()
    args = parser.parse_args(given)
    if "args" in args:
        args.args += after
        if not args.args:
            parser.error("exec: the command is missing; famlab exec HOST -- COMMAND [ARG ...]")
    return args


def main(arguments: Sequence[str]) -> int:
    """Run the command line `arguments` and return the exit code."""
    args = _parse(arguments)
    for number in _INTERRUPTS:
        # What was ignored when we were started (nohup, background jobs) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        result: int = args.function(args)
        sys.stdout.flush()
        return result
    except FamlabError as error:
        show(f"famlab: {error}", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("famlab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ImportError as error:
        print(f"famlab: {error}; run `{HOST_PACKAGES}`", file=sys.stderr)
        return PrerequisiteMissing.exit_code
    except OSError as error:
        show(f"famlab: {error}", sys.stderr)
        return 1
