//! Waiting for something outside of the program, never without a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Error;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `look` until it finds something, and returns that.
///
/// It looks at least once, and once more when the deadline has passed. The clock is tokio's, which must not be
/// paused: a real server needs real time.
///
/// # Errors
///
/// [`Error::Deadline`] with `what` when it has not found anything in time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use std::time::Duration;
///
/// let mut looks = 0;
/// let third = registry_testkit::wait::until("the third look", Duration::from_secs(5), async || {
///     looks += 1;
///     (looks == 3).then_some(looks)
/// })
/// .await?;
/// assert_eq!(third, 3);
/// # Ok(()) }
/// ```
pub async fn until<T>(
    what: impl Into<String>,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= deadline;
        // A look may hang (a server that was stopped accepts connections and never answers).
        let left = deadline.saturating_sub(start.elapsed()).max(PAUSE);
        if let Ok(Some(found)) = tokio::time::timeout(left, look()).await {
            return Ok(found);
        }
        if late {
            return Err(Error::Deadline {
                what: what.into(),
                after: deadline,
            });
        }
        sleep(PAUSE).await;
    }
}

/// As [`until`], for a closure that makes a future. Unlike that of an asynchronous closure its future is `Send`.
pub(crate) async fn until_some<T, F>(
    what: impl Into<String>,
    deadline: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= deadline;
        let left = deadline.saturating_sub(start.elapsed()).max(PAUSE);
        if let Ok(Some(found)) = tokio::time::timeout(left, look()).await {
            return Ok(found);
        }
        if late {
            return Err(Error::Deadline {
                what: what.into(),
                after: deadline,
            });
        }
        sleep(PAUSE).await;
    }
}

/// As [`until`], for a look that takes no time. Unlike that of an asynchronous closure its future is `Send`.
pub(crate) async fn until_found<T>(
    what: impl Into<String>,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= deadline;
        if let Some(found) = look() {
            return Ok(found);
        }
        if late {
            return Err(Error::Deadline {
                what: what.into(),
                after: deadline,
            });
        }
        sleep(PAUSE).await;
    }
}
