//! A process that speaks in lines, and what it costs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use crate::Outcome;

/// What a process says.
#[derive(Debug)]
pub(crate) enum Line {
    /// Where it listens.
    Listening(String),
    /// It is about to make a change, at that time in nanoseconds.
    Changing(u64),
    /// All clients have everything.
    Synced,
    /// All clients have the change to that weight, since that time in nanoseconds.
    Seen(u32, u64),
}

pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Outcome<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no input")?;
        let output = child.stdout.take().ok_or("no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, orders, lines })
    }

    pub(crate) fn say(&mut self, order: &str) -> Outcome<()> {
        writeln!(self.orders, "{order}")?;
        Ok(self.orders.flush()?)
    }

    /// The next line, within that time.
    pub(crate) fn line(&self, patience: Duration) -> Outcome<Line> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => parse(&line),
            Err(RecvTimeoutError::Timeout) => Err(format!("nothing was said for {patience:?}").into()),
            Err(RecvTimeoutError::Disconnected) => Err("the process ended".into()),
        }
    }

    /// A line that was said already.
    pub(crate) fn pending(&self) -> Outcome<Option<Line>> {
        match self.lines.try_recv() {
            Ok(line) => parse(&line).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err("the process ended".into()),
        }
    }

    /// User and system time so far, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may contain anything but ends with the last parenthesis.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).ok_or("stat without times")?;
        Ok(Duration::from_millis((user + system) * 10))
    }

    /// Resident memory, in megabytes.
    pub(crate) fn resident(&self) -> Outcome<f64> {
        self.memory("VmRSS:")
    }

    /// The most there ever was, in megabytes.
    pub(crate) fn peak(&self) -> Outcome<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib: f64 = line
            .and_then(|line| line.split_whitespace().next())
            .ok_or("no such field")?
            .parse()?;
        Ok(kib * 1024.0 / 1e6)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Outcome<Line> {
    let words: Vec<&str> = line.split(' ').collect();
    Ok(match words.as_slice() {
        ["listening", address] => Line::Listening((*address).to_owned()),
        ["changing", at] => Line::Changing(at.parse()?),
        ["synced", _] => Line::Synced,
        ["seen", weight, at] => Line::Seen(weight.parse()?, at.parse()?),
        _ => return Err(format!("found {line:?}").into()),
    })
}
