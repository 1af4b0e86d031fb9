//! Watches files that the user may save during a run, by system notifications, or by polling where there are none.
//!
//! Folders are watched, not files: editors save by renaming a new file over the old one.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Config, Event, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

use crate::base::panics::caught;

/// Interval between two polls.
const LOOK: Duration = Duration::from_secs(1);

/// How files are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watching {
    /// By notifications; by polling on network file systems, which do not notify of every change.
    #[default]
    Auto,
    /// By polling.
    Poll,
    /// Not at all.
    Off,
}

/// A folder that is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// Whether its subfolders are watched too.
    pub deep: bool,
}

/// Watches until it is dropped.
pub struct Watch {
    /// Kept because dropping them stops their threads.
    watchers: Vec<Held>,
    how: &'static str,
}

impl Watch {
    /// Calls `changed` from another thread with every path in `places` that may have changed. A folder that cannot be
    /// watched is polled; one that does not exist is left out.
    pub fn start(places: &[Place], how: Watching, changed: impl Fn(&Path) + Send + Clone + 'static) -> Watch {
        let mut watch = Watch { watchers: Vec::new(), how: "off" };
        if how == Watching::Off {
            return watch;
        }
        let on_event = move |event: notify::Result<Event>| {
            // Ignore an error: the next change notifies again.
            let Ok(event) = event else { return };
            let changes = match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
                EventKind::Access(_) => false,
                _ => true,
            };
            if changes || event.need_rescan() {
                event.paths.iter().for_each(|path| changed(path));
            }
        };
        let (mut notified, mut polled): (Vec<&Place>, Vec<&Place>) =
            places.iter().filter(|p| p.folder.is_dir()).partition(|p| how == Watching::Auto && !is_remote(&p.folder));
        if !notified.is_empty() {
            match RecommendedWatcher::new(on_event.clone(), Config::default()) {
                Ok(watcher) => {
                    let mut watcher = Held::new(watcher);
                    // If the system refused the watcher's thread, only `configure` returns it as an error.
                    if !watcher.works(|w| w.configure(Config::default())) {
                        return watch;
                    }
                    // The system may limit the number of watches; the remaining folders are polled.
                    notified.retain(|p| {
                        let watched = watcher.works(|w| w.watch(&p.folder, mode(p)));
                        if !watched {
                            polled.push(p);
                        }
                        watched
                    });
                    if !notified.is_empty() {
                        watch.watchers.push(watcher);
                        watch.how = "notify";
                    }
                }
                Err(_) => polled.append(&mut notified),
            }
        }
        if !polled.is_empty()
            && let Ok(watcher) = PollWatcher::new(on_event, Config::default().with_poll_interval(LOOK))
        {
            let mut watcher = Held::new(watcher);
            let watched = polled.iter().filter(|p| watcher.works(|w| w.watch(&p.folder, mode(p)))).count();
            if watched > 0 {
                watch.watchers.push(watcher);
                watch.how = if watch.how == "notify" { "notify, poll" } else { "poll" };
            }
        }
        watch
    }

    /// `notify`, `poll`, both, or `off`.
    pub fn how(&self) -> &'static str {
        self.how
    }
}

/// A watcher of the `notify` crate, which panics if a system call fails that it expects to succeed, even on drop.
struct Held(Option<Box<dyn Watcher + Send>>);

impl Held {
    fn new(watcher: impl Watcher + Send + 'static) -> Self {
        Self(Some(Box::new(watcher)))
    }

    /// Whether a call succeeds.
    fn works<T>(&mut self, call: impl FnOnce(&mut dyn Watcher) -> notify::Result<T>) -> bool {
        let Some(watcher) = &mut self.0 else { return false };
        caught(|| call(&mut **watcher)).is_ok_and(|result| result.is_ok())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // If it cannot be woken, its thread ends with the process.
        let _panicked = caught(|| drop(self.0.take()));
    }
}

fn mode(place: &Place) -> RecursiveMode {
    if place.deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive }
}

/// Whether a folder is on a file system that does not report changes by other machines.
#[cfg(target_os = "linux")]
fn is_remote(folder: &Path) -> bool {
    // From linux/magic.h and the file systems' headers: NFS, SMB, SMB2, CIFS, FUSE, 9P, AFS, Ceph, Lustre, Coda, OCFS2,
    // GPFS.
    const REMOTE: [u32; 12] = [
        0x6969,
        0x517B,
        0xFE53_4D42,
        0xFF53_4D42,
        0x6573_5546,
        0x0102_1997,
        0x6B41_4653,
        0x00C3_6400,
        0x0BD0_0BD0,
        0x7375_7245,
        0x7461_636F,
        0x4750_4653,
    ];
    rustix::fs::statfs(folder).is_ok_and(|s| REMOTE.contains(&(s.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_remote(_folder: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::*;

    #[test]
    fn saved_files_are_reported_by_both_watchers() {
        for how in [Watching::Auto, Watching::Poll] {
            let dir = tempfile::tempdir().unwrap();
            let deep = dir.path().join("a/b");
            fs::create_dir_all(&deep).unwrap();
            let (send, receive) = crossbeam_channel::unbounded();
            let place = Place { folder: dir.path().to_owned(), deep: true };
            let watch = Watch::start(&[place], how, move |path| {
                let _gone = send.send(path.to_owned());
            });
            assert_eq!(watch.how(), if how == Watching::Poll { "poll" } else { "notify" });
            // As editors save: write a new file, then rename it.
            fs::write(deep.join("x~"), "one").unwrap();
            fs::rename(deep.join("x~"), deep.join("x.txt")).unwrap();
            assert!(receive.iter().any(|p| p.ends_with("x.txt")));
        }
        let watch = Watch::start(&[Place { folder: "/nowhere".into(), deep: true }], Watching::Auto, |_| {});
        assert_eq!(watch.how(), "off");
    }
}
