//! What the operating system knows of this process. Where it does not say, there is no figure.

use std::fs;

/// This process, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// Memory that is resident, in bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<u64>,
    /// Most file descriptors that may be open; none when there is no bound.
    pub(crate) max_fds: Option<u64>,
}

/// Looks at this process.
pub(crate) fn look() -> Process {
    // `VmRSS:     12345 kB`
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Process {
        resident_bytes: resident.map(|kib| kib * 1024),
        open_fds: fs::read_dir("/dev/fd").ok().map(|entries| entries.count() as u64),
        max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_memory_and_open_files() {
        let seen = super::look();
        assert!(seen.open_fds.is_some_and(|open| open >= 3), "{seen:?}");
        if cfg!(target_os = "linux") {
            assert!(seen.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{seen:?}");
        }
    }
}
