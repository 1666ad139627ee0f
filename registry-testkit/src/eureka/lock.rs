//! One virtual machine starts at a time.

use std::fs::{File, OpenOptions};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Error;

/// How long others may take, one after the other.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

const PAUSE: Duration = Duration::from_millis(50);

/// The right to start a virtual machine; it ends when this is dropped, or the process dies.
#[derive(Debug)]
pub(super) struct StartLock {
    _file: File,
}

// === impl StartLock ===

impl StartLock {
    /// Waits until nobody else of this user starts one.
    pub(super) async fn acquire() -> Result<Self, Error> {
        // Of a user, because the file of another one could not be opened.
        let user = rustix::process::getuid().as_raw();
        let path = std::env::temp_dir().join(format!("registry-testkit-{user}.lock"));
        // The system closes it in what is started, so nothing that outlives us keeps the lock.
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::file("cannot open", &path))?;
        let start = Instant::now();
        // The lock belongs to the opened file, so it also keeps the threads of one process apart. Waiting for it
        // would block the thread.
        while file.try_lock().is_err() {
            if start.elapsed() >= DEADLINE {
                return Err(Error::Deadline {
                    what: "others that start servers".to_owned(),
                    after: DEADLINE,
                });
            }
            sleep(PAUSE).await;
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_has_it_at_a_time() {
        let first = StartLock::acquire()
            .await
            .expect("nobody starts a server for so long");
        let second = tokio::spawn(StartLock::acquire());
        sleep(4 * PAUSE).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.expect("it does not panic").expect("it is free");
    }
}
