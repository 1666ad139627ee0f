//! What the lines of a test run say.

use std::ops::AddAssign;

/// Numbers of tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Counts {
    /// Reads the line with which a test binary ends, `test result: ok. 1 passed; 0 failed; …`.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let (_verdict, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            numbers
                .split("; ")
                .find_map(|part| part.strip_suffix(what)?.strip_suffix(' ')?.parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
        })
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let line =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(
            Counts::of_line(line),
            Some(Counts {
                passed: 12,
                failed: 0,
                ignored: 1
            })
        );
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            Counts::of_line(line),
            Some(Counts {
                passed: 1,
                failed: 2,
                ignored: 0
            })
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "test a ... ok",
            "running 2 tests",
            "test result: ok",
            "  test result: ok. 1 passed; 0 failed",
        ] {
            assert_eq!(Counts::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn counts_add_up() {
        let mut sum = Counts {
            passed: 1,
            failed: 0,
            ignored: 2,
        };
        sum += Counts {
            passed: 2,
            failed: 3,
            ignored: 0,
        };
        assert_eq!(
            sum,
            Counts {
                passed: 3,
                failed: 3,
                ignored: 2
            }
        );
    }
}
