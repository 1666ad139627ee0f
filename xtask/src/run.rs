//! Processes with a deadline, of which nothing survives.
//!
//! A command runs in a process group of its own, so that the deadline takes the test binaries and servers with
//! it that cargo started. The price is that Ctrl-C and the death of xtask no longer reach that group by
//! themselves: a guard (one `sh` that waits at the end of a pipe) sees to it.

use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How long output may still arrive when the process itself has ended.
const DRAIN: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It and all that it started were killed at its deadline.
    Killed(Duration),
}

impl End {
    pub(crate) fn success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }

    /// In words, such as `exit status: 101`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Exited(status) => status.to_string(),
            Self::Killed(deadline) => format!("killed at its deadline of {} s", deadline.as_secs()),
        }
    }
}

/// Runs the command, shows its output as it comes and hands every line of its standard output to `on_line`.
pub(crate) fn stream(
    command: &mut Command,
    deadline: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<End, Failure> {
    // Standard error is inherited: cargo's progress stays alive, and nothing in it has to be read by us.
    run(command, deadline, false, |line| {
        let line = String::from_utf8_lossy(line);
        // Not a writer of our own: what a test of ours streams has to stay with that test's output, where
        // nobody counts it.
        print!("{line}");
        on_line(line.trim_end());
    })
}

/// Runs the command silently and returns all that it wrote, standard error included.
pub(crate) fn capture(command: &mut Command, deadline: Duration) -> Result<(End, String), Failure> {
    let mut text = String::new();
    let end = run(command, deadline, true, |line| {
        text.push_str(&String::from_utf8_lossy(line));
    })?;
    Ok((end, text))
}

/// What the threads around a child report.
enum Report {
    Line(Vec<u8>),
    OutputEnded,
    Exited(io::Result<ExitStatus>),
}

fn run(
    command: &mut Command,
    deadline: Duration,
    with_stderr: bool,
    mut on_line: impl FnMut(&[u8]),
) -> Result<End, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot = |error: io::Error| Failure::new(format!("cannot run {program}: {error}"));
    let (output, writer) = io::pipe().map_err(cannot)?;
    if with_stderr {
        command.stderr(writer.try_clone().map_err(cannot)?);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .process_group(0)
        .spawn()
        .map_err(cannot)?;
    // The command would keep its copies of the pipe's writing end, and the reader never see its end.
    command.stdout(Stdio::null());
    if with_stderr {
        command.stderr(Stdio::null());
    }
    let group = child.id();
    let guard = Guard::over(group).map_err(cannot)?;
    let (reports, inbox) = mpsc::channel();
    read_lines(output, reports.clone());
    await_exit(child, reports);
    let end = watch(&inbox, group, deadline, &mut on_line).map_err(cannot);
    guard.release();
    end
}

fn watch(
    inbox: &Receiver<Report>,
    group: u32,
    deadline: Duration,
    on_line: &mut impl FnMut(&[u8]),
) -> io::Result<End> {
    let mut end = None;
    let mut output_ended = false;
    let mut until = Instant::now() + deadline;
    while end.is_none() || !output_ended {
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Report::Line(line)) => on_line(&line),
            Ok(Report::OutputEnded) => output_ended = true,
            // That it has ended after its deadline is our own doing.
            Ok(Report::Exited(_)) if end.is_some() => {}
            Ok(Report::Exited(status)) => {
                end = Some(End::Exited(status?));
                until = Instant::now() + DRAIN;
            }
            // The process has ended, but something that it left behind holds its output open.
            Err(RecvTimeoutError::Timeout) if end.is_some() => break,
            Err(RecvTimeoutError::Timeout) => {
                kill_group(group);
                end = Some(End::Killed(deadline));
                until = Instant::now() + DRAIN;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    kill_group(group);
    end.ok_or_else(|| io::Error::other("its end was not noticed"))
}

fn read_lines(output: PipeReader, reports: Sender<Report>) {
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            if reports.send(Report::Line(std::mem::take(&mut line))).is_err() {
                return;
            }
        }
        let _ = reports.send(Report::OutputEnded);
    });
}

fn await_exit(mut child: Child, reports: Sender<Report>) {
    thread::spawn(move || {
        let _ = reports.send(Report::Exited(child.wait()));
    });
}

fn kill_group(group: u32) {
    // The shell's own `kill`: a minimal system has no other.
    let _ = Command::new("sh")
        .args(["-c", "kill -s KILL -- \"-$0\"", &group.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Kills a process group when this process ends without having released it, by whatever signal.
struct Guard {
    shell: Child,
}

impl Guard {
    fn over(group: u32) -> io::Result<Self> {
        // The line is the release; the end of the pipe without it is our death. The guard has a group of its
        // own, or Ctrl-C would end it before it could act.
        let shell = Command::new("sh")
            .args(["-c", "read -r _ || kill -s KILL -- \"-$0\"", &group.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    fn release(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_are_captured() {
        let (end, text) =
            capture(&mut sh("echo one; echo two >&2; exit 3"), Duration::from_secs(60)).expect("sh runs");
        assert_eq!(text, "one\ntwo\n");
        assert!(!end.success());
        assert_eq!(end.describe(), "exit status: 3");
    }

    #[test]
    fn the_deadline_takes_grandchildren_too() {
        let script = "sh -c 'echo $$; sleep 600' & echo $!; wait";
        let (end, text) = capture(&mut sh(script), Duration::from_secs(1)).expect("sh runs");
        assert_eq!(end, End::Killed(Duration::from_secs(1)));
        let pid = text.lines().next().expect("the grandchild told its number");
        let gone = (0..200).any(|_| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // A zombie is dead; whoever adopted it may take its time.
            let gone = stat.is_empty() || stat.contains(") Z ");
            thread::sleep(Duration::from_millis(if gone { 0 } else { 50 }));
            gone
        });
        assert!(gone, "process {pid} survived");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let failure = capture(&mut Command::new("no-such-program"), DRAIN).expect_err("it does not exist");
        assert!(failure.to_string().contains("no-such-program"), "{failure}");
    }
}
