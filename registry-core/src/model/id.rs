//! Names of registries and services, and points in time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Str;

/// The name of one registry, which is one failure domain: `[a-z0-9][a-z0-9./-]{0,62}`.
///
/// ```
/// use registry_core::RegistryId;
///
/// let id: RegistryId = "consul-dc1".parse()?;
/// assert_eq!(id.as_str(), "consul-dc1");
/// assert!("Consul DC1".parse::<RegistryId>().is_err());
/// # Ok::<(), registry_core::RegistryIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId(Str);

impl RegistryId {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 63;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of one member of an expanded entry, `entry/member`: lower-cased, other characters become `-`.
    ///
    /// # Errors
    ///
    /// Where the result is no registry name, for instance because it is too long.
    pub fn member(entry: &Self, member: &str) -> Result<Self, RegistryIdError> {
        let member: String = member
            .to_lowercase()
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        format!("{entry}/{member}").parse()
    }
}

/// A text that cannot be the name of a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "registry name {found:?}: expected 1 to 63 characters of a-z, 0-9, '.', '/' and '-', the first a letter or digit"
)]
pub struct RegistryIdError {
    /// What was found instead of a name.
    pub found: String,
}

impl FromStr for RegistryId {
    type Err = RegistryIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = text.len() <= Self::MAX_LENGTH
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|c| plain(c) || matches!(c, b'.' | b'/' | b'-'));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(RegistryIdError {
                found: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for RegistryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RegistryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What identifies a service within one registry.
///
/// The group is what the registry can list or lose as a whole (a Kubernetes namespace, a Nomad namespace, a file);
/// where a registry has nothing of that kind it is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(Arc<Parts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    group: Str,
    namespace: Str,
    name: Str,
}

impl ServiceId {
    /// An identity from its three parts; group and namespace may be empty.
    pub fn new(group: impl Into<Str>, namespace: impl Into<Str>, name: impl Into<Str>) -> Self {
        Self(Arc::new(Parts {
            group: group.into(),
            namespace: namespace.into(),
            name: name.into(),
        }))
    }

    /// The identity of a service in a registry that knows neither groups nor namespaces.
    pub fn named(name: impl Into<Str>) -> Self {
        Self::new("", "", name)
    }

    /// What the registry lists or loses as a whole.
    pub fn group(&self) -> &Str {
        &self.0.group
    }

    /// The namespace, empty where there is none.
    pub fn namespace(&self) -> &Str {
        &self.0.namespace
    }

    /// The name that the registry uses.
    pub fn name(&self) -> &Str {
        &self.0.name
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.group(), self.namespace()] {
            if !part.is_empty() {
                write!(f, "{part}/")?;
            }
        }
        write!(f, "{}", self.name())
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A point in time by the wall clock: milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The present.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// From milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long ago this was, zero for a point in the future.
    pub fn elapsed(self) -> Duration {
        Duration::from_millis(Self::now().0.saturating_sub(self.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl FromStr for Timestamp {
    type Err = String;

    /// Reads what [`Display`](fmt::Display) prints: RFC 3339 in UTC, with milliseconds.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("time {text:?}: expected one such as 2026-11-21T00:00:00.123Z");
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| {
            let digits = bytes.get(from..to)?;
            digits.iter().try_fold(0_u64, |number, digit| {
                let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
                Some(number * 10 + u64::from(digit))
            })
        };
        let marks = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
            (23, b'Z'),
        ];
        let read = || {
            let marked = bytes.len() == 24 && marks.iter().all(|(at, mark)| bytes[*at] == *mark);
            let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
            let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
            let sound = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
            let days = (marked && sound && year >= 1970).then(|| days(year, month, day))?;
            (civil(days) == (year, month, day)).then_some(())?;
            let seconds = (days * 24 + hour) * 3600 + minute * 60 + second;
            Some(Self(seconds * 1000 + number(20, 23)?))
        };
        read().ok_or_else(wrong)
    }
}

/// The days from 1970-01-01 to a date, in the proleptic Gregorian calendar; what it gives for a day that its month does
/// not have is another one's.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // As in `civil`, which is its inverse: years begin in March.
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.max(1) - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + of_era).saturating_sub(719_468)
}

impl fmt::Display for Timestamp {
    /// As RFC 3339 in UTC, with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            of_day % 1000
        )
    }
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01 in eras of 400 years, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (
        year_of_era + era * 400 + u64::from(month <= 2),
        month,
        of_year - (153 * shifted + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_219_200_123, "2026-11-21T00:00:00.123Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Timestamp::from_millis(millis)));
        }
        for wrong in [
            "",
            "2026-11-21",
            "2026-11-21T00:00:00Z",
            "2026-02-29T00:00:00.000Z",
            "2026-00-10T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "1969-12-31T00:00:00.000Z",
            "2026-11-21T24:00:00.000Z",
            "2026-11-21T00:00:00.000+",
            "2026-11-21T00:00:0é.00Z",
        ] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn registry_names_are_checked() {
        for valid in ["a", "0", "consul-dc1", "k8s/eu.west-1", &"a".repeat(63)] {
            assert!(valid.parse::<RegistryId>().is_ok(), "{valid}");
        }
        for invalid in ["", "-a", "/a", "A", "a_b", "a b", "é", &"a".repeat(64)] {
            assert!(invalid.parse::<RegistryId>().is_err(), "{invalid}");
        }
        let entry: RegistryId = "clusters".parse().unwrap();
        assert_eq!(
            RegistryId::member(&entry, "EU_West.1").unwrap().as_str(),
            "clusters/eu-west.1"
        );
    }
}
