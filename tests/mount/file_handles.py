"""file_handles.py - file handles of a mount, as name_to_handle_at(2) and open_by_handle_at(2) have them; forged ones. Imported by
the programs of past.sh and history.sh."""
import ctypes
import errno
import os
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
# EROFS: what is past, for writing, where the daemon hears of OPEN (-o conflicts=refuse)
REFUSED = (errno.ESTALE, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EROFS)


def handle_of(path):
    """Its kind and bytes."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", 24, 0) + bytes(24))
    if LIBC.name_to_handle_at(-100, os.fsencode(path), handle, ctypes.byref(ctypes.c_int()), 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    size, kind = struct.unpack("Ii", handle.raw[:8])
    return kind, handle.raw[8:8 + size]


def opened(mount, kind, handle, flags=os.O_RDONLY):
    """A descriptor of what it leads to, in the mount of which `mount` is a descriptor."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", len(handle), kind) + handle)
    fd = LIBC.open_by_handle_at(mount, handle, flags)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "")
    return fd


def node_of(handle):
    high, low = struct.unpack("II", handle[:8])
    return high << 32 | low


def lead_nowhere(mount, kind, handle, forged, may_be, refused=REFUSED):
    """Each of the forged nodes is refused, or leads to what may_be(st_ino) accepts."""
    for n in forged:
        for flags in os.O_RDONLY, os.O_WRONLY, os.O_PATH, os.O_RDONLY | os.O_DIRECTORY:
            try:
                fd = opened(mount, kind, struct.pack("II", n >> 32, n & 0xFFFFFFFF) + handle[8:], flags)
            except OSError as error:
                assert error.errno in refused, (hex(n), flags, error)
                continue
            assert may_be(os.fstat(fd).st_ino), (hex(n), flags)
            os.close(fd)
