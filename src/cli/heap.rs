//! Out of memory: an exit code and a message, where Rust would abort.
//!
//! A stage that does not fit is refused before it allocates (`train::footprint`). This handles small allocations that
//! fail under a limit on the process.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::Write,
};

use super::Failure;
use crate::compute::room;

/// Minimum free memory at start: for threads, tables and messages.
const LEAST: u64 = 16 << 20;
/// Callers check larger allocations, or they come from a damaged file.
const LARGE: usize = 1 << 30;

#[global_allocator]
static HEAP: Heap = Heap;

/// The system's allocator with a different reaction to failure.
struct Heap;

/// Sets limits before the first thread starts, and refuses to start with almost no memory.
pub(super) fn begin() -> Result<(), Failure> {
    keep_to_one_arena();
    match room() {
        Some(room) if room.bytes < LEAST => Err(Failure::memory(format!(
            "out of memory: danlu needs {LEAST} bytes to start, and {} leaves {} bytes; raise that limit or free some memory",
            room.bound, room.bytes
        ))),
        _ => Ok(()),
    }
}

/// glibc's allocator reserves 64 MiB of addresses per thread. Where addresses are limited (`ulimit -v`), threads share
/// one arena.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt sets a number of the allocator; no other thread is there yet")]
fn keep_to_one_arena() {
    use rustix::process::{Resource, getrlimit};
    if getrlimit(Resource::As).current.is_some() {
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_to_one_arena() {}

/// Ends the process with exit code 4 (memory).
#[cold]
fn out_of_memory(bytes: usize) {
    if bytes >= LARGE {
        return;
    }
    // Formats the number without allocating.
    let mut line = [0_u8; 128];
    let mut rest = &mut line[..];
    let _fits =
        writeln!(rest, "danlu: out of memory: cannot allocate {bytes} more bytes; the newest checkpoint is intact");
    let left = rest.len();
    leave(&line[..line.len() - left]);
}

/// Exits by system calls alone: another thread may hold a lock that Rust's exit waits for.
#[cfg(unix)]
fn leave(line: &[u8]) -> ! {
    crate::ui::surrender();
    let _ = rustix::io::write(rustix::stdio::stderr(), line);
    signal_hook::low_level::exit(4)
}

#[cfg(not(unix))]
fn leave(line: &[u8]) -> ! {
    let _ = std::io::stderr().write_all(line);
    std::process::exit(4)
}

#[allow(unsafe_code, reason = "every call is the system's own, with the caller's own arguments")]
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = unsafe { System.alloc(layout) };
        if place.is_null() {
            out_of_memory(layout.size());
        }
        place
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let place = unsafe { System.alloc_zeroed(layout) };
        if place.is_null() {
            out_of_memory(layout.size());
        }
        place
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let moved = unsafe { System.realloc(place, layout, bytes) };
        if moved.is_null() {
            out_of_memory(bytes);
        }
        moved
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) };
    }
}
