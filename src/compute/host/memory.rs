//! The memory this process uses, and how much more it may use: by available memory, control groups, and its own limits.
//!
//! Linux reports all of it in files. On other systems there is no bound, and the system refuses allocations itself.

use std::{
    fmt, fs,
    path::{Component, Path, PathBuf},
};

/// A control group's limit above this means no limit: version 1 writes the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

/// A bound on the memory of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The memory available on the system.
    System,
    /// A file of a control group.
    Group(PathBuf),
    /// `RLIMIT_AS` (`ulimit -v`): addresses, used or not.
    Addresses,
    /// `RLIMIT_DATA` (`ulimit -d`).
    Data,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::System => f.write_str("MemAvailable"),
            Bound::Group(file) => write!(f, "{}", file.display()),
            Bound::Addresses => f.write_str("ulimit -v"),
            Bound::Data => f.write_str("ulimit -d"),
        }
    }
}

/// Memory that can still be used, and the bound it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// The tightest bound.
    pub bound: Bound,
}

impl Room {
    /// The part that danlu uses: a fifth stays free for the page cache and other processes.
    pub fn usable(&self) -> u64 {
        self.bytes / 5 * 4
    }
}

/// Resident memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Bytes now.
    pub now: u64,
    /// The maximum so far.
    pub peak: u64,
}

/// How much more memory this process may use; `None` if the system does not report it.
pub fn room() -> Option<Room> {
    room_under(Path::new("/"))
}

/// Limit on the bytes of tensors, if the system reports its memory.
pub(in crate::compute) fn budget() -> u64 {
    room().map_or(u64::MAX, |room| room.usable())
}

/// Resident memory of this process; `None` if the system does not report it.
pub fn resident() -> Option<Resident> {
    let status = read(Path::new("/"), "proc/self/status")?;
    Some(Resident { now: kib(&status, "VmRSS:")?, peak: kib(&status, "VmHWM:")? })
}

/// [`room`] for a system whose files are under `root`.
pub fn room_under(root: &Path) -> Option<Room> {
    let mut all = Vec::new();
    all.extend(available(root).map(|bytes| Room { bytes, bound: Bound::System }));
    all.extend(groups(root));
    all.extend(limits(root));
    // Among equal ones the first: the system is named rather than a limit without effect.
    all.into_iter().min_by_key(|room| room.bytes)
}

fn read(root: &Path, name: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(root.join(name)).ok()
}

/// The bytes in a line such as `MemAvailable: 123 kB`.
fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number = line.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(number.saturating_mul(1024))
}

fn available(root: &Path) -> Option<u64> {
    let text = read(root, "proc/meminfo")?;
    // Kernels before 3.14 do not estimate available memory.
    let parts = || Some(kib(&text, "MemFree:")?.saturating_add(kib(&text, "Cached:").unwrap_or(0)));
    kib(&text, "MemAvailable:").or_else(parts)
}

/// `RLIMIT_AS` and `RLIMIT_DATA`, minus current use.
fn limits(root: &Path) -> Vec<Room> {
    let (Some(limits), Some(status)) = (read(root, "proc/self/limits"), read(root, "proc/self/status")) else {
        return Vec::new();
    };
    let bounds = [("Max address space", "VmSize:", Bound::Addresses), ("Max data size", "VmData:", Bound::Data)];
    let room = |(name, taken, bound): (&str, &str, Bound)| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        // "unlimited" is not a number.
        let soft = line.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(Room { bytes: soft.saturating_sub(kib(&status, taken)?), bound })
    };
    bounds.into_iter().filter_map(room).collect()
}

/// The version of a control group's files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The remaining memory of each control group of this process and of those above.
fn groups(root: &Path) -> Vec<Room> {
    let membership = read(root, "proc/self/cgroup").unwrap_or_default();
    let mounts = read(root, "proc/self/mountinfo").unwrap_or_default();
    let mut all = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let version = match controllers {
            "" => Version::Two,
            _ if controllers.split(',').any(|c| c == "memory") => Version::One,
            _ => continue,
        };
        let (top, inside) = place(&mounts, version, path);
        let mut at = PathBuf::from(&top).join(inside);
        loop {
            all.extend(match version {
                Version::Two => of_two(root, &at),
                Version::One => of_one(root, &at, at.as_path() == Path::new(&top).join(inside)),
            });
            if at == Path::new(&top) || !at.pop() {
                break;
            }
        }
    }
    all
}

/// Where the groups of a version are mounted, and this process's group below that. A container sees at the mount its
/// own group or all groups; it cannot read what it does not see.
fn place<'a>(mounts: &str, version: Version, path: &'a str) -> (String, &'a Path) {
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (top, at, kind) = (before.next()?, before.next()?, after.next()?);
        let options = after.nth(1).unwrap_or_default();
        let ours = match version {
            Version::Two => kind == "cgroup2",
            Version::One => kind == "cgroup" && options.split(',').any(|o| o == "memory"),
        };
        ours.then(|| (unescape(top), unescape(at)))
    });
    let (top, at) = mount.unwrap_or_else(|| {
        let at = if version == Version::Two { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
        ("/".to_owned(), at.to_owned())
    });
    let inside = Path::new(path).strip_prefix(&top).unwrap_or(Path::new(""));
    let inside = inside.strip_prefix("/").unwrap_or(inside);
    // Groups above the namespace's root (`/../other`) are not visible.
    let within = inside.components().all(|c| matches!(c, Component::Normal(_)));
    (at.trim_start_matches('/').to_owned(), if within { inside } else { Path::new("") })
}

/// mountinfo escapes spaces and similar characters as `\040`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        if let Some(byte) = after.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            out.push(char::from(byte));
            rest = &after[3..];
        } else {
            out.push('\\');
            rest = after;
        }
    }
    out + rest
}

/// The number in a file; `None` for `max` too.
fn number(root: &Path, file: &Path) -> Option<u64> {
    read(root, file)?.trim().parse::<u64>().ok().filter(|n| *n < UNLIMITED)
}

/// The sum of some lines of memory.stat.
fn sum(stat: &str, keys: &[&str]) -> u64 {
    let of = |key: &&str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    keys.iter().map(of).fold(0, u64::saturating_add)
}

/// A limit minus usage; file pages are reclaimable, so they do not count.
fn left(limit: u64, taken: u64, reclaimable: u64) -> u64 {
    limit.saturating_sub(taken.saturating_sub(reclaimable))
}

fn of_two(root: &Path, group: &Path) -> Vec<Room> {
    let stat = read(root, group.join("memory.stat")).unwrap_or_default();
    let reclaimable = sum(&stat, &["inactive_file", "active_file", "slab_reclaimable"]);
    let taken = number(root, &group.join("memory.current")).unwrap_or(0);
    // Above memory.high a group is throttled almost to a stop, so it counts as a limit.
    let files = ["memory.max", "memory.high"].map(|name| group.join(name));
    let room = |file: &PathBuf| {
        let bytes = left(number(root, file)?, taken, reclaimable);
        Some(Room { bytes, bound: Bound::Group(Path::new("/").join(file)) })
    };
    files.iter().filter_map(room).collect()
}

fn of_one(root: &Path, group: &Path, own: bool) -> Vec<Room> {
    // A parent group without hierarchy does not count usage below it.
    if !own && number(root, &group.join("memory.use_hierarchy")) == Some(0) {
        return Vec::new();
    }
    let stat = read(root, group.join("memory.stat")).unwrap_or_default();
    let files = ["total_inactive_file", "total_active_file"];
    let total = files.iter().any(|key| stat.contains(key));
    let reclaimable = if total { sum(&stat, &files) } else { sum(&stat, &["inactive_file", "active_file"]) };
    let pairs = [
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"),
    ];
    let room = |limit: u64, taken: &str, file: &str| Room {
        bytes: left(limit, number(root, &group.join(taken)).unwrap_or(0), reclaimable),
        bound: Bound::Group(Path::new("/").join(group).join(file)),
    };
    let mut all: Vec<Room> = pairs
        .into_iter()
        .filter_map(|(limit, taken)| Some(room(number(root, &group.join(limit))?, taken, limit)))
        .collect();
    // The tightest limit above, also of groups that a container does not see.
    let above = sum(&stat, &["hierarchical_memory_limit"]);
    if own && above > 0 && above < UNLIMITED {
        all.push(room(above, pairs[0].1, "memory.stat"));
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A fake system in a folder: file names and contents.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let base = [
            ("proc/meminfo", "MemTotal: 64000 kB\nMemFree: 1000 kB\nMemAvailable:   40000 kB\nCached: 9000 kB\n"),
            (
                "proc/self/status",
                "Name:\tdanlu\nVmSize:\t  5000 kB\nVmHWM:\t  700 kB\nVmRSS:\t   600 kB\nVmData:\t 2000 kB\n",
            ),
        ];
        for (name, text) in base.iter().chain(files) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn room_of(files: &[(&str, &str)]) -> (u64, String) {
        let room = room_under(system(files).path()).unwrap();
        (room.bytes, room.bound.to_string())
    }

    fn limits_file(addresses: &str, data: &str) -> String {
        let head = "Limit                     Soft Limit           Hard Limit           Units     \n";
        format!(
            "{head}Max cpu time              unlimited            unlimited            seconds   \nMax data size             {data}            unlimited            bytes     \nMax address space         {addresses}            unlimited            bytes     \n"
        )
    }

    const TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn without_bounds_it_is_what_the_system_has_and_a_fifth_stays() {
        assert_eq!(room_of(&[]), (40_000 << 10, "MemAvailable".to_owned()));
        assert_eq!(Room { bytes: 1000, bound: Bound::System }.usable(), 800);
        let old = system(&[("proc/meminfo", "MemFree: 1000 kB\nCached: 9000 kB\n")]);
        assert_eq!(room_under(old.path()).unwrap().bytes, 10_000 << 10);
        assert_eq!(room_under(tempfile::tempdir().unwrap().path()), None, "a system that says nothing");
        let unlimited = limits_file("unlimited", "unlimited");
        assert_eq!(room_of(&[("proc/self/limits", &unlimited)]).1, "MemAvailable");
    }

    #[test]
    fn limits_of_the_process_count_less_what_is_mapped() {
        let both = limits_file("10240000", "9000000");
        assert_eq!(room_of(&[("proc/self/limits", &both)]), (10_240_000 - (5000 << 10), "ulimit -v".to_owned()));
        let data = limits_file("unlimited", "9000000");
        assert_eq!(room_of(&[("proc/self/limits", &data)]), (9_000_000 - (2000 << 10), "ulimit -d".to_owned()));
        // Less than is mapped already.
        assert_eq!(room_of(&[("proc/self/limits", &limits_file("4096", "unlimited"))]).0, 0);
    }

    #[test]
    fn the_tightest_group_above_counts() {
        let nested = [
            ("proc/self/cgroup", "0::/user.slice/app.scope\n"),
            ("proc/self/mountinfo", TWO),
            ("sys/fs/cgroup/user.slice/app.scope/memory.max", "max\n"),
            ("sys/fs/cgroup/user.slice/app.scope/memory.high", "30000000\n"),
            ("sys/fs/cgroup/user.slice/app.scope/memory.current", "1000000\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "20000000\n"),
            ("sys/fs/cgroup/user.slice/memory.current", "15000000\n"),
            (
                "sys/fs/cgroup/user.slice/memory.stat",
                "anon 4000000\nfile 11000000\ninactive_file 6000000\nactive_file 3000000\nslab_reclaimable 1000000\n",
            ),
        ];
        // 20 MB minus the 5 MB that cannot be reclaimed, not the 29 MB of the group itself.
        let above = (15_000_000, "/sys/fs/cgroup/user.slice/memory.max".to_owned());
        assert_eq!(room_of(&nested), above);
        assert_eq!(room_of(&nested[..5]), (29_000_000, "/sys/fs/cgroup/user.slice/app.scope/memory.high".to_owned()));
        // Without mountinfo the usual places are checked.
        let usual: Vec<_> = nested.iter().filter(|(name, _)| !name.ends_with("mountinfo")).copied().collect();
        assert_eq!(room_of(&usual), above);
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount() {
        // Without a namespace the path is the host's, and the mount shows the part below it.
        let docker = [
            ("proc/self/cgroup", "0::/docker/ab12/inner\n"),
            ("proc/self/mountinfo", "30 23 0:26 /docker/ab12 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/memory.max", "9000000\n"),
            ("sys/fs/cgroup/inner/memory.max", "max\n"),
        ];
        assert_eq!(room_of(&docker), (9_000_000, "/sys/fs/cgroup/memory.max".to_owned()));
        // A path from outside the namespace.
        let outside = [
            ("proc/self/cgroup", "0::/../other\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /run/my\\040groups rw - cgroup2 none rw\n"),
            ("run/my groups/memory.max", "7000000\n"),
        ];
        assert_eq!(room_of(&outside), (7_000_000, "/run/my groups/memory.max".to_owned()));
    }

    #[test]
    fn version_one_counts_swap_hierarchy_and_groups_out_of_sight() {
        let mount = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let at = |name: &str| format!("sys/fs/cgroup/memory/{name}");
        let none = "9223372036854771712\n";
        let nested = [
            ("proc/self/cgroup".to_owned(), "9:name=systemd:/\n4:cpu,memory:/jobs/one\n0::/\n"),
            ("proc/self/mountinfo".to_owned(), mount),
            (at("memory.limit_in_bytes"), none),
            (at("jobs/memory.limit_in_bytes"), "25000000\n"),
            (at("jobs/memory.usage_in_bytes"), "12000000\n"),
            (at("jobs/memory.use_hierarchy"), "1\n"),
            (at("jobs/memory.stat"), "inactive_file 0\ntotal_inactive_file 5000000\ntotal_active_file 2000000\n"),
            (at("jobs/one/memory.limit_in_bytes"), none),
            (at("jobs/one/memory.usage_in_bytes"), "4000000\n"),
        ];
        let of = |change: &[(String, &str)]| {
            let all: Vec<(&str, &str)> =
                nested.iter().chain(change).map(|(name, text)| (name.as_str(), *text)).collect();
            room_of(&all)
        };
        assert_eq!(of(&[]), (20_000_000, "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes".to_owned()));
        // A parent that does not count its children limits only itself.
        assert_eq!(of(&[(at("jobs/memory.use_hierarchy"), "0\n")]).1, "MemAvailable");
        let swap = [
            (at("jobs/memory.memsw.limit_in_bytes"), "14000000\n"),
            (at("jobs/memory.memsw.usage_in_bytes"), "13000000\n"),
        ];
        assert_eq!(of(&swap).0, 8_000_000);
        let hidden = [(at("jobs/one/memory.stat"), "hierarchical_memory_limit 9000000\ntotal_inactive_file 1000000\n")];
        assert_eq!(of(&hidden), (6_000_000, "/sys/fs/cgroup/memory/jobs/one/memory.stat".to_owned()));
    }
}
