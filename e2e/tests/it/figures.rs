//! What a process has open and how large it is, as the kernel says.

use std::fmt;
use std::fs;

/// A look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) files: usize,
    /// Sockets among the files.
    pub(crate) sockets: usize,
    /// Directories that it has the kernel watch.
    pub(crate) watches: usize,
    pub(crate) threads: usize,
    /// Resident memory, in kB.
    pub(crate) resident: usize,
}

impl Figures {
    pub(crate) fn of(pid: u32) -> Self {
        let (mut files, mut sockets, mut watches) = (0, 0, 0);
        for file in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            files += 1;
            // A file may be closed between the two looks.
            let target = fs::read_link(file.path()).unwrap_or_default();
            sockets += usize::from(target.to_string_lossy().starts_with("socket:"));
            if target.to_string_lossy().contains("inotify") {
                let info = format!("/proc/{pid}/fdinfo/{}", file.file_name().display());
                let info = fs::read_to_string(info).unwrap_or_default();
                watches += info.lines().filter(|line| line.starts_with("inotify ")).count();
            }
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self {
            files,
            sockets,
            watches,
            threads: number("Threads:"),
            resident: number("VmRSS:"),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} files, {} of them sockets; {} watched directories; {} threads; {} kB",
            self.files, self.sockets, self.watches, self.threads, self.resident
        )
    }
}
