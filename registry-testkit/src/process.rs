//! A server's process: it never outlives the test, however that ends.
//!
//! - A test that returns or panics drops the process, which kills it.
//! - A test binary that is killed takes it along by the kernel's parent-death signal. That signal is sent when
//!   the *thread* ends that started the process, so all processes are started by one thread that never ends.
//! - A process stays in the group of the test binary, so a deadline or Ctrl-C that ends the group ends it too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::{Error, wait};

/// How much of a log's end goes into an error.
const TAIL: u64 = 4096;

/// A running child whose output goes into a file.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
}

// === impl Process ===

impl Process {
    /// Starts the program; what it writes is appended to `log`.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[String], log: &Path) -> Result<Self, Error> {
        let file = append(log)?;
        let second = file.try_clone().map_err(Error::file("cannot use", log))?;
        let mut command = die_with_us(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second);
        let child = spawn(command).map_err(|source| Error::Spawn {
            program: program.display().to_string(),
            source,
        })?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let failed = |source| Error::Signal {
            name: self.name.clone(),
            source,
        };
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        rustix::process::kill_process(pid, signal).map_err(|errno| failed(errno.into()))
    }

    /// Freezes it and waits until none of its threads runs any more.
    pub(crate) async fn stop(&self, deadline: Duration) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        // The signal is on its way when the call returns; a request could still be answered.
        let tasks = format!("/proc/{}/task", self.pid());
        let what = format!("{} to freeze", self.name);
        wait::until_found(what, deadline, || all_stopped(&tasks)).await
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let what = format!("the end of {}", self.name);
        wait::until_found(what, deadline, || self.ended()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Works on a stopped process as well, and so the wait is short.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether every thread in a folder of the kernel's is stopped.
fn all_stopped(tasks: &str) -> Option<()> {
    for task in fs::read_dir(tasks).ok()? {
        let stat = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        // `number (name) state …`, and the name may hold anything.
        let (_, state) = stat.rsplit_once(") ")?;
        if !state.starts_with('T') {
            return None;
        }
    }
    Some(())
}

/// The end of a log, for an error.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(no log: {error})"))
}

fn append(log: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(Error::file("cannot write", log))
}

/// A command that the kernel kills together with the thread that starts it.
fn die_with_us(program: &Path) -> Command {
    // A call between fork and exec would need unsafe code; this small program of every Debian does it for us and
    // then becomes the server, so the process number stays the same.
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let setpriv = SETPRIV.get_or_init(|| {
        ["/usr/bin/setpriv", "/bin/setpriv"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or(false))
    });
    match setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts the command from the one thread that lives as long as this process.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, child) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// Makes sure that this process, and what it starts, may have `needed` files open.
pub(crate) fn permit_open_files(needed: u64) -> Result<(), Error> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    // No limit is `None`.
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(limit) = limit.maximum.filter(|maximum| *maximum < needed) {
        return Err(Error::OpenFiles { needed, limit });
    }
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit).map_err(|errno| Error::Io {
        what: format!("cannot permit {needed} open files"),
        source: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_process_is_gone_even_when_stopped() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let process = Process::start(
            "sleep",
            Path::new("/bin/sleep"),
            &["600".to_owned()],
            &folder.path().join("log"),
        )
        .expect("it starts");
        process.stop(Duration::from_secs(60)).await.expect("it runs");
        let stat = format!("/proc/{}", process.pid());
        assert!(fs::exists(&stat).expect("Linux"));
        drop(process);
        assert!(!fs::exists(&stat).expect("Linux"));
    }

    #[tokio::test]
    async fn the_output_ends_up_in_the_log() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let log = folder.path().join("log");
        let arguments = ["-c".to_owned(), "echo out; echo err >&2; exit 3".to_owned()];
        let mut process = Process::start("sh", Path::new("/bin/sh"), &arguments, &log).expect("it starts");
        let status = process.wait(Duration::from_secs(60)).await.expect("it ends");
        assert_eq!(status.code(), Some(3));
        assert_eq!(tail(&log), "out\nerr\n");
    }
}
