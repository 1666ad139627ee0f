//! Dates as they come in answers: `Retry-After` and the expiry of credentials.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::RETRY_AFTER;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// How long the server asks to wait, in seconds or as a date; zero for a date that has passed.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(http_date(text)?.duration_since(now).unwrap_or_default())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the one form that servers may send (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day = number(parts.next()?)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year = number(parts.next()?)?;
    let time = time_of_day(parts.next()?)?;
    if parts.next()? != "GMT" || parts.next().is_some() {
        return None;
    }
    moment(year, month, day, time, 0)
}

/// `2026-11-21T10:00:00Z`, also with parts of a second, which are dropped, and with an offset.
pub(super) fn rfc_3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    if date.next().is_some() || year.len() != 4 {
        return None;
    }
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(at);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    number(fraction)?;
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let seconds = i64::try_from(number(hours)? * 3600 + number(minutes)? * 60).ok()?;
            if sign == "-" { -seconds } else { seconds }
        }
    };
    moment(
        number(year)?,
        number(month)?,
        number(day)?,
        time_of_day(whole)?,
        offset,
    )
}

/// Digits and nothing else, few enough for what they stand for here.
fn number(text: &str) -> Option<u64> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Seconds of the day; a leap second counts as the one before.
fn time_of_day(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let right = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    right.then(|| hour * 3600 + minute * 60 + second.min(59))
}

/// The moment of a date in the Gregorian calendar, `offset` seconds east of Greenwich; `None` before 1970.
fn moment(year: u64, month: u64, day: u64, time: u64, offset: i64) -> Option<SystemTime> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Counted from 1 March, so that the leap day is the last one of a year.
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468;
    let seconds = (days * 86_400 + time).checked_add_signed(-offset)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seconds(time: Option<SystemTime>) -> Option<u64> {
        time.map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn dates_of_http_are_read() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Sat, 21 Nov 2026 00:00:00 GMT", Some(1_795_219_200)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 0x Nov 1994 08:49:37 GMT", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(seconds(http_date(text)), expected, "{text}");
        }
    }

    #[test]
    fn times_of_rfc_3339_are_read() {
        for (text, expected) in [
            ("2026-11-21T00:00:00Z", Some(1_795_219_200)),
            ("2026-11-21T00:00:00.123456789Z", Some(1_795_219_200)),
            ("2026-11-21T02:30:00+02:30", Some(1_795_219_200)),
            ("2026-11-20T19:00:00-05:00", Some(1_795_219_200)),
            ("2000-02-29t00:00:00z", Some(951_782_400)),
            ("2000-02-29T00:00:00", None),
            ("2000-13-01T00:00:00Z", None),
            ("1960-01-01T00:00:00Z", None),
            ("2000-02-29T00:00Z", None),
            ("2000-02-29T00:00:00é", None),
            ("tomorrow", None),
        ] {
            assert_eq!(seconds(rfc_3339(text)), expected, "{text}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = http_date("Sat, 21 Nov 2026 00:00:00 GMT").unwrap();
        let after = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers, now).map(|rest| rest.as_secs())
        };
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("Sat, 21 Nov 2026 00:01:30 GMT"), Some(90));
        assert_eq!(after("Fri, 20 Nov 2026 00:00:00 GMT"), Some(0));
        assert_eq!(after("a while"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
