//! Measures in CPU time of the thread, which other load on the machine hardly changes, and prints one table.

use std::error::Error;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used so far.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Runs `operation` and says how much CPU time it took, reading the clock not counted.
pub(crate) fn timed<T>(operation: impl FnOnce() -> T) -> (T, Duration) {
    static CLOCK: OnceLock<Duration> = OnceLock::new();
    let reading = *CLOCK.get_or_init(|| {
        let mut readings = Samples::default();
        for _ in 0..10_001 {
            let start = cpu_time();
            readings.push(cpu_time() - start);
        }
        readings.median()
    });
    let start = cpu_time();
    let result = operation();
    (result, (cpu_time() - start).saturating_sub(reading))
}

/// Runs `operation` and says how many bytes it allocated.
pub(crate) fn counted<T>(operation: impl FnOnce() -> T) -> (T, u64) {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(operation()));
    (result.expect("it ran"), info.bytes_total)
}

const ALONE: &str = "--alone=";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) quick: bool,
    /// This one benchmark is asked for by the process that prints the table.
    pub(crate) alone: Option<String>,
    filter: Option<String>,
}

impl Settings {
    pub(crate) fn from_arguments() -> Self {
        let (flags, words): (Vec<String>, Vec<String>) = std::env::args()
            .skip(1)
            .partition(|argument| argument.starts_with("--"));
        Self {
            quick: flags.iter().any(|flag| flag == "--quick"),
            alone: flags
                .iter()
                .find_map(|flag| flag.strip_prefix(ALONE).map(str::to_owned)),
            filter: words.into_iter().next(),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// The rows of one benchmark, measured by another process of this program.
    pub(crate) fn run_alone(&self, name: &str) -> Result<Vec<Row>, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(format!("{ALONE}{name}"))
            .args(self.quick.then_some("--quick"));
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(output.status.to_string().into());
        }
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.lines().filter_map(Row::from_line).collect())
    }

    /// So many runs, or a few where it has to be quick.
    pub(crate) fn runs(&self, runs: usize) -> usize {
        if self.quick { (runs / 20).max(1) } else { runs }
    }
}

/// What one operation cost, run by run.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[(sorted.len() - 1) * percent / 100]
    }
}

/// One line of the table. What is not asked for is left empty.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) measured: String,
    pub(crate) p99: String,
    pub(crate) bytes: String,
    pub(crate) bar: String,
    pub(crate) istio: String,
    pub(crate) passed: Option<bool>,
}

impl Row {
    /// A row about time, and bytes allocated in one operation.
    pub(crate) fn of(name: &str, samples: &Samples, bytes: Option<u64>) -> Self {
        Self {
            name: name.to_owned(),
            measured: show(samples.median()),
            p99: if samples.0.len() >= 100 {
                show(samples.percentile(99))
            } else {
                String::new()
            },
            bytes: bytes.map_or_else(String::new, |bytes| bytes.to_string()),
            ..Self::default()
        }
    }

    pub(crate) fn to_line(&self) -> String {
        let passed = self
            .passed
            .map_or("", |passed| if passed { "pass" } else { "FAIL" });
        let cells = [
            &self.name,
            &self.measured,
            &self.p99,
            &self.bytes,
            &self.bar,
            &self.istio,
        ];
        format!("{}\t{passed}", cells.map(String::as_str).join("\t"))
    }

    fn from_line(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, measured, p99, bytes, bar, istio, passed] = *cells.as_slice() else {
            return None;
        };
        let [name, measured, p99, bytes, bar, istio] =
            [name, measured, p99, bytes, bar, istio].map(str::to_owned);
        Some(Self {
            name,
            measured,
            p99,
            bytes,
            bar,
            istio,
            passed: (!passed.is_empty()).then_some(passed == "pass"),
        })
    }

    /// The median has to stay within `time`, and what one operation allocates within `bytes`.
    pub(crate) fn bar(mut self, samples: &Samples, time: Duration, bytes: Option<(u64, u64)>) -> Self {
        self.bar = show(time);
        let mut passed = samples.median() <= time;
        if let Some((allocated, most)) = bytes {
            self.bar = format!("{}, {most} B", self.bar);
            passed &= allocated <= most;
        }
        self.passed = Some(passed);
        self
    }

    pub(crate) fn istio(mut self, measured: &str) -> Self {
        self.istio = measured.to_owned();
        self
    }
}

fn show(time: Duration) -> String {
    let nanos = time.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.2} µs", time.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// Prints the table. True where every bar was met.
pub(crate) fn print(rows: &[Row]) -> bool {
    let head = ["", "median", "p99", "bytes/op", "bar", "Istio", ""].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head)
        .chain(rows.iter().map(|row| {
            let verdict = match row.passed {
                Some(true) => "pass",
                Some(false) => "FAIL",
                None => "",
            };
            [
                row.name.clone(),
                row.measured.clone(),
                row.p99.clone(),
                row.bytes.clone(),
                row.bar.clone(),
                row.istio.clone(),
                verdict.to_owned(),
            ]
        }))
        .collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        println!("{}", cells.join("  ").trim_end());
    }
    rows.iter().all(|row| row.passed != Some(false))
}
