//! The parameters of a blocking query, read as Consul's server reads them.

use std::time::Duration;

/// What Consul waits when it is not told.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);

/// The longest that Consul waits, whatever it is told.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// `index` and `wait` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocking {
    /// 0 asks for an answer at once.
    pub(crate) index: u64,
    pub(crate) wait: Duration,
}

impl Blocking {
    /// Reads them from a target; the error is the text of Consul's answer 400.
    pub(crate) fn of(target: &str) -> Result<Self, &'static str> {
        let (_, query) = target.split_once('?').unwrap_or((target, ""));
        let mut blocking = Self {
            index: 0,
            wait: DEFAULT_WAIT,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "index" if !value.is_empty() => {
                    blocking.index = value.parse().map_err(|_| "Invalid index")?;
                }
                "wait" if !value.is_empty() => {
                    let wait = duration(&value).ok_or("Invalid wait time")?;
                    blocking.wait = if wait.is_zero() {
                        DEFAULT_WAIT
                    } else {
                        wait.min(MAX_WAIT)
                    };
                }
                _ => {}
            }
        }
        Ok(blocking)
    }
}

/// Reads a duration of Go, such as `30s`, `1m30s`, `1.5h` or `250ms`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    if text.is_empty() {
        None
    } else {
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Some(Duration::from_secs(5400)));
        for wrong in ["", "abc", "30", "s", "-1s", "1d", "30 s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn waits_have_a_default_and_a_limit() {
        assert_eq!(
            Blocking::of("/v1/x"),
            Ok(Blocking {
                index: 0,
                wait: DEFAULT_WAIT
            })
        );
        assert_eq!(
            Blocking::of("/v1/x?index=7&wait=2h"),
            Ok(Blocking {
                index: 7,
                wait: MAX_WAIT
            })
        );
        assert_eq!(Blocking::of("/v1/x?index=-1"), Err("Invalid index"));
        assert_eq!(Blocking::of("/v1/x?wait=abc"), Err("Invalid wait time"));
    }
}
