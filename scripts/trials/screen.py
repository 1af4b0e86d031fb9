"""The workbench on a pseudo-terminal: keys in, bytes out."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import threading
import time


class Screen:
    """A process on a pseudo-terminal whose output is read in a thread."""

    def __init__(self, argv, env, cwd, rows=36, columns=120):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.settings = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
                for stream in (0, 1, 2):
                    os.dup2(self.slave, stream)
                os.closerange(3, 256)
                os.chdir(cwd)
                os.execvpe(argv[0], argv, dict(env, TERM="xterm-256color"))
            finally:
                os._exit(97)
        self.bytes, self.code, self.reading, self.open = bytearray(), None, True, True
        # The bytes of each frame, which ends a synchronized update.
        self.frames, self.partial = [], b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while self.open:
            if not self.reading:
                time.sleep(0.05)
                continue
            try:
                if select.select([self.master], [], [], 0.1)[0]:
                    piece = os.read(self.master, 1 << 16)
                    if not piece:
                        break
                    self.bytes += piece
                    *whole, self.partial = (self.partial + piece).split(b"\x1b[?2026l")
                    self.frames += map(len, whole)
                    # The newest frames are enough.
                    if len(self.bytes) > 4 << 20:
                        del self.bytes[: 2 << 20]
            except (OSError, ValueError):
                break

    def press(self, keys):
        """Types keys."""
        try:
            os.write(self.master, keys)
        except OSError:
            pass

    def shows(self, what, seconds):
        """Waits until these bytes were written; false if they were not, or if the process has ended."""
        until = time.time() + seconds
        while time.time() < until:
            if what in self.bytes:
                return True
            if self.ended():
                return False
            time.sleep(0.02)
        return False

    def ended(self):
        """Whether the process has ended; `code` then has its exit code."""
        if self.code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 97 << 8
            if pid:
                self.code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.code is not None

    def wait(self, seconds):
        """Waits for its end; false if it does not end in time."""
        until = time.time() + seconds
        while time.time() < until:
            if self.ended():
                time.sleep(0.15)
                return True
            time.sleep(0.02)
        return False

    def signal(self, number):
        """Sends a signal."""
        if not self.ended():
            os.kill(self.pid, number)

    def left(self):
        """The settings of the terminal that differ from before; empty if none."""
        found = []
        pairs = [("alternate screen", b"\x1b[?1049h", b"\x1b[?1049l"), ("cursor", b"\x1b[?25l", b"\x1b[?25h"),
                 ("bracketed paste", b"\x1b[?2004h", b"\x1b[?2004l"), ("focus reports", b"\x1b[?1004h", b"\x1b[?1004l")]
        for name, on, off in pairs:
            if self.bytes.rfind(on) > self.bytes.rfind(off):
                found.append(f"the {name} is not given back")
        now = termios.tcgetattr(self.slave)
        if now[:4] != self.settings[:4]:
            found.append("the terminal stays raw")
        return found

    def close(self):
        """Ends it if it is still running."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait(5)
        self.open = False
        self.reader.join(1)
        for end in (self.master, self.slave):
            try:
                os.close(end)
            except OSError:
                pass
